//! What a tick has written, held against what it saw: outages, what is shown, what is said of actions.

use whatsapp_monitor::monitor::{MemoryState, Observation, Status, Verdict};

use super::database::{Database, Outage, Row};
use super::tick::Seen;
use super::witness::Witness;

/// Milliseconds from the start of an outage to its row, at the most.
const OUTAGE_WITHIN_MS: i64 = 120_000;

/// The longest gap between two checks for which that is promised.
const PUNCTUAL_MS: i64 = 32_000;

/// So long must all checks be bad.
const LONG_MS: i64 = 100_000;

/// Without a look for so long nobody can say what was meanwhile.
const BLIND_MS: i64 = 90_000;

/// Changes between open and not open after an action, before it may be said to have made it worse.
const WORSE_CHANGES: usize = 4;

/// The live state that was seen in a row.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The state.
    pub state: MemoryState,
    /// The first check of it.
    pub first_ms: i64,
    /// The last.
    pub last_ms: i64,
}

/// What is known of one instance.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The live state in a row, by committed ticks.
    pub run: Option<Run>,
    /// The answers of the tick under way.
    pub states: Vec<(i64, MemoryState)>,
    /// Whether the row of the tick under way is open.
    pub row_open: bool,
    /// When it was last seen open.
    pub open_ms: i64,
    /// When the actions were granted.
    pub granted_ms: Vec<i64>,
    /// The last `connect` on no evidence.
    pub blind_ms: Option<i64>,
    /// Since when one safe action would restore it, with what it may take.
    pub curable: Option<(i64, i64)>,
    /// Checks in a row, none unknown, each punctual, that were bad: the first and the last.
    bad: Option<(i64, i64)>,
    /// The longest of those so far.
    pub longest_bad_ms: i64,
    /// The first bad check since a good one, the first since nobody looked, the last, and how many.
    bads: Option<(i64, i64, i64, u32)>,
    /// Good checks in a row, none long after the one before: the last, and how many.
    goods: Option<(i64, u32)>,
    /// Between open and not open.
    changes_ms: Vec<i64>,
    outages: usize,
}

impl Witness {
    /// A tick has written what it saw. (4, 5, 6)
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
            let watched = &mut self.watched[index];
            watched.note(seen, look.at_ms);
            match seen {
                Some(MemoryState::Open) => watched.good(look.at_ms),
                Some(MemoryState::Close | MemoryState::Connecting) if trusted => {
                    watched.bad(look.at_ms);
                }
                _ => watched.bad = None,
            }
            let mut wrong = Vec::new();
            wrong.extend(watched.untold(&row.outages).map(|what| (5, what)));
            wrong.extend(watched.begun(&row.outages).map(|what| (5, what)));
            wrong.extend(watched.blamed(row).map(|what| (4, what)));
            if trusted && let Some(seen) = seen {
                wrong.extend(watched.shown(seen, row).map(|what| (6, what)));
            }
            watched.outages = row.outages.len();
            if row.state.status == Status::Zombie {
                watched.goods = None;
            }
            for (invariant, what) in wrong {
                self.violated(invariant, now_ms, format!("instance {index}: {what}"));
            }
        }
    }
}

impl Watched {
    fn note(&mut self, seen: Option<MemoryState>, at_ms: i64) {
        let Some(state) = seen else { return };
        let is_open = state == MemoryState::Open;
        if is_open {
            self.open_ms = at_ms;
        }
        if self
            .run
            .is_some_and(|run| (run.state == MemoryState::Open) != is_open)
        {
            self.changes_ms.push(at_ms);
        }
        self.run = match self.run {
            Some(run) if run.state == state && at_ms - run.last_ms <= BLIND_MS + 5_000 => {
                Some(Run {
                    last_ms: at_ms,
                    ..run
                })
            }
            _ => Some(Run {
                state,
                first_ms: at_ms,
                last_ms: at_ms,
            }),
        };
    }

    fn good(&mut self, at_ms: i64) {
        self.bad = None;
        self.bads = None;
        let so_far = self
            .goods
            .filter(|(last_ms, _)| at_ms - last_ms <= BLIND_MS);
        self.goods = Some((at_ms, so_far.map_or(1, |(_, checks)| checks + 1)));
    }

