//! Storms. A gateway that cannot reach WhatsApp tells of a dial a hundred times a second: whoever
//! repeats itself is answered from memory, and counted.
//!
//! This is no state that counts: an isolate that has forgotten it asks the database once more.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::store::events::Note;

/// Milliseconds for which an event that was dealt with answers for its repeats.
const ANSWERS_FOR_MS: f64 = 2_000.0;

/// Repeats in that time before it does: a drop, its end and the next one are dealt with each.
const AFTER_REPEATS: u32 = 3;

/// Milliseconds after which what was not told any more is forgotten.
const FORGOTTEN_AFTER_MS: f64 = 60_000.0;

/// Instances of which anything is remembered.
const MAX_INSTANCES: usize = 256;

thread_local! {
    static LAST: RefCell<VecDeque<Last>> = const { RefCell::new(VecDeque::new()) };
}

/// What tells repeats from other events: only those that tell of a dial are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    key: String,
    note: Note,
}

impl Heard {
    /// The event of whoever sends the secret of this digest.
    pub fn new(digest: &str, instance: Option<&str>, note: Note) -> Self {
        Self {
            key: format!("{digest} {}", instance.unwrap_or_default()),
            note,
        }
    }
}

/// The last event of an instance that was dealt with.
#[derive(Clone, Debug)]
struct Last {
    key: String,
    note: Note,
    /// When it was dealt with.
    at_ms: f64,
    /// How often it was dealt with in a row, each time soon after the one before.
    repeats: u32,
    /// Events since that the database was not told of.
    untold: u32,
}

/// How many events this one stands for, itself included; `None` where it is a repeat that needs no
/// more than an answer.
pub fn count(heard: &Heard, now_ms: f64) -> Option<u32> {
    LAST.with_borrow_mut(|all| {
        let Some(last) = all.iter_mut().find(|last| last.key == heard.key) else {
            return Some(1);
        };
        if last.note != heard.note || now_ms - last.at_ms > FORGOTTEN_AFTER_MS {
            return Some(1);
        }
        if heard.note == Note::Connecting
            && last.repeats >= AFTER_REPEATS
            && now_ms - last.at_ms < ANSWERS_FOR_MS
        {
            last.untold = last.untold.saturating_add(1);
            return None;
        }
        Some(last.untold.saturating_add(1))
    })
}

/// Takes note that an event was dealt with, and whether the database has counted it.
pub fn done(heard: &Heard, noted: bool, now_ms: f64) {
    LAST.with_borrow_mut(|all| {
        let before = all
            .iter()
            .position(|last| last.key == heard.key)
            .and_then(|at| all.remove(at))
            .filter(|last| last.note == heard.note);
        let (repeats, untold) = before.map_or((0, 0), |last| {
            let soon = now_ms - last.at_ms < 2.0 * ANSWERS_FOR_MS;
            (if soon { last.repeats } else { 0 }, last.untold)
        });
        if all.len() >= MAX_INSTANCES {
            all.pop_front();
        }
        all.push_back(Last {
            key: heard.key.clone(),
            note: heard.note,
            at_ms: now_ms,
            repeats: repeats.saturating_add(1),
            untold: if noted { 0 } else { untold.saturating_add(1) },
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connecting(who: &str) -> Heard {
        Heard::new(who, Some("loja"), Note::Connecting)
    }

    #[test]
    fn a_storm_is_answered_from_memory_and_counted() {
        let heard = connecting("a");
        for n in 0..AFTER_REPEATS {
            let now_ms = f64::from(n);
            assert_eq!(count(&heard, now_ms), Some(if n == 0 { 1 } else { n }));
            done(&heard, n == 0, now_ms);
        }
        for n in 0..500 {
            assert_eq!(count(&heard, 100.0 + f64::from(n)), None);
        }
        // Two of the first three were not counted either.
        assert_eq!(count(&heard, 2_500.0), Some(503));
        done(&heard, true, 2_500.0);
        assert_eq!(count(&heard, 2_600.0), None);
    }

    #[test]
    fn nothing_else_is_a_repeat() {
        let (heard, open) = (connecting("b"), Heard::new("b", Some("loja"), Note::Other));
        for n in 0..10 {
            let now_ms = f64::from(n);
            assert!(count(&heard, now_ms).is_some());
            done(&heard, true, now_ms);
            assert_eq!(count(&open, now_ms), Some(1));
            done(&open, true, now_ms);
        }
        for n in 0..10 {
            assert!(
                count(&open, f64::from(n)).is_some(),
                "others are never dropped"
            );
            done(&open, true, f64::from(n));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        for n in 0..3 * MAX_INSTANCES {
            done(&connecting(&n.to_string()), true, 0.0);
        }
        LAST.with_borrow(|all| assert_eq!(all.len(), MAX_INSTANCES));
    }
}
