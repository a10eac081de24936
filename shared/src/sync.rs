//! Locks, and numbers that tell processes apart.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Locks, also after a panic elsewhere: what is locked here is whole at every
/// moment.
#[expect(clippy::disallowed_methods, reason = "the one place that locks")]
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a number that no other call gives, in this or another process, as
/// far as chance allows. It is not secret.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}
