//! When faults have stopped for long enough, database and truth agree. (6)

use whatsapp_monitor::monitor::{Reason, Status};

use super::World;
use super::database::Row;
use super::watched;
use super::witness::Violation;
use crate::model::{Cure, Memory, RowStatus, Truth};

/// The codes after which the number is not to be dialled.
const BLOCKED: [u16; 3] = [402, 403, 406];

impl World {
    /// What an instance is, as far as it may not have changed a moment ago when it is judged.
    pub fn kind(&self, index: usize) -> Option<(Cure, bool, RowStatus)> {
        let truth = self.gateway.truth(&self.names[index])?;
        Some((truth.cure, truth.doubled, truth.row))
    }

    /// Holds what is shown of each instance against the truth.
    pub fn compare(&mut self) {
        for index in 0..self.names.len() {
            let name = &self.names[index];
            let Some(truth) = self.gateway.truth(name) else {
                continue;
            };
            let code = self.gateway.row_reason(name).map(|(code, _)| code);
            let unseen = self.gateway.is_always_online(name);
            let row = &self.database.rows[index];
            if !agrees(&truth, code, unseen, row) {
                let status = row.state.status;
                let outage = watched::open(&row.outages);
                let what = format!(
                    "instance {index}: shown as {status:?} with {outage:?}, and it is {truth:?}, \
                     {code:?}: {:?}",
                    row.state
                );
                self.witness.violations.push(Violation {
                    invariant: 6,
                    at_ms: self.now_ms,
                    what,
                    at_the_end: true,
                });
            }
        }
    }
}

/// Whether an instance is shown as what it is, and an outage is open where it is down and only
/// there. `unseen` is whether nobody may look for its socket.
fn agrees(truth: &Truth, code: Option<u16>, unseen: bool, row: &Row) -> bool {
    let state = &row.state;
    let down = watched::open(&row.outages).is_some();
    let shown = |status| state.status == status;
    match truth.cure {
        Cure::Healthy => shown(Status::Connected) && !down,
        // Two sockets: each check sees one of their moments.
        _ if truth.doubled => {
            let told = matches!(state.reason, Some(Reason::MadeWorse | Reason::Unstable));
            told || state.halted_at.is_some() || (truth.hidden && shown(Status::Connected) && !down)
        }
        Cure::Operator if truth.line == "zombie" => {
            if unseen {
                shown(Status::Connected) && !down
            } else {
                shown(Status::Zombie) && down
            }
        }
        // It hangs at the boot: nothing is known of it, whatever was before.
        Cure::Operator if truth.memory == Memory::Absent => shown(Status::Unknown),
        // Somebody has just paired it, and its login hangs: it reads as if the code were on offer.
        Cure::Connect | Cure::Restart if truth.row != RowStatus::Open => {
            shown(Status::WaitingQr) && down
        }
        // Unlinked on the phone while nothing dials: the gateway itself learns it with its next dial.
        Cure::Person if truth.session => shown(Status::Disconnected) && down,
        Cure::Person => {
            let blocked = truth.memory == Memory::Close
                && truth.row == RowStatus::Close
                && code.is_some_and(|code| BLOCKED.contains(&code));
            let expected = if blocked {
                Status::Blocked
            } else {
                Status::WaitingQr
            };
            shown(expected) && down
        }
        Cure::Connect | Cure::Restart | Cure::Itself | Cure::Operator => {
            shown(Status::Disconnected) && down
        }
    }
}
