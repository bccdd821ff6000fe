//! What can be done to a gateway, and undone.

use super::gateway::{Gateway, Plan};
use super::history::What;
use super::line::{Hang, Line, Unreachable};
use super::process::Process;
use super::rng::Rng;

/// What becomes of HTTP answers in place of Evolution's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The connection is refused; the request does not arrive.
    Refused,
    /// Nothing answers, ever; the request does not arrive.
    Silent,
    /// The connection breaks before the request has arrived.
    Broken,
    /// The request is carried out, then the connection breaks.
    AnswerLost,
    /// A reverse proxy answers with an HTML page of this status; the request does not arrive.
    Page(u16),
    /// An Evolution-shaped error of this status; nothing is done.
    Error(u16),
    /// 200 with text that is not JSON; nothing is done.
    Garbage,
    /// Every answer takes so much longer.
    Slow(i64),
    /// The licence gate of 2.4 is closed: 503 of its own shape on every route but `GET /`.
    Licence,
}

/// Whom a fault befalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every instance of the gateway.
    All,
    /// The instance of this name.
    One(String),
}

/// What can be inflicted. Those of one moment say so; every other lasts until it is healed, and a
/// second of its kind replaces the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One moment: WhatsApp drops the socket with this code. 401, 402, 403 and 406 end the session,
    /// after all others the gateway redials (E).
    Drop(String, u16),
    /// WhatsApp drops the socket with 428 every so many milliseconds.
    Flapping(String, i64),
    /// WhatsApp is out of reach.
    Unreachable(Whom, Unreachable),
    /// The lookup of the web version takes so long: dials read `close` for that time (N9), and
    /// `GET /` waits for it (N8).
    SlowLookup(i64),
    /// WhatsApp takes so long to accept a login.
    SlowLogin(i64),
    /// WhatsApp refuses the client's version: every login ends with 405.
    VersionRefused,
    /// Another process uses the session: every login ends with 440 (L3).
    Replaced(String),
    /// One moment: the socket drops (428), and the dial after it hangs for ever.
    DialHangs(String, Hang),
    /// The next boot's dial of the instance hangs: the key `state` stays absent (N1).
    BootHangs(String),
    /// The next boot's dial of the instance throws: paired, `close`, and nothing dials.
    BootThrows(String),
    /// One moment: the socket closes while the database is away: a zombie (K5).
    Zombie(String),
    /// The process is down; healed, it starts, and dials everything by itself.
    ProcessDown,
    /// One moment: the process restarts (I1).
    ProcessRestart,
    /// The gateway's database is away (I4 to I10).
    DatabaseDown,
    /// The gateway's whole network is gone: no request reaches it, WhatsApp is silent, and no
    /// webhook arrives.
    NetworkLost,
    /// What the HTTP answers suffer: all of them, or those about one instance.
    Http(Whom, HttpFault),
    /// `GET /` alone takes so long.
    SlowRoot(i64),
    /// The key that the monitor has is no longer the right one.
    KeyChanged,
    /// The instance is deleted by somebody; healed, it is created anew, unpaired.
    Missing(String),
    /// The gateway's clock is wrong by so many milliseconds.
    Clock(i64),
    /// Every second webhook takes up to so many milliseconds longer.
    WebhooksLate(i64),
    /// No webhook arrives; each is tried again as after any failure.
    WebhooksLost,
    /// The instance sends no webhooks, until its process restarts or this is healed (#2257).
    WebhooksStop(String),
    /// One moment: the webhook's row is wiped (#2694).
    WebhookWiped(String),
    /// One moment: somebody sets the webhook to a url of his own.
    WebhookElsewhere(String, String),
}

impl Gateway {
    /// Begins a fault.
    pub fn inflict(&mut self, now_ms: i64, fault: &Fault) {
        self.advance(now_ms);
        self.happened(None, What::Inflicted(format!("{fault:?}")));
        self.apply(fault, true);
    }

    /// Ends a fault that lasts; nothing where it is not under way, or was of one moment.
    pub fn heal(&mut self, now_ms: i64, fault: &Fault) {
        self.advance(now_ms);
        self.happened(None, What::Healed(format!("{fault:?}")));
        self.apply(fault, false);
    }

    fn apply(&mut self, fault: &Fault, on: bool) {
        match fault {
            Fault::SlowLookup(ms) => self.whatsapp.lookup_ms = on.then_some(*ms),
            Fault::SlowLogin(ms) => self.whatsapp.login_ms = on.then_some(*ms),
            Fault::VersionRefused => {
                self.whatsapp.version_refused = on;
                self.whatsapp_changed();
            }
            Fault::Unreachable(Whom::All, how) => {
                self.whatsapp.unreachable = on.then_some(*how);
                self.whatsapp_changed();
            }
            Fault::ProcessDown => match (on, self.process) {
                (true, _) => self.stop_process(Process::Down),
                (false, Process::Down) => self.start_process(),
                (false, _) => {}
            },
            Fault::ProcessRestart => {
                if on {
                    self.stop_process(Process::Starting);
                    self.start_process();
                }
            }
            Fault::DatabaseDown => self.database = !on,
            Fault::NetworkLost => {
                self.network_lost = on;
                self.whatsapp_changed();
            }
            Fault::Http(Whom::All, how) => self.http = on.then_some(*how),
            Fault::SlowRoot(ms) => self.root_ms = on.then_some(*ms),
            Fault::KeyChanged => self.key_changed = on,
            Fault::Clock(ms) => self.clock_ms = if on { *ms } else { 0 },
            Fault::WebhooksLate(ms) => self.outbox.late_ms = on.then_some(*ms),
            Fault::WebhooksLost => self.outbox.lost = on,
            Fault::Missing(name) if !on => {
                if self.id(name).is_none() {
                    self.add_unpaired(name);
                }
            }
            Fault::Drop(name, _)
            | Fault::Flapping(name, _)
            | Fault::Unreachable(Whom::One(name), _)
            | Fault::Replaced(name)
            | Fault::DialHangs(name, _)
            | Fault::BootHangs(name)
            | Fault::BootThrows(name)
            | Fault::Zombie(name)
            | Fault::Http(Whom::One(name), _)
            | Fault::Missing(name)
            | Fault::WebhooksStop(name)
            | Fault::WebhookWiped(name)
            | Fault::WebhookElsewhere(name, _) => {
                if let Some(id) = self.id(name) {
                    self.apply_to(id, fault, on);
                }
            }
        }
    }

