//! Who watches the monitor: the invariants, told by what was seen and done and not by how it was
//! decided.

use whatsapp_monitor::monitor::{
    Action, Answer, Grounds, Heard, Instance, MemoryState, Observation, Settings, Status,
};

use super::database::{Database, Outage, Wanted};
use super::tick::Seen;
use crate::model::{Cure, Received, Truth};

/// A rule that did not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of the invariants.
    pub invariant: u8,
    /// When, by the virtual clock.
    pub at_ms: i64,
    /// What happened.
    pub what: String,
}

/// Seconds from the start of an outage to its row, at the most.
const OUTAGE_WITHIN_MS: i64 = 120_000;

/// The longest gap between two checks for which that is promised.
const PUNCTUAL_MS: i64 = 32_000;

/// So long must all checks be bad.
const LONG_MS: i64 = 100_000;

/// The live state that was seen in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    state: MemoryState,
    first_ms: i64,
    last_ms: i64,
}

/// What is known of one instance.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// The live state in a row, by committed ticks.
    run: Option<Run>,
    /// The answers of the tick under way.
    states: Vec<(i64, MemoryState)>,
    row_open: bool,
    /// When it was last seen open.
    open_ms: i64,
    /// When the actions were granted.
    granted_ms: Vec<i64>,
    blind_ms: Option<i64>,
    /// Bad checks in a row, none unknown, each punctual: the first and the last.
    bad: Option<(i64, i64)>,
    /// The first bad check since a good one, and how many there were.
    first_bad: Option<(i64, u32)>,
    outages: usize,
    /// Since when one safe action would restore it, with what it may take.
    curable: Option<(i64, i64)>,
}

/// The watcher.
#[derive(Clone, Debug)]
pub struct Witness {
    settings: Settings,
    watched: Vec<Watched>,
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

    fn violated(&mut self, invariant: u8, at_ms: i64, what: String) {
        self.violations.push(Violation {
            invariant,
            at_ms,
            what,
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
                use whatsapp_monitor::monitor::RowStatus;
                let status = row.as_ref().and_then(|row| row.status);
                watched.row_open = status == Some(RowStatus::Open);
            }
            _ => {}
        }
    }

    /// An action is granted. (2)
    pub fn granted(&mut self, index: usize, at_ms: i64) {
        let settings = self.settings.clone();
        let granted = &mut self.watched[index].granted_ms;
        granted.push(at_ms);
        let within = |window_ms: i64| granted.iter().filter(|at| at_ms - **at < window_ms).count();
        let slow = granted
            .iter()
            .rev()
            .nth(1)
            .is_none_or(|last| at_ms - last >= i64::from(settings.probe_every_s) * 1_000);
        let spent = within(300_000) > settings.attempts_per_5_min as usize
            || (within(3_600_000) > settings.attempts_per_hour as usize && !slow);
        if spent {
            let what = format!("instance {index}: over the budget: {granted:?}");
            self.violated(2, at_ms, what);
        }
    }

