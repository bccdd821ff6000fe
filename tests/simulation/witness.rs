//! Who watches the monitor: the invariants, told by what was seen and done and not by how it was
//! decided.

use whatsapp_monitor::monitor::{Action, Answer, Grounds, MemoryState, RowStatus, Settings};

use super::database::Wanted;
use super::watched::Watched;
use crate::model::{Received, RowStatus as Stored, Truth};

/// A rule that did not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of the invariants.
    pub invariant: u8,
    /// When, by the virtual clock.
    pub at_ms: i64,
    /// What happened.
    pub what: String,
    /// Whether it was found when all faults had stopped, against the truth.
    pub at_the_end: bool,
}

/// The watcher.
#[derive(Clone, Debug)]
pub struct Witness {
    settings: Settings,
    pub(super) watched: Vec<Watched>,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// How many actions were sent.
    pub actions: u32,
    /// How many checks were committed.
    pub checks: u64,
}

impl Witness {
    /// Watches over so many instances.
    pub fn new(instances: usize, settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            watched: vec![Watched::default(); instances],
            violations: Vec::new(),
            actions: 0,
            checks: 0,
        }
    }

    pub(super) fn violated(&mut self, invariant: u8, at_ms: i64, what: String) {
        self.violations.push(Violation {
            invariant,
            at_ms,
            what,
            at_the_end: false,
        });
    }

    /// An answer arrived.
    pub fn answered(&mut self, index: usize, at_ms: i64, answer: &Answer) {
        let watched = &mut self.watched[index];
        match answer {
            Answer::State(Ok(state)) => {
                if watched
                    .states
                    .last()
                    .is_none_or(|(last, _)| at_ms - last > 20_000)
                {
                    watched.states.clear();
                    watched.row_open = false;
                }
                watched.states.push((at_ms, *state));
            }
            Answer::Row(row) => {
                let status = row.as_ref().and_then(|row| row.status);
                watched.row_open = status == Some(RowStatus::Open);
            }
            _ => {}
        }
    }

    /// An action is granted on a row of this version. (1, 2)
    pub fn granted(&mut self, wanted: &Wanted, version: i64, at_ms: i64) {
        let settings = &self.settings;
        let granted = &mut self.watched[wanted.index].granted_ms;
        let quiet_ms = granted.last().map_or(i64::MAX, |last| at_ms - last);
        granted.push(at_ms);
        let within = |window_ms: i64| granted.iter().filter(|at| at_ms - **at < window_ms).count();
        let slow = quiet_ms >= i64::from(settings.probe_every_s) * 1_000;
        let spent = within(300_000) > settings.attempts_per_5_min as usize
            || (within(3_600_000) > settings.attempts_per_hour as usize && !slow);
        let hasty = quiet_ms < i64::from(settings.settle_s) * 1_000;
        if spent || hasty {
            let what = format!("instance {}: over the budget: {granted:?}", wanted.index);
            self.violated(2, at_ms, what);
        }
        if version != wanted.version {
            let what = format!("instance {}: somebody has rewritten it", wanted.index);
            self.violated(1, at_ms, what);
        }
    }

    /// An action is sent. (1)
    pub fn acting(&mut self, wanted: &Wanted, at_ms: i64) {
        self.actions += 1;
        let heard = wanted.heard;
        if wanted.action != Action::Connect {
            return;
        }
        let steady_ms = i64::from(self.settings.steady_close_s) * 1_000;
        let blind_ms = i64::from(self.settings.blind_connect_after_s) * 1_000;
        let index = wanted.index;
        let neighbour = self.watched.iter().enumerate().any(|(other, watched)| {
            let open = |(at, state): &(i64, MemoryState)| {
                *state == MemoryState::Open && at_ms - at < 90_000
            };
            let run_open = watched
                .run
                .is_some_and(|run| run.state == MemoryState::Open && at_ms - run.last_ms < 90_000);
            other != index && (run_open || watched.states.iter().any(open))
        });
        let watched = &self.watched[index];
        let mut closed_since = watched
            .run
            .filter(|run| run.state == MemoryState::Close)
            .map(|run| run.first_ms);
        for (at, state) in &watched.states {
            closed_since = match state {
                MemoryState::Close => closed_since.or(Some(*at)),
                _ => None,
            };
        }
        let closed_ms = closed_since.map_or(0, |since| at_ms - since);
        let tried = watched.blind_ms.is_some_and(|at| at_ms - at < 3_600_000);
        let dials = heard
            .last_connecting
            .is_some_and(|last| at_ms - last.as_ms() < steady_ms);
        // Something came since it was last seen open.
        let told = heard
            .last_event
            .is_some_and(|last| last.as_ms() >= watched.open_ms - 31_000);
        let by_webhook = told && !dials;
        let blind = closed_ms >= blind_ms && !tried;
        let mut against = Vec::new();
        if !watched.row_open {
            against.push("the row is not open");
        }
        if closed_ms < steady_ms {
            against.push("it was not closed for long");
        }
        if dials {
            against.push("the webhook tells of a dial");
        }
        if !by_webhook && !neighbour && !blind {
            against.push("nothing speaks for it");
        }
        if wanted.grounds == Grounds::Blind {
            self.watched[index].blind_ms = Some(at_ms);
        }
        if !against.is_empty() {
            let what = format!("instance {index}: connect although {}", against.join(", "));
            self.violated(1, at_ms, what);
        }
    }

    /// A request reached the gateway; whether its instance is to be shown online always. (3)
    pub fn received(&mut self, received: &Received, always_online: bool) {
        if received.by != "monitor" {
            return;
        }
        let path = received.path.split('?').next().unwrap_or_default();
        let route = path.rsplit_once('/').map_or("", |(route, _)| route);
        let allowed = match (received.method, route) {
            ("GET", "/instance/connectionState" | "/instance/connect" | "/settings/find")
            | ("POST", "/instance/restart") => true,
            ("GET", "/instance") => path == "/instance/fetchInstances",
            ("GET", "") => path == "/",
            ("POST", "/instance/setPresence") => {
                received.body["presence"] == "unavailable" && !always_online
            }
            _ => false,
        };
        if !allowed {
            let what = format!("{} {} {}", received.method, received.path, received.body);
            self.violated(3, received.at_ms, what);
        }
    }

    /// After a tick, in a world where triggers are punctual: what one action would restore is
    /// restored in time. (4) `allowance_ms` is how long it may take from now on, were it to begin
    /// now; `None` where the monitor must not act. `heard_ms` is when our webhook last told of a
    /// dial, however late: the wait begins there.
    pub fn curable(
        &mut self,
        index: usize,
        truth: &Truth,
        allowance_ms: Option<i64>,
        heard_ms: Option<i64>,
        now_ms: i64,
    ) {
        // Where the row tells of no pairing, nobody can see that a code is not on offer.
        let curable = truth.restored_by.is_some() && truth.row == Stored::Open;
        let watched = &mut self.watched[index];
        watched.curable = match (curable, allowance_ms, watched.curable) {
            (false, _, _) | (_, None, _) => None,
            (true, Some(allowance_ms), None) => Some((now_ms, allowance_ms)),
            // What was known at the start may turn out worse, and then takes longer.
            (true, Some(allowance_ms), Some((since_ms, before_ms))) => {
                let since_ms = heard_ms.map_or(since_ms, |heard_ms| since_ms.max(heard_ms));
                Some((since_ms, before_ms.max(allowance_ms)))
            }
        };
        if let Some((since_ms, allowance_ms)) = watched.curable
            && now_ms - since_ms > allowance_ms
        {
            watched.curable = None;
            let what = format!(
                "instance {index}: {:?} would restore it for {} s: {truth:?}",
                truth.restored_by,
                (now_ms - since_ms) / 1_000
            );
            self.violated(4, now_ms, what);
        }
    }
}
