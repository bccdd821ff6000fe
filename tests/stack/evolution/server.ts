/** The gateway as a process: its listener, its record of requests, and the ways to tell it. */

import type { Condition, ConditionName } from "./conditions.ts";
import { control } from "./control.ts";
import { faulty, type GatewayMode, json, type ModeName, sameForAll } from "./faults.ts";
import type { NewMessage } from "./events.ts";
import { type Instance, Model } from "./model.ts";
import { type Incoming, nameIn } from "./request.ts";
import { answer } from "./routes.ts";
import type { Version } from "./versions.ts";
import { EVENTS, type WebhookSettings, written } from "./webhook.ts";
import { Webhooks } from "./webhooks.ts";

/** One request that the gateway received. */
export interface RecordedRequest {
  method: string;
  /** Path and query as received, still percent-encoded. */
  path: string;
  /** Whose key the `apikey` header held; the key itself is not kept. */
  key: "global" | "instance" | "wrong" | "none";
  /** The body: parsed where it is JSON, else its text, null if there was none. */
  body: unknown;
  /** Arrival, milliseconds since the epoch. */
  at: number;
  /** The status of the answer; null while there is none, or where nobody waited for it. */
  status: number | null;
}

/** How many requests are remembered; the oldest are forgotten first. */
const REMEMBERED = 100_000;

/** A running simulated gateway. */
export interface Gateway {
  /** What the monitor is given. */
  readonly url: string;
  /** The same methods over HTTP (see control.ts). */
  readonly controlUrl: string;
  /** The global key. */
  readonly key: string;
  /** Every request received, in order; the last 100 000. */
  readonly requests: RecordedRequest[];
  /** Requests being answered now. */
  readonly inFlight: number;
  /** The most that were ever answered at once, since the last `forget`. */
  readonly peakInFlight: number;
  /** The mode in force. */
  readonly mode: GatewayMode;
  /** The version it is. */
  readonly version: Version;
  /** The truth about all instances. */
  readonly instances: ReadonlyMap<string, Instance>;
  /** Creates an instance or changes it. */
  set(name: string, condition: Condition | ConditionName): void;
  /** Removes an instance, from memory and database. */
  remove(name: string): void;
  /** The truth about an instance; throws if there is none. */
  instance(name: string): Instance;
  /** Somebody scans the QR: open; the old reason stays in the row (F5). */
  scan(name: string): void;
  /** WhatsApp closes the socket: final codes log out, all others redial (E). */
  disconnect(name: string, code: number): void;
  /** The QR on offer expires and the next one comes, up to the limit (F4). */
  nextQr(name: string): void;
  /** One step of every dial under way, or of one instance's: close, connecting, open. */
  advance(name?: string): void;
  /** The Evolution process restarts: memory is lost, everything is dialled (C1, I1, K0). */
  reboot(): void;
  /** What goes out to the webhooks (see webhooks.ts). */
  readonly webhooks: Webhooks;
  /** Puts a webhook into place, with every event unless told. */
  setWebhook(name: string, url: string, settings?: Partial<WebhookSettings>): void;
  /** Somebody writes to the instance; gives the message's id, null where nothing gets through. */
  message(name: string, message?: NewMessage): string | null;
  /** Does this when the so manieth request for a path from now on arrives, before it is answered. */
  upon(path: string, change: () => void, nth?: number): void;
  /** How the whole gateway behaves from now on. */
  behave(mode: GatewayMode | ModeName): Promise<void>;
  /** Becomes another version, with the same instances in the same condition. */
  upgrade(version: Version): void;
  /** Forgets the recorded requests and the peak. */
  forget(): void;
  /** Closes both listeners and drops what is in flight. */
  stop(): Promise<void>;
}

/** Starts a gateway on 127.0.0.1; a free port, a random key and version 2.3.6 unless given. */
export async function startGateway(
  options: { port?: number; key?: string; control_port?: number; version?: Version } = {},
): Promise<Gateway> {
  const gateway = new SimulatedGateway(options.key ?? crypto.randomUUID());
  if (options.version) gateway.upgrade(options.version);
  await gateway.start(options.port ?? 0, options.control_port ?? 0);
  return gateway;
}

interface Listener {
  port: number;
  close(): Promise<void>;
}

class SimulatedGateway implements Gateway {
  readonly requests: RecordedRequest[] = [];
  inFlight = 0;
  peakInFlight = 0;
  mode: GatewayMode = { mode: "up" };
  private readonly model = new Model();
  readonly webhooks = new Webhooks(this.model, () => {
    return { url: this.url, now: Date.now() + (this.mode.clock_ahead_ms ?? 0) };
  });
  private readonly waiting = new Set<() => void>();
  private coming: { path: string; change: () => void; nth: number }[] = [];
  private listener: Listener | null = null;
  private controls: Listener | null = null;
  private port = 0;

  constructor(readonly key: string) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get controlUrl(): string {
    return `http://127.0.0.1:${this.controls?.port}`;
  }

  get version(): Version {
    return this.model.version;
  }

  get instances(): ReadonlyMap<string, Instance> {
    return this.model.instances;
  }

