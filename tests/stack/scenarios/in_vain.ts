/** What the monitor cannot mend, and how it stops. */
import { did, ends, found, onlyAsked, outage, received, tried, withinBudget } from "./promises.ts";
import { clock, type Scenario, type Turn } from "./scenario.ts";

/** Two sockets replace each other: every 30 s another state is to be seen. */
function fighting(name: string, from_s: number, to_s: number): Turn[] {
  const turns: Turn[] = [];
  for (let at = from_s; at < to_s; at += 30) {
    turns.push({
      at: clock(at),
      says: turns.length > 0 ? null : "two sockets on one session replace each other (440)",
      does: ({ gateway }) => gateway.advance(name),
    });
  }
  return turns;
}

export const IN_VAIN: Scenario[] = [
  {
    name: "fight",
    tells:
      "A redial hangs unseen, so the blind connect after 15 minutes starts a second socket, and " +
      "the two replace each other without end. The monitor sees that it made things worse, and " +
      "stops until a person says otherwise.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "32:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia drops; its redial waits for a lookup that does not end",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "close", dialling: true }),
      },
      ...fighting("casa-da-praia", 16 * 60 + 10, 20 * 60),
      {
        at: "20:10",
        says: "the operator restarts the Evolution process",
        does: ({ gateway }) => {
          gateway.set("casa-da-praia", { dials: "login" });
          gateway.reboot();
        },
      },
      {
        at: "24:10",
        says: "casa-da-praia drops once more, and a restart would help",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "connecting" }),
      },
      {
        at: "29:10",
        says: "a person lets the monitor go on: whatsapp_monitor.resume(organization, name)",
        does: ({ database }) =>
          database.query("select whatsapp_monitor.resume('casa-da-praia', 'casa-da-praia')"),
      },
    ],
    promises: [
      did("casa-da-praia", "connect (blind): made_worse", "restart (state): worked"),
      received("casa-da-praia", "GET connect", 1),
      found("casa-da-praia", "20:00", "disconnected", "tell_operator"),
      found("casa-da-praia", "29:00", "disconnected", "tell_operator"),
      found("casa-da-praia", "29:30", "disconnected", "restart (state)"),
      ends("casa-da-praia", "connected"),
    ],
  },
  {
    name: "restart-in-vain",
    tells:
      "Every dial of the instance hangs, so no restart helps. The monitor backs off, keeps to " +
      "its budget, and from then on tries every half an hour.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "55:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia drops, and from now on all its dials hang",
        does: ({ gateway }) =>
          gateway.set("casa-da-praia", { condition: "connecting", dials: "hang" }),
      },
    ],
    promises: [
      tried("casa-da-praia", 6, "restart", "no_effect"),
      withinBudget("casa-da-praia", [[5, 3], [30, 5]]),
      outage("casa-da-praia", "01:00", null),
      ends("casa-da-praia", "disconnected"),
    ],
  },
  {
    name: "refused",
    tells:
      "The gateway answers 200 to a restart and says in the same answer that it did nothing. " +
      "The monitor believes the answer, and not the 200.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "08:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia drops; its redials are never where a restart looks for them",
        does: ({ gateway }) =>
          gateway.set("casa-da-praia", { condition: "connecting", refuses_restart: true }),
      },
      {
        at: "05:40",
        says: "a redial succeeds",
        does: ({ gateway }) => gateway.advance("casa-da-praia"),
      },
    ],
    promises: [
      tried("casa-da-praia", 2, "restart", "refused"),
      received("casa-da-praia", "POST restart", 2),
      outage("casa-da-praia", "01:00", "06:00"),
      ends("casa-da-praia", "connected"),
    ],
  },
  {
    name: "version-2.4",
    tells:
      "A gateway of version 2.4: what it makes of an action is not known, so the monitor only " +
      "looks, also where it would have dialled on 2.3. It knows that 408 ends a session there.",
    version: "2.4.0-rc2",
    instances: {
      "casa-da-praia": { condition: "open" },
      "hotel-aurora": { condition: "open" },
      "loft-novo": { condition: "open" },
    },
    until: "10:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia loses its socket, and nothing redials; loft-novo is dropped (408)",
        does({ gateway }) {
          gateway.set("casa-da-praia", { condition: "close", dials: "login" });
          gateway.disconnect("loft-novo", 408);
        },
      },
    ],
    promises: [
      ends("casa-da-praia", "disconnected"),
      outage("casa-da-praia", "01:00", null),
      ends("loft-novo", "waiting_qr", "408"),
      onlyAsked("casa-da-praia", "hotel-aurora", "loft-novo"),
    ],
  },
];
