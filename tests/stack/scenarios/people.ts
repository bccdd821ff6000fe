/** What only a person can mend, at the phone or in the settings. */
import { ends, found, noOutage, onlyAsked, outage, received } from "./promises.ts";
import type { Scenario } from "./scenario.ts";

export const PEOPLE: Scenario[] = [
  {
    name: "logged-out",
    tells:
      "Somebody unlinks the device on the phone (401). The monitor asks for a QR code at the " +
      "next check, after a second look; after the scan all is well.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "06:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia is unlinked on the phone (401): its session is deleted",
        does: ({ gateway }) => gateway.disconnect("casa-da-praia", 401),
      },
      {
        at: "03:10",
        says: "somebody opens the QR code",
        does: ({ gateway }) => gateway.nextQr("casa-da-praia"),
      },
      {
        at: "04:10",
        says: "and scans it",
        does: ({ gateway }) => gateway.scan("casa-da-praia"),
      },
    ],
    promises: [
      found("casa-da-praia", "01:00", "waiting_qr", "ask_for_qr"),
      outage("casa-da-praia", "01:00", "04:30", "401"),
      ends("casa-da-praia", "connected"),
      onlyAsked("casa-da-praia"),
    ],
  },
  {
    name: "banned",
    tells: "WhatsApp bans the number (403). The monitor says so at the next check and leaves it " +
      "alone: dialling on would make it worse.",
    instances: { "casa-da-praia": { condition: "open" }, "hotel-aurora": { condition: "open" } },
    until: "20:00",
    turns: [
      {
        at: "00:50",
        says: "WhatsApp bans casa-da-praia (403)",
        does: ({ gateway }) => gateway.disconnect("casa-da-praia", 403),
      },
    ],
    promises: [
      found("casa-da-praia", "01:00", "blocked", "ask_owner"),
      ends("casa-da-praia", "blocked", "403"),
      outage("casa-da-praia", "01:00", null, "403"),
      onlyAsked("casa-da-praia", "hotel-aurora"),
    ],
  },
  {
    name: "qr-limit",
    tells:
      "Thirty QR codes go by and nobody scans. The gateway stops dialling; the monitor asks for " +
      "a person, and dials no thirty more.",
    instances: { "loft-novo": { condition: "waiting_scan" } },
    until: "10:00",
    turns: [
      {
        at: "02:10",
        says: "the thirtieth QR code has expired",
        does({ gateway }) {
          while (gateway.instance("loft-novo").memory === "connecting") gateway.nextQr("loft-novo");
        },
      },
    ],
    promises: [
      ends("loft-novo", "waiting_qr", "qr_limit"),
      received("loft-novo", "GET connect", 0),
      onlyAsked("loft-novo"),
    ],
  },
  {
    name: "wrong-key",
    tells:
      "The key of one instance is wrong. The monitor says so at once, which is no outage of its " +
      "connection, and takes the right key as soon as it is entered.",
    instances: { "casa-da-praia": { condition: "open" }, "hotel-aurora": { condition: "open" } },
    keys: { "casa-da-praia": "not-the-key-of-this-gateway" },
    until: "04:00",
    turns: [
      {
        at: "01:40",
        says: "somebody enters the right key; the monitor reads such things once a minute",
        does: ({ gateway, database }) =>
          database.query(
            `update public.organization_channel_config set whatsapp_api_key = $1
              where whatsapp_instance_name = 'casa-da-praia'`,
            [gateway.key],
          ),
      },
    ],
    promises: [
      found("casa-da-praia", "00:00", "misconfigured", "tell_operator"),
      ends("casa-da-praia", "connected"),
      noOutage("casa-da-praia", "hotel-aurora"),
      onlyAsked("casa-da-praia", "hotel-aurora"),
    ],
  },
];
