//! The numbers that decide.

use serde::Deserialize;

use super::streak::Streak;
use super::time::Timestamp;
use super::webhook::Policy;

/// What the monitor needs of the row `whatsapp_monitor.settings`, which `begin_tick` returns. The
/// names and units are those of its columns, where each is documented.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Seconds between two checks of an instance.
    pub interval_s: u32,
    /// Bad checks in a row before a transient outage counts.
    pub down_after_checks: u32,
    /// Seconds that the bad checks, or a gateway's silence, must span before they count.
    pub down_after_s: u32,
    /// Good checks in a row before an outage is over.
    pub up_after_checks: u32,
    /// Checks in a row that see `connecting` before a dial counts as stuck.
    pub stuck_connecting_checks: u32,
    /// Seconds after the first bad check before anything is done.
    pub first_action_after_s: u32,
    /// Seconds of unbroken `close` before a `connect`, where there is evidence that nobody dials.
    pub steady_close_s: u32,
    /// The same where there is none; 0 for never.
    pub blind_connect_after_s: u32,
    /// Seconds after an action in which nothing is judged and nothing more is done.
    pub settle_s: u32,
    /// Actions on an instance within any 5 minutes; 0 for none at all.
    pub attempts_per_5_min: u32,
    /// Actions on an instance within any hour, before the slow probe; 0 for none at all.
    pub attempts_per_hour: u32,
    /// Seconds between two actions when the hour's are spent.
    pub probe_every_s: u32,
    /// Seconds between two looks for the socket behind an open state; 0 for never.
    pub zombie_probe_every_s: u32,
    /// What is done about webhooks.
    pub webhook_policy: Policy,
    /// Where webhooks lead; `None` for our own receiver.
    pub webhook_url: Option<String>,
    /// Seconds between two looks at the webhook of an instance that is open.
    pub webhook_check_every_s: u32,
    /// Milliseconds that one question to a gateway may take.
    pub request_timeout_ms: u32,
    /// Questions in flight at once, per gateway.
    pub concurrency: u32,
    /// Milliseconds in which a trigger may start work.
    pub tick_budget_ms: u32,
}

impl Default for Settings {
    /// The defaults of the table.
    fn default() -> Self {
        Self {
            interval_s: 30,
            down_after_checks: 3,
            down_after_s: 55,
            up_after_checks: 2,
            stuck_connecting_checks: 4,
            first_action_after_s: 75,
            steady_close_s: 150,
            blind_connect_after_s: 900,
            settle_s: 90,
            attempts_per_5_min: 3,
            attempts_per_hour: 5,
            probe_every_s: 1_800,
            zombie_probe_every_s: 600,
            webhook_policy: Policy::Manage,
            webhook_url: None,
            webhook_check_every_s: 300,
            request_timeout_ms: 8_000,
            concurrency: 16,
            tick_budget_ms: 20_000,
        }
    }
}

impl Settings {
    /// [`down_after_s`](Self::down_after_s) in milliseconds, the unit of [`Timestamp`](super::Timestamp).
    pub const fn down_after_ms(&self) -> i64 {
        self.down_after_s as i64 * 1_000
    }

    /// [`interval_s`](Self::interval_s) in milliseconds.
    pub const fn interval_ms(&self) -> i64 {
        self.interval_s as i64 * 1_000
    }

    /// [`settle_s`](Self::settle_s) in milliseconds.
    pub const fn settle_ms(&self) -> i64 {
        self.settle_s as i64 * 1_000
    }

    /// Whether a streak of bad checks, the last of them at `at`, makes an outage.
    pub const fn confirms(&self, bad: Streak, at: Timestamp) -> bool {
        bad.checks >= self.down_after_checks && at.ms_since(bad.first) >= self.down_after_ms()
    }
}
