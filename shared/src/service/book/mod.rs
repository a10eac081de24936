//! Prices through the shared book.
//!
//! ```text
//! what the process's copy does not have fresh
//!   │  read its pages ∥ try their leases ∥ read the breakers
//!   ├─ fresh on its page ────────────────────────────────────► taken
//!   ├─ pages won: one request for what is needed and for all
//!   │  else that is wanted on them; written back with the
//!   │  wallet's own prices ──────────────────────────────────► taken
//!   └─ pages that others hold: wait for them, look again
//! ```
//!
//! One answer makes at most one request to each source, whatever happens.

mod ask;
mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::open::{LEASE_MARGIN, OpenPage};
use super::{Request, Service};
use crate::{
    cache::price_book::{PageState, PageWrite, Prices},
    clock::Timestamp,
    domain::{
        currency::Currency,
        price::{Price, PriceSource},
        price_book::{DemandWindow, Page, QuoteKey, Shelf},
    },
    telemetry::request_cost::RequestCost,
    upstream::UpstreamError,
};

/// Whoever waits for other holders looks again after these pauses, the last
/// one repeated.
const PAUSES_MS: [u64; 4] = [40, 80, 120, 200];
/// Where older prices may stand in, neither a source nor the holder of a page's
/// lease is waited for any longer.
const SOFT_TIMEOUT: Duration = Duration::from_secs(1);

/// What an answer needs prices of, from one source in one currency.
pub(super) struct Needs<'n> {
    pub currency: Currency,
    pub shelf: Shelf,
    /// Whether older prices may stand in: then the source is not waited for
    /// any longer than [`SOFT_TIMEOUT`].
    pub soft: bool,
    /// Whether the source may be asked at all.
    pub may_ask: bool,
    pub keys: BTreeMap<QuoteKey, Need>,
    pub request: &'n Request,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// The price that the wallet has now, however old.
    pub own: Option<Price>,
    /// Whether that may still be used.
    pub usable: bool,
    /// Whether the book shall remember that it is wanted.
    pub notable: bool,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Found {
    /// The newest price of each key that anybody knows, fresh or not. One that
    /// is not known is the mark that its source was asked in vain.
    pub prices: Prices,
    /// Whether the source was asked.
    pub asked: bool,
    /// The source, if it was asked and answered.
    pub answered: Option<PriceSource>,
    /// How it failed.
    pub failed: Option<UpstreamError>,
    /// What was just refused.
    pub refused: BTreeSet<QuoteKey>,
    /// What is still to be written to the book.
    pub writes: BTreeMap<Page, PageWrite>,
}

/// One answer's way through the book.
struct Search<'s> {
    service: &'s Service,
    needs: &'s Needs<'s>,
    /// What is not fresh yet.
    missing: BTreeMap<Page, BTreeSet<QuoteKey>>,
    /// How often the book was looked into.
    looks: usize,
    /// How long it may wait for others, and has.
    patience: Duration,
    waited: Duration,
    found: Found,
}

impl Service {
    /// Prices of `needs`: from the process's copy, from the book, or from the
    /// sources, in that order.
    pub(super) async fn look_up(&self, needs: &Needs<'_>) -> Found {
        let mut search = Search {
            service: self,
            needs,
            missing: BTreeMap::new(),
            looks: 0,
            patience: Duration::ZERO,
            waited: Duration::ZERO,
            found: Found::default(),
        };
        search.take_copies();
        search.patience = search.longest_wait_for_others();
        let until = self.clock.now().plus(search.patience);
        while !search.missing.is_empty() {
            let patient = !search.is_past(until);
            let mut open = search.open().await;
            search.take(&open);
            search.ask(&mut open, patient).await;
            let held = search.held(&open);
            if held.is_empty() || !patient {
                break;
            }
            // Others may be waiting for what was just asked for.
            search.flush().await;
            search.wait(&held, until).await;
        }
        let notable = needs.keys.iter().filter(|(_, need)| need.notable);
        let notes = self.notes(needs.currency, notable.map(|(key, _)| key));
        for (page, keys) in notes {
            search.found.writes.entry(page).or_default().note = keys;
        }
        search.found
    }

