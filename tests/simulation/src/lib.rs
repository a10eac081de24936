//! A deterministic simulation: the read path, refresh and DELETE as several
//! processes over ports that behave as AWS and the providers do.
//!
//! One seed decides everything: what is asked for and when, how long each
//! operation takes and in which order operations happen, what fails, whose
//! clock is wrong, which process is frozen and which dies. Time is virtual, so
//! a day takes milliseconds. Every answer is checked against what really
//! happened ([`invariants`]); a seed that fails can be run again and prints all
//! that happened:
//!
//! ```text
//! cargo run --release -p portfolio-simulation -- --seeds 1000000
//! cargo run --release -p portfolio-simulation -- --seed 4711
//! ```
//!
//! The same table measures what the price book costs under load
//! ([`price_load`]): `--price-load 1`.

pub mod coins;
mod expression;
pub mod invariants;
pub mod ledger;
pub mod price_load;
pub mod process;
pub mod providers;
pub mod rng;
pub mod runs;
pub mod scenario;
pub mod simulation;
pub mod table;
pub mod wallet;
pub mod world;
