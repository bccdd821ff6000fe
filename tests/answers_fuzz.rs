//! A fuzz target for everything that parses what a gateway sent: recorded answers, mutated as bytes.
//!
//! It is an ordinary test on stable Rust. cargo-fuzz, and bolero with an engine that is guided by
//! coverage, need a nightly compiler and a run of their own, which nobody would start; bolero's
//! engine for stable Rust draws at random as proptest does, at the price of twenty crates. What makes
//! up for the missing guidance here is the corpus: nearly valid answers reach every branch of parsers
//! this small. And proptest, which is there already, shrinks what it finds.
//!
//! The same cases at every run: `FUZZ_CASES` asks for more, `FUZZ_SEED` for others. A failing answer
//! is written to a file; moved to `tests/fixtures/fuzz/` it is tried at every run from then on.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod answers;
mod mutations;

use answers::{Understood, full_answers, incoming, recorded_answers};
use mutations::{mutated, survive};

/// Where failing answers are kept: the status in the first line, the body in the rest.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fuzz");

/// The target.
fn try_out(status: u16, body: &str) -> Result<(), String> {
    let answer = incoming(status, body);
    Understood::of(&answer).check(&answer)
}

#[test]
fn mutated_answers_are_survived() {
    let answers = mutated(vec![recorded_answers(), full_answers()]);
    survive(&answers, KEPT, try_out);
}

/// What failed once.
#[test]
fn answers_that_were_kept_are_survived() {
    let files = std::fs::read_dir(KEPT).expect("a folder");
    let mut tried = 0;
    for file in files {
        let path = file.expect("a file").path();
        let kept = std::fs::read_to_string(&path).expect("UTF-8");
        let (status, body) = kept.split_once('\n').expect("a status and a body");
        let status = status.parse().expect("an HTTP status");
        assert_eq!(try_out(status, body), Ok(()), "{}", path.display());
        tried += 1;
    }
    assert!(tried > 0);
}
