/**
 * A simulated Evolution API for the local stack and the tests: 2.3.6, held to the recorded exchanges
 * by `tests/outside/evolution_conformance_test.ts`, and other versions as far as they are known.
 *
 * In process: {@link startGateway}. As a process of its own, told over its control listener:
 *
 *     deno run --allow-net tests/stack/evolution/mod.ts
 */

import { startGateway } from "./server.ts";

export { type Gateway, type RecordedRequest, startGateway } from "./server.ts";
export { type GatewayMode, type ModeName, MODES } from "./faults.ts";
export {
  type Body,
  type Condition,
  CONDITION_NAMES,
  type ConditionName,
  CONDITIONS,
  type Dial,
  type Fault,
  type MemoryState,
  type RowStatus,
} from "./conditions.ts";
export { type Instance, QR_LIMIT } from "./model.ts";
export { type FinalCode, type Version, VERSIONS } from "./versions.ts";
export { EVENTS, type Webhook } from "./webhook.ts";
export type { Delivery, Outcome } from "./outbox.ts";
export type { Event, NewMessage } from "./events.ts";

if (import.meta.main) {
  const { url, controlUrl, key } = await startGateway();
  console.log(JSON.stringify({ url, controlUrl, key }));
}
