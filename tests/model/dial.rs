//! How an instance gets to WhatsApp, and how it loses it.

use serde_json::json;

use super::gateway::{Gateway, Plan};
use super::history::{DoubleSocket, What};
use super::instance::{QR_LIFE_MS, QR_LIMIT, QRS_PER_DIAL, Qr, RowStatus};
use super::line::{Cause, Hang, Line, Memory, Rounds, Unreachable};

/// The codes after which the session is deleted: only a person with a QR comes back (E). After
/// every other code the gateway redials.
pub const FINAL_CODES: [u16; 4] = [401, 402, 403, 406];

/// How often the events of endless redials are sent as one summary.
const TELL_EVERY_MS: i64 = 10_000;

impl Gateway {
    /// Dials: first of all the web version is looked up.
    pub(super) fn dial(&mut self, id: usize) {
        let usual_ms = self.rng.between(10, 40);
        let lookup_ms = self.whatsapp.lookup_ms.unwrap_or(usual_ms);
        let instance = &mut self.instances[id];
        if instance.hang == Some(Hang::Lookup) {
            instance.hang = None;
            self.set_line(id, Line::LookupHung);
            return;
        }
        instance.qr.in_dial = 0;
        self.set_line(id, Line::Lookup);
        let turn = self.instances[id].turn;
        self.plan_in(lookup_ms, Plan::LookupDone(id, turn));
    }

    /// `connect` in `close`: dials, whatever goes on already. Beside a dial that is under way on a
    /// session this is the second socket (O2).
    pub(super) fn connect(&mut self, id: usize, pairing: bool) {
        let instance = &mut self.instances[id];
        let under_way = instance.line.redials();
        if under_way && instance.session && !instance.doubled {
            instance.doubled = true;
            let double = DoubleSocket {
                instance: instance.name.clone(),
                at_ms: self.now_ms,
            };
            self.doubles.push(double);
            self.happened(Some(id), What::Doubled);
        }
        self.instances[id].qr.pairing = pairing;
        if !under_way {
            self.dial(id);
        }
    }

    /// What keeps a dial of this instance from coming through.
    pub(super) fn barrier(&self, id: usize) -> Option<Cause> {
        let instance = &self.instances[id];
        let how = instance.unreachable.or(self.whatsapp.unreachable);
        if self.network_lost {
            Some(Cause::Unreachable(Unreachable::Silent))
        } else if let Some(how) = how {
            Some(Cause::Unreachable(how))
        } else if self.whatsapp.version_refused {
            Some(Cause::VersionRefused)
        } else if instance.replaced && instance.session {
            Some(Cause::Replaced)
        } else {
            None
        }
    }

    /// The lookup is over: a socket is opened, and the instance is loaded if it was not (N1).
    pub(super) fn lookup_done(&mut self, id: usize) {
        self.instances[id].loaded = true;
        match self.barrier(id) {
            Some(cause) => self.begin_rounds(id, cause),
            None => self.open_socket(id),
        }
    }

    fn open_socket(&mut self, id: usize) {
        let usual_ms = self.rng.between(60, 150);
        let login_ms = self.whatsapp.login_ms.unwrap_or(usual_ms);
        let instance = &mut self.instances[id];
        let session = instance.session;
        let mut hangs = instance.hang == Some(Hang::Login);
        if hangs {
            instance.hang = None;
            // Of two dials the other comes through, alone.
            hangs = !std::mem::take(&mut instance.doubled);
        }
        if hangs {
            self.set_line(id, Line::LoginHung);
        } else {
            self.set_line(id, Line::Login);
            let turn = self.instances[id].turn;
            let next = if session {
                Plan::LoggedIn(id, turn)
            } else {
                Plan::NextQr(id, turn)
            };
            self.plan_in(login_ms, next);
        }
        self.send_state(id, "connecting", 200);
    }

    /// WhatsApp answers the login.
    pub(super) fn logged_in(&mut self, id: usize) {
        if let Some(cause) = self.barrier(id) {
            return self.begin_rounds(id, cause);
        }
        if let Some(code) = self.instances[id].revoked.take() {
            return self.end_session(id, code);
        }
        if self.instances[id].doubled {
            return self.begin_rounds(id, Cause::Doubled);
        }
        self.set_line(id, Line::Live);
        let now = self.gateway_ms();
        let instance = &mut self.instances[id];
        instance.sender = true;
        if self.database {
            instance.owner = true;
            instance.write(RowStatus::Open, now); // the old reason stays (F5)
        }
        self.send_state(id, "open", 200);
    }

