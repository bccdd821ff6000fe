/** What a status says of an instance, to those who may know. */
export interface WhatsappInstance {
  instance_name: string;
  status:
    | "connected"
    | "connecting"
    | "waiting_qr"
    | "disconnected"
    | "blocked"
    | "zombie"
    | "gateway_unreachable"
    | "misconfigured"
    | "unknown";
  /** Since when, in ISO 8601. */
  since: string | null;
  /** Why, as a code and in a sentence for people. */
  reason: { code: string; text: string } | null;
  /** When it was last checked, in ISO 8601. */
  checked_at: string | null;
  phone_number: string | null;
}

/** An organization's status. Without credentials, of a public one, `connected` is all there is. */
export interface WhatsappStatus extends Partial<Omit<WhatsappInstance, "phone_number">> {
  connected: boolean;
  phone_number?: string | null;
  /** What the gateway says: `open`, `connecting`, `close`; `unknown` where it says nothing. */
  state?: string | null;
  /** Whether the monitor has not checked for so long that it may be something else by now. */
  stale?: boolean;
  /** All instances of the organization; the first one is the one above. */
  instances?: WhatsappInstance[];
  /** Where the organization has no instance. */
  error?: string;
}

/** How far a status can be relied on. */
export interface Reliability {
  /** The last question failed, or the monitor itself has not checked for long. */
  stale: boolean;
  /** Why the last question failed. */
  error: Error | null;
}

export interface WatchOptions {
  /** `https://PROJECT.supabase.co/functions/v1/rendizy-server/channels/whatsapp/status` */
  url: string;
  /** Not needed with a session: its organization counts. */
  organizationId?: string;
  /** Such as `X-Auth-Token`; a function is asked each time. */
  headers?: HeadersInit | (() => HeadersInit);
  /** Seconds between two questions: 30, or more. */
  everySeconds?: number;
  /** Called after each question; the status is the last one there was, null before the first. */
  onStatus(status: WhatsappStatus | null, reliability: Reliability): void;
  /** Stops it, as the function does that is returned. */
  signal?: AbortSignal;
}

/** Asks at once, and again while the page is seen; gives what stops it. */
export function watchWhatsappStatus(options: WatchOptions): () => void;
