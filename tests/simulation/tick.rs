//! One tick of the monitor, in virtual time: what `src/tick.rs` does, over the model of the gateway
//! and of the database. Whatever decides is the monitor's own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::gateway::evolution::version::Version;
use whatsapp_monitor::monitor::{
    Ack, Action, Answer, Check, ConfigFault, Decision, Fault, GatewayFault, MemoryState,
    Observation, Question, Tally, Timestamp, Visit, Visited, conclude,
};
use whatsapp_monitor::web::fetch::Incoming;

use super::World;
use super::database::{Claim, Result, Wanted};
use super::sabotage::Sabotage;
use crate::model::{Failure, Request};

/// An instance name that nobody has.
const NO_SUCH_INSTANCE: &str = "whatsapp-monitor-no-such-instance";

/// What was seen of one claim.
pub struct Seen {
    /// Which instance.
    pub index: usize,
    /// When it was asked for.
    pub at_ms: i64,
    /// What was seen.
    pub observation: Observation,
}

/// A tick under way.
pub struct Tick {
    id: u64,
    /// The tick's own time.
    now_ms: i64,
    /// Awaits that are left before it dies.
    awaits_left: Option<u32>,
}

/// The tick has died.
pub struct Died;

type Alive<T> = std::result::Result<T, Died>;

impl Tick {
    /// A tick that is triggered at `now_ms` and dies at its so manieth await, if at all.
    pub fn new(id: u64, now_ms: i64, dies_at: Option<u32>) -> Self {
        Self {
            id,
            now_ms,
            awaits_left: dies_at,
        }
    }

