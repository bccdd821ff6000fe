/** What the contestants without a database have in common: they are told once what to ask, and then to do it. */

/** What to ask, as `POST /prepare` brings it. */
export interface Work {
  gateway: { url: string; key: string };
  /** The instances' names. */
  names: string[];
  /** How many are asked at a time. */
  concurrency: number;
  /** The guards that the monitor has. */
  timeout_ms: number;
  max_bytes: number;
}

/** A function that sweeps once for each `POST /run`, over as many as it names; `sweep` gives how many are open. */
export function sweeper(
  sweep: (work: Work) => Promise<number>,
): (request: Request) => Promise<Response> {
  let work: Work | undefined;
  return async (request) => {
    if (new URL(request.url).pathname === "/prepare") {
      work = await request.json();
      return new Response("ok");
    }
    const names = work!.names.slice(0, await request.json());
    return Response.json({ open: await sweep({ ...work!, names }) });
  };
}

/** The URL at which an instance's state is asked for. */
export function stateUrl({ gateway }: Work, name: string): string {
  return `${gateway.url}/instance/connectionState/${encodeURIComponent(name)}`;
}

/** Does something for each instance, so many at a time. */
export async function forEach(
  { names, concurrency }: Work,
  work: (name: string) => Promise<void>,
): Promise<void> {
  const left = names.values();
  const worker = async () => {
    for (const name of left) await work(name);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
