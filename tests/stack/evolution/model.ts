/**
 * The instances of a simulated Evolution API and what happens to them. No I/O, no timers: a
 * dial under way goes on when `advance` is called.
 */

import {
  type Condition,
  type ConditionName,
  type Dial,
  entryOf,
  type Fault,
  type MemoryState,
  type RowStatus,
} from "./conditions.ts";
import { type Event, finalLogout, qrLimit, qrUpdate, stateUpdate } from "./events.ts";
import { DEFAULT_SETTING, type Row, type Setting, writeReason } from "./row.ts";
import { type FinalCode, finalCodes, isV1, type Version } from "./versions.ts";
import type { Webhook } from "./webhook.ts";

/** `QRCODE_LIMIT`: after so many unscanned QRs the server stops dialling (F4). */
export const QR_LIMIT = 30;

/** How long ago an old reason was written, unless told. */
const OLD_MS = 7 * 24 * 3600 * 1000;

/** The QR object of `connect` and `restart`; before the first QR of a process it is a bare count. */
export interface Qr {
  pairingCode?: string | null;
  code?: string;
  base64?: string;
  count: number;
}

/** One instance: the whole truth, of which every route shows a part. */
export interface Instance {
  memory: MemoryState;
  row: Row;
  setting: Setting & { id: string };
  webhook: Webhook | null;
  /** Credentials are saved. */
  session: boolean;
  /** WhatsApp sockets alive: 0 with memory open is the zombie, 2 is the fight. */
  sockets: 0 | 1 | 2;
  /** A dial is under way. */
  dialling: boolean;
  /** What the dials come to. */
  dials: Dial;
  /** A `restart` meets no socket, whatever was seen before. */
  refusesRestart: boolean;
  /** The last QR of this process; it stays after the pairing, dead (D4). */
  qr: Qr;
  /** The number of the phone that scans the QR. */
  phone: string;
  /** It has logged in since the process started: events name the sender. */
  sender: boolean;
  /** It sends no webhooks until the process restarts (#2257, #2401). */
  mute: boolean;
  /** It was logged out by request, in this process: received messages are not passed on (H2). */
  deaf: boolean;
  fault: Fault;
}

/** A one-pixel PNG: the pictures are no scannable codes, on purpose. */
const PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" +
  "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/** All instances of one gateway, and whether its database is there. */
export class Model {
  readonly instances = new Map<string, Instance>();
  /** The database is reachable. */
  database = true;
  /** What the process runs. */
  version: Version = "2.3.6";
  /** Told what Evolution would announce; conditions that are `set` are not lived through. */
  announce: (instance: Instance, event: Event) => void = () => {};
  private serial = 0;
  private logouts = 0;

  /** An instance by name; throws if there is none. */
  get(name: string): Instance {
    const found = this.instances.get(name);
    if (!found) throw new Error(`no instance "${name}"`);
    return found;
  }

  /** An id of the kind the database makes for webhooks and settings. */
  newId(): string {
    return "c" + crypto.randomUUID().replaceAll("-", "").slice(0, 24);
  }

  /** Adds an instance that was never paired, as `POST /instance/create` does. */
  create(
    name: string,
    fields: {
      token?: string;
      integration?: string;
      number?: string;
      setting?: Partial<Setting>;
    },
  ): Instance {
    const now = new Date().toISOString();
    const instance: Instance = {
      memory: "close",
      row: {
        id: crypto.randomUUID(),
        name,
        connectionStatus: "close",
        ownerJid: null,
        profileName: null,
        profilePicUrl: null,
        integration: fields.integration ?? "WHATSAPP-BAILEYS",
        number: fields.number ?? null,
        token: fields.token ?? crypto.randomUUID().toUpperCase(),
        disconnectionReasonCode: null,
        disconnectionObject: null,
        disconnectionAt: null,
        createdAt: now,
        updatedAt: now,
      },
      setting: { ...DEFAULT_SETTING, ...fields.setting, id: this.newId() },
      webhook: null,
      session: false,
      sockets: 0,
      dialling: false,
      dials: "wait",
      refusesRestart: false,
      qr: { count: 0 },
      phone: String(5511999990000 + ++this.serial % 10000),
      sender: false,
      mute: false,
      deaf: false,
      fault: {},
    };
    this.instances.set(name, instance);
    return instance;
  }

