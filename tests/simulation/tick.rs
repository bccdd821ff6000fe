//! One tick of the monitor, in virtual time: what `src/tick.rs` does, over the model of the gateway
//! and of the database. Whatever decides is the monitor's own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::monitor::{
    Ack, Action, Check, Conclusion, Decision, Fault, Gateway, Observation, Tally, Timestamp, Visit,
    Visited, conclude,
};

use super::World;
use super::ask::{ask, exchange};
use super::database::{Claim, Result, Wanted};
use super::fate::Place;
use super::sabotage::Sabotage;
use crate::model::Request;

/// Times that a result meets a row that somebody else has just written, before it gives way.
const WRITE_ROUNDS: u32 = 4;

/// What was seen of one claim.
pub struct Seen {
    /// Which instance.
    pub index: usize,
    /// When it was asked for, by the tick's clock.
    pub at_ms: i64,
    /// What was seen.
    pub observation: Observation,
}

/// A tick under way.
pub struct Tick {
    id: u64,
    began_ms: i64,
    now_ms: i64,
    /// When the database answered, and the time that it told.
    read_ms: i64,
    database_ms: i64,
    /// Thousandths of a millisecond by the isolate's monotonic clock, for each that goes by.
    pace: i64,
    /// Whether it has sent anything that changes something.
    acted: bool,
}

/// The tick has died.
pub struct Died;

type Alive<T> = std::result::Result<T, Died>;

impl Tick {
    /// A tick that is triggered at `now_ms`, in an isolate of that pace.
    pub fn new(id: u64, now_ms: i64, pace: i64) -> Self {
        Self {
            id,
            began_ms: now_ms,
            now_ms,
            read_ms: now_ms,
            database_ms: now_ms,
            pace,
            acted: false,
        }
    }

    /// Runs to its end.
    pub fn run(mut self, world: &mut World) -> Alive<()> {
        self.database_call(world, Place::Claiming)?;
        let claims = world.database.begin(self.id, self.now_ms);
        let (before, version) = world.database.gateway.clone();
        let elsewhere = world
            .database
            .open_elsewhere(self.id, self.now_ms, &world.settings);
        self.database_ms = self.now_ms;
        self.database_call(world, Place::Claimed)?;
        self.read_ms = self.now_ms;
        if claims.is_empty() {
            return Ok(());
        }
        let mut root = None;
        if world.database.version.is_none() {
            root = Some(self.root(world)?);
        }
        let looks = self.look(world, &claims)?;
        let mut tally = Tally::default();
        for look in &looks {
            tally.note(look.observation.fault());
        }
        if root.is_none() && tally.wants_root() {
            root = Some(self.root(world)?);
        }
        let visited: Vec<Visited> = looks
            .iter()
            .zip(&claims)
            .map(|(look, claim)| Visited {
                id: claim.index as i64,
                instance: &claim.state,
                attempts: &claim.attempts,
                heard: world.as_heard(claim.heard),
                at: Timestamp::from_ms(look.at_ms),
                observation: &look.observation,
            })
            .collect();
        let visit = Visit {
            gateway: &before,
            finding: tally.finding(root),
            may_act: world.capabilities().may_act,
            open_elsewhere: elsewhere,
            at: self.clock(),
        };
        let (gateway, mut conclusions) = conclude(visit, &visited, &world.settings);
        if let Some(sabotage) = world.sabotage {
            for (claim, conclusion) in claims.iter().zip(&mut conclusions) {
                sabotage.of_conclusion(conclusion, claim.state.status);
            }
        }
        let acks = self.act(world, &wanted(&claims, &conclusions))?;
        if world.sabotage == Some(Sabotage::LogOut) {
            self.log_out(world, &claims, &conclusions);
        }
        let results: Vec<Result> = claims
            .iter()
            .zip(&looks)
            .zip(conclusions)
            .map(|((claim, look), conclusion)| Result {
                is_settled: conclusion.decision == Decision::Nothing
                    && conclusion.verdicts.is_empty()
                    && conclusion
                        .instance
                        .is_settled(&claim.state, Timestamp::from_ms(look.at_ms)),
                index: claim.index,
                fence: claim.fence,
                version: claim.version,
                state: conclusion.instance,
                observation: conclusion.observation,
                checked_ms: look.at_ms,
                verdicts: conclusion.verdicts,
                refused: acks.contains(&(claim.index, Ack::Refused)),
            })
            .collect();
        self.finish(world, results, &looks, (version, gateway))
    }

