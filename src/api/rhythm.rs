//! `?every=30&for=60`: several sweeps for a caller that can come once a minute and no more often.

use crate::monitor::Settings;
use crate::web::performance::left_ms;

/// Seconds that `every` must be at the least.
const SHORTEST_S: u32 = 15;

/// Seconds that `for` may be at the most.
const LONGEST_S: u32 = 60;

/// Milliseconds for which an isolate surely lives after a request came: half of its wall clock on
/// the free plan.
const SURE_MS: u32 = 75_000;

/// Milliseconds of them that a sweep leaves for writing what it found, and for telling of it.
const MARGIN_MS: u32 = 7_000;

/// When a caller wants to be served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    every_s: u32,
    for_s: u32,
}

impl Rhythm {
    /// Reads the parameters of the query; none of both is no rhythm.
    ///
    /// # Errors
    /// One sentence for the caller.
    pub fn parse(every: Option<&str>, until: Option<&str>) -> Result<Option<Self>, &'static str> {
        let seconds = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        match (every, until) {
            (None, None) => Ok(None),
            _ => match (seconds(every), seconds(until)) {
                (Some(every_s), Some(for_s))
                    if (SHORTEST_S..=for_s).contains(&every_s) && for_s <= LONGEST_S =>
                {
                    Ok(Some(Self { every_s, for_s }))
                }
                _ => Err(
                    "every e for vêm juntos, em segundos inteiros: every de 15 até for, \
                          for até 60",
                ),
            },
        }
    }

    /// When the sweeps after the first begin, in milliseconds since the request came. Where `for`
    /// ends, the caller comes again.
    pub fn later_ms(self) -> impl Iterator<Item = u32> {
        (self.every_s..self.for_s)
            .step_by(self.every_s as usize)
            .map(|at_s| at_s * 1_000)
    }
}

/// Milliseconds in which a sweep may start work that begins so long after the request: what was
/// started is finished and written while the isolate surely lives.
pub fn budget_ms(settings: &Settings, elapsed_ms: f64) -> u32 {
    let sure_ms = SURE_MS - MARGIN_MS - settings.request_timeout_ms;
    left_ms(sure_ms, elapsed_ms).min(settings.tick_budget_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later_s(every: &str, until: &str) -> Vec<u32> {
        let rhythm = Rhythm::parse(Some(every), Some(until)).ok().flatten();
        rhythm
            .into_iter()
            .flat_map(Rhythm::later_ms)
            .map(|ms| ms / 1_000)
            .collect()
    }

    #[test]
    fn sweeps_fall_on_multiples_and_leave_the_end_to_the_next_call() {
        for (every, until, expected) in [
            ("30", "60", &[30][..]),
            ("15", "60", &[15, 30, 45]),
            ("20", "60", &[20, 40]),
            ("25", "60", &[25, 50]),
            ("59", "60", &[59]),
            ("60", "60", &[]),
            ("15", "15", &[]),
        ] {
            assert_eq!(later_s(every, until), expected, "{every} for {until}");
        }
    }

    #[test]
    fn whatever_else_comes_is_refused() {
        assert_eq!(Rhythm::parse(None, None), Ok(None));
        for (every, until) in [
            (Some("30"), None),
            (None, Some("60")),
            (Some("14"), Some("60")),
            (Some("0"), Some("60")),
            (Some("30"), Some("61")),
            (Some("30"), Some("29")),
            (Some("-30"), Some("60")),
            (Some("30.0"), Some("60")),
            (Some("30s"), Some("60s")),
            (Some(""), Some("")),
            (Some("4294967297"), Some("60")),
        ] {
            assert!(
                Rhythm::parse(every, until).is_err(),
                "{every:?} for {until:?}"
            );
        }
    }

    #[test]
    fn a_late_sweep_ends_before_the_isolate_may() {
        let settings = Settings::default();
        let budgets = [0.0, 30_000.0, 45_000.0, 59_000.0, 60_000.0, 90_000.0]
            .map(|elapsed_ms| budget_ms(&settings, elapsed_ms));
        assert_eq!(budgets, [20_000, 20_000, 15_000, 1_000, 0, 0]);
        let slowest = Settings {
            request_timeout_ms: 30_000,
            tick_budget_ms: 60_000,
            ..settings
        };
        assert_eq!(budget_ms(&slowest, 30_000.0), 8_000);
    }
}