  async start(port: number, controlPort: number): Promise<void> {
    this.listener = listen(port, (request) => this.handle(request));
    this.port = this.listener.port;
    try {
      this.controls = listen(controlPort, (request) => control(this, request));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  set(name: string, condition: Condition | ConditionName): void {
    this.model.set(name, condition);
  }

  remove(name: string): void {
    if (this.model.instances.has(name)) this.model.remove(name);
  }

  instance(name: string): Instance {
    return this.model.get(name);
  }

  scan(name: string): void {
    this.model.scan(name);
  }

  disconnect(name: string, code: number): void {
    this.model.disconnect(name, code);
  }

  nextQr(name: string): void {
    this.model.showQr(this.model.get(name));
  }

  advance(name?: string): void {
    this.model.advance(name);
  }

  reboot(): void {
    this.webhooks.reboot();
    this.model.reboot();
  }

  setWebhook(name: string, url: string, settings: Partial<WebhookSettings> = {}): void {
    const instance = this.model.get(name);
    const now = new Date().toISOString();
    const wanted = { enabled: true, url, events: EVENTS, ...settings };
    instance.webhook = written(
      instance.webhook,
      wanted,
      instance.row.id,
      this.model.newId(),
      now,
    );
  }

  message(name: string, message?: NewMessage): string | null {
    return this.webhooks.message(name, message);
  }

  upon(path: string, change: () => void, nth = 1): void {
    this.coming.push({ path, change, nth });
  }

  upgrade(version: Version): void {
    this.model.version = version;
  }

  forget(): void {
    this.requests.length = 0;
    this.peakInFlight = this.inFlight;
  }

  async behave(wanted: GatewayMode | ModeName): Promise<void> {
    this.mode = typeof wanted === "string" ? { mode: wanted } : { ...wanted };
    this.model.database = this.mode.mode !== "database_down";
    if (this.mode.mode === "down") await this.close();
    else this.listener ??= listen(this.port, (request) => this.handle(request));
  }

  async stop(): Promise<void> {
    await this.webhooks.stop();
    await this.close();
    await this.controls?.close();
  }

  private async close(): Promise<void> {
    const { listener } = this;
    this.listener = null;
    const closed = listener?.close();
    for (const wake of this.waiting) wake();
    await closed;
  }

  private async handle(request: Request): Promise<Response> {
    const incoming = {
      method: request.method,
      path: request.url.slice(request.url.indexOf("/", "http://".length)),
      key: request.headers.get("apikey"),
      type: request.headers.get("content-type"),
      text: await request.text(),
    };
    const recorded = this.record(incoming);
    for (const each of this.coming) {
      if (each.path === incoming.path && --each.nth === 0) each.change();
    }
    this.coming = this.coming.filter(({ nth }) => nth > 0);
    this.inFlight++;
    this.peakInFlight = Math.max(this.peakInFlight, this.inFlight);
    try {
      const response = await this.respond(incoming, request.signal);
      if (!request.signal.aborted) recorded.status = response.status;
      return response;
    } finally {
      this.inFlight--;
    }
  }

  private async respond(
    incoming: Incoming,
    gone: AbortSignal,
  ): Promise<Response> {
    const { mode, url, key } = this;
    const delay = mode.delay_ms ?? (mode.mode === "slow" ? 3000 : 0);
    const root = incoming.path === "/" ? mode.root_delay_ms ?? 0 : 0;
    const fault = this.faultOf(incoming.path);
    const hang = mode.mode === "hang" ? Infinity : 0;
    await this.pause(Math.max(delay, root, hang) + (fault.delay_ms ?? 0), gone);
    // Nobody is there any more to hear a hung answer, nor to do the work of a stopped process.
    if (hang || !this.listener) return new Response(null, { status: 503 });
    const other = sameForAll(mode, url, incoming.path) ?? faulty(fault);
    if (other) return other;
    const licence = mode.mode === "licence";
    // Only 2.4 has the gate.
    const version: Version = licence ? "2.4.0-rc2" : this.version;
    const server = { key, url, version, licence };
    const made = answer(this.model, server, incoming);
    const response = json(made);
    const now = new Date(Date.now() + (mode.clock_ahead_ms ?? 0));
    response.headers.set("date", now.toUTCString());
    if (mode.realistic_waits) await this.pause(made.wait_ms ?? 0, gone);
    return response;
  }

  private faultOf(path: string) {
    const name = nameIn(path);
    return (name !== null && this.model.instances.get(name)?.fault) || {};
  }

  /** Waits, but no longer than the client or the gateway is there. */
  private pause(ms: number, gone: AbortSignal): Promise<void> {
    if (ms <= 0 || gone.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        gone.removeEventListener("abort", wake);
        resolve();
      };
      const timer = ms === Infinity ? undefined : setTimeout(wake, ms);
      this.waiting.add(wake);
      gone.addEventListener("abort", wake);
    });
  }

  private record({ method, path, key, text }: Incoming): RecordedRequest {
    let body: unknown = text === "" ? null : text;
    try {
      body = JSON.parse(text);
    } catch {
      // not JSON: kept as text
    }
    const whose = this.whose(key, path);
    const recorded = { method, path, key: whose, body, at: Date.now(), status: null };
    this.requests.push(recorded);
    if (this.requests.length > REMEMBERED) {
      this.requests.splice(0, REMEMBERED / 10);
    }
    return recorded;
  }

  private whose(key: string | null, path: string): RecordedRequest["key"] {
    if (key === null) return "none";
    if (key === this.key) return "global";
    const name = nameIn(path);
    const named = name !== null && this.model.instances.get(name);
    const candidates = named ? [named] : this.model.instances.values();
    for (const { row } of candidates) if (row.token === key) return "instance";
    return "wrong";
  }
}

/** A listener whose close drops open connections, so that no pooled one outlives it. */
function listen(
  port: number,
  handler: (request: Request) => Promise<Response>,
): Listener {
  const stopping = new AbortController();
  const server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port,
      signal: stopping.signal,
      onListen: () => {},
    },
    handler,
  );
  const close = () => {
    stopping.abort();
    return server.finished;
  };
  return { port: server.addr.port, close };
}