    fn apply_to(&mut self, id: usize, fault: &Fault, on: bool) {
        let (now_ms, now) = (self.now_ms, self.gateway_iso());
        let instance = &mut self.instances[id];
        match fault {
            Fault::Drop(_, code) if on => self.drop_socket(id, *code),
            Fault::Flapping(_, ms) => {
                instance.flaps = on.then_some((*ms, now_ms));
                if on {
                    self.plan_in(0, Plan::Flap(id));
                }
            }
            Fault::Unreachable(_, how) => {
                instance.unreachable = on.then_some(*how);
                self.whatsapp_changed();
            }
            Fault::Replaced(_) => {
                instance.replaced = on;
                self.whatsapp_changed();
            }
            Fault::DialHangs(_, hang) if on => {
                instance.hang = Some(*hang);
                self.close_socket(id, Some(428));
            }
            Fault::BootHangs(_) => instance.hang = on.then_some(Hang::Lookup),
            Fault::BootThrows(_) => instance.boot_throws = on,
            Fault::Zombie(_) if on && instance.line == Line::Live => {
                self.set_line(id, Line::Zombie);
            }
            Fault::Http(_, how) => instance.http = on.then_some(*how),
            Fault::Missing(_) if on => self.delete(id),
            Fault::WebhooksStop(_) => instance.mute = on,
            Fault::WebhookWiped(_) if on => {
                if let Some(webhook) = &mut instance.webhook {
                    webhook.url.clear();
                    webhook.events.clear();
                    webhook.headers = None;
                    webhook.written[1] = now;
                }
            }
            Fault::WebhookElsewhere(_, url) if on => {
                if let Some(webhook) = &mut instance.webhook {
                    webhook.url.clone_from(url);
                    webhook.written[1] = now;
                }
            }
            _ => {} // of one moment: nothing to heal
        }
    }

    /// The row and everything under it is gone (F6).
    pub(super) fn delete(&mut self, id: usize) {
        self.set_line(id, Line::Cut);
        let name = self.instances[id].name.clone();
        self.instances[id].flaps = None;
        self.names.remove(&name);
    }
}

impl Fault {
    /// One of the whole matrix, about one of `names` where it is about an instance.
    pub fn draw(rng: &mut Rng, names: &[String]) -> Self {
        let one = rng.pick(names).clone();
        let whom = if rng.one_in(2) {
            Whom::All
        } else {
            Whom::One(one.clone())
        };
        let how = *rng.pick(&[
            Unreachable::Unresolvable,
            Unreachable::Dropping,
            Unreachable::Silent,
        ]);
        let http = *rng.pick(&[
            HttpFault::Refused,
            HttpFault::Silent,
            HttpFault::Broken,
            HttpFault::AnswerLost,
            HttpFault::Page(502),
            HttpFault::Error(500),
            HttpFault::Garbage,
            HttpFault::Slow(3_000),
            HttpFault::Slow(9_000),
            HttpFault::Licence,
        ]);
        match rng.below(28) {
            0 | 1 => {
                let codes = [408, 411, 428, 440, 500, 503, 515, 516];
                Self::Drop(one, *rng.pick(&codes))
            }
            2 => Self::Drop(one, *rng.pick(&super::dial::FINAL_CODES)),
            3 => Self::Flapping(one, rng.between(5_000, 120_000)),
            4..=6 => Self::Unreachable(whom, how),
            7 => Self::SlowLookup(rng.between(500, 20_000)),
            8 => Self::SlowLogin(rng.between(1_000, 25_000)),
            9 => Self::VersionRefused,
            10 => Self::Replaced(one),
            11 | 12 => Self::DialHangs(one, Hang::Lookup),
            13 | 14 => Self::DialHangs(one, Hang::Login),
            15 => Self::BootHangs(one),
            16 => Self::BootThrows(one),
            17 => Self::Zombie(one),
            18 => Self::ProcessDown,
            19 => Self::ProcessRestart,
            20 => Self::DatabaseDown,
            21 => Self::NetworkLost,
            22 | 23 => Self::Http(whom, http),
            24 => match rng.below(3) {
                0 => Self::SlowRoot(rng.between(1_000, 20_000)),
                1 => Self::KeyChanged,
                _ => Self::Missing(one),
            },
            25 => Self::Clock(rng.between(-7_200_000, 7_200_000)),
            26 => match rng.below(3) {
                0 => Self::WebhooksLate(rng.between(1_000, 300_000)),
                1 => Self::WebhooksLost,
                _ => Self::WebhooksStop(one),
            },
            _ if rng.one_in(2) => Self::WebhookWiped(one),
            _ => Self::WebhookElsewhere(one, "https://n8n.example/webhook".to_owned()),
        }
    }
}
