//! Rules broken on purpose: each must be seen by the invariant that watches over it.

use whatsapp_monitor::monitor::{
    Action, Answer, Conclusion, Decision, Grounds, Heard, Reading, Status, Verdict,
};

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// `connect` as soon as a paired instance reads `close`.
    ConnectAtOnce,
    /// Dials that our webhook tells of are not listened to.
    DeafToDials,
    /// An action is granted though somebody has rewritten what it was decided on.
    IgnoreWriters,
    /// `restart` at every check of a paired instance that is not open, whatever the budget says.
    SpendFreely,
    /// An action of a tick that died does not count.
    ForgetDied,
    /// `logout` where a person is to scan.
    LogOut,
    /// `setPresence available` in place of `unavailable`.
    ShowOnline,
    /// The socket is looked for though the instance is to be shown online always.
    ProbeAlways,
    /// Nothing is ever done.
    DoNothing,
    /// Every action is judged to have made things worse.
    AlwaysWorse,
    /// Outages are not written.
    ForgetOutages,
    /// One bad check is an outage.
    CryWolf,
    /// What is shown stays as it was first.
    FreezeStatus,
    /// Whatever needs no person is shown as connected.
    ShowConnected,
    /// An outage never ends.
    NeverClose,
    /// Another seed at every run.
    RollDice,
}

impl Sabotage {
    /// Breaks a conclusion.
    pub fn of_conclusion(self, conclusion: &mut Conclusion, before: Status) {
        let instance = &mut conclusion.instance;
        let reading = instance.reading;
        let paired = matches!(reading, Some(Reading::PairedClose | Reading::Redialling));
        let person = matches!(
            instance.status,
            Status::WaitingQr | Status::Blocked | Status::Zombie
        );
        match self {
            Self::ConnectAtOnce if reading == Some(Reading::PairedClose) => {
                conclusion.decision = Decision::Act(Action::Connect, Grounds::Blind);
            }
            Self::SpendFreely if paired => {
                conclusion.decision = Decision::Act(Action::Restart, Grounds::State);
            }
            Self::DoNothing => conclusion.decision = Decision::Wait,
            Self::AlwaysWorse if !conclusion.verdicts.is_empty() => {
                instance.halted_at = instance.steady.map(|steady| steady.last);
                for (_, verdict) in &mut conclusion.verdicts {
                    *verdict = Verdict::MadeWorse;
                }
            }
            Self::ForgetOutages => instance.down_since = None,
            Self::FreezeStatus if before != Status::Unknown => instance.status = before,
            Self::ShowConnected if !person => instance.status = Status::Connected,
            _ => {}
        }
    }

    /// Breaks what is heard.
    pub fn of_heard(self, heard: Heard) -> Heard {
        Heard {
            last_connecting: heard.last_connecting.filter(|_| self != Self::DeafToDials),
            ..heard
        }
    }

    /// Breaks what is asked.
    pub fn of_answer(self, answer: &mut Answer) {
        if let (Self::ProbeAlways, Answer::AlwaysOnline(always)) = (self, answer) {
            *always = Some(false);
        }
    }

    /// Whether the database is to grant whatever is asked for.
    pub fn is_lax(self) -> bool {
        matches!(self, Self::ConnectAtOnce | Self::SpendFreely)
    }
}
