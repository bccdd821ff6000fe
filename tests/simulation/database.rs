//! What the monitor's SQL does, as far as its decisions depend on it: leases and fences, versions,
//! grants within budgets, outages. The real one has tests of its own.

use std::collections::BTreeMap;

use whatsapp_monitor::monitor::{
    Action, Attempt, Budget, Gateway, Grounds, Heard, Instance, Observation, Settings, Status,
    Timestamp, Verdict,
};

use super::sabotage::Sabotage;

/// An instance as the database has it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The monitor's memory, as it comes out of the database.
    pub state: Instance,
    /// The same as of when it was last written as a whole.
    stored: Instance,
    /// How often it was written.
    pub version: i64,
    /// When it is due.
    pub due_ms: i64,
    /// When it was last claimed.
    pub claimed_ms: i64,
    /// Which tick works on it, and until when.
    pub lease: Option<(u64, i64)>,
    /// Grows with each claim.
    pub fence: i64,
    /// What was done.
    pub actions: Vec<Attempt>,
    /// Its outages.
    pub outages: Vec<Outage>,
    /// What our webhook told.
    pub heard: Heard,
}

/// An outage, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its first bad check.
    pub started_ms: i64,
    /// When the row was committed.
    pub committed_ms: i64,
    /// The first good check after it.
    pub ended_ms: Option<i64>,
    /// Why, when it began.
    pub reason: Option<&'static str>,
}

/// What a tick holds.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which instance.
    pub index: usize,
    /// Proves the claim.
    pub fence: i64,
    /// The version of `state`.
    pub version: i64,
    /// The memory.
    pub state: Instance,
    /// What was done in the last hours.
    pub attempts: Vec<Attempt>,
    /// What our webhook told.
    pub heard: Heard,
}

/// What a tick writes.
#[derive(Clone, Debug)]
pub struct Result {
    /// Which instance.
    pub index: usize,
    /// Proves the claim.
    pub fence: i64,
    /// The version that `state` was made from.
    pub version: i64,
    /// The memory from now on.
    pub state: Instance,
    /// What was seen.
    pub observation: Observation,
    /// When the check was sent.
    pub checked_ms: i64,
    /// Whether it found nothing new, and is written as that alone.
    pub is_settled: bool,
    /// What earlier actions came to.
    pub verdicts: Vec<(i64, Verdict)>,
    /// Whether the gateway refused the action of this tick.
    pub refused: bool,
}

/// An action that a tick wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// On which instance.
    pub index: usize,
    /// Proves the claim.
    pub fence: i64,
    /// The version that it was decided on.
    pub version: i64,
    /// What our webhook had told by then.
    pub heard: Heard,
    /// What.
    pub action: Action,
    /// On which evidence.
    pub grounds: Grounds,
    /// What it must keep to.
    pub budgets: Vec<Budget>,
}

/// The database of one gateway.
#[derive(Clone, Debug)]
pub struct Database {
    /// The instances, in their order.
    pub rows: Vec<Row>,
    /// The monitor's memory of the gateway, and how often it was written.
    pub gateway: (Gateway, i64),
    /// What is known of its version.
    pub version: Option<String>,
    /// Which tick did what to which instance.
    granted: BTreeMap<(u64, usize), i64>,
    serial: i64,
    sabotage: Option<Sabotage>,
}

/// Seconds for which a claim holds.
const LEASE_MS: i64 = 45_000;

/// Milliseconds of lease that an action needs.
const ACTION_NEEDS_MS: i64 = 10_000;

/// Hours for which actions are handed out.
const ATTEMPTS_FOR_MS: i64 = 6 * 3_600_000;

impl Database {
    /// One with so many instances, none of them checked so far.
    pub fn new(instances: usize, sabotage: Option<Sabotage>) -> Self {
        Self {
            rows: vec![Row::default(); instances],
            gateway: (Gateway::default(), 0),
            version: None,
            granted: BTreeMap::new(),
            serial: 0,
            sabotage,
        }
    }

