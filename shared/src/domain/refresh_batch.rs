//! What one request to a price source asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::price_book::{Page, QuoteKey};
use crate::clock::Timestamp;

/// How a page that something is needed of stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStatus {
    /// Its lease is ours.
    Acquired,
    /// It was refreshed already, without what is needed; or that is not known.
    Unleased,
    /// Another process refreshes it.
    HeldByOther {
        /// How many pages that one wants to refresh at once.
        pages: usize,
    },
}

/// A page that something is needed of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageNeeds {
    /// How it stands.
    pub lease_status: LeaseStatus,
    /// What is needed and not fresh.
    pub needed: BTreeSet<QuoteKey>,
    /// What else is wanted on it and not fresh.
    pub wanted: BTreeSet<QuoteKey>,
    /// When the oldest of what is needed was last asked for; none if something
    /// never was.
    pub oldest: Option<Timestamp>,
}

/// What one request asks for, and what becomes of the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshBatch {
    /// What to ask for.
    pub ask: BTreeSet<QuoteKey>,
    /// Won pages that are whole afterwards.
    pub complete: BTreeSet<Page>,
    /// At most one won page that is refreshed as far as there was room.
    pub partial: Option<Page>,
    /// Won pages that there was no room for: another process may have them.
    pub release: BTreeSet<Page>,
}

impl RefreshBatch {
    /// The best use of one request for at most `room` keys of one provider: first
    /// what is needed, then as many whole pages as fit. If not even that fits,
    /// the pages whose needs have waited longest come first, so that what does
    /// not fit is taken by the next.
    pub fn new(pages: &BTreeMap<Page, PageNeeds>, capacity: usize) -> Self {
        let mut plan = Self::default();
        let ours =
            |page: &&PageNeeds| !matches!(page.lease_status, LeaseStatus::HeldByOther { .. });
        let needed: usize = pages.values().filter(ours).map(|it| it.needed.len()).sum();
        let everything_needed_fits = needed <= capacity;
        if everything_needed_fits {
            for page in pages.values().filter(ours) {
                plan.ask.extend(page.needed.iter().cloned());
            }
        }
        let rest = |page: &PageNeeds| match everything_needed_fits {
            true => page.wanted.len(),
            false => page.needed.len() + page.wanted.len(),
        };
        let mut order: Vec<_> = pages.iter().filter(|(_, it)| ours(it)).collect();
        order.sort_by_key(|(page, it)| {
            let waited = (!everything_needed_fits).then_some(it.oldest);
            (waited, rest(it), **page)
        });
        for (page, needs) in order {
            let left = capacity - plan.ask.len();
            let more = |keys: &BTreeSet<QuoteKey>| -> Vec<QuoteKey> {
                let new = keys.iter().filter(|key| !plan.ask.contains(*key));
                new.take(left).cloned().collect()
            };
            let mut taken = more(&needs.needed);
            let room_for_wanted = left - taken.len();
            taken.extend(more(&needs.wanted).into_iter().take(room_for_wanted));
            let whole = rest(needs) <= left;
            let won = needs.lease_status == LeaseStatus::Acquired;
            if !won {
                // No other key on it is waited for.
                taken.retain(|key| needs.needed.contains(key));
            }
            if won && whole {
                plan.complete.insert(*page);
            } else if won && plan.partial.is_none() && !taken.is_empty() {
                plan.partial = Some(*page);
            } else if won {
                plan.release.insert(*page);
                continue;
            }
            plan.ask.extend(taken);
        }
        if plan.ask.is_empty() {
            let won = plan.complete.iter().chain(&plan.partial).copied();
            let release = won.chain(plan.release.iter().copied()).collect();
            return Self {
                release,
                ..Self::default()
            };
        }
        plan.bypass_overcommitted_holders(pages, capacity);
        plan
    }

