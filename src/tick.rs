//! One sweep: begin, observe, decide, act, finish; again while something is due and there is time.

mod act;
mod gateways;
mod sweep;
mod tell;
mod webhooks;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::future::join;

use crate::alert;
use crate::gateway::address::Reach;
use crate::log;
use crate::monitor::{Instance, Settings, Timestamp};
use crate::report::{InstanceReport, Report};
use crate::store::alerts::{Alerts, Failed, Heartbeat};
use crate::store::check::{Judged, Outcome, Settled};
use crate::store::ledger::Source;
use crate::store::tick::{BeginAnswer, BeginTick, Begun, Caller, Deployment, FinishTick, Scope};
use crate::store::{Store, StoreError};
use crate::web::console;
use crate::web::crypto::random_uuid;
use crate::web::performance::now_ms;
use gateways::Known;
use sweep::Swept;

/// Times that a result meets a row that somebody else has just written, before it gives way.
pub(crate) const WRITE_ROUNDS: u32 = 4;

/// What a trigger asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Names the first tick, and the run to its caller.
    pub tick_id: String,
    /// How the caller proves that it may.
    pub caller: Caller,
    /// Who triggers.
    pub source: Source,
    /// Limits the run to one organization.
    pub organization_id: Option<String>,
    /// Whether somebody waits for the report.
    pub report: bool,
    /// Whether it is a later sweep of a call that asked for several.
    pub follow_up: bool,
    /// Where gateways may live.
    pub reach: Reach,
    /// What the function knows of itself.
    pub deployment: Deployment,
}

impl Order {
    /// The same, for the next sweep of the same call: a run of its own.
    #[must_use]
    pub fn follow_up(&self) -> Self {
        Self {
            tick_id: random_uuid(),
            follow_up: true,
            ..self.clone()
        }
    }

    /// Begins the tick of this id.
    ///
    /// # Errors
    /// [`StoreError`], where the database gives no answer.
    pub async fn begin(&self, store: &Store, tick_id: &str) -> Result<BeginAnswer, StoreError> {
        store
            .begin_tick(&BeginTick {
                tick_id,
                run_id: &self.tick_id,
                caller: &self.caller,
                source: self.source,
                organization_id: self.organization_id.as_deref(),
                report: self.report,
                follow_up: self.follow_up,
                deployment: &self.deployment,
            })
            .await
    }
}

/// The database's clock, carried on by the isolate's monotonic one.
#[derive(Clone, Copy, Debug)]
struct Clock {
    database_ms: i64,
    read_at_ms: f64,
}

impl Clock {
    /// The clock as of an answer that has just arrived.
    fn read(database_ms: i64) -> Self {
        Self {
            database_ms,
            read_at_ms: now_ms(),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "an elapsed time is small")]
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.database_ms).plus_ms((now_ms() - self.read_at_ms) as i64)
    }
}

/// What the ticks of a run have in common.
struct Run<'a> {
    store: &'a Store,
    order: &'a Order,
    settings: Settings,
    /// Where our receiver of webhooks is.
    receiver_url: Option<String>,
    /// Whether the database takes checks that found nothing new as such.
    takes_settled: bool,
    started_ms: f64,
    /// What is known of each gateway, by URL.
    gateways: RefCell<BTreeMap<String, Known>>,
}

/// Does the work of a trigger whose first tick has begun.
pub async fn run(store: &Store, order: &Order, begun: Begun) -> Report {
    let run = Run {
        store,
        order,
        settings: begun.settings.clone(),
        receiver_url: begun.receiver_url.clone(),
        takes_settled: begun.takes_settled,
        started_ms: now_ms(),
        gateways: RefCell::default(),
    };
    if !begun.instances.is_empty() {
        console::log(&log::starting(order.organization_id.as_deref()));
    }
    let started_at = begun.now.clone();
    let done = run.ticks(begun).await;
    for line in log::lines(&done.told) {
        console::log(&line);
    }
    // What is told was written before, and whoever is slow to hear it keeps nothing else waiting.
    join(run.tell(done.alerts), run.beat(done.heartbeat)).await;
    Report {
        success: done.error.is_none(),
        tick_id: order.tick_id.clone(),
        started_at,
        duration_ms: (now_ms() - run.started_ms).round(),
        trigger: order.source.name(),
        checked: done.checked.len(),
        carried_over: done.scope.due,
        database_round_trips: store.round_trips(),
        gateways: run.gateways_report(),
        instances: done
            .scope
            .instances
            .into_iter()
            .map(|instance| {
                let checked_now = done.checked.contains(&instance.id);
                InstanceReport::new(instance, checked_now)
            })
            .collect(),
        error: done.error.map(|error| error.to_string()),
    }
}

/// What the ticks of a run came to.
#[derive(Default)]
struct Done {
    told: Vec<log::Checked>,
    checked: HashSet<i64>,
    scope: Scope,
    /// What somebody is to be told, by the tick of this id.
    alerts: Option<(String, Result<Alerts, Failed>)>,
    /// The sign of life that is to be given, by the tick of this id.
    heartbeat: Option<(String, Result<Heartbeat, Failed>)>,
    error: Option<StoreError>,
}