    /// Claims what is due.
    pub fn begin(&mut self, tick: u64, now_ms: i64) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (index, row) in self.rows.iter_mut().enumerate() {
            if row.due_ms > now_ms {
                continue;
            }
            if self.sabotage == Some(Sabotage::ForgetDied)
                && let Some((died, _)) = row.lease
                && let Some(id) = self.granted.get(&(died, index))
            {
                row.actions.retain(|action| action.id != *id);
            }
            row.claimed_ms = now_ms;
            row.due_ms = now_ms + LEASE_MS;
            row.lease = Some((tick, now_ms + LEASE_MS));
            row.fence += 1;
            let recent = |attempt: &&Attempt| now_ms - attempt.at.as_ms() < ATTEMPTS_FOR_MS;
            claims.push(Claim {
                index,
                fence: row.fence,
                version: row.version,
                state: row.state.clone(),
                attempts: row.actions.iter().filter(recent).cloned().collect(),
                heard: row.heard,
            });
        }
        claims
    }

    /// Whether an instance that this tick does not hold was seen open lately.
    pub fn open_elsewhere(&self, tick: u64, now_ms: i64, settings: &Settings) -> bool {
        self.rows.iter().any(|row| {
            let state = &row.state;
            row.lease.is_none_or(|(holder, _)| holder != tick)
                && state.status == Status::Connected
                && state
                    .last_open
                    .is_some_and(|at| now_ms - at.as_ms() < 2 * settings.interval_ms())
        })
    }

    /// Grants what may be done; each instance's index that it is granted on.
    pub fn record_actions(&mut self, tick: u64, wanted: &[Wanted], now_ms: i64) -> Vec<usize> {
        let lax = self.sabotage.is_some_and(Sabotage::is_lax);
        let blind = self.sabotage == Some(Sabotage::IgnoreWriters);
        let mut granted = Vec::new();
        for each in wanted {
            let row = &mut self.rows[each.index];
            let held = row.fence == each.fence
                && row.lease.is_some_and(|(holder, until_ms)| {
                    holder == tick && until_ms >= now_ms + ACTION_NEEDS_MS
                });
            let within = |budget: &Budget| {
                let window_ms = i64::from(budget.window_s) * 1_000;
                let count = row
                    .actions
                    .iter()
                    .filter(|action| action.at.as_ms() > now_ms - window_ms)
                    .count();
                count < budget.max as usize
            };
            if !held || (row.version != each.version && !blind) {
                continue;
            }
            if self.granted.contains_key(&(tick, each.index)) {
                granted.push(each.index);
                continue;
            }
            if !(lax || each.budgets.iter().all(within)) {
                continue;
            }
            self.serial += 1;
            self.granted.insert((tick, each.index), self.serial);
            row.actions.push(Attempt {
                id: self.serial,
                action: each.action,
                grounds: Some(each.grounds),
                at: Timestamp::from_ms(now_ms),
                verdict: None,
            });
            granted.push(each.index);
        }
        granted
    }

    /// A person lets the monitor act on an instance again: nothing but that is rewritten.
    pub fn resume(&mut self, index: usize) {
        let row = &mut self.rows[index];
        row.stored.halted_at = None;
        row.state.halted_at = None;
        row.version += 1;
    }

    /// Writes what was found where nobody else has written meanwhile; gives back what it has
    /// written.
    pub fn finish(
        &mut self,
        tick: u64,
        results: &[Result],
        now_ms: i64,
        settings: &Settings,
    ) -> Vec<usize> {
        let mut written = Vec::new();
        for result in results {
            let own = self.granted.get(&(tick, result.index)).copied();
            let row = &mut self.rows[result.index];
            if row.fence != result.fence || row.version != result.version {
                continue;
            }
            row.write(result, now_ms, self.sabotage);
            row.due_ms = row.claimed_ms + settings.interval_ms() - 5_000;
            row.lease = None;
            for (id, verdict) in &result.verdicts {
                row.judge(*id, *verdict);
            }
            if let Some(id) = own.filter(|_| result.refused) {
                row.judge(id, Verdict::Refused);
            }
            written.push(result.index);
        }
        written
    }

    /// What is to be written once more, because somebody else has written meanwhile: as `src/tick.rs`
    /// does.
    pub fn stale(
        &self,
        results: Vec<Result>,
        written: &[usize],
        settings: &Settings,
    ) -> Vec<Result> {
        results
            .into_iter()
            .filter(|mine| !written.contains(&mine.index))
            .filter_map(|mine| {
                let row = &self.rows[mine.index];
                let at = Timestamp::from_ms(mine.checked_ms);
                let state = row.state.observe(&mine.observation, at, settings);
                let worse = mine
                    .verdicts
                    .iter()
                    .any(|(_, verdict)| *verdict == Verdict::MadeWorse);
                let halted_at = state.halted_at.or(mine.state.halted_at.filter(|_| worse));
                (row.fence == mine.fence).then_some(Result {
                    version: row.version,
                    state: Instance { halted_at, ..state },
                    is_settled: false,
                    ..mine
                })
            })
            .collect()
    }

    /// Keeps a new memory of the gateway, where nobody else has written it meanwhile.
    pub fn finish_gateway(&mut self, from: i64, state: Gateway) {
        if self.gateway.1 == from {
            self.gateway = (state, from + 1);
        }
    }
}

impl Row {
    fn judge(&mut self, id: i64, verdict: Verdict) {
        for action in &mut self.actions {
            if action.id == id {
                action.verdict = Some(verdict);
            }
        }
    }

    fn write(&mut self, result: &Result, now_ms: i64, sabotage: Option<Sabotage>) {
        let state = &result.state;
        let open = self
            .outages
            .last_mut()
            .filter(|last| last.ended_ms.is_none());
        match (open, state.down_since) {
            (Some(_), None) if sabotage == Some(Sabotage::NeverClose) => {}
            (Some(outage), None) => {
                let ended = state
                    .recovered_at
                    .map_or(result.checked_ms, Timestamp::as_ms);
                outage.ended_ms = Some(ended.max(outage.started_ms));
            }
            (None, Some(since)) => self.outages.push(Outage {
                started_ms: since.as_ms(),
                committed_ms: now_ms,
                ended_ms: None,
                reason: state.reason.map(|reason| reason.code()),
            }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        // What is stored is all there is.
        if result.is_settled {
            let at = Timestamp::from_ms(result.checked_ms);
            self.state = self.stored.clone().settled(at);
        } else {
            let stored = serde_json::to_string(state).ok();
            let read = stored.and_then(|text| serde_json::from_str(&text).ok());
            self.stored = read.unwrap_or_default();
            self.state = self.stored.clone();
        }
        self.version += 1;
    }
}