    /// A holder that has more pages than one request can take will give some
    /// of them back. A request that asks anyway does not wait for it.
    fn bypass_overcommitted_holders(&mut self, pages: &BTreeMap<Page, PageNeeds>, capacity: usize) {
        for needs in pages.values() {
            let LeaseStatus::HeldByOther { pages } = needs.lease_status else {
                continue;
            };
            let busy = pages.saturating_mul(needs.wanted.len()) > capacity;
            if busy && self.ask.len() + needs.needed.len() <= capacity {
                self.ask.extend(needs.needed.iter().cloned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{price::CmcId, provider::Provider};

    fn keys(ids: std::ops::Range<u32>) -> BTreeSet<QuoteKey> {
        ids.map(|id| QuoteKey::cmc(CmcId(id))).collect()
    }

    fn page(number: u8) -> Page {
        Page {
            provider: Provider::CoinMarketCap,
            number,
        }
    }

    fn needs(
        lease_status: LeaseStatus,
        needed: std::ops::Range<u32>,
        wanted: std::ops::Range<u32>,
    ) -> PageNeeds {
        PageNeeds {
            lease_status,
            needed: keys(needed),
            wanted: keys(wanted),
            oldest: None,
        }
    }

    #[test]
    fn whole_pages_come_along_while_there_is_room() {
        let pages = BTreeMap::from([
            (page(0), needs(LeaseStatus::Acquired, 0..2, 100..110)),
            (page(1), needs(LeaseStatus::Acquired, 2..3, 110..115)),
            (page(2), needs(LeaseStatus::Acquired, 3..4, 120..150)),
            (page(3), needs(LeaseStatus::Acquired, 4..5, 150..190)),
            (page(4), needs(LeaseStatus::Unleased, 5..6, 0..0)),
            (
                page(5),
                needs(LeaseStatus::HeldByOther { pages: 1 }, 6..7, 200..210),
            ),
        ]);
        let plan = RefreshBatch::new(&pages, 30);
        assert_eq!(plan.ask.len(), 30);
        assert!(plan.ask.is_superset(&keys(0..6)));
        assert!(!plan.ask.contains(&QuoteKey::cmc(CmcId(6))));
        assert_eq!(plan.complete, BTreeSet::from([page(0), page(1)]));
        assert_eq!(plan.partial, Some(page(2)));
        assert_eq!(plan.release, BTreeSet::from([page(3)]));

        let alone = BTreeMap::from([(
            page(5),
            needs(LeaseStatus::HeldByOther { pages: 9 }, 0..1, 2..9),
        )]);
        assert_eq!(RefreshBatch::new(&alone, 30), RefreshBatch::default());
    }

    #[test]
    fn a_request_that_asks_does_not_wait_for_an_overcommitted_holder() {
        let pages = BTreeMap::from([
            (page(0), needs(LeaseStatus::Acquired, 0..1, 0..0)),
            (
                page(1),
                needs(LeaseStatus::HeldByOther { pages: 4 }, 1..2, 2..12),
            ),
            (
                page(2),
                needs(LeaseStatus::HeldByOther { pages: 2 }, 20..21, 22..32),
            ),
        ]);
        assert_eq!(RefreshBatch::new(&pages, 30).ask, keys(0..2));
    }

    #[test]
    fn what_has_waited_longest_comes_first_if_not_everything_fits() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let waiting = |oldest, needed| PageNeeds {
            oldest,
            ..needs(LeaseStatus::Acquired, needed, 0..0)
        };
        let pages = BTreeMap::from([
            (page(0), waiting(at(9), 0..3)),
            (page(1), waiting(at(5), 10..20)),
            (page(2), waiting(None, 30..40)),
        ]);
        let plan = RefreshBatch::new(&pages, 15);
        assert_eq!(plan.complete, BTreeSet::from([page(2)]));
        assert_eq!(plan.partial, Some(page(1)));
        assert_eq!(plan.release, BTreeSet::from([page(0)]));
    }

    #[test]
    fn without_anything_to_ask_for_pages_are_given_back() {
        let pages = BTreeMap::from([
            (page(0), needs(LeaseStatus::Acquired, 0..0, 0..0)),
            (
                page(1),
                needs(LeaseStatus::HeldByOther { pages: 1 }, 0..1, 0..0),
            ),
        ]);
        let plan = RefreshBatch::new(&pages, 10);
        assert_eq!(plan.release, BTreeSet::from([page(0)]));
        assert_eq!((plan.ask.len(), plan.complete.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn plans_hold_what_they_promise(
            sizes in proptest::collection::vec((0_u32..40, 0_u32..40, 0_u8..3), 0..12),
            room in 1_usize..100,
        ) {
            let mut next = 0;
            let mut pages = BTreeMap::new();
            for (number, (needed, wanted, lease_status)) in (0_u8..).zip(sizes) {
                let lease_status = [LeaseStatus::Acquired, LeaseStatus::Unleased, LeaseStatus::HeldByOther { pages: 3 }]
                    [usize::from(lease_status)];
                let middle = next + needed;
                pages.insert(
                    page(number),
                    needs(lease_status, next..middle, middle..middle + wanted),
                );
                next = middle + wanted;
            }
            let plan = RefreshBatch::new(&pages, room);
            prop_assert!(plan.ask.len() <= room);
            for (page, needs) in &pages {
                let won = needs.lease_status == LeaseStatus::Acquired;
                let states = [
                    plan.complete.contains(page),
                    plan.partial == Some(*page),
                    plan.release.contains(page),
                ];
                prop_assert_eq!(states.into_iter().filter(|it| *it).count(), usize::from(won));
                if plan.complete.contains(page) {
                    prop_assert!(plan.ask.is_superset(&needs.needed));
                    prop_assert!(plan.ask.is_superset(&needs.wanted));
                }
            }
            let askable = pages.values().any(|needs| {
                !needs.needed.is_empty() && !matches!(needs.lease_status, LeaseStatus::HeldByOther { .. })
            });
            prop_assert!(!askable || !plan.ask.is_empty());
            prop_assert!(!plan.ask.is_empty() || plan.complete.is_empty());
            for (_, needs) in pages.iter().filter(|(_, it)| it.lease_status == LeaseStatus::Unleased) {
                prop_assert!(plan.ask.is_disjoint(&needs.wanted));
            }
        }
    }
}
