//! What a day came to, in numbers: the double sockets above all.

use std::collections::BTreeMap;

use whatsapp_monitor::monitor::{Grounds, Verdict};

use super::World;
use super::fate::Place;
use super::witness::Violation;

/// The longest time between two looks that counts as one of looking.
const LOOKED_MS: i64 = 40_000;

/// A double socket that a `connect` of the monitor made.
#[derive(Clone, Copy, Debug)]
pub struct Double {
    /// Of which instance.
    index: usize,
    /// When.
    at_ms: i64,
    /// On which grounds.
    pub grounds: Grounds,
    /// For how long the two have replaced each other while somebody looked.
    pub fought_ms: i64,
    /// When they did so at the last look.
    fights_since_ms: Option<i64>,
    /// Whether it could not be told from a connection: nearly every look read `open`.
    pub hidden: bool,
    /// When it was over, where it was before the day was.
    pub over_ms: Option<i64>,
    /// Whether the `connect`, or what was done after it to no effect, was judged to have made
    /// things worse.
    pub worse: bool,
}

/// What a day came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Checks that were committed.
    pub checks: u64,
    /// Actions that were sent.
    pub actions: u32,
    /// The double sockets.
    pub doubles: Vec<Double>,
    /// How many ticks died, and where.
    pub deaths: BTreeMap<Place, u32>,
    /// Events that were heard, that came again, that were missed.
    pub events: [u64; 3],
    /// Grants that were refused because somebody else had written.
    pub stale: u32,
    /// People who scanned a code.
    pub scans: u32,
    /// A digest of all that happened.
    pub digest: u64,
}

impl World {
    /// Looks after the double sockets that there are.
    pub fn watch_doubles(&mut self) {
        for double in &self.gateway.double_sockets()[self.doubles_seen..] {
            let index = self.names.iter().position(|name| *name == double.instance);
            let made =
                self.connects.iter().rev().find(|(at, at_ms, _)| {
                    Some(*at) == index && (double.at_ms - at_ms).abs() < 10_000
                });
            self.doubles
                .extend(made.map(|&(index, at_ms, grounds)| Double {
                    index,
                    at_ms,
                    grounds,
                    fought_ms: 0,
                    fights_since_ms: None,
                    hidden: false,
                    over_ms: None,
                    worse: false,
                }));
        }
        self.doubles_seen = self.gateway.double_sockets().len();
        for double in self
            .doubles
            .iter_mut()
            .filter(|double| double.over_ms.is_none())
        {
            let truth = self.gateway.truth(&self.names[double.index]);
            let over = truth.is_none_or(|truth| !truth.doubled);
            double.over_ms = over.then_some(self.now_ms);
            let fight = truth.filter(|truth| truth.line == "doubled");
            if let (Some(since_ms), Some(truth)) = (double.fights_since_ms, fight) {
                double.fought_ms += (self.now_ms - since_ms).min(LOOKED_MS);
                double.hidden |= truth.hidden;
            }
            double.fights_since_ms = fight.map(|_| self.now_ms);
        }
    }

    /// The end of the day.
    pub fn outcome(mut self) -> Outcome {
        for double in &mut self.doubles {
            let meanwhile = double.at_ms - 10_000..=double.over_ms.unwrap_or(self.now_ms);
            let actions = &self.database.rows[double.index].actions;
            double.worse = actions.iter().any(|action| {
                meanwhile.contains(&action.at.as_ms()) && action.verdict == Some(Verdict::MadeWorse)
            });
        }
        let history = format!("{:?}{:?}", self.gateway.take_history(), self.database);
        Outcome {
            violations: self.witness.violations,
            checks: self.witness.checks,
            actions: self.witness.actions,
            doubles: self.doubles,
            deaths: self.fate.deaths,
            events: self.ears.heard,
            stale: self.stale,
            scans: self.scans,
            digest: digest(&history),
        }
    }
}

/// FNV-1a: any change of any byte changes it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
