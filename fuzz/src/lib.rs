//! What the fuzz targets do with their input.
//!
//! Each module holds the body of one or two targets: functions that take any
//! bytes and panic where a promise is broken. The files in `fuzz_targets` only
//! connect them to libFuzzer; the tests run them over the seeds.

pub mod cache;
pub mod coinmarketcap;
pub mod cursor;
pub mod defillama;
pub mod lambda;
pub mod made_up;
mod quotes;
#[cfg(test)]
mod seeds;
mod wallet;
pub mod zerion;

use portfolio::clock::Timestamp;

/// The time in all targets.
const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_000);

/// An address with nothing special about it.
const ADDRESS: &str = "0xabababababababababababababababababababab";