    /// Runs to its end.
    pub fn run(mut self, world: &mut World) -> Alive<()> {
        self.database_takes(world)?;
        let claims = world.database.begin(self.id, self.now_ms);
        let (before, version) = world.database.gateway.clone();
        let elsewhere = world
            .database
            .open_elsewhere(self.id, self.now_ms, &world.settings);
        self.database_answers(world)?;
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
                heard: world.heard[claim.index],
                at: Timestamp::from_ms(look.at_ms),
                observation: &look.observation,
            })
            .collect();
        let visit = Visit {
            gateway: &before,
            finding: tally.finding(root),
            may_act: world.capabilities().may_act,
            open_elsewhere: elsewhere,
            at: Timestamp::from_ms(self.now_ms),
        };
        let (gateway, mut conclusions) = conclude(visit, &visited, &world.settings);
        if let Some(sabotage) = world.sabotage {
            for (claim, conclusion) in claims.iter().zip(&mut conclusions) {
                sabotage.of_conclusion(conclusion, claim.state.status);
            }
        }

        let wanted: Vec<Wanted> = claims
            .iter()
            .zip(&conclusions)
            .filter_map(|(claim, conclusion)| match conclusion.decision {
                Decision::Act(action, grounds) => Some(Wanted {
                    index: claim.index,
                    fence: claim.fence,
                    action,
                    grounds,
                    budgets: conclusion.budgets.clone(),
                }),
                _ => None,
            })
            .collect();
        let acks = self.act(world, &wanted)?;
        if world.sabotage == Some(Sabotage::LogOut) {
            for (claim, conclusion) in claims.iter().zip(&conclusions) {
                if conclusion.decision == Decision::AskForQr {
                    let path = format!("/instance/logout/{}", world.names[claim.index]);
                    let request = Request::new("DELETE", &path, &world.key);
                    world.gateway.request(self.now_ms, &request);
                }
            }
        }
        let results: Vec<Result> = claims
            .iter()
            .zip(&looks)
            .zip(conclusions)
            .map(|((claim, look), conclusion)| Result {
                index: claim.index,
                fence: claim.fence,
                version: claim.version,
                state: conclusion.instance,
                checked_ms: look.at_ms,
                verdicts: conclusion.verdicts,
                refused: acks.contains(&(claim.index, Ack::Refused)),
            })
            .collect();
        self.database_takes(world)?;
        let written = world
            .database
            .finish(self.id, &results, self.now_ms, &world.settings);
        world.database.finish_gateway(version, gateway);
        world
            .witness
            .committed(&looks, &written, &world.database, self.now_ms);
        // Whether the tick hears of it or not, it is written.
        self.database_answers(world)
    }

    /// Looks at all that is held, at once: the questions are asked in the order of their times.
    fn look(&mut self, world: &mut World, claims: &[Claim]) -> Alive<Vec<Seen>> {
        let capabilities = world.capabilities();
        let began_ms = self.now_ms;
        let mut checks: Vec<Check> = claims
            .iter()
            .map(|claim| {
                let at = Timestamp::from_ms(began_ms);
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
            self.awaits()?;
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
                at_ms: began_ms,
                observation: check.observation(world.capabilities()),
            })
            .collect())
    }

    /// Asks the gateway about itself.
    fn root(&mut self, world: &mut World) -> Alive<std::result::Result<(), Fault>> {
        self.awaits()?;
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
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.database_takes(world)?;
        let lax = world.sabotage.is_some_and(Sabotage::is_lax);
        let granted = world
            .database
            .record_actions(self.id, wanted, self.now_ms, lax);
        for index in &granted {
            world.witness.granted(*index, self.now_ms);
        }
        self.database_answers(world)?;
        let mut acks = Vec::new();
        let mut longest_ms = 0;
        for each in wanted.iter().filter(|each| granted.contains(&each.index)) {
            self.awaits()?;
            let name = world.names[each.index].clone();
            let request = match each.action {
                Action::Connect => Request::connect(&name, &world.key),
                Action::Restart => Request::restart(&name, &world.key),
            };
            world.witness_action(each, self.now_ms);
            let (incoming, takes_ms) = exchange(world, self.now_ms, &request);
            longest_ms = longest_ms.max(takes_ms);
            let ack = incoming.map_or(Ack::Lost, |incoming| answer::acted(&incoming));
            acks.push((each.index, ack));
        }
        self.now_ms += longest_ms;
        Ok(acks)
    }

    /// A call goes to the database.
    fn database_takes(&mut self, world: &mut World) -> Alive<()> {
        self.now_ms += world.rng.between(5, 100);
        self.awaits()
    }

    /// Its answer comes back.
    fn database_answers(&mut self, world: &mut World) -> Alive<()> {
        self.now_ms += world.rng.between(5, 100);
        self.awaits()
    }

    /// One await: the tick may not come back from it.
    fn awaits(&mut self) -> Alive<()> {
        match &mut self.awaits_left {
            Some(0) => Err(Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A request and its answer, within the time that a request may take.
fn exchange(
    world: &mut World,
    at_ms: i64,
    request: &Request,
) -> (std::result::Result<Incoming, Fault>, i64) {
    let limit_ms = i64::from(world.settings.request_timeout_ms);
    let (seen, takes_ms) = world.gateway.request(at_ms, request).within(limit_ms);
    let incoming = seen
        .map(|(status, body)| Incoming { status, body })
        .map_err(|failure| {
            match failure {
                Failure::Refused => GatewayFault::Refused,
                Failure::Broken => GatewayFault::Broken,
                Failure::TimedOut => GatewayFault::TimedOut,
            }
            .into()
        });
    (incoming, takes_ms)
}

fn ask(world: &mut World, at_ms: i64, question: Question, name: &str) -> (Answer, i64) {
    let key = world.key.clone();
    match question {
        Question::State | Question::StateAgain => {
            let (state, takes_ms) = state(world, at_ms, name);
            (Answer::State(state), takes_ms)
        }
        Question::Row => {
            let (incoming, takes_ms) = exchange(world, at_ms, &Request::row(name, &key));
            let row = incoming.and_then(|incoming| answer::row(&incoming, name));
            (Answer::Row(row.unwrap_or_default()), takes_ms)
        }
        Question::AlwaysOnline => {
            let path = format!("/settings/find/{name}");
            let (incoming, takes_ms) = exchange(world, at_ms, &Request::new("GET", &path, &key));
            let always = incoming
                .ok()
                .and_then(|incoming| answer::always_online(&incoming));
            (Answer::AlwaysOnline(always), takes_ms)
        }
        Question::Socket => {
            let presence = match world.sabotage {
                Some(Sabotage::ShowOnline) => "available",
                _ => "unavailable",
            };
            let request = Request::set_presence(name, &key, presence);
            let (incoming, takes_ms) = exchange(world, at_ms, &request);
            let socket = incoming.ok().and_then(|incoming| answer::socket(&incoming));
            (Answer::Socket(socket), takes_ms)
        }
    }
}

/// The live state; a 401 is confirmed, as `Evolution` does.
fn state(
    world: &mut World,
    at_ms: i64,
    name: &str,
) -> (std::result::Result<MemoryState, Fault>, i64) {
    let key = world.key.clone();
    let asked = |world: &mut World, at_ms, name: &str| {
        let (incoming, takes_ms) = exchange(world, at_ms, &Request::connection_state(name, &key));
        let state = incoming.and_then(|incoming| answer::connection_state(&incoming));
        (state, takes_ms)
    };
    let (state, takes_ms) = asked(world, at_ms, name);
    if state != Err(Fault::Config(ConfigFault::WrongKey)) {
        return (state, takes_ms);
    }
    let (again, more_ms) = asked(world, at_ms + takes_ms, NO_SUCH_INSTANCE);
    let fault = match again {
        Err(Fault::Gateway(GatewayFault::ServerError(_))) => GatewayFault::DatabaseDown.into(),
        Err(Fault::Gateway(_)) => GatewayFault::KeyUnconfirmed.into(),
        _ => ConfigFault::WrongKey.into(),
    };
    (Err(fault), takes_ms + more_ms)
}

/// What the version says, where it is known.
pub fn capabilities(version: Option<&str>) -> whatsapp_monitor::monitor::Capabilities {
    version
        .and_then(Version::parse)
        .map(|version| version.capabilities())
        .unwrap_or_default()
}
