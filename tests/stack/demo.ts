/** What `dev` shows where it is given nothing to monitor: one instance in each condition worth seeing. */
import type { Condition, Gateway } from "./evolution/mod.ts";
import type { Stack } from "./stack.ts";

interface Demo {
  name: string;
  /** What the gateway has; null where it does not know the instance. */
  condition: Condition | null;
  /** In place of the gateway's own key. */
  key?: string;
}

const DEMOS: Demo[] = [
  { name: "central-de-reservas", condition: { condition: "open" } },
  { name: "Pousada São João / recepção", condition: { condition: "open" } },
  // Repairable: the next login succeeds.
  { name: "hotel-aurora", condition: { condition: "close", dials: "login" } },
  { name: "casa-da-praia", condition: { condition: "waiting_scan" } },
  { name: "chale-da-serra", condition: { condition: "logged_out", code: 401 } },
  { name: "apart-centro", condition: { condition: "logged_out", code: 403 } },
  { name: "loft-novo", condition: { condition: "never_paired" } },
  {
    name: "villa-mar",
    condition: { condition: "open" },
    key: "not-the-key-of-this-gateway",
  },
  { name: "rancho-azul", condition: null },
];

/** Puts the demo instances on the gateway and into the database, each under its own organization. */
export async function addDemoInstances(
  stack: Stack,
  gateway: Gateway,
): Promise<void> {
  for (const { name, condition, key } of DEMOS) {
    if (condition) gateway.set(name, condition);
    await stack.addInstance({
      organization: `demo: ${name}`,
      url: gateway.url,
      name,
      key: key ?? gateway.key,
    });
  }
}

/** How a person breaks things while `dev` runs. */
export function breakingHint(gateway: Gateway): string {
  const [{ name }] = DEMOS;
  return `curl -X PUT ${gateway.controlUrl}/instances/${encodeURIComponent(name)} ` +
    `-d '{"condition":"logged_out","code":401}'`;
}
