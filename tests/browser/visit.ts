/** Debian's Chromium, and a page in it that polls the function from another origin. */
import { type Browser, chromium, type Page } from "playwright-core";
import { type Polled, startPolled } from "../outside/poll.ts";
import { outcome } from "../outside/support.ts";
import type { WatchOptions, WhatsappStatus } from "../../frontend/whatsapp_status.d.ts";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const MODULE = new URL("../../frontend/whatsapp_status.js", import.meta.url);

const PAGE = `<!doctype html><title>A frontend</title><script type="module">
  import { watchWhatsappStatus } from "/whatsapp_status.js";
  const { fetch } = globalThis;
  Object.assign(globalThis, { watchWhatsappStatus, asked: 0 });
  globalThis.fetch = (...all) => { asked += 1; return fetch(...all); };
</script>`;

/** What the module has called back with. */
export interface Told {
  status: WhatsappStatus | null;
  stale: boolean;
  error: string | null;
}

/** A server of pages, and of answers that the function would not give. */
export interface Site {
  /** Where the pages are. */
  readonly origin: string;
  /** The same server, for a page of `origin` another one. */
  readonly elsewhere: string;
  /** The stack's function, seen through this server. */
  readonly functionUrl: string;
  /** The methods that came for the function since somebody last looked. */
  methods(): string[];
  /** What `elsewhere` answers; as long as it is a promise, nothing. */
  answer: () => Response | Promise<Response>;
  stop(): Promise<void>;
}

function startSite(world: Polled): Site {
  const methods: string[] = [];
  const ended = new AbortController();
  const { signal } = ended;
  const options = { hostname: "127.0.0.1", port: 0, signal, onListen() {} };
  const server = Deno.serve(options, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/functions/")) {
      const { method, headers } = request;
      methods.push(method);
      const body = method === "POST" ? await request.text() : undefined;
      return await fetch(world.url + pathname, { method, headers, body });
    }
    if (pathname === "/") return new Response(PAGE, { headers: { "content-type": "text/html" } });
    if (pathname === "/whatsapp_status.js") {
      const text = await Deno.readTextFile(MODULE);
      return new Response(text, { headers: { "content-type": "text/javascript" } });
    }
    return pathname === "/answer" ? await site.answer() : new Response(null, { status: 404 });
  });
  const { port } = server.addr;
  const site: Site = {
    origin: `http://127.0.0.1:${port}`,
    elsewhere: `http://localhost:${port}/answer`,
    functionUrl: world.functionUrl.replace(world.url, `http://localhost:${port}`),
    methods: () => methods.splice(0),
    answer: () => new Response(null, { status: 404 }),
    stop() {
      ended.abort(); // what is held back by a test that has failed stays so
      return Promise.resolve();
    },
  };
  return site;
}

/** A page whose clock stands still until it is turned. */
export class Visit {
  #told: Told[] = [];
  #waiting: ((told: Told) => void)[] = [];

  private constructor(readonly page: Page) {}

  static async begin(browser: Browser, site: Site): Promise<Visit> {
    const page = await browser.newPage();
    const visit = new Visit(page);
    await page.exposeFunction("told", (told: Told) => visit.#take(told));
    const start_ms = Date.now();
    await page.clock.install({ time: start_ms });
    await page.goto(site.origin);
    await page.clock.pauseAt(start_ms + 60_000);
    return visit;
  }

  #take(told: Told): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(told);
    else this.#told.push(told);
  }

  /** What the page is told next. */
  next(): Promise<Told> {
    const told = this.#told.shift();
    if (told) return Promise.resolve(told);
    return outcome(new Promise((resolve) => this.#waiting.push(resolve)), "the page");
  }

  /** How much it was told that nobody has looked at. */
  get unread(): number {
    return this.#told.length;
  }

  /** Begins to watch; `stop()` of the page ends it. */
  async watch(options: Omit<WatchOptions, "onStatus" | "signal">): Promise<void> {
    await this.page.evaluate((options) => {
      // deno-lint-ignore no-explicit-any -- what the page holds
      const page = globalThis as any;
      page.unmount = new AbortController();
      page.stop = page.watchWhatsappStatus({
        ...options,
        signal: page.unmount.signal,
        // deno-lint-ignore no-explicit-any -- as in WatchOptions
        onStatus(status: any, { stale, error }: any) {
          page.told({ status, stale, error: error && String(error) });
        },
      });
    }, options);
    await this.pass(0);
  }

  /** Does something in the page. */
  run(script: string): Promise<unknown> {
    return this.page.evaluate(script);
  }

  /** So many seconds pass. */
  pass(seconds: number): Promise<void> {
    return this.page.clock.runFor(Math.round(seconds * 1000) + 1);
  }

  /** How often the page has asked. */
  async asked(): Promise<number> {
    return await this.run("asked") as number;
  }

  /** Somebody looks at another tab, or at this one again. */
  async look(visibility: "hidden" | "visible"): Promise<void> {
    await this.run(`
      Object.defineProperty(document, "visibilityState", { value: "${visibility}", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"))`);
    await this.pass(0);
  }
}

/** Runs tests one after the other, each on a page of its own. */
export function inBrowser(
  suite: string,
  tests: Record<string, (visit: Visit, world: Polled, site: Site) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const world = await startPolled();
    const site = startSite(world);
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
    try {
      for (const [name, test] of Object.entries(tests)) {
        await t.step(name, async () => {
          const visit = await Visit.begin(browser, site);
          await test(visit, world, site);
          await visit.page.close();
        });
      }
    } finally {
      await browser.close();
      await site.stop();
      await world.stop();
    }
  });
}
