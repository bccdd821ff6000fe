//! What differs from instance to instance without being random, so that a fleet does not act as one.

/// The finalizer of SplitMix64: neighbouring numbers give unrelated ones.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 to `range` - 1 that belongs to this instance; `range` is positive.
#[allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "bits, and a remainder below range"
)]
pub const fn phase(id: i64, range: i64) -> i64 {
    (mix(id as u64) % range as u64) as i64
}

/// `ms`, more or less by up to 20 %, as belongs to this instance and attempt.
#[allow(clippy::cast_sign_loss, reason = "bits")]
pub const fn spread(ms: i64, id: i64, attempt: u32) -> i64 {
    let per_mille = 800 + phase((mix(id as u64) ^ attempt as u64) as i64, 401);
    ms * per_mille / 1_000
}
