//! How long the monitor may take. (4)

use whatsapp_monitor::monitor::{Grounds, Timestamp};

use super::{MINUTE_MS, World};

impl World {
    /// How long the monitor may take to restore an instance that one action would restore, or
    /// `None` where it must not act.
    fn allowance_ms(&self, index: usize) -> Option<i64> {
        let row = &self.database.rows[index];
        let state = &row.state;
        let now = Timestamp::from_ms(self.now_ms);
        let gateway = &self.database.gateway.0;
        let cooling = gateway.is_down() || gateway.cooldown_until.is_some_and(|until| now < until);
        // What nobody can see, nobody can mend.
        let blind = state.unanswered.is_some() || gateway.failing.is_some();
        if state.halted_at.is_some() || cooling || blind {
            return None;
        }
        let interval_ms = self.settings.interval_ms();
        // One that is open and cannot be asked is no evidence.
        let neighbour = self.names.iter().enumerate().any(|(other, name)| {
            let truth = self.gateway.truth(name);
            let seen_ms = self.witness.watched[other].open_ms;
            other != index
                && truth.is_some_and(|truth| truth.connected)
                && self.now_ms - seen_ms < 2 * interval_ms
        });
        let live = state.bad.is_some_and(|bad| {
            let since = bad.first.plus_ms(-interval_ms);
            row.heard.last_event.is_some_and(|last| last >= since)
        });
        let known = neighbour || live;
        if !known && self.settings.blind_connect_after_s == 0 {
            return None;
        }
        let mut allowance_ms = if known {
            i64::from(self.settings.steady_close_s) * 1_000 + 2 * interval_ms + 60_000
        } else {
            i64::from(self.settings.blind_connect_after_s) * 1_000 + 2 * interval_ms + 60_000
        };
        let recent = row
            .actions
            .iter()
            .filter(|action| now.ms_since(action.at) < 3_600_000)
            .count();
        if state.changes.flapping(now, &self.settings) {
            allowance_ms += 10 * interval_ms;
        }
        if recent > 0 {
            allowance_ms += 6 * MINUTE_MS + 2 * interval_ms;
        }
        if recent >= self.settings.attempts_per_hour as usize {
            allowance_ms = allowance_ms
                .max(i64::from(self.settings.probe_every_s) * 1_000 + 2 * interval_ms + 60_000);
        }
        let blind = row.actions.iter().any(|action| {
            action.grounds == Some(Grounds::Blind) && now.ms_since(action.at) < 3_600_000
        });
        if !known && blind {
            allowance_ms += 3_600_000;
        }
        Some(allowance_ms)
    }

    pub fn look_at_truth(&mut self) {
        for index in 0..self.names.len() {
            let allowance_ms = self.allowance_ms(index);
            let heard_ms = self.database.rows[index]
                .heard
                .last_connecting
                .map(Timestamp::as_ms);
            if let Some(truth) = self.gateway.truth(&self.names[index]) {
                self.witness
                    .curable(index, &truth, allowance_ms, heard_ms, self.now_ms);
            }
        }
    }
}
