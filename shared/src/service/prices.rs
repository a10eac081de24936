//! The second level: prices.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{CacheOutcome, Held, Level, Request, Service, ServiceError};
use crate::{
    cache::CachedPart,
    clock::Timestamp,
    domain::{
        currency::Currency,
        holdings::{CorruptHoldings, Holdings},
        price::{CmcId, Price, PriceKey, PriceSource, PriceTable},
        query::Query,
        scope::Part,
    },
    upstream::{FallbackQuote, Quote, UpstreamError},
};

/// That a source knows no price of a token is remembered for this long.
const UNKNOWN_TTL: Duration = Duration::from_secs(600);
/// A quote that its own source dates further back than this is none.
const MAX_QUOTE_AGE: Duration = Duration::from_secs(3600);
/// Most tokens that the fallback is asked for in one answer; the others are
/// the oldest of the next one.
const MAX_FALLBACK: usize = 300;

/// A wallet with more tokens than this that have no price, that nobody vouches
/// for and that no protocol holds is full of spam: they are not asked for.
const MAX_DOUBTFUL: usize = 100;

/// Whom to ask for a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// CoinMarketCap, by id.
    Listed(CmcId),
    /// The fallback source, by chain and contract.
    Fallback(String),
}

/// The assets whose prices can be refreshed, and by whom.
pub(super) type Refreshable = BTreeMap<PriceKey, Ask>;

/// What a refresh brought.
struct Refreshed {
    /// New prices, and marks for what was asked in vain.
    fresh: PriceTable,
    /// CoinMarketCap's failure; the fallback's is no more than a pity.
    failed: Option<UpstreamError>,
    /// The first source that answered.
    answered: Option<PriceSource>,
}

impl Service {
    /// Assets that can be refreshed: those that CoinMarketCap lists; of the
    /// others those that have a price already, are vouched for, or belong to a
    /// protocol; and the rest only where it is not spam by the hundred, which
    /// would cost dozens of requests.
    pub(super) fn refreshable(
        &self,
        parts: &BTreeMap<Part, CachedPart>,
        currency: Currency,
        table: &PriceTable,
    ) -> Result<Refreshable, CorruptHoldings> {
        // The fallback answers in US dollars only.
        let fallback = self.fallback.is_some() && currency == Currency::USD;
        let mut refreshable = Refreshable::new();
        let mut doubtful = Refreshable::new();
        for (part, cached) in parts {
            let holdings = Holdings::decode(&cached.bytes)?;
            for token in &holdings.tokens {
                let key = holdings.price_key(token);
                if let Some(id) = token.cmc {
                    refreshable.insert(key, Ask::Listed(id));
                } else if fallback && let Some(name) = holdings.fallback_key(token) {
                    let plausible =
                        token.verified || *part == Part::Defi || table.get(key).is_some();
                    let kind = if plausible {
                        &mut refreshable
                    } else {
                        &mut doubtful
                    };
                    kind.entry(key).or_insert(Ask::Fallback(name));
                }
            }
        }
        if doubtful.len() <= MAX_DOUBTFUL {
            for (key, ask) in doubtful {
                refreshable.entry(key).or_insert(ask);
            }
        }
        Ok(refreshable)
    }

    /// Prices for what is held. What only a table in another currency knows is
    /// converted: holdings are fetched in one currency and asked for in any.
    pub(super) async fn priced(
        &self,
        query: &Query,
        held: &Held,
        request: &Request,
    ) -> Result<(PriceTable, Level), ServiceError> {
        let (mut table, level) = self.direct_prices(query, held, request).await?;
        let elsewhere = held.cached.iter().flat_map(|wallet| &wallet.elsewhere);
        for other in elsewhere {
            table = table.completed_from(other);
        }
        Ok((table, level))
    }

