//! Telling somebody: one message when an outage begins, one when it is over.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | what is said, for people and for programs |
//! | [`signature`] | how the receiver knows who said it |
//! | [`send`] | the request, and why it failed |
//! | [`heartbeat`] | the sign of life while all is well |

pub mod heartbeat;
pub mod message;
pub mod send;
pub mod signature;

/// Alerts that a run sends at the most; the next one sends the rest.
pub const MAX_PER_RUN: u32 = 20;

/// Seconds from each attempt that failed to the next: at 0 s, 30 s, 2 min, 10 min and 30 min.
const PAUSES_S: [u32; 4] = [30, 90, 480, 1200];

/// How long to wait after so many attempts, all of which failed; `None` where that was the last.
pub fn pause_s(attempts: u32) -> Option<u32> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    PAUSES_S.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_attempts_in_half_an_hour() {
        let pauses: Vec<u32> = (1..).map_while(pause_s).collect();
        let mut at_s = vec![0];
        for pause in pauses {
            at_s.push(at_s[at_s.len() - 1] + pause);
        }
        assert_eq!(at_s, [0, 30, 120, 600, 1800]);
        assert_eq!(pause_s(0), None);
        assert_eq!(pause_s(u32::MAX), None);
    }
}
