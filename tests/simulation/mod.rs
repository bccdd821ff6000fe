//! The monitor's own core against the model of a gateway, under one virtual clock: seeded, and the
//! same byte for byte when it runs again.

mod database;
pub mod sabotage;
mod tick;
pub mod witness;

use whatsapp_monitor::monitor::{Capabilities, Grounds, Heard, Settings, Timestamp, Verdict};

use crate::model::{Config, Cure, Fault, Gateway, Reception, Rng, Unreachable, Whom};
pub use database::Outage;
use database::{Database, Wanted};
use sabotage::Sabotage;
use tick::Tick;
use witness::Witness;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Where our events go.
const RECEIVER: &str = "https://project.example/functions/v1/rendizy-server/whatsapp/webhook";

/// How the triggers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// Every 30 s, a second early or late.
    Punctual,
    /// Early, late, doubled, missing; and ticks die at any await.
    Wild,
}

/// What one simulated day is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All chance comes from it.
    pub seed: u64,
    /// Instances of the one gateway.
    pub instances: usize,
    /// Whether our webhook is configured and its events reach us.
    pub webhooks: bool,
    /// How the triggers come.
    pub triggers: Triggers,
    /// Minutes between two faults, on average; 0 for none.
    pub fault_every_min: i64,
    /// A rule that is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl Plan {
    /// A day that is drawn from a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        Self {
            seed,
            instances: 1 + rng.below(5),
            webhooks: rng.one_in(2),
            triggers: if rng.one_in(2) {
                Triggers::Punctual
            } else {
                Triggers::Wild
            },
            fault_every_min: *rng.pick(&[15, 45, 120]),
            sabotage: None,
        }
    }
}

/// What a day came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken.
    pub violations: Vec<witness::Violation>,
    /// Checks that were committed.
    pub checks: u64,
    /// Actions that were sent.
    pub actions: u32,
    /// Double sockets by the grounds of the `connect` that made them, and how many of the actions
    /// were judged to have made things worse.
    pub doubles: Vec<Grounds>,
    /// Double sockets whose action was not judged so in time.
    pub unjudged: u32,
    /// A digest of all that happened.
    pub digest: u64,
}

/// The monitor and its gateway.
pub struct World {
    gateway: Gateway,
    database: Database,
    settings: Settings,
    names: Vec<String>,
    key: String,
    rng: Rng,
    heard: Vec<Heard>,
    witness: Witness,
    sabotage: Option<Sabotage>,
    now_ms: i64,
    ticks: u64,
    connects: Vec<(usize, i64, Grounds)>,
}

impl World {
    /// A healthy fleet that was never looked at.
    pub fn new(plan: &Plan) -> Self {
        let mut settings = Settings::default();
        if plan.sabotage == Some(Sabotage::CryWolf) {
            (settings.down_after_checks, settings.down_after_s) = (1, 0);
        }
        let seed = match plan.sabotage {
            Some(Sabotage::RollDice) => plan.seed ^ dice(),
            _ => plan.seed,
        };
        let mut gateway = Gateway::new(Config {
            seed,
            ..Config::default()
        });
        let names: Vec<String> = (0..plan.instances).map(|n| format!("loja-{n}")).collect();
        for name in &names {
            gateway.add_open(name);
            if plan.webhooks {
                gateway.set_webhook(name, RECEIVER);
            }
        }
        Self {
            database: Database::new(plan.instances),
            key: gateway.key().to_owned(),
            witness: Witness::new(plan.instances, &settings),
            heard: vec![Heard::default(); plan.instances],
            rng: Rng::new(seed ^ 0x71c5),
            sabotage: plan.sabotage,
            now_ms: gateway.now_ms(),
            ticks: 0,
            connects: Vec::new(),
            settings,
            names,
            gateway,
        }
    }

    /// One trigger now.
    fn trigger(&mut self, dies_at: Option<u32>) {
        self.listen();
        self.ticks += 1;
        let _ = Tick::new(self.ticks, self.now_ms, dies_at).run(self);
        for received in self.gateway.take_received() {
            self.witness.received(&received);
        }
        self.listen();
    }

