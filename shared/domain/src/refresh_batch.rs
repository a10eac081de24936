//! What one request to a provider of quotes asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{price_book::QuoteKey, timestamp::Timestamp};

/// When each of some prices was last asked for; none if it never was.
pub type LastChecks = BTreeMap<QuoteKey, Option<Timestamp>>;

/// Returns what one request for at most `capacity` prices asks for: first what
/// the answer needs, then what else is wanted, and of each the prices that were
/// asked for longest ago.
pub fn refresh_batch(
    needed: &LastChecks,
    wanted: &LastChecks,
    capacity: usize,
) -> BTreeSet<QuoteKey> {
    let mut batch = BTreeSet::new();
    for checks in [needed, wanted] {
        let mut oldest_first: Vec<_> = checks.iter().collect();
        oldest_first.sort_by_key(|(key, checked_at)| (**checked_at, *key));
        for (key, _) in oldest_first {
            if batch.len() < capacity {
                batch.insert(key.clone());
            }
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::price::CmcId;

    fn checks(of: impl IntoIterator<Item = (u32, Option<i64>)>) -> LastChecks {
        let check = |(id, at): (u32, Option<i64>)| {
            let at = at.map(Timestamp::from_millis);
            (QuoteKey::cmc(CmcId(id)), at)
        };
        of.into_iter().map(check).collect()
    }

    fn ids(ids: impl IntoIterator<Item = u32>) -> BTreeSet<QuoteKey> {
        ids.into_iter().map(|id| QuoteKey::cmc(CmcId(id))).collect()
    }

    #[test]
    fn asks_for_the_oldest_of_what_is_needed_first() {
        let needed = checks([(1, Some(50)), (2, None), (3, Some(40))]);
        let wanted = checks([(4, Some(10)), (5, None)]);
        for (capacity, expected) in [
            (1, ids([2])),
            (2, ids([2, 3])),
            (3, ids([1, 2, 3])),
            (4, ids([1, 2, 3, 5])),
            (9, ids([1, 2, 3, 4, 5])),
        ] {
            assert_eq!(refresh_batch(&needed, &wanted, capacity), expected);
        }
    }

    proptest! {
        #[test]
        fn fills_a_request_and_leaves_nothing_needed_out_for_what_is_wanted(
            needed in proptest::collection::btree_map(0_u32..60, proptest::option::of(0_i64..9), 0..40),
            wanted in proptest::collection::btree_map(40_u32..99, proptest::option::of(0_i64..9), 0..40),
            capacity in 0_usize..90,
        ) {
            let (needed, wanted) = (checks(needed), checks(wanted));
            let batch = refresh_batch(&needed, &wanted, capacity);
            let all: BTreeSet<_> = needed.keys().chain(wanted.keys()).cloned().collect();
            prop_assert_eq!(batch.len(), capacity.min(all.len()));
            prop_assert!(batch.is_subset(&all));
            let asked = needed.keys().filter(|key| batch.contains(*key)).count();
            prop_assert_eq!(asked, needed.len().min(capacity).max(asked));
            prop_assert!(asked >= needed.len().min(capacity));
        }
    }
}