  /** Creates an instance or changes it. Faults left out are cured, all else left out is kept. */
  set(name: string, wanted: Condition | ConditionName): void {
    const to: Condition = typeof wanted === "string" ? { condition: wanted } : wanted;
    if (to.condition === "missing") {
      this.instances.delete(name);
      return;
    }
    const existing = this.instances.get(name);
    const instance = existing ?? this.create(name, {});
    const condition = to.condition ?? (existing ? undefined : "open");
    if (to.token !== undefined) instance.row.token = to.token;
    if (to.integration !== undefined) instance.row.integration = to.integration;
    if (to.always_online !== undefined) {
      instance.setting.alwaysOnline = to.always_online;
    }
    if (to.dials !== undefined) instance.dials = to.dials;
    if (condition) this.enter(instance, condition, to);
    if (to.dialling !== undefined) instance.dialling = to.dialling;
    if (to.refuses_restart !== undefined) instance.refusesRestart = to.refuses_restart;
    if (to.mute !== undefined) instance.mute = to.mute;
    const { delay_ms, status, body } = to;
    instance.fault = { delay_ms, status, body };
  }

  private enter(
    instance: Instance,
    condition: Exclude<ConditionName, "missing">,
    { code = 401, disconnected_at }: Condition,
  ): void {
    const entry = entryOf(condition);
    instance.memory = entry.memory;
    instance.session = entry.session;
    instance.sockets = entry.sockets;
    instance.dialling = entry.dialling;
    instance.sender = entry.owner && entry.memory !== "absent";
    const age = entry.reason === "old" ? OLD_MS : 0;
    const at = disconnected_at ?? new Date(Date.now() - age).toISOString();
    writeReason(instance.row, entry.reason === "none" ? null : code, at);
    this.writeOwner(instance, entry.owner);
    // F4: the limit sets the counter back.
    if (condition === "qr_limit" || instance.qr.count >= QR_LIMIT) {
      instance.qr = { count: 0 };
    }
    if (entry.qr) this.makeQr(instance);
    this.writeStatus(instance.row, entry.row);
  }

  private writeOwner({ row, phone }: Instance, paired: boolean): void {
    row.ownerJid = paired ? `${phone}@s.whatsapp.net` : null;
    row.profileName = paired ? "Loja Teste" : null;
  }

  private writeStatus(row: Row, status: RowStatus): void {
    row.connectionStatus = status;
    row.updatedAt = new Date().toISOString();
  }

  /** WhatsApp hands out a new QR, or the limit is reached and dialling ends (F4). */
  showQr(instance: Instance, pairing = false): void {
    if (instance.qr.count >= QR_LIMIT) {
      instance.qr = { count: 0 };
      instance.memory = "close";
      instance.sockets = 0; // the row stays connecting for ever
      this.announce(instance, qrLimit());
      return this.announceState(instance, "refused", 428);
    }
    this.makeQr(instance, pairing);
    this.announce(instance, qrUpdate(instance));
  }

  private makeQr(instance: Instance, pairing = false): void {
    const count = instance.qr.count + 1;
    instance.qr = {
      pairingCode: pairing ? "WZYEH1YY" : null,
      code: `2@fake-ref-${count},${btoa(crypto.randomUUID())}`,
      base64: PNG,
      count,
    };
    instance.memory = "connecting";
    instance.sockets = 1;
    this.writeStatus(instance.row, "connecting");
  }

  /** The QR on offer is scanned: 515, then open (C7). The old reason stays in the row (F5). */
  scan(name: string): void {
    const instance = this.get(name);
    instance.session = true;
    this.writeOwner(instance, true);
    this.announceState(instance, "connecting");
    this.login(instance);
  }

  /** `connection.update`; all but the final ones have the reason 200. */
  announceState(instance: Instance, state: string, reason = 200): void {
    this.announce(instance, stateUpdate(instance, state, reason, this.version));
  }

  /** 1.x says of every socket that it is closed; 2.x only of the last one (section 6). */
  private announceClosed(instance: Instance, code: number): void {
    if (isV1(this.version)) this.announceState(instance, "close", code);
  }

  private login(instance: Instance): void {
    instance.memory = "open";
    instance.sockets = 1;
    instance.dialling = false;
    instance.sender = true;
    this.writeStatus(instance.row, "open");
    this.announceState(instance, "open");
  }

