//! The heart of the monitor: what an observation means and what follows from it.
//!
//! Pure. Nothing here does I/O, reads a clock, draws a random number or knows that it runs in
//! WebAssembly. The caller says what was observed and when; it gets back the new memory of the
//! instance. Months of a gateway's behaviour can therefore be replayed in a second of test time.
//!
//! | module | holds |
//! |---|---|
//! | [`time`] | the one clock: the database's |
//! | [`settings`] | the numbers that decide, by the names of the settings table |
//! | [`observation`] | what a gateway can be seen to say |
//! | [`reading`] | what memory state and row state mean together |
//! | [`status`] | what is shown and stored |
//! | [`reason`] | why, in plain words |
//! | [`diagnosis`] | the same, in words for people |
//! | [`event`] | what a gateway tells unasked |
//! | [`instance`] | what is remembered of an instance between two checks |
//! | [`look`] | when the stored row is worth asking for |
//! | [`streak`] | checks of one kind in a row |
//! | [`check`] | which questions a check takes |
//! | [`capabilities`] | what can be asked and expected of a gateway |
//! | [`gateway`] | what is remembered of a gateway, and when it is the gateway that is at fault |
//! | [`settled`] | when a check leaves nothing to remember but when it was |
//! | [`steady`] | how long the live state has been the same |
//! | [`attempt`] | what was done, and what it came to |
//! | [`policy`] | what to do |
//! | [`budget`] | how often |
//! | [`visit`] | all checks of a gateway in a tick, taken together |
//! | [`webhook`] | what an instance's webhook should be, and what to do about it |
//! | [`jitter`] | what differs from instance to instance |
//! | [`reachability`] | when a silent gateway is left alone for the rest of a tick |

pub mod attempt;
pub mod budget;
pub mod capabilities;
pub mod check;
pub mod diagnosis;
pub mod event;
pub mod gateway;
pub mod instance;
pub mod jitter;
pub mod look;
pub mod observation;
pub mod policy;
pub mod reachability;
pub mod reading;
pub mod reason;
pub mod settings;
pub mod settled;
pub mod status;
pub mod steady;
pub mod streak;
pub mod time;
pub mod visit;
pub mod webhook;

pub use attempt::{Ack, Action, Attempt, Grounds, Verdict};
pub use budget::Budget;
pub use capabilities::{Capabilities, Shape, Webhooks};
pub use check::{Answer, Check, Question};
pub use event::{Effect, Event, Told};
pub use gateway::{Finding, Gateway, Standing, Tally};
pub use instance::Instance;
pub use look::Look;
pub use observation::{
    ConfigFault, Fault, GatewayFault, Integration, MemoryState, Observation, Profile, Row,
    RowStatus, Socket,
};
pub use policy::{Decision, Evidence, Heard, Pause, decide};
pub use reachability::Reachability;
pub use reading::{Reading, read};
pub use reason::{FinalCodes, FinalReason, Reason, RecordedReason};
pub use settings::Settings;
pub use status::Status;
pub use steady::{Changes, Steady};
pub use streak::Streak;
pub use time::Timestamp;
pub use visit::{Conclusion, Visit, Visited, conclude};
