//! Texts that a gateway sent, mutated as bytes, and the run that tries them out.

#![allow(clippy::expect_used, reason = "a test may fail")]

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use whatsapp_monitor::web::fetch::Incoming;

/// Mutated texts in an ordinary run.
const CASES: u32 = 20_000;

/// What is put in by way of a value, or of a piece of one.
const PIECES: [&str; 30] = [
    "null",
    "true",
    "-1",
    "65536",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e999",
    "0.1",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"a\\u2028b\"",
    "\u{0}",
    "\u{feff}",
    "\u{2029}",
    "\u{202e}",
    "{}",
    "[]",
    "[[[[",
    "]",
    "}",
    "\"",
    "\\",
    ",",
    "\"open\"",
    "\"loja-a\"",
    "\"name\":\"loja-a\",",
    "\"instance\":{\"state\":\"open\"},",
    "\"disconnectionReasonCode\":401,",
];

/// What is done to a text.
#[derive(Clone, Debug)]
pub enum Mutation {
    FlipBit(Index, u8),
    Overwrite(Index, u8),
    Truncate(Index),
    Remove(Index, Index),
    Repeat(Index, Index, usize),
    Insert(Index, &'static str),
    /// In place of what follows a colon, up to the next comma or brace.
    Replace(Index, &'static str),
    /// The rest is that of another text.
    Splice(Index, Index, Index),
    Nest(Index, usize),
    Status(u16),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use Mutation::{
        FlipBit, Insert, Nest, Overwrite, Remove, Repeat, Replace, Splice, Status, Truncate,
    };
    let at = any::<Index>;
    let piece = || select(&PIECES[..]);
    prop_oneof![
        1 => (at(), 0..8_u8).prop_map(|(at, bit)| FlipBit(at, bit)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Overwrite(at, byte)),
        1 => at().prop_map(Truncate),
        1 => (at(), at()).prop_map(|(from, to)| Remove(from, to)),
        1 => (at(), at(), 2..200_usize).prop_map(|(from, to, times)| Repeat(from, to, times)),
        1 => (at(), piece()).prop_map(|(at, piece)| Insert(at, piece)),
        4 => (at(), piece()).prop_map(|(at, piece)| Replace(at, piece)),
        1 => (at(), at(), at()).prop_map(|(at, other, from)| Splice(at, other, from)),
        1 => (at(), 1..300_usize).prop_map(|(at, depth)| Nest(at, depth)),
        1 => select(vec![100, 200, 201, 204, 302, 400, 401, 404, 429, 500, 503]).prop_map(Status),
    ]
}

impl Mutation {
    fn apply(&self, status: &mut u16, body: &mut Vec<u8>, seeds: &[Incoming]) {
        let len = body.len();
        let place = |at: &Index| at.index(len + 1);
        let range = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match self {
            Self::FlipBit(at, bit) if len > 0 => body[at.index(len)] ^= 1 << bit,
            Self::Overwrite(at, byte) if len > 0 => body[at.index(len)] = *byte,
            Self::FlipBit(..) | Self::Overwrite(..) => {}
            Self::Truncate(at) => body.truncate(place(at)),
            Self::Remove(from, to) => drop(body.drain(range(from, to))),
            Self::Repeat(from, to, times) => {
                let range = range(from, to);
                let again = body[range.clone()].repeat(*times);
                body.splice(range, again);
            }
            Self::Insert(at, piece) => {
                let at = place(at);
                body.splice(at..at, piece.bytes());
            }
            Self::Replace(at, piece) => {
                if let Some(value) = value_at(body, *at) {
                    body.splice(value, piece.bytes());
                }
            }
            Self::Splice(at, other, from) => {
                let other = other.get(seeds).body.as_bytes();
                body.truncate(place(at));
                body.extend(&other[from.index(other.len() + 1)..]);
            }
            Self::Nest(at, depth) => {
                if let Some(value) = value_at(body, *at) {
                    let (open, close) = (vec![b'['; *depth], vec![b']'; *depth]);
                    let nested = [&open, &body[value.clone()], &close].concat();
                    body.splice(value, nested);
                }
            }
            Self::Status(other) => *status = *other,
        }
    }
}

/// One of the values in an object: from behind a colon to before the next comma or brace.
fn value_at(body: &[u8], at: Index) -> Option<std::ops::Range<usize>> {
    let colons: Vec<usize> = (0..body.len()).filter(|i| body[*i] == b':').collect();
    let start = 1 + (!colons.is_empty()).then(|| *at.get(&colons))?;
    let length = body[start..].iter().position(|byte| b",}".contains(byte))?;
    Some(start..start + length)
}

/// A text, mutated up to four times; each list has the same chance to give it. As in production, bytes
/// that are no UTF-8 are replaced.
pub fn mutated(lists: Vec<Vec<Incoming>>) -> impl Strategy<Value = (u16, String)> {
    let seeds = lists.concat();
    let lists = lists.into_iter().map(|list| select(list).boxed());
    let seed = prop::strategy::Union::new(lists);
    let mutations = prop::collection::vec(mutation(), 1..5);
    (seed, mutations).prop_map(move |(seed, mutations)| {
        let (mut status, mut body) = (seed.status, seed.body.into_bytes());
        for mutation in &mutations {
            mutation.apply(&mut status, &mut body, &seeds);
        }
        (status, String::from_utf8_lossy(&body).into_owned())
    })
}

fn asked_for(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// Tries out as many as are asked for. The one that fails is written to a file, `kept` being the folder
/// to move it to.
pub fn survive(
    mutated: &impl Strategy<Value = (u16, String)>,
    kept: &str,
    try_out: impl Fn(u16, &str) -> Result<(), String>,
) {
    let cases = asked_for("FUZZ_CASES").map_or(CASES, |cases| {
        u32::try_from(cases).expect("FUZZ_CASES fits in 32 bits")
    });
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&asked_for("FUZZ_SEED").unwrap_or_default().to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tried = runner.run(mutated, |(status, body)| {
        try_out(status, &body).map_err(TestCaseError::fail)
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{why}"),
        Err(TestError::Fail(why, (status, body))) => {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answer.txt");
            std::fs::write(&file, format!("{status}\n{body}")).expect("a writable folder");
            panic!(
                "{why}\nstatus {status}, body {body:?}\nTo keep it: move {} to {kept}",
                file.display()
            );
        }
    }
}
