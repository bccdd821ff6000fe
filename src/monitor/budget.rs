//! How often anything may be done to an instance.

use serde::Serialize;

use super::attempt::Attempt;
use super::settings::Settings;
use super::time::Timestamp;

const FIVE_MINUTES_S: u32 = 300;
const HOUR_S: u32 = 3_600;

/// At most so many actions in any window of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The window.
    pub window_s: u32,
    /// The actions within it.
    pub max: u32,
}

impl Budget {
    /// The budgets that the next action must keep to, given those there were.
    pub fn of(attempts: &[Attempt], at: Timestamp, settings: &Settings) -> Vec<Self> {
        // With none an hour there is no slow probe either: the monitor only watches.
        let none = settings.attempts_per_hour == 0;
        if none || within(attempts, HOUR_S, at) < settings.attempts_per_hour {
            vec![
                Self {
                    window_s: FIVE_MINUTES_S,
                    max: settings.attempts_per_5_min,
                },
                Self {
                    window_s: HOUR_S,
                    max: settings.attempts_per_hour,
                },
            ]
        } else {
            // The hour's are spent: the slow probe.
            vec![Self {
                window_s: settings.probe_every_s,
                max: 1,
            }]
        }
    }

    /// Whether one more keeps to it.
    pub fn allows(self, attempts: &[Attempt], at: Timestamp) -> bool {
        within(attempts, self.window_s, at) < self.max
    }
}

/// How many attempts lie within the last `window_s` seconds.
fn within(attempts: &[Attempt], window_s: u32, at: Timestamp) -> u32 {
    let window_ms = i64::from(window_s) * 1_000;
    let count = attempts
        .iter()
        .filter(|attempt| at.ms_since(attempt.at) < window_ms)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