    /// The next QR, a new dial after WhatsApp's last one, or the limit (F4).
    pub(super) fn next_qr(&mut self, id: usize) {
        if let Some(cause) = self.barrier(id) {
            return self.begin_rounds(id, cause);
        }
        let now = self.gateway_ms();
        let instance = &mut self.instances[id];
        if instance.qr.count >= QR_LIMIT {
            instance.qr = Qr::default();
            self.set_line(id, Line::Cut); // the row stays connecting for ever
            let limit = json!({
                "message": "QR code limit reached, please login again", "statusCode": 500,
            });
            self.send(id, "qrcode.updated", limit);
            self.send_state(id, "refused", 428);
            return;
        }
        if instance.qr.in_dial >= QRS_PER_DIAL {
            return self.dial(id); // 408
        }
        instance.qr.count += 1;
        instance.qr.in_dial += 1;
        instance.qr.shown = true;
        let first = instance.qr.in_dial == 1;
        let scans = instance.person_scans_after_ms;
        if self.database {
            instance.write(RowStatus::Connecting, now);
        }
        self.set_line(id, Line::Pairing);
        let turn = self.instances[id].turn;
        self.plan_in(QR_LIFE_MS, Plan::NextQr(id, turn));
        if let (true, Some(ms)) = (first, scans) {
            self.plan_in(ms, Plan::Scan(id));
        }
        let instance = &self.instances[id];
        let mut qr = instance.qr.object();
        if let Some(qr) = qr.as_object_mut() {
            qr.remove("count");
            qr.insert("instance".to_owned(), json!(instance.name));
        }
        self.send(id, "qrcode.updated", json!({ "qrcode": qr }));
    }

    /// A person scans the QR on offer; nothing where there is none. The pairing ends with 515, and
    /// the login is another dial (C7).
    pub fn scan(&mut self, name: &str) {
        if let Some(id) = self.id(name) {
            self.scanned(id);
        }
    }

    pub(super) fn scanned(&mut self, id: usize) {
        let instance = &mut self.instances[id];
        if instance.line == Line::Pairing {
            (instance.session, instance.doubled) = (true, false);
            instance.revoked = None;
            self.dial(id);
        }
    }

    /// WhatsApp drops the socket with a code. A final one that the gateway cannot hear or act on
    /// now is the answer to its next login.
    pub(super) fn drop_socket(&mut self, id: usize, code: u16) {
        let heard = self.memory(id) != Memory::Absent
            && (self.database || self.instances[id].line != Line::Live)
            && !matches!(
                self.instances[id].line,
                Line::Cut | Line::Lookup | Line::LookupHung | Line::Zombie
            );
        if !heard && FINAL_CODES.contains(&code) && self.instances[id].session {
            self.instances[id].revoked = Some(code);
        }
        self.close_socket(id, Some(code));
    }

    /// A socket closes with a code, or with none (own restart). Nothing where there is no socket.
    pub(super) fn close_socket(&mut self, id: usize, code: Option<u16>) {
        let gone = code.filter(|code| FINAL_CODES.contains(code));
        match self.instances[id].line {
            Line::Cut | Line::Lookup | Line::LookupHung | Line::Zombie => {}
            // I10, K5: the handler dies at the database before it writes the state.
            Line::Live if !self.database => self.set_line(id, Line::Zombie),
            Line::Live | Line::Login | Line::LoginHung | Line::Pairing => match gone {
                Some(code) => self.end_session(id, code),
                None => self.dial(id),
            },
            Line::Rounds(rounds) => match (gone, rounds.cause) {
                (Some(code), Cause::Doubled | Cause::Replaced) => self.end_session(id, code),
                (Some(code), _) if self.instances[id].session => {
                    self.instances[id].revoked = Some(code);
                }
                _ => {} // one socket of many: the rounds go on (O3)
            },
        }
    }

    /// A final code: the session is deleted, the row says why, and three webhooks go out in any
    /// order (E1, F1).
    fn end_session(&mut self, id: usize, code: u16) {
        self.set_line(id, Line::Cut);
        let instance = &mut self.instances[id];
        (instance.session, instance.doubled) = (false, false);
        let later_ms = self.rng.between(0, 1); // F1: the row's is 1 ms later at times
        self.write_disconnection(id, code, 0);
        let instance = &self.instances[id];
        let status = instance.disconnection.as_ref().map(|gone| {
            json!({
                "instance": instance.name, "status": "closed", "disconnectionAt": gone.at,
                "disconnectionReasonCode": code, "disconnectionObject": gone.object(),
            })
        });
        self.write_disconnection(id, code, later_ms);
        let mut order = [0, 1, 2];
        self.rng.shuffle(&mut order);
        for which in order {
            match which {
                0 => self.send(id, "status.instance", json!(status)),
                1 => self.send(id, "logout.instance", json!(null)),
                _ => self.send_state(id, "close", code),
            }
        }
    }

    /// A live socket notices that WhatsApp is out of reach, if it still is.
    pub(super) fn lose(&mut self, id: usize, code: u16) {
        let lost = matches!(self.barrier(id), Some(Cause::Unreachable(_)));
        if lost && matches!(self.instances[id].line, Line::Live | Line::Pairing) {
            self.close_socket(id, Some(code));
        }
    }

