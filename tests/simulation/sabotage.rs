//! Rules broken on purpose: each must be seen by the invariant that watches over it.

use whatsapp_monitor::monitor::{Action, Conclusion, Decision, Grounds, Reading, Status};

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// `connect` as soon as a paired instance reads `close`.
    ConnectAtOnce,
    /// `restart` at every check of a paired instance that is not open, whatever the budget says.
    SpendFreely,
    /// `logout` where a person is to scan.
    LogOut,
    /// `setPresence available` in place of `unavailable`.
    ShowOnline,
    /// Nothing is ever done.
    DoNothing,
    /// Outages are not written.
    ForgetOutages,
    /// One bad check is an outage.
    CryWolf,
    /// What is shown stays as it was first.
    FreezeStatus,
    /// Another seed at every run.
    RollDice,
}

impl Sabotage {
    /// Breaks a conclusion.
    pub fn of_conclusion(self, conclusion: &mut Conclusion, before: Status) {
        let reading = conclusion.instance.reading;
        let paired = matches!(reading, Some(Reading::PairedClose | Reading::Redialling));
        match self {
            Self::ConnectAtOnce if reading == Some(Reading::PairedClose) => {
                conclusion.decision = Decision::Act(Action::Connect, Grounds::Blind);
            }
            Self::SpendFreely if paired => {
                conclusion.decision = Decision::Act(Action::Restart, Grounds::State);
            }
            Self::DoNothing => conclusion.decision = Decision::Wait,
            Self::ForgetOutages => conclusion.instance.down_since = None,
            Self::FreezeStatus if before != Status::Unknown => {
                conclusion.instance.status = before;
            }
            _ => {}
        }
    }

    /// Whether the database is to grant whatever is asked for.
    pub fn is_lax(self) -> bool {
        matches!(self, Self::ConnectAtOnce | Self::SpendFreely)
    }
}