    /// An action is sent. (1)
    pub fn acting(&mut self, wanted: &Wanted, at_ms: i64, heard: Heard) {
        self.actions += 1;
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

    /// A request reached the gateway. (3)
    pub fn received(&mut self, received: &Received) {
        let path = received.path.split('?').next().unwrap_or_default();
        let route = path.rsplit_once('/').map_or("", |(route, _)| route);
        let allowed = match (received.method, route) {
            ("GET", "/instance/connectionState" | "/instance/connect" | "/settings/find")
            | ("POST", "/instance/restart") => true,
            ("GET", "/instance") => path == "/instance/fetchInstances",
            ("GET", "") => path == "/",
            ("POST", "/instance/setPresence") => received.body["presence"] == "unavailable",
            _ => false,
        };
        if !allowed {
            let what = format!("{} {} {}", received.method, received.path, received.body);
            self.violated(3, received.at_ms, what);
        }
    }

    /// A tick has written what it saw. (5)
    pub fn committed(
        &mut self,
        looks: &[Seen],
        written: &[usize],
        database: &Database,
        now_ms: i64,
    ) {
        for look in looks.iter().filter(|look| written.contains(&look.index)) {
            self.checks += 1;
            let index = look.index;
            let row = &database.rows[index];
            let trusted = row.state.unanswered.is_none();
            let seen = match &look.observation {
                Observation::Seen { memory, .. } => Some(*memory),
                Observation::Failed(_) => None,
            };
            self.watched[index].note(seen, look.at_ms);
            match seen {
                Some(MemoryState::Open) => self.watched[index].good(),
                Some(MemoryState::Close | MemoryState::Connecting) if trusted => {
                    self.watched[index].bad(look.at_ms);
                }
                _ => self.watched[index].bad = None,
            }
            self.watch_outages(index, &row.outages, look.at_ms, now_ms);
        }
    }

    fn watch_outages(&mut self, index: usize, outages: &[Outage], at_ms: i64, now_ms: i64) {
        let open = outages.last().filter(|last| last.ended_ms.is_none());
        let watched = &self.watched[index];
        let mut wrong = Vec::new();
        if let Some((first_ms, last_ms)) = watched.bad
            && last_ms - first_ms >= LONG_MS
        {
            let told = open.is_some_and(|outage| {
                outage.started_ms <= first_ms && outage.committed_ms <= first_ms + OUTAGE_WITHIN_MS
            });
            if !told {
                wrong.push(format!("bad since {first_ms}, and no outage: {open:?}"));
            }
        }
        if outages.len() > watched.outages
            && let Some(outage) = open
        {
            let final_or_zombie = matches!(
                outage.reason,
                Some("401" | "402" | "403" | "406" | "logged_out" | "zombie")
            );
            let (first_ms, checks) = watched.first_bad.unwrap_or((at_ms, 0));
            let dated = outage.started_ms == first_ms;
            let confirmed = checks >= 3 && at_ms - first_ms >= 55_000;
            if outage.reason != Some("zombie") && !dated {
                wrong.push(format!("dated wrong, first bad at {first_ms}: {outage:?}"));
            }
            if !final_or_zombie && !confirmed {
                wrong.push(format!("an outage of {checks} checks: {outage:?}"));
            }
        }
        self.watched[index].outages = outages.len();
        for what in wrong {
            self.violated(5, now_ms, format!("instance {index}: {what}"));
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
        let curable = truth.restored_by.is_some();
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

    /// When faults have been over for long enough. (6)
    pub fn agrees(&mut self, index: usize, truth: &Truth, state: &Instance, now_ms: i64) {
        let status = state.status;
        let agrees = match truth.cure {
            // Unlinked on the phone while nothing dials: the gateway itself learns it with the next
            // dial, and none is to come from us any more.
            Cure::Person if truth.session && state.halted_at.is_some() => {
                status == Status::Disconnected
            }
            Cure::Healthy => status == Status::Connected,
            Cure::Person => matches!(status, Status::WaitingQr | Status::Blocked),
            Cure::Operator if truth.line == "zombie" => status == Status::Zombie,
            _ => !matches!(status, Status::WaitingQr | Status::Blocked | Status::Zombie),
        };
        if !agrees {
            let what =
                format!("instance {index}: shown as {status:?}, and it is {truth:?}, {state:?}");
            self.violated(6, now_ms, what);
        }
    }
}

impl Watched {
    fn note(&mut self, seen: Option<MemoryState>, at_ms: i64) {
        let Some(state) = seen else { return };
        if state == MemoryState::Open {
            self.open_ms = at_ms;
        }
        self.run = match self.run {
            Some(run) if run.state == state && at_ms - run.last_ms <= 95_000 => Some(Run {
                last_ms: at_ms,
                ..run
            }),
            _ => Some(Run {
                state,
                first_ms: at_ms,
                last_ms: at_ms,
            }),
        };
    }

    fn good(&mut self) {
        self.bad = None;
        self.first_bad = None;
    }

    fn bad(&mut self, at_ms: i64) {
        self.bad = match self.bad {
            Some((first, last)) if at_ms - last <= PUNCTUAL_MS => Some((first, at_ms)),
            _ => Some((at_ms, at_ms)),
        };
        self.first_bad = match self.first_bad {
            Some((first, checks)) => Some((first, checks + 1)),
            None => Some((at_ms, 1)),
        };
    }
}
