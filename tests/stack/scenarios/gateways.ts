/** Faults of the gateway itself. */
import { ends, found, gatewayOutage, noOutage, onlyAsked, outage, received } from "./promises.ts";
import type { Scenario, Stage } from "./scenario.ts";

/**
 * Turns the last look for the sockets back: each instance has a turn of its own, by the clock that
 * stands still here.
 */
function longSinceProbed({ database }: Stage): Promise<unknown> {
  return database.query(
    `update whatsapp_monitor.instances i
        set state = jsonb_set(i.state, '{probed_at}', to_jsonb(
              whatsapp_monitor.epoch_ms(clock_timestamp()) - 1000 * t.zombie_probe_every_s))
       from whatsapp_monitor.settings t`,
  );
}

export const GATEWAYS: Scenario[] = [
  {
    name: "gateway-down",
    tells:
      "The gateway does not answer. That is one finding, not three outages, and nothing is done " +
      "until it is back and its instances have had a minute to find their way.",
    instances: {
      "casa-da-praia": { condition: "open" },
      "hotel-aurora": { condition: "open" },
      "loft-novo": { condition: "open" },
    },
    until: "08:00",
    turns: [
      {
        at: "00:50",
        says: "the gateway ends: connections are refused",
        does: ({ gateway }) => gateway.behave("down"),
      },
      {
        at: "04:10",
        says: "it is back; casa-da-praia is still redialling",
        async does({ gateway }) {
          gateway.set("casa-da-praia", { condition: "connecting" });
          await gateway.behave("up");
        },
      },
      {
        at: "05:20",
        says: "casa-da-praia is open again",
        does: ({ gateway }) => gateway.set("casa-da-praia", { condition: "open" }),
      },
    ],
    promises: [
      gatewayOutage("01:00", "04:30", "connection_refused"),
      found("hotel-aurora", "02:00", "gateway_unreachable", "tell_operator"),
      noOutage("casa-da-praia", "hotel-aurora", "loft-novo"),
      onlyAsked("casa-da-praia", "hotel-aurora", "loft-novo"),
      ends("casa-da-praia", "connected"),
      ends("hotel-aurora", "connected"),
    ],
  },
  {
    name: "zombie",
    tells:
      "The gateway says open and has no socket: only a question that needs one shows it. Asked " +
      "twice, reported, not touched: a restart of the gateway's process heals it.",
    instances: { "casa-da-praia": { condition: "open" } },
    until: "06:00",
    turns: [
      {
        at: "00:50",
        says: "casa-da-praia drops while the gateway's database is away: open for ever (I10)",
        async does(stage) {
          await stage.gateway.behave("database_down");
          stage.gateway.disconnect("casa-da-praia", 428);
          await stage.gateway.behave("up");
          await longSinceProbed(stage);
        },
      },
      {
        at: "04:10",
        says: "the operator restarts the Evolution process",
        does({ gateway }) {
          gateway.set("casa-da-praia", { dials: "login" });
          gateway.reboot();
        },
      },
    ],
    promises: [
      found("casa-da-praia", "01:30", "zombie", "tell_operator"),
      received("casa-da-praia", "POST restart", 0),
      onlyAsked("casa-da-praia"),
      outage("casa-da-praia", "01:00", "04:30", "zombie"),
      ends("casa-da-praia", "connected"),
    ],
  },
];
