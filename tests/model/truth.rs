//! What is really so, for those who judge what a monitor made of it.

use super::faults::HttpFault;
use super::gateway::Gateway;
use super::instance::RowStatus;
use super::line::{Line, Memory};
use super::process::Process;

/// Who alone can bring an instance back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It is connected.
    Healthy,
    /// The gateway, by itself, as soon as nothing keeps it from it.
    Itself,
    /// One `connect`: it is paired, reads `close`, and nothing dials.
    Connect,
    /// One `restart`: it hangs in `connecting`.
    Restart,
    /// A person with the phone: the session is gone, or another process uses it.
    Person,
    /// Whoever runs the gateway: its process has to restart, or its version is too old.
    Operator,
}

/// An action that is safe and helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `GET /instance/connect/{name}`.
    Connect,
    /// `POST /instance/restart/{name}`.
    Restart,
}

/// The truth about one instance at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// A live, logged-in socket: messages flow.
    pub connected: bool,
    /// A session is saved, and WhatsApp still takes it.
    pub paired: bool,
    /// What `connectionState` would read.
    pub memory: Memory,
    /// What the row says.
    pub row: RowStatus,
    /// The row names the account.
    pub owner: bool,
    /// A session is saved.
    pub session: bool,
    /// The line's name: [`Line::name`].
    pub line: &'static str,
    /// A dial is under way: a `connect` now would be the second.
    pub redialling: bool,
    /// Sockets alive.
    pub sockets: u8,
    /// Two dials or sockets are on the one session (O2).
    pub doubled: bool,
    /// They replace each other so slowly that nearly every look reads `open`.
    pub hidden: bool,
    /// A QR is on offer to a person.
    pub qr_on_offer: bool,
    /// QRs that this process has shown.
    pub qr_count: u32,
    /// Who alone can help.
    pub cure: Cure,
    /// The one safe action that would restore it **now**: it would arrive, its dial would come
    /// through.
    pub restored_by: Option<Action>,
}

impl Gateway {
    /// The truth about an instance; none where there is none of that name.
    pub fn truth(&self, name: &str) -> Option<Truth> {
        let id = self.id(name)?;
        let instance = &self.instances[id];
        let cure = self.cure(id);
        let restored_by = match cure {
            Cure::Connect => Some(Action::Connect),
            Cure::Restart => Some(Action::Restart),
            _ => None,
        };
        Some(Truth {
            connected: instance.line == Line::Live,
            paired: instance.session && instance.revoked.is_none(),
            memory: instance.state(self.now_ms),
            row: instance.row,
            owner: instance.owner,
            session: instance.session,
            line: instance.line.name(),
            redialling: instance.line.redials(),
            sockets: instance.line.sockets(self.now_ms),
            doubled: instance.doubled,
            hidden: matches!(instance.line, Line::Rounds(rounds) if rounds.look_open()),
            qr_on_offer: instance.line == Line::Pairing,
            qr_count: instance.qr.count,
            cure,
            restored_by: restored_by.filter(|_| self.way_is_free(id)),
        })
    }

    /// The disconnection code and time in an instance's row.
    pub fn row_reason(&self, name: &str) -> Option<(u16, &str)> {
        let gone = self.instances[self.id(name)?].disconnection.as_ref()?;
        Some((gone.code, &gone.at))
    }

    fn cure(&self, id: usize) -> Cure {
        let instance = &self.instances[id];
        if self.process != Process::Up {
            return match self.process {
                Process::Down => Cure::Operator,
                _ if instance.session && instance.revoked.is_none() => Cure::Itself,
                _ => Cure::Person,
            };
        }
        match instance.line {
            Line::Live => Cure::Healthy,
            Line::Zombie => Cure::Operator,
            Line::Cut | Line::LookupHung if !instance.loaded => Cure::Operator,
            _ if !instance.session || instance.revoked.is_some() => Cure::Person,
            _ if instance.doubled || self.whatsapp.version_refused => Cure::Operator,
            _ if instance.replaced => Cure::Person,
            Line::Cut | Line::LookupHung => Cure::Connect,
            Line::LoginHung => Cure::Restart,
            Line::Lookup | Line::Login | Line::Rounds(_) => Cure::Itself,
            Line::Pairing => Cure::Person,
        }
    }

    /// Whether an action would arrive and its dial come through.
    fn way_is_free(&self, id: usize) -> bool {
        let passes = |fault: Option<HttpFault>| {
            matches!(
                fault,
                None | Some(HttpFault::AnswerLost | HttpFault::Slow(..=2_000))
            )
        };
        let instance = &self.instances[id];
        self.process == Process::Up
            && self.database
            && !self.network_lost
            && !self.key_changed
            && passes(self.http)
            && passes(instance.http)
            && instance.hang.is_none()
            && instance.flaps.is_none()
            && self.barrier(id).is_none()
    }
}
