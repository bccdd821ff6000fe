//! What holds whatever is found in the slot, and in whatever order.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use whatsapp_monitor::monitor::webhook::{Finding, Hook, Memory, Policy, SECRET_HEADER};

use super::{OURS, SOMEBODYS, THEIRS, World, hook, ours, wiped};

/// Where our own webhook leads by the settings, at times.
const SETTING: &str = "https://settings.example/hook";

/// What happens between two looks.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// So many milliseconds go by.
    Wait(i64),
    /// This is in the slot by now.
    Slot(Option<Hook>),
    /// Ours is, and this is done to it.
    Damage(u8),
    /// The gateway does not tell.
    Silence,
    /// The gateway refuses, or no longer.
    Refuses(bool),
    /// The policy is another one.
    Policy(Policy),
    /// The secret is another one.
    Secret(u8),
    /// A storm of so many milliseconds begins.
    Storm(i64),
    /// The user's tables, or the settings, name a URL, or none.
    Named(Option<&'static str>, Option<&'static str>),
}

fn step() -> impl Strategy<Value = Step> {
    let foreign = select(vec![
        SOMEBODYS,
        "http://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook",
        "https://loja.supabase.co@evil.example/",
        "https://loja.supabase.co/functions/v1/rendizy-server",
        "https://n8n.example/webhook/other",
        "not-a-url",
    ])
    .prop_map(|url| Some(hook(url)));
    let slot = prop_oneof![
        2 => foreign,
        1 => select(vec![None, Some(wiped()), Some(ours()), Some(hook(THEIRS)), Some(hook(SETTING))]),
    ];
    let policies = vec![Policy::Manage, Policy::Verify, Policy::Off];
    let own = select(vec![None, None, None, Some(THEIRS)]);
    let setting = select(vec![None, None, None, Some(SETTING)]);
    prop_oneof![
        12 => select(vec![1, 29_999, 30_000, 150_000, 299_999, 300_000, 3_600_000])
            .prop_map(Step::Wait),
        4 => slot.prop_map(Step::Slot),
        4 => any::<u8>().prop_map(Step::Damage),
        1 => Just(Step::Silence),
        1 => any::<bool>().prop_map(Step::Refuses),
        1 => select(policies).prop_map(Step::Policy),
        1 => (0..3_u8).prop_map(Step::Secret),
        1 => select(vec![1, 60_000, 300_000, 900_000]).prop_map(Step::Storm),
        1 => (own, setting).prop_map(|(own, setting)| Step::Named(own, setting)),
    ]
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(ms) => self.now = self.now.plus_ms(*ms),
            Step::Slot(slot) => self.slot.clone_from(slot),
            Step::Damage(bits) => {
                if let Some(slot) = &mut self.slot {
                    slot.enabled = bits & 1 == 0;
                    slot.base64 = bits & 2 != 0;
                    slot.by_events = bits & 4 != 0;
                    if bits & 8 != 0 {
                        slot.headers.clear();
                    }
                    if bits & 16 != 0 {
                        slot.events.pop_first();
                    }
                }
            }
            Step::Silence => {
                self.look_in_vain();
            }
            Step::Refuses(refuses) => self.refuses = *refuses,
            Step::Policy(policy) => self.policy = *policy,
            Step::Secret(number) => self.secret = format!("secret-{number}"),
            Step::Storm(ms) => self.storm_until = Some(self.now.plus_ms(*ms)),
            Step::Named(own, setting) => {
                self.own_url = own.map(str::to_owned);
                self.setting_url = setting.map(str::to_owned);
            }
        }
    }

    /// Whether the slot holds what neither we nor anybody who has a say ever put there.
    fn is_foreign(&self) -> bool {
        let known = [OURS, THEIRS, SETTING];
        self.slot.as_ref().is_some_and(|hook| {
            !hook.url.is_empty() && !known.iter().any(|known| hook.url.starts_with(known))
        })
    }

    /// One look, and what must hold of it.
    fn checked_look(&mut self) -> Result<String, TestCaseError> {
        let foreign = self.is_foreign();
        let before = self.slot.clone();
        let last_set = self.sets.last().map(|set| set.at);
        let (finding, occasion) = self.look();
        let memory = serde_json::to_string(&self.memory).expect("a memory is JSON");
        prop_assert!(!memory.contains(&self.secret), "{memory}");
        let again: Memory = serde_json::from_str(&memory).expect("which is read again");
        prop_assert_eq!(&again, &self.memory);
        prop_assert!(!foreign || finding == Finding::Foreign, "{finding:?}");
        let Some(occasion) = occasion else {
            prop_assert_eq!(&self.slot, &before);
            return Ok(format!("{finding:?}"));
        };
        prop_assert!(self.policy == Policy::Manage && !foreign, "{before:?}");
        prop_assert!(last_set.is_none_or(|last| self.now.ms_since(last) >= 300_000));
        if !self.refuses {
            let hook = self.hook();
            prop_assert!(!hook.events.is_empty(), "which would be all of them");
            let secret = hook.url.contains("secret") || hook.headers.contains_key(SECRET_HEADER);
            prop_assert_eq!(secret, hook.url.starts_with(OURS), "{:?}", hook);
            prop_assert_eq!(self.conclude().memory.finding, Some(Finding::Right));
        }
        Ok(format!("{occasion:?} set"))
    }
}

/// Whatever is found, in whatever order: what is somebody else's is never written over, nothing is
/// set twice in five minutes, and what is set is right.
#[test]
fn somebody_elses_webhook_is_never_touched_and_nothing_is_set_twice_in_five_minutes() {
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: 3_000,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let version = select(vec!["1.8.2", "2.0.10", "2.1.0", "2.3.6"]);
    let steps = prop::collection::vec(step(), 1..60);
    let held = runner.run(&(version, steps), |(version, steps)| {
        let mut world = World::of(version);
        for step in &steps {
            world.step(step);
            let told = world.checked_look()?;
            *seen.borrow_mut().entry(told).or_default() += 1;
        }
        Ok(())
    });
    assert_eq!(held, Ok(()));
    let seen = seen.into_inner();
    for each in [
        "Right",
        "Foreign",
        "Contended",
        "Refused",
        "Empty set",
        "Wiped set",
        "Drifted set",
        "Changed set",
    ] {
        assert!(
            seen.get(each).is_some_and(|count| *count > 100),
            "{each}: {seen:?}"
        );
    }
}