    /// Prices in the asked currency: as they came, cached, or refreshed.
    async fn direct_prices(
        &self,
        query: &Query,
        held: &Held,
        request: &Request,
    ) -> Result<(PriceTable, Level), ServiceError> {
        if let Some(table) = &held.priced {
            let refreshable = self.refreshable(&held.parts, query.currency, table)?;
            let level = Level {
                outcome: held.level.outcome,
                stored: held.level.stored,
                detail: Some(PriceSource::Zerion.as_str()),
                ..self.hit(&refreshable, table, held)
            };
            return Ok((table.clone(), level));
        }
        let cached = held
            .cached
            .as_ref()
            .and_then(|wallet| wallet.prices.as_ref());
        let table = cached.map(|read| read.table.clone()).unwrap_or_default();
        let refreshable = self.refreshable(&held.parts, query.currency, &table)?;
        let (asked, outcome) = self.expired_prices(&refreshable, &table);
        if asked.is_empty() {
            let level = self.hit(&refreshable, &table, held);
            return Ok((table, level));
        }
        let refreshed = self.refresh(query, &asked, &table, request).await;
        let mut stored = false;
        if !refreshed.fresh.entries().is_empty() && held.cached.is_some() {
            let now = self.clock.now();
            let (address, usage) = (&query.address, &request.usage);
            let written = self
                .wallets
                .store_prices(
                    address,
                    query.currency,
                    &refreshed.fresh,
                    cached,
                    now,
                    usage,
                )
                .await;
            stored = written
                .inspect_err(|error| tracing::warn!(%error, "prices cannot be stored"))
                .unwrap_or(false);
        }
        let table = table.merged(refreshed.fresh.entries().iter().copied());
        // Old prices stand in for a failing source; with none at all the
        // answer would be a wallet worth nothing.
        if let Some(error) = &refreshed.failed
            && !self.has_usable_price(&table)
        {
            return Err(error.clone().into());
        }
        let hit = self.hit(&refreshable, &table, held);
        let level = match (refreshed.answered, &refreshed.failed) {
            (None, Some(_)) => Level {
                stale: true,
                detail: Some("upstream-error"),
                ..hit
            },
            (answered, failed) => Level {
                outcome,
                stored,
                stale: hit.stale && failed.is_some(),
                detail: Some(answered.map_or("upstream-error", PriceSource::as_str)),
                ..hit
            },
        };
        Ok((table, level))
    }

    /// Whether anything at all can be valued.
    fn has_usable_price(&self, table: &PriceTable) -> bool {
        let oldest = self.policy.oldest_prices(self.clock.now());
        table
            .entries()
            .iter()
            .any(|(key, price)| price.amount.is_positive() && oldest.allow(*key, price))
    }

    /// What has expired, oldest first, as much as one request each may hold.
    fn expired_prices(
        &self,
        refreshable: &Refreshable,
        table: &PriceTable,
    ) -> (Refreshable, CacheOutcome) {
        let now = self.clock.now();
        let mut expired: Vec<(Option<Timestamp>, PriceKey)> = refreshable
            .keys()
            .filter(|key| {
                self.price_expires(table, **key)
                    .is_none_or(|until| now >= until)
            })
            .map(|key| (table.checked_at(*key), *key))
            .collect();
        let missing = expired.iter().filter(|(checked, _)| checked.is_none());
        let outcome = match missing.count() {
            _ if expired.len() < refreshable.len() => CacheOutcome::Partial,
            missing if missing == refreshable.len() => CacheOutcome::Miss,
            _ => CacheOutcome::Expired,
        };
        expired.sort_unstable();
        let (mut listed, mut fallback) = (self.quotes.max_ids(), MAX_FALLBACK);
        let mut asked = Refreshable::new();
        for (_, key) in expired {
            let ask = &refreshable[&key];
            let room = match ask {
                Ask::Listed(_) => &mut listed,
                Ask::Fallback(_) => &mut fallback,
            };
            if *room > 0 {
                *room -= 1;
                asked.insert(key, ask.clone());
            }
        }
        (asked, outcome)
    }

    /// Until when a price counts as fresh; none if it was never asked for.
    fn price_expires(&self, table: &PriceTable, key: PriceKey) -> Option<Timestamp> {
        let ttl = if table.is_unknown(key) {
            UNKNOWN_TTL.max(self.policy.prices.ttl)
        } else {
            self.policy.prices.ttl
        };
        table.checked_at(key).map(|checked| checked.plus(ttl))
    }

    /// Prices that are used as they are. Only those that can be refreshed
    /// count: the others come with the holdings and expire with them.
    fn hit(&self, refreshable: &Refreshable, table: &PriceTable, held: &Held) -> Level {
        let now = self.clock.now();
        let first = refreshable
            .keys()
            .map(|key| self.price_expires(table, *key).unwrap_or(now))
            .min();
        let fresh_until = first.unwrap_or(held.level.fresh_until);
        Level {
            outcome: CacheOutcome::Hit,
            fresh_until,
            stale: now >= fresh_until,
            stored: false,
            detail: None,
        }
    }