    /// Writes what was found; what somebody else has written meanwhile is taken as it is now, and
    /// what was seen here is applied to it.
    fn finish(
        &mut self,
        world: &mut World,
        mut results: Vec<Result>,
        looks: &[Seen],
        gateway: (i64, Gateway),
    ) -> Alive<()> {
        let place = if self.acted {
            Place::FinishingActed
        } else {
            Place::Finishing
        };
        let mut gateway = Some(gateway);
        for _ in 0..WRITE_ROUNDS {
            self.database_call(world, place)?;
            let written = world
                .database
                .finish(self.id, &results, self.now_ms, &world.settings);
            if let Some((from, state)) = gateway.take() {
                world.database.finish_gateway(from, state);
            }
            world
                .witness
                .committed(looks, &written, &world.database, self.now_ms);
            // Whether the tick hears of it or not, it is written.
            self.database_call(world, Place::Finished)?;
            results = world.database.stale(results, &written, &world.settings);
            if results.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn log_out(&self, world: &mut World, claims: &[Claim], conclusions: &[Conclusion]) {
        for (claim, conclusion) in claims.iter().zip(conclusions) {
            if conclusion.decision == Decision::AskForQr {
                let path = format!("/instance/logout/{}", world.names[claim.index]);
                let request = Request::new("DELETE", &path, &world.key);
                world.gateway.request(self.now_ms, &request);
            }
        }
    }

    /// Looks at all that is held, at once: the questions are asked in the order of their times.
    fn look(&mut self, world: &mut World, claims: &[Claim]) -> Alive<Vec<Seen>> {
        let capabilities = world.capabilities();
        let began_ms = self.now_ms;
        let at = self.clock();
        let mut checks: Vec<Check> = claims
            .iter()
            .map(|claim| {
                let id = claim.index as i64;
                Check::new(id, &claim.state, at, capabilities, &world.settings)
            })
            .collect();
        let mut queue: BinaryHeap<Reverse<(i64, usize)>> = (0..claims.len())
            .map(|turn| Reverse((began_ms, turn)))
            .collect();
        while let Some(Reverse((at_ms, turn))) = queue.pop() {
            self.now_ms = self.now_ms.max(at_ms);
            let Some(question) = checks[turn].question() else {
                continue;
            };
            self.awaits(world, Place::Looking)?;
            let name = world.names[claims[turn].index].clone();
            let (answer, takes_ms) = ask(world, at_ms, question, &name);
            world.witness.answered(claims[turn].index, at_ms, &answer);
            checks[turn].answer(answer, world.capabilities());
            queue.push(Reverse((at_ms + takes_ms, turn)));
        }
        Ok(checks
            .into_iter()
            .zip(claims)
            .map(|(check, claim)| Seen {
                index: claim.index,
                at_ms: at.as_ms(),
                observation: check.observation(world.capabilities()),
            })
            .collect())
    }

    /// Asks the gateway about itself.
    fn root(&mut self, world: &mut World) -> Alive<std::result::Result<(), Fault>> {
        self.awaits(world, Place::Root)?;
        let (incoming, takes_ms) = exchange(world, self.now_ms, &Request::root());
        self.now_ms += takes_ms;
        Ok(
            match incoming.and_then(|incoming| answer::version(&incoming)) {
                Ok(version) => {
                    world.database.version = Some(version.to_string());
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
        )
    }

    /// Does what is granted.
    fn act(&mut self, world: &mut World, wanted: &[Wanted]) -> Alive<Vec<(usize, Ack)>> {
        let elapsed_ms = (self.now_ms - self.began_ms) * self.pace / 1_000;
        if wanted.is_empty() || elapsed_ms >= i64::from(world.settings.tick_budget_ms) {
            return Ok(Vec::new());
        }
        self.database_call(world, Place::Recording)?;
        world.somebody_writes(wanted);
        let granted = world.database.record_actions(self.id, wanted, self.now_ms);
        for each in wanted.iter().filter(|each| granted.contains(&each.index)) {
            let version = world.database.rows[each.index].version;
            world.witness.granted(each, version, self.now_ms);
        }
        self.database_call(world, Place::Granted)?;
        let mut acks = Vec::new();
        let mut longest_ms = 0;
        for each in wanted.iter().filter(|each| granted.contains(&each.index)) {
            self.awaits(world, Place::Acting)?;
            self.acted = true;
            let name = world.names[each.index].clone();
            let request = match each.action {
                Action::Connect => Request::connect(&name, &world.key),
                Action::Restart => Request::restart(&name, &world.key),
            };
            world.witness_action(each, self.now_ms);
            let (incoming, takes_ms) = exchange(world, self.now_ms, &request);
            self.awaits(world, Place::Acted)?;
            longest_ms = longest_ms.max(takes_ms);
            let ack = incoming.map_or(Ack::Lost, |incoming| answer::acted(&incoming));
            acks.push((each.index, ack));
        }
        self.now_ms += longest_ms;
        Ok(acks)
    }

    /// The database's time, carried on by the isolate's own clock.
    fn clock(&self) -> Timestamp {
        let elapsed_ms = (self.now_ms - self.read_ms) * self.pace / 1_000;
        Timestamp::from_ms(self.database_ms + elapsed_ms)
    }

    /// One way of a call to the database.
    fn database_call(&mut self, world: &mut World, place: Place) -> Alive<()> {
        self.now_ms += world.rng.between(5, 100);
        self.awaits(world, place)
    }

    /// One await: the tick may not come back from it.
    fn awaits(&self, world: &mut World, place: Place) -> Alive<()> {
        if world.fate.spares(place) {
            Ok(())
        } else {
            Err(Died)
        }
    }
}

/// The actions that are asked for.
fn wanted(claims: &[Claim], conclusions: &[Conclusion]) -> Vec<Wanted> {
    claims
        .iter()
        .zip(conclusions)
        .filter_map(|(claim, conclusion)| match conclusion.decision {
            Decision::Act(action, grounds) => Some(Wanted {
                index: claim.index,
                fence: claim.fence,
                version: claim.version,
                heard: claim.heard,
                action,
                grounds,
                budgets: conclusion.budgets.clone(),
            }),
            _ => None,
        })
        .collect()
}
