/** `dev --scenario NAME`: plays one and tells it. */
import type { Stack } from "../stack.ts";
import { play } from "./play.ts";
import type { Scenario } from "./scenario.ts";
import { brokenPromises, renderEnding, renderTitle, Story, verdictOn } from "./story.ts";

/** Plays it on a new stack. Gives the exit status: 0 where all that was promised was kept. */
export async function runScenario(
  stack: Stack,
  scenario: Scenario,
  { json, interrupted }: { json: boolean; interrupted?: AbortSignal },
  print: (text: string) => void = console.log,
): Promise<number> {
  const gateway = stack.gateway!;
  const theatre = { ...stack, gateway };
  const story = new Story();
  const tell = (lines: string[]) => lines.forEach((line) => print(line));
  if (!json) print(renderTitle(scenario, scenario.version ?? gateway.version));
  const ending = await play(theatre, scenario, (step) => {
    if (!json) tell(story.tell(step));
  }, interrupted);
  const broken = brokenPromises(scenario, ending);
  if (json) {
    const { name, tells, promises } = scenario;
    const kept = promises.map((promised) => {
      const it_is = promised.broken(ending);
      return it_is === null
        ? { promised: promised.says, kept: true }
        : { promised: promised.says, kept: false, it_is };
    });
    const success = broken.length === 0;
    const whole = { scenario: name, tells, success, ...ending, promises: kept };
    print(JSON.stringify(whole, null, 2));
    if (!success) console.error(verdictOn(scenario, ending));
  } else {
    tell(story.pause());
    print(renderEnding(scenario, ending));
  }
  return broken.length === 0 ? 0 : 1;
}
