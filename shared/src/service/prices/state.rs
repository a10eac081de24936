//! One answer's way through the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    page::PageView,
    request::{LookupResult, PriceRequest},
    shared::{SharedPrices, is_fresh, refresh_due},
};
use crate::{
    cache::price_book::PageState,
    clock::Timestamp,
    domain::{
        price::Price,
        price_book::{Page, QuoteKey},
    },
    service::policy::SOFT_PRICE_TIMEOUT,
};

/// A request that waits for other holders polls after these pauses, the last one
/// repeated.
const POLL_BACKOFF_MS: [u64; 4] = [40, 80, 120, 200];

/// What is known on the way.
pub(super) struct LookupState<'s> {
    pub shared: &'s SharedPrices,
    pub needs: &'s PriceRequest<'s>,
    /// What is not fresh yet.
    pub missing: BTreeMap<Page, BTreeSet<QuoteKey>>,
    /// How often the book was read.
    pub polls: usize,
    /// How long it may wait for others, and has.
    pub patience: Duration,
    waited: Duration,
    pub found: LookupResult,
}

impl<'s> LookupState<'s> {
    /// Returns the state before anything was looked at.
    pub fn new(shared: &'s SharedPrices, needs: &'s PriceRequest<'s>) -> Self {
        Self {
            shared,
            needs,
            missing: BTreeMap::new(),
            polls: 0,
            patience: Duration::ZERO,
            waited: Duration::ZERO,
            found: LookupResult::default(),
        }
    }
}

impl LookupState<'_> {
    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Takes what the process's copies have.
    pub fn take_copies(&mut self) {
        let now = self.now();
        for key in self.needs.keys.keys() {
            let price = self.shared.page_cache.price(self.needs.currency, key);
            if !price.is_some_and(|price| self.is_fresh(&price, now)) {
                let missing = self.missing.entry(key.page()).or_default();
                missing.insert(key.clone());
            }
            let prices = &mut self.found.prices;
            prices.extend(price.map(|price| (key.clone(), price)));
        }
    }

    /// Takes every price that the pages have of what is missing.
    pub fn take(&mut self, open: &BTreeMap<Page, PageView>) {
        let now = self.now();
        let (shared, terms) = (self.shared, &self.needs.terms);
        let prices = &mut self.found.prices;
        self.missing.retain(|page, keys| {
            let there = open.get(page).map(|opened| &opened.prices);
            keys.retain(|key| {
                let Some(price) = there.and_then(|there| there.get(key)) else {
                    return true;
                };
                let known = prices.get(key).map(|known| known.checked_at);
                if known <= Some(price.checked_at) {
                    prices.insert(key.clone(), *price);
                }
                !is_fresh(&shared.policy, price, terms, now)
            });
            !keys.is_empty()
        });
    }

    /// Pages that others refresh, of what is still missing.
    pub fn held(&self, open: &BTreeMap<Page, PageView>) -> BTreeSet<Page> {
        let now = self.now();
        let is_held = |(page, keys): &(&Page, &BTreeSet<QuoteKey>)| {
            let opened = open.get(*page);
            opened.is_some_and(|opened| opened.is_held(keys, now, self.polls))
        };
        let held = self.missing.iter().filter(is_held);
        held.map(|(page, _)| *page).collect()
    }

    /// Writes what there is to write now, as a round trip of its own.
    pub async fn flush(&mut self) {
        let writes = std::mem::take(&mut self.found.writes);
        let cost = &self.needs.request.cost;
        self.shared
            .write_book(self.needs.currency, &writes, self.needs.request, cost)
            .await;
    }

    /// How long to wait for the source, or for others that ask it.
    pub fn longest_wait(&self) -> Duration {
        let limit = self.shared.policy.price_timeout;
        let limit = match self.needs.soft && !self.needs.request.patient {
            true => limit.min(SOFT_PRICE_TIMEOUT),
            false => limit,
        };
        self.needs.request.timeout(limit, self.now())
    }

    /// How long to wait for others: long enough is left to ask the source then.
    pub fn longest_wait_for_others(&self) -> Duration {
        let half = self.needs.request.time_left(self.now()) / 2;
        self.longest_wait().min(half)
    }

    /// Whether patience has ended: by the clock, or by the number of polls
    /// where the clock stands still.
    pub fn is_past(&self, until: Timestamp) -> bool {
        self.now() >= until || self.waited >= self.patience
    }

    /// Waits until one of the held pages is no longer held, or patience ends.
    pub async fn wait(&mut self, held: &BTreeSet<Page>, until: Timestamp) {
        let (shared, currency) = (self.shared, self.needs.currency);
        for at in self.polls.saturating_sub(1).. {
            let pause = Duration::from_millis(POLL_BACKOFF_MS[at.min(POLL_BACKOFF_MS.len() - 1)]);
            tokio::time::sleep(pause).await;
            self.waited += pause;
            let states = shared.book.states(currency, held, &self.needs.request.cost);
            let Ok(states) = states.await else { break };
            let now = self.now();
            let length = shared.policy.page_lease();
            let states = states
                .into_iter()
                .map(|(page, state)| (page, state.without_future_timestamps(now, length)));
            let states: BTreeMap<Page, PageState> = states.collect();
            let released = states.values().any(|state| !state.is_held(now));
            for (page, state) in states {
                shared.page_cache.keep_state(currency, page, state, now);
            }
            if released || self.is_past(until) {
                break;
            }
        }
    }

    /// Returns whether a price of the source need not be refreshed.
    pub fn is_fresh(&self, price: &Price, now: Timestamp) -> bool {
        is_fresh(&self.shared.policy, price, &self.needs.terms, now)
    }

    /// Returns the moment up to which the source's prices are to be refreshed at
    /// `now`.
    pub fn refresh_due(&self, now: Timestamp) -> Timestamp {
        refresh_due(&self.shared.policy, &self.needs.terms, now)
    }

    /// Returns until when the source is known to be rate limited.
    pub fn rate_limited_until(&self) -> Option<Timestamp> {
        let provider = self.needs.provider;
        self.shared.rate_limits.limited_until(provider)
    }
}
