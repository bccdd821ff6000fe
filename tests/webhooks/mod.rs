//! The slot of one instance, all that is known of it, and a virtual clock.

use std::collections::{BTreeMap, BTreeSet};

use whatsapp_monitor::gateway::evolution::version::Version;
use whatsapp_monitor::monitor::webhook::{
    Conclusion, Due, Finding, Hook, Known, Memory, Occasion, Policy, SECRET_HEADER, Set,
};
use whatsapp_monitor::monitor::{Heard, Timestamp, Verdict, Webhooks};

mod properties;
mod times;
mod versions;

pub const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);
pub const OURS: &str = "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook";
pub const THEIRS: &str = "https://n8n.example/webhook/abc?key=1";
pub const SOMEBODYS: &str = "https://somebody.example/hook";
pub const SECRET: &str = "first-secret";
pub const WANTED: [&str; 6] = [
    "CONNECTION_UPDATE",
    "QRCODE_UPDATED",
    "STATUS_INSTANCE",
    "LOGOUT_INSTANCE",
    "REMOVE_INSTANCE",
    "MESSAGES_UPSERT",
];

/// How a version takes webhooks.
pub fn webhooks(version: &str) -> Webhooks {
    let version = Version::parse(version).expect("a version");
    version.capabilities().webhooks.expect("one that is known")
}

pub fn texts(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What we set by default.
pub fn ours() -> Hook {
    Hook {
        headers: BTreeMap::from([(SECRET_HEADER.to_owned(), SECRET.to_owned())]),
        ..hook(OURS)
    }
}

/// A webhook that leads to `url`, and has nothing in particular.
pub fn hook(url: &str) -> Hook {
    Hook {
        enabled: true,
        url: url.to_owned(),
        events: texts(&WANTED),
        ..Hook::default()
    }
}

/// The row that the gateway writes over a webhook when it restarts (#2694).
pub fn wiped() -> Hook {
    Hook {
        enabled: true,
        ..Hook::default()
    }
}

/// An instance that is open, and its slot.
#[derive(Clone, Debug)]
pub struct World {
    pub id: i64,
    pub policy: Policy,
    pub receiver: Option<String>,
    pub setting_url: Option<String>,
    pub own_url: Option<String>,
    pub own_events: Vec<String>,
    pub secret: String,
    pub storm_until: Option<Timestamp>,
    pub heard: Heard,
    pub sets: Vec<Set>,
    pub memory: Memory,
    pub webhooks: Webhooks,
    pub now: Timestamp,
    /// What is in the slot.
    pub slot: Option<Hook>,
    /// Whether the gateway refuses what is set.
    pub refuses: bool,
}

impl World {
    /// An instance on a gateway of this version, with nothing in its slot.
    pub fn of(version: &str) -> Self {
        Self {
            id: 7,
            policy: Policy::Manage,
            receiver: Some(OURS.to_owned()),
            setting_url: None,
            own_url: None,
            own_events: Vec::new(),
            secret: SECRET.to_owned(),
            storm_until: None,
            heard: Heard::default(),
            sets: Vec::new(),
            memory: Memory::default(),
            webhooks: webhooks(version),
            now: NOON,
            slot: None,
            refuses: false,
        }
    }

    pub fn new() -> Self {
        Self::of("2.3.6")
    }

    /// One with this in its slot.
    pub fn with(slot: Hook) -> Self {
        Self {
            slot: Some(slot),
            ..Self::new()
        }
    }

    /// One whose webhook we have set and found right, an hour ago.
    pub fn settled() -> Self {
        let mut world = Self::new();
        assert_eq!(world.look(), (Finding::Empty, Some(Occasion::Empty)));
        assert_eq!(world.look(), (Finding::Right, None));
        world.wait_s(3_600);
        assert_eq!(world.look(), (Finding::Right, None));
        world
    }

    pub fn known(&self) -> Known<'_> {
        Known {
            id: self.id,
            policy: self.policy,
            check_every_s: 300,
            receiver: self.receiver.as_deref(),
            setting_url: self.setting_url.as_deref(),
            own_url: self.own_url.as_deref(),
            own_events: &self.own_events,
            secret: &self.secret,
            storm_until: self.storm_until,
            heard: self.heard,
            sets: &self.sets,
            memory: &self.memory,
            webhooks: self.webhooks,
        }
    }

    pub fn wait_s(&mut self, seconds: i64) {
        self.now = self.now.plus_ms(seconds * 1_000);
    }

    /// Whether it is time for a look at an instance that has been open for a while.
    pub fn is_due(&self) -> bool {
        self.known().due(false, self.now) == Due::Look
    }

    /// What follows from what is in the slot.
    pub fn conclude(&self) -> Conclusion {
        let conclusion = self.known().conclude(Ok(self.slot.as_ref()), self.now);
        conclusion.expect("somewhere to go")
    }

    /// Looks, and does what follows from it: what was found, and why it was set.
    pub fn look(&mut self) -> (Finding, Option<Occasion>) {
        let conclusion = self.conclude();
        self.apply(conclusion)
    }

    /// The gateway does not tell what is in the slot.
    pub fn look_in_vain(&mut self) -> (Finding, Option<Occasion>) {
        let conclusion = self.known().conclude(Err(()), self.now);
        self.apply(conclusion.expect("somewhere to go"))
    }

    /// What the tick and the database do with a conclusion.
    fn apply(&mut self, conclusion: Conclusion) -> (Finding, Option<Occasion>) {
        for (id, verdict) in conclusion.verdicts {
            let set = self.sets.iter_mut().find(|set| set.id == id);
            let set = set.expect("one that was set");
            assert_eq!(set.verdict.replace(verdict), None, "judged once");
        }
        self.memory = conclusion.memory;
        let finding = self.memory.finding.expect("a finding");
        let Some(repair) = conclusion.repair else {
            return (finding, None);
        };
        for budget in repair.occasion.budgets() {
            let window_ms = i64::from(budget.window_s) * 1_000;
            let within = |set: &&Set| self.now.ms_since(set.at) < window_ms;
            let spent = self.sets.iter().filter(within).count();
            assert!(spent < budget.max as usize, "{budget:?} of {:?}", self.sets);
        }
        self.sets.push(Set {
            id: i64::try_from(self.sets.len()).expect("few"),
            at: self.now,
            occasion: Some(repair.occasion),
            verdict: self.refuses.then_some(Verdict::Refused),
        });
        self.memory.set_url = repair.hook.shown_url();
        if !self.refuses {
            self.slot = Some(repair.hook);
        }
        (finding, Some(repair.occasion))
    }

    /// What came of each that was set.
    pub fn verdicts(&self) -> Vec<Option<Verdict>> {
        self.sets.iter().map(|set| set.verdict).collect()
    }

    /// What is in the slot, where something is.
    pub fn hook(&self) -> &Hook {
        self.slot.as_ref().expect("something in the slot")
    }
}
