//! A page of the price book as one answer sees it.

use std::collections::BTreeSet;

use crate::{
    cache::price_book::{PageState, Prices},
    clock::Timestamp,
    domain::{
        price_book::{DemandWindow, QuoteKey},
        refresh_batch::LeaseStatus,
    },
    service::policy::WRITE_VISIBILITY_WINDOW,
};

/// Where the clock stands still: after this many polls, about two seconds, the
/// prices are not on their way.
const MAX_POLLS: usize = 12;

/// A page as one answer sees it.
#[derive(Default)]
pub(super) struct PageView {
    pub prices: Prices,
    pub state: Option<PageState>,
    /// The lease's number, while this answer holds it.
    pub owner: Option<u64>,
    /// Nothing is known of its prices: they could not be read.
    pub read_failed: bool,
    /// Its lease was tried for, and what came of it is not known.
    pub lease_unknown: bool,
}

impl PageView {
    /// Returns whether another request refreshes it, or has just done so.
    pub fn is_held(&self, needed: &BTreeSet<QuoteKey>, now: Timestamp, polls: usize) -> bool {
        matches!(
            self.lease_status(needed, now, polls),
            Some(LeaseStatus::HeldByOther { .. })
        )
    }

    /// Returns how its lease stands; `None` if its source has just failed another
    /// request, or nothing is known.
    pub fn lease_status(
        &self,
        needed: &BTreeSet<QuoteKey>,
        now: Timestamp,
        polls: usize,
    ) -> Option<LeaseStatus> {
        if self.owner.is_some() {
            return Some(LeaseStatus::Acquired);
        }
        if self.lease_unknown {
            return None;
        }
        let Some(state) = &self.state else {
            return Some(LeaseStatus::Unleased);
        };
        if state.failed_until.is_some_and(|until| now < until) {
            return None;
        }
        let pages = state.pages;
        if state.is_held(now) {
            return Some(LeaseStatus::HeldByOther { pages });
        }
        let just_refreshed = state
            .fresh_at
            .is_some_and(|at| now < at.plus(WRITE_VISIBILITY_WINDOW));
        let covers = |key: &QuoteKey| state.notes(key, DemandWindow::of(now));
        if just_refreshed && polls < MAX_POLLS && needed.iter().any(covers) {
            return Some(LeaseStatus::HeldByOther { pages: 0 });
        }
        Some(LeaseStatus::Unleased)
    }

    /// Returns when the oldest price was asked for of what is wanted on it.
    pub fn age(&self, now: DemandWindow) -> Option<Timestamp> {
        let wanted = self.state.as_ref()?.wanted(now);
        let prices = wanted.iter().filter_map(|key| self.prices.get(key));
        let known = prices.filter(|price| !price.is_unknown());
        known.map(|price| price.checked_at).min()
    }

    /// Returns the windows of its lease item that have expired.
    pub fn expired_windows(&self, now: DemandWindow) -> Vec<DemandWindow> {
        let slots = self.state.iter().flat_map(|state| state.wanted.keys());
        slots
            .filter(|window| !window.is_live_in(now))
            .copied()
            .collect()
    }

    /// Returns the prices that are older than `oldest` and not wanted any more.
    pub fn forgotten(&self, oldest: Timestamp, now: DemandWindow) -> BTreeSet<QuoteKey> {
        let wanted = self.state.as_ref().map(|state| state.wanted(now));
        let wanted = wanted.unwrap_or_default();
        let old = self
            .prices
            .iter()
            .filter(|(key, price)| price.checked_at < oldest && !wanted.contains(*key));
        old.map(|(key, _)| key.clone()).collect()
    }
}
