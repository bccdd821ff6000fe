//! The gateway as a whole: its process, its clock, its plan of what happens next.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::iso;
use super::delivery::Outbox;
use super::faults::HttpFault;
use super::history::{DoubleSocket, Happening, What};
use super::http::Received;
use super::instance::{Disconnection, Instance, Qr, RowStatus};
use super::line::{Hang, Line, Memory, Unreachable};
use super::process::Process;
use super::rng::Rng;
use super::webhook::{Webhook, events};

/// How a gateway is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// All chance comes from it.
    pub seed: u64,
    /// When the story begins, by the one virtual clock.
    pub start_ms: i64,
    /// The global key.
    pub key: String,
    /// What it calls itself. Whatever it says, it behaves as 2.3.6.
    pub version: String,
    /// How far the server's zone is from UTC: `date_time` is local wall time with a false Z (L2).
    pub zone_ms: i64,
    /// A reverse proxy answers in place of a process that is down: an HTML page, 502.
    pub behind_proxy: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            start_ms: 1_795_440_000_000, // 2026-11-23T13:20:00Z
            key: "global-key-0001".to_owned(),
            version: "2.3.6".to_owned(),
            zone_ms: 0,
            behind_proxy: false,
        }
    }
}

/// What one planned event does. Those of a dial are void once the line has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The process listens from now on.
    ProcessUp,
    /// The lookup of the web version is over.
    LookupDone(usize, u64),
    /// WhatsApp accepts the login.
    LoggedIn(usize, u64),
    /// WhatsApp hands out the next QR.
    NextQr(usize, u64),
    /// The rounds' events so far are sent.
    TellRounds(usize, u64),
    /// What the rounds come from is over, or is another one.
    RoundsOver(usize, u64),
    /// A person scans whatever QR is on offer.
    Scan(usize),
    /// A live socket notices that WhatsApp is out of reach.
    Lose(usize, u16),
    /// `DELETE logout` does what it answered to have done (F1).
    LogOut(usize),
    /// The next drop of an instance that flaps.
    Flap(usize),
    /// A webhook arrives, or fails to.
    Arrival(u64),
}

/// WhatsApp, as the whole gateway sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WhatsApp {
    pub unreachable: Option<Unreachable>,
    pub version_refused: bool,
    /// How long a lookup of the web version takes; some milliseconds where not said.
    pub lookup_ms: Option<i64>,
    /// How long a login takes; some 100 ms where not said.
    pub login_ms: Option<i64>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(super) config: Config,
    pub(super) now_ms: i64,
    pub(super) rng: Rng,
    pub(super) instances: Vec<Instance>,
    pub(super) names: BTreeMap<String, usize>,
    plan: BTreeMap<(i64, u64), Plan>,
    serial: u64,
    pub(super) process: Process,
    pub(super) database: bool,
    pub(super) whatsapp: WhatsApp,
    pub(super) key_changed: bool,
    pub(super) clock_ms: i64,
    pub(super) http: Option<HttpFault>,
    pub(super) root_ms: Option<i64>,
    pub(super) network_lost: bool,
    pub(super) outbox: Outbox,
    pub(super) received: Vec<Received>,
    pub(super) history: Vec<Happening>,
    pub(super) doubles: Vec<DoubleSocket>,
}

impl Gateway {
    /// A healthy gateway without instances.
    pub fn new(config: Config) -> Self {
        Self {
            now_ms: config.start_ms,
            rng: Rng::new(config.seed),
            config,
            instances: Vec::new(),
            names: BTreeMap::new(),
            plan: BTreeMap::new(),
            serial: 0,
            process: Process::Up,
            database: true,
            whatsapp: WhatsApp::default(),
            key_changed: false,
            clock_ms: 0,
            http: None,
            root_ms: None,
            network_lost: false,
            outbox: Outbox::default(),
            received: Vec::new(),
            history: Vec::new(),
            doubles: Vec::new(),
        }
    }

    /// Adds an instance that was never paired, as `POST /instance/create` does (A9).
    pub fn add_unpaired(&mut self, name: &str) {
        let (id, setting_id) = (self.new_uuid(), self.new_id());
        let token = self.new_uuid().to_uppercase();
        let now = self.gateway_iso();
        let at = self.instances.len();
        self.instances.push(Instance {
            name: name.to_owned(),
            token,
            id,
            integration: "WHATSAPP-BAILEYS".to_owned(),
            number: None,
            phone: (5_511_999_990_001_u64 + at as u64).to_string(),
            row: RowStatus::Close,
            owner: false,
            disconnection: None,
            written: [now.clone(), now],
            setting_id,
            always_online: false,
            webhook: None,
            session: false,
            revoked: None,
            loaded: true,
            line: Line::Cut,
            doubled: false,
            qr: Qr::default(),
            sender: false,
            hang: None,
            boot_throws: false,
            unreachable: None,
            replaced: false,
            mute: false,
            person_scans_after_ms: None,
            http: None,
            flaps: None,
            turn: 0,
        });
        self.names.insert(name.to_owned(), at);
    }

    /// Adds a paired, healthy instance.
    pub fn add_open(&mut self, name: &str) {
        self.add_unpaired(name);
        let Some(id) = self.id(name) else { return };
        let instance = &mut self.instances[id];
        (instance.session, instance.owner, instance.sender) = (true, true, true);
        instance.row = RowStatus::Open;
        self.set_line(id, Line::Live);
    }

    /// Whether, and after how long, a person scans the QR of an instance.
    pub fn person_scans_after(&mut self, name: &str, ms: Option<i64>) {
        if let Some(id) = self.id(name) {
            self.instances[id].person_scans_after_ms = ms;
        }
    }

