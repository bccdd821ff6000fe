//! The monitor and its gateway, and whoever else has to do with them.

use whatsapp_monitor::monitor::{Action, Capabilities, Grounds, Heard, Settings};

use super::ask;
use super::census::Double;
use super::database::{Database, Wanted};
use super::ears::{Ears, RECEIVER};
use super::fate::Fate;
use super::plan::{Plan, Triggers};
use super::sabotage::Sabotage;
use super::tick::Tick;
use super::witness::Witness;
use crate::model::{Config, Cure, Fault, Gateway, Process, Request, Rng};

/// The monitor and its gateway.
pub struct World {
    pub gateway: Gateway,
    pub database: Database,
    pub settings: Settings,
    pub names: Vec<String>,
    pub key: String,
    pub rng: Rng,
    pub ears: Ears,
    pub fate: Fate,
    pub witness: Witness,
    pub sabotage: Option<Sabotage>,
    pub now_ms: i64,
    /// Whether people see to what only people can mend, and whether other writers come between.
    pub people: bool,
    pub writers: bool,
    /// What the monitor did, by instance, time and grounds.
    pub connects: Vec<(usize, i64, Grounds)>,
    pub doubles: Vec<Double>,
    pub doubles_seen: usize,
    pub stale: u32,
    pub scans: u32,
    ticks: u64,
}

impl World {
    /// A healthy fleet that was never looked at.
    pub fn new(plan: &Plan) -> Self {
        let mut settings = Settings::default();
        if plan.sabotage == Some(Sabotage::CryWolf) {
            (settings.down_after_checks, settings.down_after_s) = (1, 0);
        }
        if !plan.blind {
            settings.blind_connect_after_s = 0;
        }
        let seed = match plan.sabotage {
            Some(Sabotage::RollDice) => plan.seed ^ dice(),
            _ => plan.seed,
        };
        let mut rng = Rng::new(seed ^ 0x71c5);
        let mut gateway = Gateway::new(Config {
            seed,
            ..Config::default()
        });
        let names: Vec<String> = (0..plan.instances).map(|n| format!("loja-{n}")).collect();
        let witness = Witness::new(plan.instances, &settings);
        for name in &names {
            gateway.add_open(name);
            if plan.webhooks {
                gateway.set_webhook(name, RECEIVER);
            }
            if plan.always_online && rng.one_in(3) {
                gateway.set_always_online(name, true);
            }
        }
        let now_ms = gateway.now_ms();
        if rng.one_in(3) {
            let wrong_ms = rng.between(-86_400_000, 86_400_000);
            gateway.inflict(now_ms, &Fault::Clock(wrong_ms));
        }
        let wild = plan.triggers == Triggers::Wild;
        Self {
            database: Database::new(plan.instances, plan.sabotage),
            key: gateway.key().to_owned(),
            witness,
            ears: Ears::new(seed),
            fate: Fate::new(seed, wild),
            rng,
            sabotage: plan.sabotage,
            now_ms,
            people: plan.people,
            writers: wild,
            connects: Vec::new(),
            doubles: Vec::new(),
            doubles_seen: 0,
            stale: 0,
            scans: 0,
            ticks: 0,
            settings,
            names,
            gateway,
        }
    }

    /// One trigger now, in an isolate whose clock runs as it likes.
    pub fn trigger(&mut self) {
        self.listen();
        self.go_to_the_phone();
        self.ticks += 1;
        let pace = self.rng.between(800, 1_200);
        let _ = Tick::new(self.ticks, self.now_ms, pace).run(self);
        for received in self.gateway.take_received() {
            let about = |name: &&String| received.path.ends_with(&name.replace('-', "%2D"));
            let name = self.names.iter().find(about);
            let always_online = name.is_some_and(|name| self.gateway.is_always_online(name));
            self.witness.received(&received, always_online);
        }
        self.watch_doubles();
    }

    /// Now and then somebody opens the gateway's own page, has a code shown and scans it.
    fn go_to_the_phone(&mut self) {
        if !self.people || self.gateway.process() != Process::Up {
            return;
        }
        for name in self.names.clone() {
            let truth = self.gateway.truth(&name);
            let logged_out =
                truth.is_some_and(|truth| truth.cure == Cure::Person && !truth.session);
            if logged_out && self.rng.one_in(20) {
                let after_ms = self.rng.between(5_000, 200_000);
                self.gateway.person_scans_after(&name, Some(after_ms));
                let request = Request {
                    by: "person",
                    ..Request::connect(&name, &self.key)
                };
                self.gateway.request(self.now_ms, &request);
                self.scans += 1;
            }
        }
    }

    /// Somebody else writes an instance between a decision and its grant.
    pub fn somebody_writes(&mut self, wanted: &[Wanted]) {
        if self.writers && self.rng.one_in(12) {
            self.database.resume(self.rng.pick(wanted).index);
            self.stale += 1;
        }
    }

    /// What a tick makes of what was heard.
    pub fn as_heard(&self, heard: Heard) -> Heard {
        self.sabotage
            .map_or(heard, |sabotage| sabotage.of_heard(heard))
    }

    pub fn capabilities(&self) -> Capabilities {
        ask::capabilities(self.database.version.as_deref())
    }

    pub fn witness_action(&mut self, wanted: &Wanted, at_ms: i64) {
        if wanted.action == Action::Connect {
            self.connects.push((wanted.index, at_ms, wanted.grounds));
        }
        self.witness.acting(wanted, at_ms);
    }
}

/// A number that is another one each time: what must not be in a simulation.
fn dice() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DICE: AtomicU64 = AtomicU64::new(1);
    DICE.fetch_add(1, Ordering::Relaxed)
}
