//! The monitor's own core against the model of a gateway, under one virtual clock: seeded, and the
//! same byte for byte when it runs again.

mod agreement;
mod allowance;
mod ask;
mod census;
mod database;
mod day;
mod ears;
pub mod fate;
mod interrupt;
mod plan;
pub mod sabotage;
mod tick;
mod watched;
mod witness;
mod world;

pub use census::{Double, Outcome};
pub use day::play;
pub use interrupt::interrupt;
pub use plan::{Plan, Triggers};
use world::World;

const MINUTE_MS: i64 = 60_000;
