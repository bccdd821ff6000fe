//! Triggers that are refused, counted. They are strangers', so they must cost next to nothing: an
//! isolate adds them up and tells the database once a minute, the first at once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

use super::Context;
use crate::store::Store;
use crate::store::ledger::{Refused, Source, Why};
use crate::web::console;
use crate::web::performance::now_ms;

/// Milliseconds between two calls.
const EVERY_MS: f64 = 60_000.0;

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::default();
}

/// What was refused and not told yet. It holds no more than the closed lists allow for a minute and
/// a bit, because whatever comes after that empties it.
#[derive(Debug, Default)]
struct Tally {
    told_at_ms: Option<f64>,
    /// By the minute of this isolate's clock: the count, and when the last one came.
    counts: BTreeMap<(i64, Source, Why), (u32, f64)>,
}

impl Tally {
    #[allow(clippy::cast_possible_truncation, reason = "minutes are few")]
    fn count(&mut self, source: Source, why: Why, now_ms: f64) {
        let minute = (now_ms / EVERY_MS) as i64;
        let (count, last_ms) = self.counts.entry((minute, source, why)).or_default();
        *count = count.saturating_add(1);
        *last_ms = now_ms;
    }

    /// What is to be told now; nothing where there is nothing, or something was told just now.
    fn take_due(&mut self, now_ms: f64) -> Vec<Refused> {
        let too_soon = self
            .told_at_ms
            .is_some_and(|told_at_ms| now_ms < told_at_ms + EVERY_MS);
        if too_soon || self.counts.is_empty() {
            return Vec::new();
        }
        self.told_at_ms = Some(now_ms);
        std::mem::take(&mut self.counts)
            .into_iter()
            .map(|((_, source, why), (count, last_ms))| Refused {
                source,
                why,
                count,
                ago_ms: (now_ms - last_ms).round(),
            })
            .collect()
    }
}

/// Counts a trigger that is refused.
pub fn count(context: &Context<'_>, source: Source, why: Why) {
    TALLY.with_borrow_mut(|tally| tally.count(source, why, now_ms()));
    tell(context);
}

/// Tells the database, where it is time; behind the answer. What gets lost there is lost: a count is
/// not worth a second call.
pub fn tell(context: &Context<'_>) {
    let refused = TALLY.with_borrow_mut(|tally| tally.take_due(now_ms()));
    if refused.is_empty() {
        return;
    }
    let Ok(store) = Store::new(context.environment) else {
        return;
    };
    context.keep_alive(&future_to_promise(async move {
        if let Err(error) = store.record_refusals(&refused).await {
            console::error(&format!("❌ Erro no monitoramento: {error}"));
        }
        Ok(JsValue::UNDEFINED)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute() {
        let mut tally = Tally::default();
        assert!(tally.take_due(0.0).is_empty(), "nothing to tell");
        let first = 10_000.0;
        tally.count(Source::Person, Why::NoToken, first);
        let told = tally.take_due(first);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].count, told[0].ago_ms), (1, 0.0));

        for n in 1..1_000_u32 {
            let now = first + f64::from(n);
            tally.count(Source::Person, Why::NoToken, now);
            assert!(tally.take_due(now).is_empty());
        }
        let later = first + 3.0 * EVERY_MS;
        tally.count(Source::Person, Why::NoToken, later);
        let told = tally.take_due(later);
        // Two minutes are two counts, each with its time.
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].count, told[0].ago_ms),
            (999, 3.0 * EVERY_MS - 999.0)
        );
        assert_eq!((told[1].count, told[1].ago_ms), (1, 0.0));
        assert!(tally.take_due(later + EVERY_MS).is_empty());
    }

    #[test]
    fn it_keeps_sources_and_reasons_apart() {
        let mut tally = Tally::default();
        for (source, why) in [
            (Source::PgCron, Why::NoToken),
            (Source::PgCron, Why::BadToken),
            (Source::Other, Why::NoToken),
            (Source::PgCron, Why::NoToken),
        ] {
            tally.count(source, why, 0.0);
        }
        let mut counts: Vec<u32> = tally.take_due(0.0).iter().map(|told| told.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 2]);
    }
}