    /// Takes the webhooks that have arrived.
    fn listen(&mut self) {
        for delivery in self.gateway.take_deliveries() {
            self.gateway
                .answer_delivery(delivery.id, Reception::Answered(200));
            let index = self
                .names
                .iter()
                .position(|name| *name == delivery.instance);
            let (Some(index), true) = (index, delivery.url.starts_with(RECEIVER)) else {
                continue;
            };
            let arrived = Some(Timestamp::from_ms(delivery.arrives_ms));
            let heard = &mut self.heard[index];
            heard.last_event = heard.last_event.max(arrived);
            if delivery.body["data"]["state"] == "connecting" {
                heard.last_connecting = heard.last_connecting.max(arrived);
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        tick::capabilities(self.database.version.as_deref())
    }

    fn witness_action(&mut self, wanted: &Wanted, at_ms: i64) {
        let heard = self.heard[wanted.index];
        self.connects.push((wanted.index, at_ms, wanted.grounds));
        self.witness.acting(wanted, at_ms, heard);
    }

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
        let neighbour = self.names.iter().enumerate().any(|(other, name)| {
            other != index
                && self
                    .gateway
                    .truth(name)
                    .is_some_and(|truth| truth.connected)
        });
        let live = state.bad.is_some_and(|bad| {
            let since = bad.first.plus_ms(-interval_ms);
            self.heard[index]
                .last_event
                .is_some_and(|last| last >= since)
        });
        let known = neighbour || live;
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

    fn look_at_truth(&mut self) {
        for index in 0..self.names.len() {
            let allowance_ms = self.allowance_ms(index);
            let heard_ms = self.heard[index].last_connecting.map(Timestamp::as_ms);
            if let Some(truth) = self.gateway.truth(&self.names[index]) {
                self.witness
                    .curable(index, &truth, allowance_ms, heard_ms, self.now_ms);
            }
        }
    }
}

/// A number that is another one each time: what must not be in a simulation.
fn dice() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DICE: AtomicU64 = AtomicU64::new(1);
    DICE.fetch_add(1, Ordering::Relaxed)
}

/// Plays one day, then an hour without faults, and gives what was seen.
pub fn play(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    let mut chance = Rng::new(plan.seed ^ 0xfa17);
    let end_ms = world.now_ms + DAY_MS;
    let mut next_fault_ms = world.now_ms + 10 * MINUTE_MS;
    let mut next_trigger_ms = world.now_ms + 5_000;
    let mut under_way: Vec<(i64, Fault)> = Vec::new();
    while world.now_ms < end_ms {
        let ends_ms = under_way.iter().map(|(at_ms, _)| *at_ms).min();
        let next_ms = next_trigger_ms
            .min(next_fault_ms)
            .min(ends_ms.unwrap_or(i64::MAX));
        world.now_ms = next_ms.max(world.gateway.now_ms());
        if ends_ms == Some(next_ms) {
            let (ended, kept) = under_way
                .into_iter()
                .partition(|(at_ms, _)| *at_ms <= next_ms);
            under_way = kept;
            let ended: Vec<(i64, Fault)> = ended;
            for (_, fault) in ended {
                world.gateway.heal(world.now_ms, &fault);
            }
        } else if next_fault_ms == next_ms {
            let fault = Fault::draw(&mut chance, &world.names);
            let lasts_ms = chance.between(20_000, 40 * MINUTE_MS);
            if plan.fault_every_min > 0 {
                world.gateway.inflict(world.now_ms, &fault);
                under_way.push((world.now_ms + lasts_ms, fault));
            }
            let mean_ms = plan.fault_every_min.max(1) * MINUTE_MS;
            next_fault_ms += chance.between(mean_ms / 4, 2 * mean_ms);
        } else {
            let (delay_ms, times, dies_at) = draw_trigger(plan.triggers, &mut chance);
            for _ in 0..times {
                world.trigger(dies_at);
            }
            if plan.triggers == Triggers::Punctual {
                world.look_at_truth();
            }
            next_trigger_ms = (next_trigger_ms + delay_ms).max(world.now_ms + 1_000);
        }
    }
    for (_, fault) in under_way {
        world.gateway.heal(world.now_ms, &fault);
    }
    settle(&mut world);
    finish(world)
}

/// Interrupts one healthy instance for so long, by a WhatsApp that cannot be reached, and gives the
/// outages that are told of.
pub fn interrupt(plan: &Plan, phase_ms: i64, length_ms: i64) -> Vec<Outage> {
    let mut world = World::new(plan);
    let mut chance = Rng::new(plan.seed ^ 0xfa17);
    let fault = Fault::Unreachable(Whom::All, Unreachable::Unresolvable);
    let begins_ms = world.now_ms + 3 * MINUTE_MS + phase_ms;
    let ends_ms = begins_ms + length_ms;
    let until_ms = ends_ms + 5 * MINUTE_MS;
    let mut next_trigger_ms = world.now_ms;
    let mut to_come = vec![(ends_ms, false), (begins_ms, true)];
    while next_trigger_ms < until_ms {
        if let Some((at_ms, begins)) = to_come.pop_if(|(at_ms, _)| *at_ms <= next_trigger_ms) {
            if begins {
                world.gateway.inflict(at_ms, &fault);
                let dropped = Fault::Drop(world.names[0].clone(), 428);
                world.gateway.inflict(at_ms, &dropped);
            } else {
                world.gateway.heal(at_ms, &fault);
            }
            continue;
        }
        world.now_ms = next_trigger_ms.max(world.gateway.now_ms());
        // Two services that call at once, or a little after each other.
        let gap_ms = if plan.triggers == Triggers::Wild {
            chance.between(1_000, 20_000)
        } else {
            30_000
        };
        world.trigger(None);
        next_trigger_ms += gap_ms;
    }
    world.database.rows.swap_remove(0).outages
}

/// When the next trigger comes, how often at once, and where its tick dies.
fn draw_trigger(triggers: Triggers, chance: &mut Rng) -> (i64, u32, Option<u32>) {
    match triggers {
        Triggers::Punctual => (30_000 + chance.between(-900, 900), 1, None),
        Triggers::Wild => {
            let delay_ms = match chance.below(60) {
                0 => chance.between(2, 20) * MINUTE_MS,
                1..=5 => chance.between(31_000, 80_000),
                6..=12 => chance.between(5_000, 29_000),
                _ => 30_000 + chance.between(-2_000, 2_000),
            };
            let times = if chance.one_in(8) { 2 } else { 1 };
            let dies_at = chance
                .one_in(25)
                .then(|| u32::try_from(chance.below(16)).unwrap_or(0));
            (delay_ms, times, dies_at)
        }
    }
}

/// The slow probe's time and two intervals, punctually; then all must agree.
fn settle(world: &mut World) {
    let wait_ms =
        i64::from(world.settings.probe_every_s) * 1_000 + 2 * world.settings.interval_ms();
    let until_ms = world.now_ms + wait_ms;
    while world.now_ms < until_ms {
        world.now_ms = (world.now_ms + 30_000).max(world.gateway.now_ms());
        world.trigger(None);
    }
    for index in 0..world.names.len() {
        let state = &world.database.rows[index].state;
        if let Some(truth) = world.gateway.truth(&world.names[index]) {
            world.witness.agrees(index, &truth, state, world.now_ms);
        }
    }
}

fn finish(mut world: World) -> Outcome {
    let mut doubles = Vec::new();
    let mut unjudged = 0;
    for double in world.gateway.double_sockets().to_vec() {
        let index = world.names.iter().position(|name| *name == double.instance);
        let made = world
            .connects
            .iter()
            .rev()
            .find(|(at, at_ms, _)| Some(*at) == index && (double.at_ms - at_ms).abs() < 10_000);
        let Some((index, at_ms, grounds)) = made else {
            continue;
        };
        doubles.push(*grounds);
        let still = world
            .gateway
            .truth(&double.instance)
            .is_some_and(|truth| truth.cure == Cure::Operator && truth.doubled);
        let judged = world.database.rows[*index].actions.iter().any(|action| {
            action.at.as_ms() > at_ms - 10_000 && action.verdict == Some(Verdict::MadeWorse)
        });
        if still && !judged {
            unjudged += 1;
        }
    }
    let history = format!("{:?}{:?}", world.gateway.take_history(), world.database);
    Outcome {
        violations: world.witness.violations,
        checks: world.witness.checks,
        actions: world.witness.actions,
        doubles,
        unjudged,
        digest: digest(&history),
    }
}

/// FNV-1a: any change of any byte changes it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
