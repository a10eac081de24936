//! The second level: prices.
//!
//! KnownPrices are the prices that came with each part's holdings, in the currency of
//! that fetch, and refreshed ones, in US dollars and in the asked currency.
//! A provider that quotes in any currency is asked in the answer's, others in
//! dollars.
//! What an answer needs in another currency than it is known in is converted by
//! the exchange rate of the dollar, which is a price like any other.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    known::KnownPrices,
    look_up_all::{LookupResults, has_usable_price, look_up_all},
    pricing::Pricing,
    selection::select_prices,
    shared::SharedPrices,
    wanted::Wanted,
};
use crate::{
    cache::{CacheError, NewPrices, WalletStore},
    clock::Timestamp,
    domain::{currency::Currency, price::PriceTable, provider::Provider, query::Query},
    service::{
        context::{Detail, Level, Request, ServiceError},
        fresh_prices::{AnswerPrices, FreshPrices},
        structure::{LoadedHoldings, WalletCache},
    },
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// The second level of the cache: prices of what a wallet holds.
pub(in crate::service) struct PriceReader {
    shared: Arc<SharedPrices>,
    wallets: Arc<dyn WalletStore>,
    wallet_cache: Arc<WalletCache>,
}

impl PriceReader {
    /// Returns a reader of shared prices that stores a wallet's beside it.
    pub fn new(
        shared: Arc<SharedPrices>,
        wallets: Arc<dyn WalletStore>,
        wallet_cache: Arc<WalletCache>,
    ) -> Self {
        Self {
            shared,
            wallets,
            wallet_cache,
        }
    }

    /// Returns prices for what is held, in the asked currency.
    pub async fn get(
        &self,
        query: &Query,
        held: &LoadedHoldings,
        request: &Request,
    ) -> Result<(Arc<AnswerPrices>, Level), ServiceError> {
        let now = self.shared.clock.now();
        if !held.fetched
            && let Some(fresh) = self.wallet_cache.fresh_prices(query, held, now)
        {
            return Ok((fresh.prices.clone(), fresh.level()));
        }
        let policy = &self.shared.policy;
        let oldest = policy.oldest_prices(now);
        let known = KnownPrices::of(query, held, oldest, now);
        let wanted = Wanted::of(&held.parts, &self.shared.sources, |key| {
            known.is_priced(key)
        });
        let mut pricing = Pricing {
            query,
            held,
            wanted,
            known,
            request,
            policy,
            clock: &*self.shared.clock,
        };
        let checks = pricing.known.checks(&pricing.wanted);
        let prices = pricing.known.select(oldest);
        let (due, outcome) = pricing.due(&checks);
        let rates = pricing.rates_due(&prices);
        if held.fetched || (due.is_empty() && rates.is_empty()) {
            let mut level = pricing.hit(&checks, &prices);
            if held.fetched {
                level.outcome = held.level.outcome;
                level.stored = held.level.stored;
                level.detail = Some(Detail::Provider(Provider::Zerion));
            }
            let prices = Arc::new(AnswerPrices::new(prices));
            if !held.fetched {
                self.keep_fresh(query, held, &prices, level);
            }
            return Ok((prices, level));
        }
        let before = prices;
        let found = look_up_all(&self.shared, &pricing, &due, &rates, &before).await;
        let fresh = select_prices(&mut pricing, &checks, &due, &found);
        let stored = self.store_found(&pricing, &fresh, &found).await;
        let renewed = fresh.values().any(|table| !table.entries().is_empty());
        let oldest = policy.oldest_prices(self.shared.clock.now());
        let prices = pricing.known.select(oldest);
        // Old prices stand in for a failing source; with none at all the
        // answer would be a wallet worth nothing.
        let quote_failed = pricing
            .wanted
            .iter()
            .any(|(key, asset)| due.contains(&key) && pricing.wanted.terms(asset).curated);
        if let Some(error) = found.failed()
            && !has_usable_price(&prices.table, oldest)
            && (quote_failed || prices.unconverted.is_empty())
        {
            return Err(error.clone().into());
        }
        let checks = pricing.known.checks(&pricing.wanted);
        let hit = pricing.hit(&checks, &prices);
        let mut answered = found.by_provider.iter();
        let answered = answered.find_map(|at| at.found.answered);
        let detail = match (found.failed(), answered) {
            (Some(error), _) => word(error),
            (None, Some(provider)) => Detail::Provider(provider),
            (None, None) => Detail::Book,
        };
        // Old data that stands in for a failure is a hit, even if other prices came.
        let failed = found.failed().is_some() && hit.stale;
        let level = Level {
            outcome: match renewed && !failed {
                true => outcome,
                false => hit.outcome,
            },
            stored,
            detail: Some(detail),
            ..hit
        };
        Ok((Arc::new(AnswerPrices::new(prices)), level))
    }

    /// Keeps fresh prices for the next answers from the same data.
    fn keep_fresh(
        &self,
        query: &Query,
        held: &LoadedHoldings,
        prices: &Arc<AnswerPrices>,
        level: Level,
    ) {
        let now = self.shared.clock.now();
        // What is not converted may be at any moment.
        if !prices.unconverted.is_empty() {
            return;
        }
        let oldest = self.shared.policy.oldest_prices(now);
        let used = prices.table.entries().iter();
        let used = used.filter(|(key, price)| oldest.permits(*key, price));
        let usable = used.map(|(key, price)| self.shared.policy.usable_until(*key, price));
        let until = usable.fold(level.fresh_until, Timestamp::min);
        if now < until {
            let fresh = FreshPrices {
                prices: prices.clone(),
                fresh_until: level.fresh_until,
                from: now,
                until,
            };
            let copies = &self.wallet_cache;
            copies.keep_prices(query, held, &Arc::new(fresh), now);
        }
    }

    /// Writes the wallet's prices and the book's at once; returns whether the
    /// wallet's were stored.
    async fn store_found(
        &self,
        pricing: &Pricing<'_>,
        fresh: &BTreeMap<Currency, PriceTable>,
        found: &LookupResults,
    ) -> bool {
        let (request, held) = (pricing.request, pricing.held);
        let now = pricing.now();
        let concurrent = RequestCost::default();
        let writes = found.iter().filter(|(_, found)| !found.write.is_empty());
        let writes: Vec<_> = writes.collect();
        let book = writes.iter().map(|(currency, found)| {
            self.shared
                .write_book(*currency, &found.write, request, &concurrent)
        });
        let book = futures::future::join_all(book);
        let prices: Vec<NewPrices<'_>> = fresh
            .iter()
            .filter(|(_, table)| held.storable && !table.entries().is_empty())
            .map(|(currency, fresh)| NewPrices {
                currency: *currency,
                fresh,
                previous: held.cached.refreshed.get(currency).map(|read| &**read),
            })
            .collect();
        if prices.is_empty() {
            if !writes.is_empty() {
                request.cost.round_trip();
                book.await;
                request.cost.merge_concurrent(&concurrent);
            }
            return false;
        }
        let (address, header) = (&pricing.query.address, &held.cached.header);
        let cost = &request.cost;
        let wallet = self
            .wallets
            .store_prices(address, header, &prices, now, cost);
        // The prices are an answer, whether or not they can be kept.
        let limit = request.timeout(pricing.policy.structure_timeout, pricing.now());
        let both = async { futures::join!(wallet, book) };
        let written = tokio::time::timeout(limit, both).await;
        let (stored, _) = written.unwrap_or_else(|_| (Err(CacheError::deadline()), Vec::new()));
        cost.merge_concurrent(&concurrent);
        stored
            .inspect_err(|error| tracing::warn!(%error, "prices cannot be stored"))
            .unwrap_or(false)
    }
}

/// Returns what an answer's header says of a failure.
fn word(error: &UpstreamError) -> Detail {
    match error.failure {
        Failure::RateLimited { .. } => Detail::RateLimited,
        _ => Detail::UpstreamError,
    }
}
