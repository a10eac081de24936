//! One answer's way through the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    request::{LookupResult, PriceRequest},
    shared::{SharedPrices, is_fresh},
};
use crate::{
    cache::price_book::{LeaseState, LeaseTerms, StoredPage},
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
    /// How long it may wait for another process, and has.
    patience: Duration,
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
    pub fn take(&mut self, pages: &BTreeMap<Page, StoredPage>) {
        let now = self.now();
        let (shared, terms) = (self.shared, &self.needs.terms);
        let prices = &mut self.found.prices;
        self.missing.retain(|page, keys| {
            let there = pages.get(page).map(|page| &page.prices);
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

    /// How long to wait for the source, or for others that ask it.
    pub fn longest_wait(&self) -> Duration {
        let limit = self.shared.policy.price_timeout;
        let limit = match self.answers_with_old_prices() {
            true => limit.min(SOFT_PRICE_TIMEOUT),
            false => limit,
        };
        self.needs.request.timeout(limit, self.now())
    }

    /// Returns until when the holder of the lease is waited for: long enough is
    /// left to ask the provider then. Where older prices may stand in, a holder
    /// is given that time once, not by each request.
    pub fn waits_until(&mut self, held: Option<&LeaseState>) -> Timestamp {
        let now = self.now();
        let half = self.needs.request.time_left(now) / 2;
        self.patience = self.longest_wait().min(half);
        let until = held.and_then(|lease| lease.until);
        if let Some(until) = until.filter(|_| self.answers_with_old_prices()) {
            let taken_at = until.minus(self.lease_terms().length);
            let waited = now.since(taken_at);
            self.patience = self.patience.min(SOFT_PRICE_TIMEOUT.saturating_sub(waited));
        }
        now.plus(self.patience)
    }

    /// Returns whether older prices stand in for what takes too long.
    fn answers_with_old_prices(&self) -> bool {
        self.needs.soft && !self.needs.request.patient
    }

    /// Returns whether patience has ended: by the clock, or by the number of polls
    /// where the clock stands still.
    pub fn is_past(&self, until: Timestamp) -> bool {
        self.now() >= until || self.waited >= self.patience
    }

    /// Waits until the lease is no longer held, or patience ends.
    pub async fn wait(&mut self, until: Timestamp) {
        let (currency, provider) = (self.needs.currency, self.needs.provider);
        for at in self.polls.saturating_sub(1).. {
            let pause = Duration::from_millis(POLL_BACKOFF_MS[at.min(POLL_BACKOFF_MS.len() - 1)]);
            tokio::time::sleep(pause).await;
            self.waited += pause;
            let (terms, cost) = (self.lease_terms(), &self.needs.request.cost);
            let book = &self.shared.book;
            let lease = book.lease_state(currency, provider, terms, cost).await;
            let Ok(lease) = lease else { break };
            if lease.is_free(self.now()) || self.is_past(until) {
                break;
            }
        }
    }

    /// Returns how the lease is taken now.
    pub fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms {
            now: self.now(),
            length: self.shared.policy.price_lease(),
        }
    }

    /// Returns whether a price of the source need not be refreshed.
    pub fn is_fresh(&self, price: &Price, now: Timestamp) -> bool {
        is_fresh(&self.shared.policy, price, &self.needs.terms, now)
    }

    /// Returns until when the source is known to be rate limited.
    pub fn rate_limited_until(&self) -> Option<Timestamp> {
        let provider = self.needs.provider;
        self.shared.rate_limits.limited_until(provider)
    }
}
