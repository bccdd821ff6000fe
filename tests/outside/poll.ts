/** What the tests of the status for frontends have in common. */
import { startWorld, timesAsked, type World } from "./support.ts";

/** The routes as the frontend and the chat know them. */
export const FRONTEND = "/whatsapp/status";
export const CHANNEL = "/channels/whatsapp/status";
export const CHAT = "/chat/channels/whatsapp/status";

const SCHEMA = new URL("../fixtures/production_schema.sql", import.meta.url);

export interface Question {
  body?: unknown;
  headers?: Record<string, string>;
  query?: string;
  method?: string;
}

/** A world with two organizations, and how their frontends ask. */
export interface Polled extends World {
  /** Asks on a route; by POST unless it is the frontend's. */
  // deno-lint-ignore no-explicit-any -- whatever it answers
  ask(route: string, question?: Question): Promise<{ status: number; body: any }>;
  /** A session of the user's application; gives its token. */
  session(columns?: Record<string, unknown>): Promise<string>;
  /** The tokens of all sessions so far. */
  readonly tokens: string[];
  /** How many checks of an instance somebody's question has caused. */
  checksByPolls(): Promise<number>;
  /** How often the gateway was asked for an instance. */
  asked(name: string): number;
}

/** Two organizations of one instance each, whose names are theirs. */
export const ONE = "11111111-1111-4111-8111-111111111111";
export const OTHER = "22222222-2222-4222-8222-222222222222";

/** Starts such a world, with the application's tables of sessions as they are in production. */
export async function startPolled(): Promise<Polled> {
  const world = await startWorld();
  const { database } = world;
  for (const table of ["organizations", "users", "sessions"]) {
    const statement = new RegExp(`create table public\\.${table} \\(.*?\\n\\);`, "s");
    await database.exec((await Deno.readTextFile(SCHEMA)).match(statement)![0]);
  }
  for (const name of [ONE, OTHER]) {
    await database.query(
      "insert into public.organizations (id, name) values ($1::uuid, $1::uuid::text)",
      [name],
    );
    world.gateway.set(name, "open");
    await world.watch(name);
  }
  const tokens: string[] = [];
  return {
    ...world,
    tokens,
    async ask(route, { body, headers, query = "", method } = {}) {
      const response = await fetch(world.functionUrl + route + query, {
        method: method ?? (route === FRONTEND ? "GET" : "POST"),
        headers,
        body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, body: text === "" ? "" : JSON.parse(text) };
    },
    async session(columns = {}) {
      const token = crypto.randomUUID().replaceAll("-", "").repeat(4);
      const row: Record<string, unknown> = {
        token,
        user_id: crypto.randomUUID(),
        username: "ana",
        type: "imobiliaria",
        organization_id: ONE,
        expires_at: new Date(Date.now() + 3_600_000).toISOString(),
        ...columns,
      };
      const names = Object.keys(row);
      await database.query(
        `insert into public.sessions (${names}) values (${names.map((_, n) => `$${n + 1}`)})`,
        Object.values(row),
      );
      tokens.push(token);
      return token;
    },
    async checksByPolls() {
      const [{ count }] = await database.query<{ count: number }>(
        "select count(*)::int as count from whatsapp_monitor.triggers where source = 'poll'",
      );
      return count;
    },
    asked: (name) => timesAsked(world.gateway, name),
  };
}

/** Runs tests one after the other in one such world. */
export function onPolled(
  suite: string,
  tests: Record<string, (world: Polled) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const world = await startPolled();
    try {
      for (const [name, test] of Object.entries(tests)) await t.step(name, () => test(world));
    } finally {
      await world.stop();
    }
  });
}