    /// The next dial of an instance never ends.
    pub fn next_dial_hangs(&mut self, name: &str, hang: Hang) {
        if let Some(id) = self.id(name) {
            self.instances[id].hang = Some(hang);
        }
    }

    /// `Setting.alwaysOnline` of an instance.
    pub fn set_always_online(&mut self, name: &str, on: bool) {
        if let Some(id) = self.id(name) {
            self.instances[id].always_online = on;
        }
    }

    /// Whether an instance is to be shown online always.
    pub fn is_always_online(&self, name: &str) -> bool {
        self.id(name)
            .is_some_and(|id| self.instances[id].always_online)
    }

    /// Puts a webhook with all events that a monitor needs into place.
    pub fn set_webhook(&mut self, name: &str, url: &str) {
        let (webhook_id, now) = (self.new_id(), self.gateway_iso());
        if let Some(id) = self.id(name) {
            self.instances[id].webhook = Some(Webhook {
                id: webhook_id,
                url: url.to_owned(),
                headers: None,
                enabled: true,
                events: events().map(str::to_owned).collect(),
                by_events: false,
                base64: false,
                written: [now.clone(), now],
            });
        }
    }

    /// The virtual time.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The key that a monitor has to use; a fault may have made it a wrong one.
    pub fn key(&self) -> &str {
        &self.config.key
    }

    /// An instance's own key.
    pub fn token(&self, name: &str) -> Option<&str> {
        Some(&self.instances[self.id(name)?].token)
    }

    /// The names of all instances, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// When the next thing happens by itself, if ever.
    pub fn next_event_ms(&self) -> Option<i64> {
        self.plan.keys().next().map(|&(at_ms, _)| at_ms)
    }

    /// Lets everything happen that happens until then.
    pub fn advance(&mut self, to_ms: i64) {
        while let Some(next) = self.plan.first_entry() {
            let at_ms = next.key().0;
            if at_ms > to_ms {
                break;
            }
            let plan = next.remove();
            self.now_ms = self.now_ms.max(at_ms);
            self.carry_out(plan);
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    fn carry_out(&mut self, plan: Plan) {
        match plan {
            Plan::ProcessUp => self.process_up(),
            Plan::LookupDone(id, turn) if self.is_turn(id, turn) => self.lookup_done(id),
            Plan::LoggedIn(id, turn) if self.is_turn(id, turn) => self.logged_in(id),
            Plan::NextQr(id, turn) if self.is_turn(id, turn) => self.next_qr(id),
            Plan::TellRounds(id, turn) if self.is_turn(id, turn) => self.tell_rounds(id, true),
            Plan::RoundsOver(id, turn) if self.is_turn(id, turn) => self.rounds_over(id),
            Plan::LookupDone(..)
            | Plan::LoggedIn(..)
            | Plan::NextQr(..)
            | Plan::TellRounds(..)
            | Plan::RoundsOver(..) => {}
            Plan::Scan(id) => self.scanned(id),
            Plan::Lose(id, code) => self.lose(id, code),
            Plan::LogOut(id) => self.close_socket(id, Some(401)),
            Plan::Flap(id) => self.flap(id),
            Plan::Arrival(delivery) => self.arrive(delivery),
        }
    }

    fn is_turn(&self, id: usize, turn: u64) -> bool {
        self.instances[id].turn == turn
    }

    /// The instances that were not deleted.
    pub(super) fn live_ids(&self) -> BTreeSet<usize> {
        self.names.values().copied().collect()
    }

    pub(super) fn id(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn plan_in(&mut self, ms: i64, plan: Plan) {
        self.serial += 1;
        self.plan
            .insert((self.now_ms + ms.max(0), self.serial), plan);
    }

    /// Changes an instance's line; everything planned for the old one is void.
    pub(super) fn set_line(&mut self, id: usize, line: Line) {
        if matches!(self.instances[id].line, Line::Rounds(_)) {
            self.tell_rounds(id, false);
        }
        let instance = &mut self.instances[id];
        instance.turn += 1;
        let changed = instance.line.name() != line.name();
        instance.line = line;
        if changed {
            self.happened(Some(id), What::Line(line.name()));
        }
    }

    /// Writes the reason of a final disconnect into the row, `later_ms` after the webhook's.
    pub(super) fn write_disconnection(&mut self, id: usize, code: u16, later_ms: i64) {
        let at = iso(self.gateway_ms() + later_ms);
        let now = self.gateway_ms();
        let instance = &mut self.instances[id];
        instance.disconnection = Some(Disconnection { code, at });
        instance.write(RowStatus::Close, now);
    }

    /// The time by the gateway's own clock.
    pub(super) fn gateway_ms(&self) -> i64 {
        self.now_ms + self.clock_ms
    }

    pub(super) fn gateway_iso(&self) -> String {
        iso(self.gateway_ms())
    }

    /// What memory reads now; nothing while the process is not up.
    pub(super) fn memory(&self, id: usize) -> Memory {
        self.instances[id].memory(self.now_ms)
    }

    pub(super) fn new_id(&mut self) -> String {
        format!("c{:016x}{:08x}", self.rng.bits(), self.rng.bits() >> 32)
    }

    pub(super) fn new_uuid(&mut self) -> String {
        let (a, b) = (self.rng.bits(), self.rng.bits());
        let part = |bits: u64, low: u32, digits: usize| {
            format!("{:0digits$x}", (bits >> low) & ((1 << (4 * digits)) - 1))
        };
        format!(
            "{}-{}-4{}-8{}-{}",
            part(a, 0, 8),
            part(a, 32, 4),
            part(a, 48, 3),
            part(b, 0, 3),
            part(b, 12, 12)
        )
    }
}
