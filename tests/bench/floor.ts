/** The floor: what no function that asks for each instance's state can undercut. No database, no decision. */
import { forEach, stateUrl, sweeper, type Work } from "./sweeper.ts";

export const handler = sweeper(async (work) => {
  let open = 0;
  await forEach(work, async (name) => {
    if (await isOpen(work, name).catch(() => false)) open++;
  });
  return open;
});

async function isOpen(work: Work, name: string): Promise<boolean> {
  const response = await fetch(stateUrl(work, name), {
    headers: { apikey: work.gateway.key, "accept-encoding": "identity" },
    redirect: "manual",
    signal: AbortSignal.timeout(work.timeout_ms),
  });
  const length = response.headers.get("content-length");
  if (!response.ok || length === null || Number(length) > work.max_bytes) {
    await response.body?.cancel();
    return false;
  }
  return (await response.json()).instance.state === "open";
}
