//! The second level: prices.

use std::collections::{BTreeMap, HashMap};

use super::{CacheOutcome, Held, Level, Request, Service, ServiceError};
use crate::{
    cache::CachedPart,
    clock::Timestamp,
    domain::{
        holdings::{CorruptHoldings, Holdings},
        price::{CmcId, Price, PriceKey, PriceSource, PriceTable},
        query::Query,
        scope::Part,
    },
};

/// Keys of the assets that CoinMarketCap lists, sorted, each once: the ones
/// whose prices can be refreshed.
pub(super) fn listed_keys(
    parts: &BTreeMap<Part, CachedPart>,
) -> Result<Vec<PriceKey>, CorruptHoldings> {
    let mut keys = Vec::new();
    for part in parts.values() {
        let holdings = Holdings::decode(&part.bytes)?;
        keys.extend(
            holdings
                .tokens
                .iter()
                .filter_map(|token| token.cmc)
                .map(PriceKey::Cmc),
        );
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

impl Service {
    /// Prices for what is held: as they came with it, cached, or refreshed.
    pub(super) async fn priced(
        &self,
        query: &Query,
        held: &Held,
        request: &Request,
    ) -> Result<(PriceTable, Level), ServiceError> {
        let now = self.clock.now();
        let listed = listed_keys(&held.parts)?;
        if let Some(table) = &held.priced {
            let level = Level {
                outcome: held.level.outcome,
                stored: held.level.stored,
                detail: Some(PriceSource::Zerion.as_str()),
                ..self.hit(&listed, table, held)
            };
            return Ok((table.clone(), level));
        }
        let cached = held
            .cached
            .as_ref()
            .and_then(|wallet| wallet.prices.as_ref());
        let table = cached.map(|read| read.table.clone()).unwrap_or_default();
        let mut expired: Vec<(Option<Timestamp>, PriceKey)> = listed
            .iter()
            .map(|key| (table.checked_at(*key), *key))
            .filter(|(checked, _)| !checked.is_some_and(|at| now < at.plus(self.policy.prices.ttl)))
            .collect();
        if expired.is_empty() {
            return Ok((table.clone(), self.hit(&listed, &table, held)));
        }
        let outcome = match expired
            .iter()
            .filter(|(checked, _)| checked.is_none())
            .count()
        {
            _ if expired.len() < listed.len() => CacheOutcome::Partial,
            missing if missing == listed.len() => CacheOutcome::Miss,
            _ => CacheOutcome::Expired,
        };
        // What does not fit is the oldest of the next request.
        expired.sort_unstable();
        expired.truncate(self.quotes.max_ids());
        let asked: Vec<PriceKey> = expired.into_iter().map(|(_, key)| key).collect();
        let Some(fresh) = self.refresh(query, &asked, &table, request).await else {
            let mut level = self.hit(&listed, &table, held);
            level.stale = true;
            level.detail = Some("upstream-error");
            return Ok((table, level));
        };
        let stored = match &held.cached {
            Some(_) => {
                let now = self.clock.now();
                let stored = self
                    .wallets
                    .store_prices(
                        &query.address,
                        query.currency,
                        &fresh,
                        cached,
                        now,
                        &request.usage,
                    )
                    .await;
                stored
                    .inspect_err(|error| tracing::warn!(%error, "prices cannot be stored"))
                    .is_ok()
            }
            None => false,
        };
        let table = table.merged(fresh.entries().iter().copied());
        let level = Level {
            outcome,
            stored,
            detail: Some(PriceSource::CoinMarketCap.as_str()),
            ..self.hit(&listed, &table, held)
        };
        Ok((table, level))
    }

    /// Prices that are used as they are. Only those that can be refreshed
    /// count: the others come with the holdings and expire with them.
    fn hit(&self, listed: &[PriceKey], table: &PriceTable, held: &Held) -> Level {
        let oldest = listed
            .iter()
            .map(|key| table.checked_at(*key).unwrap_or_default())
            .min();
        let fresh_until = match oldest {
            Some(checked) if checked == Timestamp::default() => self.clock.now(),
            Some(checked) => checked.plus(self.policy.prices.ttl),
            None => held.level.fresh_until,
        };
        Level {
            outcome: CacheOutcome::Hit,
            fresh_until,
            stale: self.clock.now() >= fresh_until,
            stored: false,
            detail: None,
        }
    }

    /// One request for all of `asked`. What the source does not answer keeps
    /// its price and time, and counts as asked. `None` when it failed.
    async fn refresh(
        &self,
        query: &Query,
        asked: &[PriceKey],
        table: &PriceTable,
        request: &Request,
    ) -> Option<PriceTable> {
        let ids: Vec<CmcId> = asked
            .iter()
            .filter_map(|key| match key {
                PriceKey::Cmc(id) => Some(*id),
                PriceKey::Asset(_) => None,
            })
            .collect();
        let timeout = self.upstream_timeout(self.policy.price_timeout, request);
        request.usage.upstream_call();
        let started = self.clock.now();
        let quotes = self.quotes.quotes(&ids, query.currency, timeout).await;
        let now = self.clock.now();
        request.usage.phase("coinmarketcap", now.since(started));
        let quotes = quotes
            .inspect_err(|error| tracing::warn!(%error, "prices cannot be refreshed"))
            .ok()?;
        let mut fresh: HashMap<PriceKey, Price> = quotes
            .into_iter()
            .map(|quote| {
                let price = Price {
                    amount: quote.price,
                    change_24h_percent: quote.change_24h_percent,
                    source: PriceSource::CoinMarketCap,
                    as_of: now,
                    checked_at: now,
                };
                (PriceKey::Cmc(quote.id), price)
            })
            .collect();
        fresh.retain(|key, _| asked.contains(key));
        let unanswered = asked.iter().copied().filter(|key| !fresh.contains_key(key));
        let unanswered = table.unanswered(unanswered, PriceSource::CoinMarketCap, now);
        Some(PriceTable::new(
            fresh.into_iter().chain(unanswered).collect(),
        ))
    }
}
