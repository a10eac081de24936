//! The second level: prices.

use std::{collections::BTreeMap, time::Duration};

use super::{
    CacheOutcome, Held, Level, Request, Service, ServiceError,
    book::{Found, Need, Needs},
};
use crate::{
    cache::{CacheError, CachedPart},
    clock::Timestamp,
    domain::{
        book::BookKey,
        currency::Currency,
        holdings::{CorruptHoldings, Holdings},
        price::{PriceKey, PriceSource, PriceTable},
        query::Query,
        rate::{self, Rate},
        scope::Part,
    },
    upstream::{Failure, UpstreamError},
    usage::Usage,
};

/// That a source knows no price of a token is remembered for this long.
const UNKNOWN_TTL: Duration = Duration::from_secs(600);

/// A wallet with more tokens than this that have no price, that nobody vouches
/// for and that no protocol holds is full of spam: they are not asked for.
const MAX_DOUBTFUL: usize = 100;

/// The assets whose prices can be refreshed, and where the book has them.
pub(super) type Refreshable = BTreeMap<PriceKey, BookKey>;

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
                    refreshable.insert(key, BookKey::Listed(id));
                } else if fallback && let Some(name) = holdings.fallback_key(token) {
                    let plausible =
                        token.verified || *part == Part::Defi || table.get(key).is_some();
                    let kind = if plausible {
                        &mut refreshable
                    } else {
                        &mut doubtful
                    };
                    kind.entry(key).or_insert(BookKey::Unlisted(name));
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
        for (currency, other) in held.elsewhere() {
            let rate = Rate::between((*currency, other), (query.currency, &table));
            if let Some(rate) = rate {
                table = table.completed_from(other, rate);
            }
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
        let asked = with_dollars(asked, query.currency);
        let found = self.search(query, &asked, &table, request).await;
        let fresh = self.taken(query, &asked, &table, held, &found, request);
        let stored = self.store_found(query, held, &fresh, &found, request).await;
        let renewed = !fresh.entries().is_empty();
        let table = table.merged(fresh.entries().iter().copied());
        // Old prices stand in for a failing source; with none at all the
        // answer would be a wallet worth nothing.
        if let Some(error) = &found.failed
            && !self.has_usable_price(&table, &refreshable)
        {
            return Err(error.clone().into());
        }
        let hit = self.hit(&refreshable, &table, held);
        let detail = match (&found.failed, found.answered) {
            (Some(error), _) => word(error),
            (None, Some(source)) => source.as_str(),
            (None, None) => "book",
        };
        // Old data that stands in for a failure is a hit, whatever else came.
        let failed = found.failed.is_some() && hit.stale;
        let level = Level {
            outcome: match renewed && !failed {
                true => outcome,
                false => hit.outcome,
            },
            stored,
            detail: Some(detail),
            ..hit
        };
        Ok((table, level))
    }

    /// Looks for what has expired.
    async fn search(
        &self,
        query: &Query,
        asked: &Refreshable,
        table: &PriceTable,
        request: &Request,
    ) -> Found {
        let oldest = self.policy.oldest_prices(self.clock.now());
        let need = |(key, book_key): (&PriceKey, &BookKey)| {
            let own = table.get(*key).copied();
            let need = Need {
                own,
                usable: own.is_some_and(|own| oldest.allow(*key, &own)),
                notable: own.is_some() || matches!(book_key, BookKey::Listed(_)),
            };
            (book_key.clone(), need)
        };
        let needs = Needs {
            currency: query.currency,
            keys: asked.iter().map(need).collect(),
            request,
        };
        self.look_up(&needs).await
    }

    /// Writes the wallet's prices and the book's at once; tells whether the
    /// wallet's were stored.
    async fn store_found(
        &self,
        query: &Query,
        held: &Held,
        fresh: &PriceTable,
        found: &Found,
        request: &Request,
    ) -> bool {
        let now = self.clock.now();
        let aside = Usage::default();
        let book = self.write_book(query.currency, &found.writes, &aside);
        let Some(cached) = held.cached.as_ref().filter(|_| !fresh.entries().is_empty()) else {
            if !found.writes.is_empty() {
                request.usage.round_trip();
                book.await;
                request.usage.add_aside(&aside);
            }
            return false;
        };
        let wallet = self.wallets.store_prices(
            &query.address,
            query.currency,
            fresh,
            cached.prices.as_ref(),
            now,
            &request.usage,
        );
        // The prices are an answer, whether or not they can be kept.
        let limit = self.upstream_timeout(self.policy.structure_timeout, request);
        let both = async { futures::join!(wallet, book) };
        let written = tokio::time::timeout(limit, both).await;
        let (stored, ()) = written.unwrap_or_else(|_| (Err(CacheError::too_late()), ()));
        request.usage.add_aside(&aside);
        stored
            .inspect_err(|error| tracing::warn!(%error, "prices cannot be stored"))
            .unwrap_or(false)
    }

    /// Whether anything at all can be valued.
    fn has_usable_price(&self, table: &PriceTable, refreshable: &Refreshable) -> bool {
        let oldest = self.policy.oldest_prices(self.clock.now());
        let helper = |key: &PriceKey| {
            rate::DOLLARS.map(PriceKey::Cmc).contains(key) && !refreshable.contains_key(key)
        };
        table
            .entries()
            .iter()
            .any(|(key, price)| price.is_known() && oldest.allow(*key, price) && !helper(key))
    }

    /// What has expired, and what is about to: it is renewed with the rest.
    fn expired_prices(
        &self,
        refreshable: &Refreshable,
        table: &PriceTable,
    ) -> (Refreshable, CacheOutcome) {
        let now = self.clock.now();
        let expired = |key: &PriceKey| {
            let until = self.price_expires(table, *key);
            until.is_none_or(|until| now >= until)
        };
        let count = refreshable.keys().filter(|key| expired(key)).count();
        let missing = |key: &&PriceKey| table.checked_at(**key).is_none();
        let outcome = match refreshable.keys().filter(missing).count() {
            _ if count == 0 => CacheOutcome::Hit,
            missing if missing == refreshable.len() => CacheOutcome::Miss,
            _ if count < refreshable.len() => CacheOutcome::Partial,
            _ => CacheOutcome::Expired,
        };
        if count == 0 {
            return (Refreshable::new(), outcome);
        }
        let due = self.renewal_due(now);
        let renewed = |key: &PriceKey| {
            let old = table.checked_at(*key).is_some_and(|at| at <= due);
            expired(key) || old && !table.is_unknown(*key)
        };
        let asked = refreshable.iter().filter(|(key, _)| renewed(key));
        let asked = asked.map(|(key, book_key)| (*key, book_key.clone()));
        (asked.collect(), outcome)
    }

    /// How long it is remembered that nobody knows a price.
    pub(super) fn unknown_ttl(&self) -> Duration {
        UNKNOWN_TTL.max(self.policy.prices.ttl)
    }

    /// Until when a price counts as fresh; none if it was never asked for.
    fn price_expires(&self, table: &PriceTable, key: PriceKey) -> Option<Timestamp> {
        let ttl = if table.is_unknown(key) {
            self.unknown_ttl()
        } else {
            self.policy.prices.ttl
        };
        let checked = table.checked_at(key)?;
        let wrong = checked.is_implausible(self.clock.now());
        (!wrong).then(|| checked.plus(ttl))
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
}

/// Adds the coins that tell the rate to the dollar.
fn with_dollars(mut asked: Refreshable, currency: Currency) -> Refreshable {
    if currency != Currency::USD {
        let dollars = rate::DOLLARS.map(|id| (PriceKey::Cmc(id), BookKey::Listed(id)));
        asked.extend(dollars);
    }
    asked
}

/// What an answer's header says of a failure.
fn word(error: &UpstreamError) -> &'static str {
    match error.failure {
        Failure::RateLimited { .. } => "rate-limited",
        _ => "upstream-error",
    }
}
