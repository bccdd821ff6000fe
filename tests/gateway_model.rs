//! The model of the gateway itself.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;