impl Run<'_> {
    /// Milliseconds since the run began.
    fn elapsed_ms(&self) -> f64 {
        now_ms() - self.started_ms
    }

    /// Whether work may still be started.
    fn has_time(&self) -> bool {
        self.elapsed_ms() < f64::from(self.settings.tick_budget_ms)
    }

    /// Milliseconds that a request may take from now on: what was started in time is finished, and
    /// no later than one request after the budget.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    fn timeout_ms(&self) -> u32 {
        let end = f64::from(self.settings.tick_budget_ms + self.settings.request_timeout_ms);
        let left = (end - self.elapsed_ms()).max(0.0) as u32;
        left.min(self.settings.request_timeout_ms)
    }

    /// Ticks until nothing is due or the time is up.
    async fn ticks(&self, begun: Begun) -> Done {
        let mut done = Done::default();
        let mut tick_id = self.order.tick_id.clone();
        let mut begun = begun;
        loop {
            let last = match self.tick(&tick_id, begun, &mut done).await {
                Ok(last) => last,
                Err(error) => {
                    done.error = Some(error);
                    true
                }
            };
            if last {
                return done;
            }
            tick_id = random_uuid();
            begun = match self.order.begin(self.store, &tick_id).await {
                Ok(BeginAnswer::Accepted(begun)) => begun,
                // The token was revoked, or the organization removed, between two ticks.
                Ok(_) => return done,
                Err(error) => {
                    done.error = Some(error);
                    return done;
                }
            };
        }
    }

    /// One tick. Says whether it was the last.
    async fn tick(&self, tick_id: &str, begun: Begun, done: &mut Done) -> Result<bool, StoreError> {
        if begun.report.is_some() || (begun.instances.is_empty() && !self.order.report) {
            done.scope = begun.report.unwrap_or_default();
            if begun.alerts_due || begun.heartbeat_due {
                self.claim(tick_id, begun.heartbeat_due, done).await;
            }
            return Ok(true);
        }
        for lost in begun.instances.iter().filter(|each| each.state.is_lost) {
            console::error(&log::memory_lost(&lost.organization_id));
        }
        let clock = Clock::read(begun.now_ms);
        let mut swept = self.sweep(&begun, clock).await;
        self.act(tick_id, &begun.instances, &mut swept.checks).await;
        let more_due = begun.more_due.unwrap_or(false);
        let last = !more_due || !swept.carried_over.is_empty() || !self.has_time();
        let told = self.finish(tick_id, swept, last, done).await?;
        done.told.extend(told);
        Ok(last)
    }

    /// Writes what was found. A row that somebody else has written meanwhile is taken as it is now
    /// and what was observed here is applied to it: neither is lost. Gives what the log is to say.
    async fn finish(
        &self,
        tick_id: &str,
        swept: Swept,
        last: bool,
        done: &mut Done,
    ) -> Result<Vec<log::Checked>, StoreError> {
        let report = last && self.order.report;
        let (mut results, mut unchanged) = (Vec::new(), Vec::new());
        let mut observations = HashMap::new();
        let mut told = Vec::new();
        for checked in swept.checks {
            let list = if self.takes_settled && checked.is_settled() {
                &mut unchanged
            } else {
                &mut results
            };
            observations.insert(checked.outcome.id, checked.observation);
            list.push(checked.outcome);
            told.push(checked.told);
        }
        let (mut carried_over, mut gateways) = (&*swept.carried_over, &*swept.gateways);
        for _ in 0..WRITE_ROUNDS {
            let settled: Vec<_> = unchanged.iter().map(Settled::from).collect();
            let finished = self
                .store
                .finish_tick(&FinishTick {
                    tick_id,
                    organization_id: self.order.organization_id.as_deref(),
                    report,
                    results: &results,
                    settled: &settled,
                    carried_over,
                    gateways,
                    max_alerts: if last { alert::MAX_PER_RUN } else { 0 },
                    heartbeat: last,
                })
                .await?;
            done.checked.extend(finished.written);
            if let Some(scope) = finished.report {
                done.scope = scope;
            }
            if finished.stale.is_empty() {
                done.alerts = finished.alerts.map(|alerts| (tick_id.to_owned(), alerts));
                done.heartbeat = finished.heartbeat.map(|beat| (tick_id.to_owned(), beat));
                return Ok(told);
            }
            (carried_over, gateways) = (&[], &[]);
            results = finished
                .stale
                .into_iter()
                .filter_map(|stale| {
                    let mut mine = results.iter().chain(&unchanged);
                    let mine = mine.find(|outcome| outcome.id == stale.id)?;
                    let observation = observations.get(&stale.id)?;
                    let at = Timestamp::from_ms(mine.checked_ms);
                    let state = stale.state.value.observe(observation, at, &self.settings);
                    // What was made worse is found out once.
                    let worse = mine.verdicts.iter().any(Judged::is_worse);
                    let state = Instance {
                        halted_at: state.halted_at.or(mine.state.halted_at.filter(|_| worse)),
                        ..state
                    };
                    let claim = (mine.id, mine.fence, stale.version);
                    let profile = observation.profile();
                    Some(Outcome {
                        decision: mine.decision,
                        ack: mine.ack,
                        verdicts: mine.verdicts.clone(),
                        webhook: mine.webhook.clone(),
                        ..Outcome::new(claim, at, state, mine.asked, profile)
                    })
                })
                .collect();
            unchanged.clear();
        }
        Err(StoreError::Contended)
    }
}
