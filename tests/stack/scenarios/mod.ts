/**
 * What `./build.sh dev --scenario` plays. To add one, write it into the file that it belongs to, or
 * into one of its own that is named here; `scenario.ts` says what it is made of, `promises.ts` has
 * what it can promise. The tests play every one.
 */
import { COMES_BACK } from "./comes_back.ts";
import { GATEWAYS } from "./gateways.ts";
import { IN_VAIN } from "./in_vain.ts";
import { PEOPLE } from "./people.ts";
import type { Scenario } from "./scenario.ts";

/** All of them, in the order in which they are listed. */
export const SCENARIOS: Scenario[] = [...COMES_BACK, ...IN_VAIN, ...PEOPLE, ...GATEWAYS];
