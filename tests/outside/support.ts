/** What the tests from outside have in common. */
import { openPostgres } from "../stack/postgres.ts";
import type { Gateway } from "../stack/evolution/mod.ts";
import type { Report, ReportedInstance } from "../stack/report.ts";
import { type Stack, type StackOptions, startStack } from "../stack/stack.ts";

/** A stack and what tests do with it again and again. */
export interface World extends Stack {
  /** The simulated gateway, which is always there. */
  readonly gateway: Gateway;
  /** Adds an instance of the simulated gateway and reads the sources; its organization has its name. */
  watch(name: string, options?: { url?: string; key?: string }): Promise<void>;
  /** Changes settings for the rest of the test file. */
  set(settings: Record<string, number>): Promise<void>;
  /** Makes every instance due, as if its interval had passed. */
  makeDue(): Promise<void>;
  /** The same, keeping the order in which they would become due. */
  makeDueInTurn(): Promise<void>;
  /** Makes every instance due and runs a trigger to its end. */
  tick(): Promise<Report>;
  /** One instance as the database has it. */
  row(name: string): Promise<Record<string, unknown>>;
}

/**
 * Starts a stack on an empty database: the embedded one, or one of its own on
 * the server that the variable DATABASE names (a URL without a database).
 */
export async function startWorld(options: StackOptions = {}): Promise<World> {
  const server = Deno.env.get("DATABASE");
  const fresh = server ? await createDatabase(server) : undefined;
  const stack = await startStack({
    ...fresh ? { database: fresh.url, standIns: true, migrate: true } : {},
    ...options,
  });
  const { database } = stack;
  const gateway = stack.gateway!;
  const readSources = () => database.query("select whatsapp_monitor.sync_sources()");
  const makeDue = async () =>
    void await database.query(
      "update whatsapp_monitor.instances set due_at = '-infinity' where lease_tick is null",
    );
  return {
    ...stack,
    edge: stack.edge,
    gateway,
    makeDue,
    async makeDueInTurn() {
      await database.query(
        `update whatsapp_monitor.instances set due_at = due_at - interval '1 day'
         where lease_tick is null and due_at > '-infinity'`,
      );
    },
    async watch(name, { url = gateway.url, key = gateway.key } = {}) {
      await stack.addInstance({ organization: name, url, name, key });
      await readSources();
    },
    async set(settings) {
      for (const [name, value] of Object.entries(settings)) {
        await database.query(`update whatsapp_monitor.settings set ${name} = $1`, [value]);
      }
    },
    async tick() {
      await makeDue();
      return await (await stack.trigger()).json();
    },
    async row(name) {
      const [row] = await database.query(
        "select * from whatsapp_monitor.instances where name = $1",
        [name],
      );
      return row;
    },
    async stop() {
      await stack.stop();
      await fresh?.drop();
    },
  };
}

/** The instance of this name in a report. */
export function found(report: Report, name: string): ReportedInstance {
  const instance = report.instances.find((each) => each.instance_name === name);
  if (!instance) throw new Error(`the report does not name ${name}: ${JSON.stringify(report)}`);
  return instance;
}

/** How often the gateway was asked for the live state of an instance. */
export function timesAsked(gateway: Gateway, name: string): number {
  const path = `/instance/connectionState/${encodeURIComponent(name)}`;
  return gateway.requests.filter((request) => request.path === path).length;
}

/** A gateway that answers "open" to everything, each answer only when it is told to. */
export function startHeldGateway() {
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const paths: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    paths.push(new URL(request.url).pathname);
    arrived.resolve();
    await released.promise;
    return Response.json({ instance: { instanceName: "held", state: "open" } });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    /** Resolves with the first request. */
    arrived: arrived.promise,
    /** Lets all answers go. */
    release: released.resolve,
    /** The paths asked for so far. */
    paths,
    async stop() {
      released.resolve();
      await server.shutdown();
    },
  };
}

/** A request by hand, for what `fetch` would not send; its body comes when the test says so, or never. */
export async function openRequest(method: string, url: string, headers: Record<string, string>) {
  const { hostname, port, pathname, search, host } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const writer = connection.writable.getWriter();
  const write = (text: string) => writer.write(new TextEncoder().encode(text));
  const asked = Promise.withResolvers<void>();
  const all = { host, connection: "close", expect: "100-continue", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  await write(`${method} ${pathname}${search} HTTP/1.1\r\n${lines.join("")}\r\n`);
  const answer = (async () => {
    let text = "";
    for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const interim = text.match(/^HTTP\/1\.1 100 .*?\r\n\r\n/s)?.[0];
      if (interim) asked.resolve();
      text = text.slice(interim?.length ?? 0);
    }
    asked.resolve(); // or it never will
    const [head, body] = text.split("\r\n\r\n", 2);
    const [status, ...fields] = head.split("\r\n");
    return {
      status: Number(status.split(" ")[1]),
      headers: new Headers(fields.map((field) => field.split(": ", 2) as [string, string])),
      body,
    };
  })();
  return {
    /** Resolves when the function begins to read the body. */
    asked: asked.promise,
    /** Sends a piece of the body, as it stands on the wire. */
    write,
    /** The answer, when the function has closed the connection. */
    answer,
    /** Hangs up. */
    close: () => connection.close(),
  };
}

async function createDatabase(server: string) {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = new URL(server);
  const run = async (statement: string) => {
    const admin = await openPostgres(new URL("/postgres", url).href);
    await admin.exec(statement).finally(admin.close);
  };
  await run(`create database ${name}`);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database ${name} with (force)`) };
}