  /**
   * WhatsApp closes the socket with a code. Final codes end the session and write the reason; all
   * others redial and leave the row as it is (E).
   */
  disconnect(name: string, code: number, own?: string): void {
    const instance = this.get(name);
    if (instance.memory === "absent" || this.isZombieNow(instance)) return;
    if (!finalCodes(this.version).includes(code as FinalCode)) {
      this.announceClosed(instance, code);
      return this.redial(instance);
    }
    instance.memory = "close";
    instance.sockets = 0;
    instance.dialling = false;
    instance.session = false;
    writeReason(instance.row, code, new Date().toISOString(), own);
    this.writeStatus(instance.row, "close");
    for (const event of finalLogout(instance, code, this.version, this.logouts++)) {
      this.announce(instance, event);
    }
  }

  /** Unlinks the phone. Up to 2.3.6 a login in the same process then passes no messages on. */
  logout(name: string): void {
    this.get(name).deaf = this.version.startsWith("2.3.");
    this.disconnect(name, 401, `Log out instance: ${name}`);
  }

  /** Deletes an instance and all under it; what is connected is logged out first. */
  remove(name: string): void {
    const instance = this.get(name);
    const connected = ["open", "connecting"].includes(instance.memory);
    if (connected && instance.session) this.logout(name);
    this.announce(instance, { name: "remove.instance", data: null });
    this.instances.delete(name);
  }

  /** What `restart` sets off: the socket is closed and the close handler dials anew. */
  restart(instance: Instance): void {
    if (!this.isZombieNow(instance)) this.redial(instance);
  }

  /**
   * When a socket closes while the database is away, memory stays open for ever (I10, K5); and where
   * there is no socket any more, nothing closes (I11, K7, J8).
   */
  private isZombieNow(instance: Instance): boolean {
    if (instance.memory !== "open") return false;
    if (!this.database) instance.sockets = 0;
    return instance.sockets === 0;
  }

  private redial(instance: Instance): void {
    instance.memory = "close";
    if (instance.sockets === 2) return; // O3: a restart does not end the fight
    instance.sockets = 0;
    instance.dialling = false;
    this.dial(instance);
  }

  /** Dials, from close; `pairing` asks for a pairing code with the QR. */
  dial(instance: Instance, pairing = false): void {
    if (instance.dialling && instance.session && instance.dials !== "fail") {
      // O2: a redial is under way already: two sockets on one session, without end.
      instance.sockets = 2;
      this.announceState(instance, "connecting");
    } else if (instance.dials === "fail") {
      instance.dialling = true;
      if (!instance.session) this.announceState(instance, "connecting"); // B2
    } else if (instance.dials === "hang") {
      instance.memory = "connecting";
      instance.sockets = 1;
      instance.dialling = true;
      this.announceState(instance, "connecting");
    } else if (!instance.session) {
      this.announceState(instance, "connecting");
      this.showQr(instance, pairing);
    } else if (instance.dials === "login") {
      this.announceState(instance, "connecting");
      this.login(instance);
    } else {
      instance.dialling = true;
    }
  }

  /** The next thing that happens by itself: one step of every dial under way, or of one. */
  advance(name?: string): void {
    const moved = name === undefined ? this.instances.values() : [this.get(name)];
    for (const instance of moved) {
      if (instance.dialling) this.step(instance);
    }
  }

  private step(instance: Instance): void {
    if (instance.sockets === 2) {
      const next = {
        open: "connecting",
        connecting: "close",
        close: "open",
        absent: "absent",
      };
      instance.memory = next[instance.memory] as MemoryState;
      if (instance.memory === "close") this.announceClosed(instance, 440);
      else this.announceState(instance, instance.memory);
    } else if (instance.memory !== "connecting") {
      this.announceState(instance, "connecting");
      if (!instance.session && instance.dials === "fail") return; // B2: steadily close
      instance.memory = "connecting";
      instance.sockets = 1;
    } else if (instance.dials === "fail") {
      instance.memory = "close";
      instance.sockets = 0;
      this.announceClosed(instance, 408);
    } else if (instance.dials !== "hang") {
      if (instance.session) this.login(instance);
      else this.showQr(instance);
    }
  }

  /**
   * The Evolution process is restarted: memory is lost, and every instance is dialled, the unpaired
   * ones too (C1, I1). The only cure of the zombie and the fight (K0).
   */
  reboot(): void {
    for (const instance of this.instances.values()) {
      instance.sender = false;
      instance.mute = false;
      instance.deaf = false;
      instance.qr = { count: 0 };
      instance.memory = "close";
      instance.sockets = 0;
      instance.dialling = false;
      this.dial(instance);
    }
  }
}

/** What `connectionState` reads; the integrations without a socket always say open. */
export function stateOf({ memory, row }: Instance): MemoryState {
  return row.integration === "WHATSAPP-BAILEYS" ? memory : "open";
}
