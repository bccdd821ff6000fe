//! When a silent gateway is left alone for the rest of a tick.

use super::observation::{Fault, GatewayFault};

/// Timeouts without a single answer after which a gateway counts as silent.
const SILENT_AFTER: u32 = 3;

/// What the questions of one tick told about one gateway.
///
/// A hung gateway costs the whole `request_timeout_ms` for every instance on it. Once several
/// questions got no answer and none got one, the others are not asked: they share the finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachability {
    answered: bool,
    timeouts: u32,
}

impl Reachability {
    /// Takes note of how one question ended; `fault` is `None` for a good answer.
    pub fn note(&mut self, fault: Option<Fault>) {
        match fault {
            Some(Fault::Gateway(fault)) if fault.is_silence() => self.timeouts += 1,
            Some(fault) if !fault.is_answer() => {}
            _ => self.answered = true,
        }
    }

    /// Whether anything at all answered at the gateway's address.
    pub const fn answered(&self) -> bool {
        self.answered
    }

    /// What to conclude for the instances not asked yet, if they need not be asked.
    pub const fn silence(&self) -> Option<GatewayFault> {
        if !self.answered && self.timeouts >= SILENT_AFTER {
            Some(GatewayFault::TimedOut)
        } else {
            None
        }
    }
}