    /// Asks both sources at once for what each is to be asked. What they do
    /// not answer keeps its price and time, and counts as asked.
    async fn refresh(
        &self,
        query: &Query,
        asked: &Refreshable,
        table: &PriceTable,
        request: &Request,
    ) -> Refreshed {
        let started = self.clock.now();
        let (listed, fallback) = futures::join!(
            self.listed_prices(query, asked, request),
            self.fallback_prices(asked, request)
        );
        let now = self.clock.now();
        request.usage.phase("prices", now.since(started));
        let mut fresh: HashMap<PriceKey, Price> = HashMap::new();
        let mut refreshed = Refreshed {
            fresh: PriceTable::default(),
            failed: None,
            answered: None,
        };
        let mut unanswered = Vec::new();
        for (source, answer) in [
            (PriceSource::CoinMarketCap, listed),
            (PriceSource::DefiLlama, fallback),
        ] {
            match answer {
                None => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "prices cannot be refreshed");
                    if source == PriceSource::DefiLlama {
                        // A second opinion that is not to be had: what is
                        // known stays, and is asked for again in its time.
                        let asked = asked.iter().filter(|(_, ask)| ask.source() == source);
                        let silent = asked.map(|(key, _)| *key);
                        unanswered.extend(table.unanswered(silent, PriceSource::Zerion, now));
                    } else {
                        refreshed.failed = Some(error);
                    }
                }
                Some(Ok(prices)) => {
                    refreshed.answered.get_or_insert(source);
                    fresh.extend(prices);
                    let silent = asked
                        .iter()
                        .filter(|(key, ask)| ask.source() == source && !fresh.contains_key(key))
                        .map(|(key, _)| *key);
                    unanswered.extend(table.unanswered(silent, source, now));
                }
            }
        }
        refreshed.fresh = PriceTable::new(fresh.into_iter().chain(unanswered).collect());
        refreshed
    }

    /// One CoinMarketCap request for all listed assets; `None` when there are
    /// none.
    async fn listed_prices(
        &self,
        query: &Query,
        asked: &Refreshable,
        request: &Request,
    ) -> Option<Result<Vec<(PriceKey, Price)>, UpstreamError>> {
        let ids: Vec<CmcId> = asked
            .values()
            .filter_map(|ask| match ask {
                Ask::Listed(id) => Some(*id),
                Ask::Fallback(_) => None,
            })
            .collect();
        if ids.is_empty() {
            return None;
        }
        let timeout = self.upstream_timeout(self.policy.price_timeout, request);
        request.usage.upstream_call();
        let quotes = self.quotes.quotes(&ids, query.currency, timeout).await;
        let now = self.clock.now();
        Some(quotes.map(|quotes| {
            let price = |quote: Quote| Price {
                amount: quote.price,
                change_24h_percent: quote.change_24h_percent,
                source: PriceSource::CoinMarketCap,
                as_of: now,
                checked_at: now,
            };
            quotes
                .into_iter()
                // Coins that are no longer traded keep their last quote.
                .filter(|quote| quote.as_of.is_none_or(|at| now.since(at) <= MAX_QUOTE_AGE))
                .map(|quote| (PriceKey::Cmc(quote.id), price(quote)))
                .filter(|(key, _)| asked.contains_key(key))
                .collect()
        }))
    }

    /// The fallback's prices of the other assets, likewise.
    async fn fallback_prices(
        &self,
        asked: &Refreshable,
        request: &Request,
    ) -> Option<Result<Vec<(PriceKey, Price)>, UpstreamError>> {
        let source = self.fallback.as_ref()?;
        let names: HashMap<&str, PriceKey> = asked
            .iter()
            .filter_map(|(key, ask)| match ask {
                Ask::Fallback(name) => Some((name.as_str(), *key)),
                Ask::Listed(_) => None,
            })
            .collect();
        if names.is_empty() {
            return None;
        }
        let mut wanted: Vec<String> = names.keys().map(|name| (*name).to_owned()).collect();
        wanted.sort_unstable();
        let timeout = self.upstream_timeout(self.policy.price_timeout, request);
        request.usage.upstream_call();
        let quotes = source.prices(&wanted, timeout).await;
        let now = self.clock.now();
        Some(quotes.map(|quotes| {
            let known = |quote: FallbackQuote| {
                let key = *names.get(quote.key.as_str())?;
                let as_of = quote.as_of.unwrap_or(now).min(now);
                let price = Price {
                    amount: quote.price,
                    change_24h_percent: None,
                    source: PriceSource::DefiLlama,
                    as_of,
                    checked_at: now,
                };
                price.usable_since(now).then_some((key, price))
            };
            quotes.into_iter().filter_map(known).collect()
        }))
    }
}

impl Ask {
    fn source(&self) -> PriceSource {
        match self {
            Self::Listed(_) => PriceSource::CoinMarketCap,
            Self::Fallback(_) => PriceSource::DefiLlama,
        }
    }
}
