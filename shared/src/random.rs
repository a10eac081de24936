//! Random numbers that need not be secret.

use std::hash::{BuildHasher, RandomState};

/// A number that no other call gives, in this or another process, as far as
/// chance allows.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}