    pub(super) fn flap(&mut self, id: usize) {
        if let Some((every_ms, due_ms)) = &mut self.instances[id].flaps
            && *due_ms <= self.now_ms
        {
            let ms = (*every_ms).max(1);
            *due_ms = self.now_ms + ms;
            self.close_socket(id, Some(428));
            self.plan_in(ms, Plan::Flap(id));
        }
    }

    /// Endless redials begin. Their first event goes out at once, the others in summaries.
    pub(super) fn begin_rounds(&mut self, id: usize, cause: Cause) {
        let lookup_us = self.whatsapp.lookup_ms.unwrap_or(0) * 1_000;
        let (close_us, connecting_us, open_us) = match cause {
            // B2: 120 to 150 a second, read as close all the time.
            Cause::Unreachable(Unreachable::Unresolvable) => {
                (lookup_us + self.rng.between(6_700, 8_300), 0, 0)
            }
            // D2: 12 in 6 s.
            Cause::Unreachable(Unreachable::Dropping) => {
                let connecting_us = self.rng.between(400_000, 550_000);
                (lookup_us + 25_000, connecting_us, 0)
            }
            Cause::Unreachable(Unreachable::Silent) => (lookup_us + 20_000, 30_000_000, 0),
            // L3: 14 a second.
            Cause::VersionRefused | Cause::Replaced => (lookup_us + 35_000, 35_000, 0),
            // O2: with lookups of 0.7 s a round takes some 1.15 s, most of it open.
            Cause::Doubled => (25_000, 25_000, 20_000 + lookup_us * 3 / 2),
        };
        let rounds = Rounds {
            cause,
            since_ms: self.now_ms,
            round_us: close_us + connecting_us + open_us,
            close_us,
            connecting_us,
            told_until_ms: self.now_ms,
        };
        self.set_line(id, Line::Rounds(rounds));
        self.send_state(id, "connecting", 200);
        let turn = self.instances[id].turn;
        self.plan_in(TELL_EVERY_MS, Plan::TellRounds(id, turn));
    }

    /// Sends the summary of the rounds since the last one.
    pub(super) fn tell_rounds(&mut self, id: usize, again: bool) {
        let Line::Rounds(rounds) = &mut self.instances[id].line else {
            return;
        };
        let after_ms = std::mem::replace(&mut rounds.told_until_ms, self.now_ms);
        let (count, opens) = (rounds.begun(after_ms, self.now_ms), rounds.opens());
        if count > 0 {
            self.send_states(id, "connecting", after_ms, count);
            if opens {
                self.send_states(id, "open", after_ms, count);
            }
        }
        if again {
            let turn = self.instances[id].turn;
            self.plan_in(TELL_EVERY_MS, Plan::TellRounds(id, turn));
        }
    }

    /// After a change at WhatsApp: rounds whose cause is another now end with one of the next
    /// dials, live sockets notice in their own time.
    pub(super) fn whatsapp_changed(&mut self) {
        for id in self.live_ids() {
            let barrier = self.barrier(id);
            let turn = self.instances[id].turn;
            match (self.instances[id].line, barrier) {
                (Line::Rounds(rounds), _) if self.is_over(id, rounds.cause) => {
                    let ms = self
                        .rng
                        .between(5, (rounds.round_us / 1_000).clamp(5, 30_000));
                    self.plan_in(ms, Plan::RoundsOver(id, turn));
                }
                (Line::Live | Line::Pairing, Some(Cause::Unreachable(how))) => {
                    let (code, ms) = match how {
                        Unreachable::Dropping => (428, self.rng.between(10, 1_000)),
                        _ => (408, self.rng.between(35_000, 65_000)),
                    };
                    self.plan_in(ms, Plan::Lose(id, code));
                }
                (Line::Live, Some(Cause::Replaced)) => self.close_socket(id, Some(440)),
                _ => {}
            }
        }
    }

    fn is_over(&self, id: usize, cause: Cause) -> bool {
        match (cause, self.barrier(id)) {
            // Two sockets go on until something else comes between.
            (Cause::Doubled, barrier) => barrier.is_some(),
            (cause, barrier) => barrier != Some(cause),
        }
    }

    pub(super) fn rounds_over(&mut self, id: usize) {
        if let Line::Rounds(rounds) = self.instances[id].line
            && self.is_over(id, rounds.cause)
        {
            self.lookup_done(id);
        }
    }

    /// `restart`: closes the socket, and the close handler dials anew. It ends no fight (O3), and
    /// where there is no socket nothing closes (I11, K7).
    pub(super) fn restart(&mut self, id: usize) {
        if matches!(self.memory(id), Memory::Open | Memory::Connecting) {
            self.close_socket(id, None);
        }
    }
}
