//! A cache in the process's memory, bounded in bytes.

use std::{
    hash::Hash,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::clock::Timestamp;

/// About what an entry takes besides its key and value.
const ENTRY_BYTES: usize = 256;
/// Entries of a usual size, for which the table is laid out.
const USUAL_BYTES: u64 = 64 * 1024;
/// What is of no more use is dropped so often.
const PRUNED_EVERY: Duration = Duration::from_secs(60);

/// What can be kept.
pub(crate) trait Kept: Clone {
    /// Returns about how many bytes it takes: always the same number.
    fn bytes(&self) -> usize;

    /// Returns until when it is of any use.
    fn useful_until(&self) -> Timestamp;
}

/// Keeps values by key; the least recently used go first. A key or value that is
/// larger than the cache is not kept.
pub(crate) struct MemoryCache<K, V> {
    entries: Cache<K, V, Weight>,
    pruned_at: AtomicI64,
}

#[derive(Clone)]
pub(crate) struct Weight;

impl<K, V: Kept> Weighter<K, V> for Weight {
    fn weight(&self, _: &K, value: &V) -> u64 {
        (ENTRY_BYTES + size_of::<K>() + size_of::<V>() + value.bytes()) as u64
    }
}

impl<K: Eq + Hash + Clone, V: Kept> MemoryCache<K, V> {
    /// Returns a cache of so many bytes; zero keeps nothing.
    pub fn new(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        // One shard: a function answers one request at a time, and what is larger
        // than a shard could not be kept.
        let entries = OptionsBuilder::new()
            .estimated_items_capacity(usual.max(1))
            .weight_capacity(bytes)
            .shards(1)
            .build()
            .map(|options| {
                let lifecycle = DefaultLifecycle::default();
                Cache::with_options(options, Weight, DefaultHashBuilder::default(), lifecycle)
            })
            .unwrap_or_else(|_| Cache::with_weighter(usual.max(1), bytes, Weight));
        Self {
            entries,
            pruned_at: AtomicI64::new(0),
        }
    }

    /// Returns what is kept under a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// Keeps a value in place of what is there.
    pub fn insert(&self, key: K, value: V, now: Timestamp) {
        self.prune(now);
        self.entries.insert(key, value);
    }

    fn prune(&self, now: Timestamp) {
        let pruned_at = Timestamp::from_millis(self.pruned_at.load(Ordering::Relaxed));
        if now.distance(pruned_at) >= PRUNED_EVERY {
            self.pruned_at.store(now.as_millis(), Ordering::Relaxed);
            self.entries.retain(|_, value| now < value.useful_until());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(String, Timestamp);

    impl Kept for Text {
        fn bytes(&self) -> usize {
            self.0.len()
        }

        fn useful_until(&self) -> Timestamp {
            self.1
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn takes_no_more_than_its_bytes_and_forgets_what_is_of_no_use() {
        let cache = MemoryCache::new(1_000_000);
        let text = |until| Text("x".repeat(10_000), at(until));
        for number in 0..1000 {
            cache.insert(number, text(1_000), at(0));
        }
        let kept = (0..1000).filter(|number| cache.get(number).is_some());
        assert!((80..100).contains(&kept.count()));
        assert!(cache.entries.weight() <= 1_000_000);

        cache.insert(1000, text(50), at(0));
        cache.insert(1001, text(1_000), at(59));
        assert!(cache.get(&1000).is_some());
        cache.insert(1002, text(1_000), at(60));
        assert_eq!(cache.get(&1000), None);
        assert!(cache.get(&1002).is_some());
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        for bytes in [0, 10_000] {
            let cache = MemoryCache::new(bytes);
            cache.insert(1, Text("x".repeat(20_000), at(1_000)), at(0));
            assert_eq!(cache.get(&1), None);
        }
    }
}
