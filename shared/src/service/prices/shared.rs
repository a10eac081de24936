//! The prices that all wallets share: the book, the process's copy of it, and
//! the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{page_cache::PageCache, sources::Sources, wanted::Wanted};
use crate::{
    cache::{
        CachedPart,
        price_book::{BookWrite, PageWrite, PriceBook},
    },
    clock::{Clock, Timestamp},
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
        query::Query,
        scope::Part,
    },
    service::{context::Request, demand::Demand, policy::Policy, rate_limits::RateLimits},
    telemetry::request_cost::RequestCost,
    upstream::QuoteTerms,
};

/// Shared prices.
pub(in crate::service) struct SharedPrices {
    pub book: Arc<dyn PriceBook>,
    pub page_cache: PageCache,
    pub sources: Sources,
    pub rate_limits: Arc<RateLimits>,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
}

impl SharedPrices {
    /// Returns which of `keys` are not known to be recorded as wanted, by page.
    /// They count as recorded from now on.
    pub fn notes<'k>(
        &self,
        currency: Currency,
        keys: impl Iterator<Item = &'k QuoteKey>,
    ) -> BTreeMap<Page, BTreeSet<QuoteKey>> {
        let now = self.clock.now();
        let window = DemandWindow::of(now);
        let mut notes: BTreeMap<Page, BTreeSet<QuoteKey>> = BTreeMap::new();
        for key in keys.filter(|key| !self.page_cache.notes(currency, key, window)) {
            notes.entry(key.page()).or_default().insert(key.clone());
        }
        for (page, keys) in &notes {
            self.page_cache
                .keep_demand(currency, *page, keys, window, now);
        }
        notes
    }

    /// Writes to the book, as far as the request's time allows. A failure costs
    /// freshness, nothing else.
    pub async fn write_book(
        &self,
        currency: Currency,
        write: &BookWrite,
        request: &Request,
        cost: &RequestCost,
    ) {
        if write.is_empty() {
            return;
        }
        let limit = request.timeout(self.policy.price_timeout, self.clock.now());
        let write = self.book.write(currency, write, self.clock.now(), cost);
        match tokio::time::timeout(limit, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the price book cannot be written"),
            Err(_) => tracing::warn!("the price book could not be written in time"),
        }
    }
}

/// Returns the moment up to which what was asked for is refreshed at `now`: a
/// little before it expires, so that what expires at nearly the same time is
/// refreshed at once and stays together.
pub(super) fn refresh_due(policy: &Policy, terms: &QuoteTerms, now: Timestamp) -> Timestamp {
    let ttl = policy.price_ttl(terms);
    now.minus(ttl - ttl / 6)
}

/// Returns whether a price need not be refreshed.
pub(super) fn is_fresh(policy: &Policy, price: &Price, terms: &QuoteTerms, now: Timestamp) -> bool {
    let recent = match price.is_unknown() {
        true => now < price.checked_at.plus(policy.unknown_price_ttl()),
        false => price.checked_at > refresh_due(policy, terms, now),
    };
    recent && !price.checked_at.is_in_the_future(now)
}

#[async_trait]
impl Demand for SharedPrices {
    async fn record(
        &self,
        query: &Query,
        parts: &BTreeMap<Part, Arc<CachedPart>>,
        request: &Request,
        cost: &RequestCost,
    ) {
        let priced = |key| parts.values().any(|part| part.prices.get(key).is_some());
        let wanted = Wanted::of(parts, &self.sources, priced);
        for (currency, keys) in wanted.tracked(query.currency, priced) {
            let notes = self.notes(currency, keys.iter());
            let noting = |(page, wanted)| {
                let write = PageWrite {
                    wanted,
                    ..PageWrite::default()
                };
                (page, write)
            };
            let write = BookWrite {
                pages: notes.into_iter().map(noting).collect(),
                end: None,
            };
            self.write_book(currency, &write, request, cost).await;
        }
    }
}
