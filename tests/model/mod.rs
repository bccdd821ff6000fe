//! A model of the Evolution gateway, version 2.3: its instances, its sockets, WhatsApp behind it,
//! what it answers and what it sends. No I/O and no clock of its own: time is what the caller says,
//! chance comes from a seed, and the same calls give the same history, byte for byte.
//!
//! Nothing happens between two events, so an idle day costs nothing; and a storm of 120 events a
//! second is one event every 10 s that says how many they were.
//!
//! Ids such as A18 name what was recorded of the real server, in `tests/fixtures/`. The stand-in of
//! the local stack (`tests/stack/evolution/`) is held to the same recordings by the same script,
//! `tests/fixtures/evolution-conformance.json`.
//!
//! ```ignore
//! let mut gateway = Gateway::new(Config { seed, ..Config::default() });
//! gateway.add_open("loja-a");
//! gateway.inflict(t, &Fault::DialHangs("loja-a".to_owned(), Hang::Lookup));
//! let exchange = gateway.request(t + 30_000, &Request::connection_state("loja-a", &key));
//! assert_eq!(gateway.truth("loja-a").map(|truth| truth.cure), Some(Cure::Connect));
//! ```

#![allow(dead_code, unused_imports, reason = "each test crate uses its part")]

mod answers;
mod clock;
mod delivery;
mod dial;
mod faults;
mod gateway;
mod history;
mod http;
mod instance;
mod instance_routes;
mod line;
mod process;
mod rng;
mod routes;
mod server_routes;
mod truth;
mod webhook;

pub use clock::iso;
pub use delivery::{Delivery, Reception};
pub use dial::FINAL_CODES;
pub use faults::{Fault, HttpFault, Whom};
pub use gateway::{Config, Gateway};
pub use history::{DoubleSocket, Happening, What};
pub use http::{Body, Exchange, Failure, KeyOf, Received, Request};
pub use instance::RowStatus;
pub use line::{Hang, Memory, Unreachable};
pub use process::Process;
pub use rng::Rng;
pub use truth::{Action, Cure, Truth};