    /// What is not known to be noted as wanted, by page. It counts as noted
    /// from now on.
    pub(super) fn notes<'k>(
        &self,
        currency: Currency,
        keys: impl Iterator<Item = &'k QuoteKey>,
    ) -> BTreeMap<Page, BTreeSet<QuoteKey>> {
        let now = self.clock.now();
        let slot = DemandWindow::of(now);
        let mut notes: BTreeMap<Page, BTreeSet<QuoteKey>> = BTreeMap::new();
        for key in keys.filter(|key| !self.copies.notes(currency, key, slot)) {
            let page = key.page();
            notes.entry(page).or_default().insert(key.clone());
            self.copies.change_state(currency, page, now, |state| {
                state.wanted.entry(slot).or_default().insert(key.clone());
            });
        }
        notes
    }

    /// Writes to the book, as far as the request's time allows. A failure costs
    /// freshness, nothing else.
    pub(super) async fn write_book(
        &self,
        currency: Currency,
        writes: &BTreeMap<Page, PageWrite>,
        request: &Request,
        cost: &RequestCost,
    ) {
        if writes.is_empty() {
            return;
        }
        let limit = self.upstream_timeout(self.policy.price_timeout, request);
        let write = self.book.write(currency, writes, self.clock.now(), cost);
        match tokio::time::timeout(limit, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the price book cannot be written"),
            Err(_) => tracing::warn!("the price book could not be written in time"),
        }
    }

    /// Returns how long a page's lease is taken for.
    fn page_lease(&self) -> Duration {
        self.policy.price_timeout + LEASE_MARGIN
    }

    /// How long prices of a shelf are fresh.
    pub(super) fn ttl(&self, shelf: Shelf) -> Duration {
        match shelf {
            Shelf::Listed => self.policy.prices.ttl,
            Shelf::Unlisted => self.unlisted_ttl(),
        }
    }

    /// What was asked for up to this moment is to be renewed at `now`: a
    /// little before it expires, so that what expires at nearly the same time
    /// is renewed at once and stays together.
    pub(super) fn renewal_due(&self, shelf: Shelf, now: Timestamp) -> Timestamp {
        let ttl = self.ttl(shelf);
        now.minus(ttl - ttl / 6)
    }

    /// Whether a price need not be renewed.
    pub(super) fn is_fresh(&self, price: &Price, shelf: Shelf, now: Timestamp) -> bool {
        let recent = match price.is_unknown() {
            true => now < price.checked_at.plus(self.unknown_ttl()),
            false => price.checked_at > self.renewal_due(shelf, now),
        };
        recent && !price.checked_at.is_in_the_future(now)
    }
}

impl Search<'_> {
    fn now(&self) -> Timestamp {
        self.service.clock.now()
    }

    /// Takes what the process's copies have.
    fn take_copies(&mut self) {
        let now = self.now();
        for key in self.needs.keys.keys() {
            let price = self.service.copies.price(self.needs.currency, key);
            if !price.is_some_and(|price| self.service.is_fresh(&price, self.needs.shelf, now)) {
                let missing = self.missing.entry(key.page()).or_default();
                missing.insert(key.clone());
            }
            let prices = &mut self.found.prices;
            prices.extend(price.map(|price| (key.clone(), price)));
        }
    }

    /// Takes every price that the pages have of what is missing.
    fn take(&mut self, open: &BTreeMap<Page, OpenPage>) {
        let now = self.now();
        let (service, shelf) = (self.service, self.needs.shelf);
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
                !service.is_fresh(price, shelf, now)
            });
            !keys.is_empty()
        });
    }

    /// Pages that others refresh, of what is still missing.
    fn held(&self, open: &BTreeMap<Page, OpenPage>) -> BTreeSet<Page> {
        let now = self.now();
        let is_held = |(page, keys): &(&Page, &BTreeSet<QuoteKey>)| {
            let opened = open.get(*page);
            opened.is_some_and(|opened| opened.is_held(keys, now, self.looks))
        };
        let held = self.missing.iter().filter(is_held);
        held.map(|(page, _)| *page).collect()
    }

    /// Writes what there is to write now, as a round trip of its own.
    async fn flush(&mut self) {
        let writes = std::mem::take(&mut self.found.writes);
        let cost = &self.needs.request.cost;
        self.service
            .write_book(self.needs.currency, &writes, self.needs.request, cost)
            .await;
    }

    /// How long to wait for the source, or for others that ask it.
    fn longest_wait(&self) -> Duration {
        let limit = self.service.policy.price_timeout;
        let limit = match self.needs.soft && !self.needs.request.patient {
            true => limit.min(SOFT_TIMEOUT),
            false => limit,
        };
        self.service.upstream_timeout(limit, self.needs.request)
    }

    /// How long to wait for others: long enough is left to ask the source then.
    fn longest_wait_for_others(&self) -> Duration {
        let half = self.service.time_left(self.needs.request) / 2;
        self.longest_wait().min(half)
    }

    /// Whether patience has ended: by the clock, or by the number of looks
    /// where the clock stands still.
    fn is_past(&self, until: Timestamp) -> bool {
        self.now() >= until || self.waited >= self.patience
    }

    /// Waits until one of the held pages is no longer held, or patience ends.
    async fn wait(&mut self, held: &BTreeSet<Page>, until: Timestamp) {
        let (service, currency) = (self.service, self.needs.currency);
        for at in self.looks.saturating_sub(1).. {
            let pause = Duration::from_millis(PAUSES_MS[at.min(PAUSES_MS.len() - 1)]);
            tokio::time::sleep(pause).await;
            self.waited += pause;
            let states = service
                .book
                .states(currency, held, &self.needs.request.cost);
            let Ok(states) = states.await else { break };
            let now = self.now();
            let length = service.page_lease();
            let states = states
                .into_iter()
                .map(|(page, state)| (page, state.without_future_timestamps(now, length)));
            let states: BTreeMap<Page, PageState> = states.collect();
            let released = states.values().any(|state| !state.is_held(now));
            for (page, state) in states {
                service.copies.keep_state(currency, page, state, now);
            }
            if released || self.is_past(until) {
                break;
            }
        }
    }
}
