//! One instance: its row in the database and what the process holds of it.

use serde_json::{Value, json};

use super::clock::iso;
use super::faults::HttpFault;
use super::line::{Hang, Line, Memory, Unreachable};
use super::webhook::Webhook;

/// What `clientName` says of every row.
const CLIENT_NAME: &str = "evolution_exchange";

/// `QRCODE_LIMIT`: after so many unscanned QRs the process stops dialling (F4).
pub const QR_LIMIT: u32 = 30;

/// The QRs that WhatsApp hands out for one dial; then 408 and a new dial.
pub const QRS_PER_DIAL: u32 = 6;

/// How long a QR lives.
pub const QR_LIFE_MS: i64 = 45_000;

/// What the row's `connectionStatus` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Written at login, and kept through every recoverable drop (D2).
    Open,
    /// Written at each QR, and kept after the limit (C3, F4).
    Connecting,
    /// Written on create and at a final logout.
    Close,
}

impl RowStatus {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Close => "close",
        }
    }
}

/// The last final disconnect ever; no login clears it (E, F5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnection {
    /// WhatsApp's code.
    pub code: u16,
    /// By the gateway's clock, true UTC otherwise.
    pub at: String,
}

impl Disconnection {
    /// The JSON text that stands in the row, its keys in the server's own order (E1).
    pub fn object(&self) -> String {
        let Self { code, at } = self;
        let name = match code {
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            406 => "Not Acceptable",
            _ => "Request Time-out",
        };
        format!(
            r#"{{"error":{{"data":{{"reason":"{code}"}},"isBoom":true,"isServer":false,"output":{{"statusCode":{code},"payload":{{"statusCode":{code},"error":"{name}","message":"Connection Failure"}},"headers":{{}}}}}},"date":"{at}"}}"#
        )
    }
}

/// The QR in the process's memory, which stays after the pairing, dead (D4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qr {
    /// QRs shown by this process, through all pairings (F3).
    pub count: u32,
    /// QRs shown in the present dial.
    pub in_dial: u32,
    /// Whether a code is in memory; else the answer is the bare count (B1, I3).
    pub shown: bool,
    /// Whether the dial asked for a pairing code.
    pub pairing: bool,
}

impl Qr {
    /// The object of `connect` and `restart`.
    pub fn object(&self) -> Value {
        if !self.shown {
            return json!({ "count": self.count });
        }
        json!({
            "pairingCode": self.pairing.then_some("WZYEH1YY"),
            "code": self.code(),
            "base64": Self::PICTURE,
            "count": self.count,
        })
    }

    /// The raw text.
    pub fn code(&self) -> String {
        format!("2@fake-ref-{},AAAA", self.count)
    }

    /// No scannable code, on purpose.
    pub const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
}

/// One instance, as the whole truth.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name; none is used twice.
    pub name: String,
    /// The row's id.
    pub id: String,
    /// Its own key.
    pub token: String,
    /// `WHATSAPP-BAILEYS`; the others have no socket and always read `open`.
    pub integration: String,
    /// The number given on create.
    pub number: Option<String>,
    /// The number of the phone that scans its QR.
    pub phone: String,
    /// What its row says.
    pub row: RowStatus,
    /// Whether the row names the account: it was paired once.
    pub owner: bool,
    /// The row's disconnection fields.
    pub disconnection: Option<Disconnection>,
    /// When the row was made and last written, by the gateway's clock.
    pub written: [String; 2],
    /// The id of its settings.
    pub setting_id: String,
    /// `Setting.alwaysOnline`.
    pub always_online: bool,
    /// Its webhook row.
    pub webhook: Option<Webhook>,
    /// Credentials are saved: it can log in without a QR.
    pub session: bool,
    /// WhatsApp has ended the session and the gateway does not know yet: the code that its next
    /// login is answered with.
    pub revoked: Option<u16>,
    /// The process has it in memory.
    pub loaded: bool,
    /// What ties it to WhatsApp.
    pub line: Line,
    /// A second dial was begun on the session while one was under way (O2).
    pub doubled: bool,
    /// The QR in memory.
    pub qr: Qr,
    /// It has logged in since the process started: events name the sender.
    pub sender: bool,
    /// How the next dial will hang.
    pub hang: Option<Hang>,
    /// The dial at the next boot throws: loaded, `close`, and nothing dials.
    pub boot_throws: bool,
    /// Its way to WhatsApp is barred, as by its own proxy.
    pub unreachable: Option<Unreachable>,
    /// Another process uses the session.
    pub replaced: bool,
    /// It sends no webhooks until the process restarts (#2257, #2401).
    pub mute: bool,
    /// Milliseconds after the first QR of a dial at which a person scans; none: never.
    pub person_scans_after_ms: Option<i64>,
    /// What its HTTP answers suffer.
    pub http: Option<HttpFault>,
    /// WhatsApp drops it again and again: every so many milliseconds, and when next.
    pub flaps: Option<(i64, i64)>,
    /// Counts the changes of the line: what was planned for an earlier one is void.
    pub turn: u64,
}

impl Instance {
    /// What the process's memory reads.
    pub fn memory(&self, at_ms: i64) -> Memory {
        if !self.loaded {
            Memory::Absent
        } else {
            self.line.memory(at_ms)
        }
    }

    /// What `connectionState` reads: the integrations without a socket always say `open`.
    pub fn state(&self, at_ms: i64) -> Memory {
        if self.integration == "WHATSAPP-BAILEYS" {
            self.memory(at_ms)
        } else {
            Memory::Open
        }
    }

    /// The account's address.
    pub fn jid(&self) -> String {
        format!("{}@s.whatsapp.net", self.phone)
    }

    /// The settings, as `settings/find` and `create` show them.
    pub fn settings(&self) -> Value {
        json!({
            "rejectCall": false, "msgCall": "", "groupsIgnore": false,
            "alwaysOnline": self.always_online, "readMessages": false, "readStatus": false,
            "syncFullHistory": false, "wavoipToken": "",
        })
    }

    /// The row as `fetchInstances` lists it (C10).
    pub fn listed(&self) -> Value {
        let [created, updated] = &self.written;
        let mut setting = self.settings();
        setting["id"] = json!(self.setting_id);
        setting["createdAt"] = json!(created);
        setting["updatedAt"] = json!(created);
        setting["instanceId"] = json!(self.id);
        let gone = self.disconnection.as_ref();
        json!({
            "id": self.id, "name": self.name, "connectionStatus": self.row.word(),
            "ownerJid": self.owner.then(|| self.jid()),
            "profileName": self.owner.then_some("Loja Teste"),
            "profilePicUrl": null, "integration": self.integration, "number": self.number,
            "businessId": null, "token": self.token, "clientName": CLIENT_NAME,
            "disconnectionReasonCode": gone.map(|gone| gone.code),
            "disconnectionObject": gone.map(Disconnection::object),
            "disconnectionAt": gone.map(|gone| gone.at.clone()),
            "createdAt": created, "updatedAt": updated,
            "Chatwoot": null, "Proxy": null, "Rabbitmq": null, "Nats": null, "Sqs": null,
            "Websocket": null, "Setting": setting,
            "_count": { "Message": 0, "Contact": 0, "Chat": 0 },
        })
    }

    /// Writes the row's status.
    pub fn write(&mut self, status: RowStatus, gateway_ms: i64) {
        self.row = status;
        self.written[1] = iso(gateway_ms);
    }
}
