/** Connections that were lost and can be had back without a person. */
import { did, ends, found, noOutage, onlyAsked, outage, received } from "./promises.ts";
import type { Scenario } from "./scenario.ts";

export const COMES_BACK: Scenario[] = [
  {
    name: "blink",
    tells: "The connection drops for half a minute and is back. The monitor sees it and makes no " +
      "outage of it.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "03:00",
    turns: [
      {
        at: "00:50",
        says: "WhatsApp drops casa-da-praia (428); the gateway redials by itself",
        does: ({ gateway }) => gateway.disconnect("casa-da-praia", 428),
      },
      {
        at: "01:20",
        says: "the redial succeeds",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "open" }),
      },
    ],
    promises: [
      found("casa-da-praia", "01:00", "connecting", "wait"),
      ends("casa-da-praia", "connected"),
      noOutage("casa-da-praia"),
      onlyAsked("casa-da-praia"),
    ],
  },
  {
    name: "lost-and-found",
    tells:
      "The connection drops and the gateway's own redial brings it back after a minute and a " +
      "half. The monitor waits: a dial of its own would be a second socket.",
    instances: { "casa-da-praia": { condition: "open" }, "hotel-aurora": { condition: "open" } },
    until: "04:00",
    turns: [
      {
        at: "00:50",
        says: "WhatsApp drops casa-da-praia (428); the gateway redials by itself",
        does: ({ gateway }) => gateway.disconnect("casa-da-praia", 428),
      },
      {
        at: "01:20",
        says: "the redial is under way",
        does: ({ gateway }) => gateway.advance("casa-da-praia"),
      },
      {
        at: "02:20",
        says: "the redial succeeds",
        does: ({ gateway }) => gateway.advance("casa-da-praia"),
      },
    ],
    promises: [
      ends("casa-da-praia", "connected"),
      outage("casa-da-praia", "01:00", "02:30"),
      noOutage("hotel-aurora"),
      onlyAsked("casa-da-praia", "hotel-aurora"),
    ],
  },
  {
    name: "hung-dial",
    tells:
      "The redial hangs before it has begun: paired, steadily closed, while another instance " +
      "of the gateway is open. One connect brings it back.",
    instances: { "casa-da-praia": { condition: "open" }, "hotel-aurora": { condition: "open" } },
    until: "06:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia loses its socket, and nothing redials",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "close", dials: "login" }),
      },
    ],
    promises: [
      ends("casa-da-praia", "connected"),
      did("casa-da-praia", "connect (neighbour): worked"),
      received("casa-da-praia", "GET connect", 1),
      outage("casa-da-praia", "01:00", "04:00"),
      onlyAsked("hotel-aurora"),
    ],
  },
  {
    name: "stuck-connecting",
    tells:
      "A redial hangs half-way: paired and connecting, check after check. One restart ends it, " +
      "and the gateway dials anew.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "05:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia drops, and its redial hangs; the next one would succeed",
        does: ({ gateway }) =>
          gateway.set("casa-da-praia", { condition: "connecting", dials: "login" }),
      },
    ],
    promises: [
      ends("casa-da-praia", "connected"),
      did("casa-da-praia", "restart (state): worked"),
      received("casa-da-praia", "POST restart", 1),
      outage("casa-da-praia", "01:00", "03:00"),
    ],
  },
  {
    name: "alone",
    tells:
      "As hung-dial, but the only instance of its gateway: nothing tells whether a redial is " +
      "under way. The monitor waits 15 minutes before it tries one connect.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "18:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia loses its socket, and nothing redials",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "close", dials: "login" }),
      },
    ],
    promises: [
      ends("casa-da-praia", "connected"),
      did("casa-da-praia", "connect (blind): worked"),
      received("casa-da-praia", "GET connect", 1),
      outage("casa-da-praia", "01:00", "16:30"),
    ],
  },
];