    fn bad(&mut self, at_ms: i64) {
        self.goods = None;
        self.bad = match self.bad {
            Some((first_ms, last_ms)) if at_ms - last_ms <= PUNCTUAL_MS => Some((first_ms, at_ms)),
            _ => Some((at_ms, at_ms)),
        };
        let longest = self.bad.map_or(0, |(first_ms, last_ms)| last_ms - first_ms);
        self.longest_bad_ms = self.longest_bad_ms.max(longest);
        self.bads = match self.bads {
            Some((first_ms, _, last_ms, checks)) if at_ms - last_ms > BLIND_MS => {
                Some((first_ms, at_ms, at_ms, checks + 1))
            }
            Some((first_ms, since_ms, _, checks)) => Some((first_ms, since_ms, at_ms, checks + 1)),
            None => Some((at_ms, at_ms, at_ms, 1)),
        };
    }

    /// All checks were bad for long enough, and no outage tells of it in time. (5)
    fn untold(&self, outages: &[Outage]) -> Option<String> {
        let (first_ms, last_ms) = self.bad?;
        let open = open(outages);
        let told = open.is_some_and(|outage| {
            outage.started_ms <= first_ms && outage.committed_ms <= first_ms + OUTAGE_WITHIN_MS
        });
        (last_ms - first_ms >= LONG_MS && !told)
            .then(|| format!("bad since {first_ms}, and no outage in time: {open:?}"))
    }

    /// A new outage that is none, or is dated wrong. (5)
    fn begun(&self, outages: &[Outage]) -> Option<String> {
        let outage = open(outages).filter(|_| outages.len() > self.outages)?;
        if outage.reason == Some("zombie") {
            return None;
        }
        let Some((first_ms, since_ms, last_ms, checks)) = self.bads else {
            return Some(format!("an outage of no bad check: {outage:?}"));
        };
        let is_final = matches!(
            outage.reason,
            Some("401" | "402" | "403" | "406" | "logged_out")
        );
        let dated = [first_ms, since_ms].contains(&outage.started_ms);
        let confirmed = checks >= 3 && last_ms - outage.started_ms >= 55_000;
        (!dated || !(is_final || confirmed))
            .then(|| format!("{checks} bad checks from {first_ms} to {last_ms}: {outage:?}"))
    }

    /// An action is said to have made it worse, and it has not come and gone since. (4)
    fn blamed(&self, row: &Row) -> Option<String> {
        let worse = |verdict| verdict == Some(Verdict::MadeWorse);
        let wronged = row.actions.iter().find(|action| {
            let since = |at_ms: &&i64| **at_ms > action.at.as_ms();
            worse(action.verdict) && self.changes_ms.iter().filter(since).count() < WORSE_CHANGES
        });
        if let Some(action) = wronged {
            return Some(format!("it did not come and go since {action:?}"));
        }
        let blamed = row.actions.iter().any(|action| worse(action.verdict));
        (row.state.halted_at.is_some() && !blamed)
            .then(|| "it was given up for no action".to_owned())
    }

    /// What is shown, and whether an outage is open, disagrees with what was just seen. (6)
    fn shown(&self, seen: MemoryState, row: &Row) -> Option<String> {
        let status = row.state.status;
        let down = open(&row.outages).is_some();
        let settled = self.goods.is_some_and(|(_, checks)| checks >= 2);
        let agrees = match seen {
            MemoryState::Open if status == Status::Zombie => down,
            MemoryState::Open if settled => status == Status::Connected && !down,
            MemoryState::Open => {
                matches!(status, Status::Connected | Status::Connecting)
                    && down == (status == Status::Connecting)
            }
            MemoryState::NotLoaded => status == Status::Unknown,
            MemoryState::Connecting | MemoryState::Close => match status {
                Status::Disconnected => down,
                Status::Connecting | Status::WaitingQr | Status::Blocked => true,
                _ => false,
            },
        };
        (!agrees).then(|| format!("seen {seen:?}, shown {status:?}, an outage open: {down}"))
    }
}

/// The outage that is not over.
pub fn open(outages: &[Outage]) -> Option<&Outage> {
    outages.last().filter(|last| last.ended_ms.is_none())
}
