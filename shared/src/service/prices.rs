//! The second level: prices.
//!
//! Known are the prices that came with each part's holdings, in the currency of
//! that fetch, and refreshed ones, in US dollars and in the asked currency.
//! Listed coins are refreshed in the asked currency, other tokens in dollars.
//! What an answer needs in another currency than it is known in is converted by
//! the exchange rate of the dollar, which is a price like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::Either;

pub(super) use super::wanted::Wanted;
use super::{
    CacheOutcome, Held, Level, Request, Service, ServiceError,
    book::{Found, Need, Needs},
    wanted::WantedAsset,
};
use crate::{
    cache::{CacheError, NewPrices},
    clock::Timestamp,
    domain::{
        currency::Currency,
        exchange_rate::{self, ExchangeRates, USD_STABLECOINS},
        price::{OldestPrices, Price, PriceKey, PriceSource, PriceTable},
        price_book::{QuoteKey, Shelf},
        query::Query,
        scope::Part,
        wallet_prices::{PricesIn, WalletPrices},
    },
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// That a source knows no price of a token is remembered for this long.
const UNKNOWN_TTL: Duration = Duration::from_secs(600);
/// Prices of tokens that CoinMarketCap does not list are fresh for at least
/// this long: DeFiLlama's own data move every five minutes.
const UNLISTED_TTL: Duration = Duration::from_secs(300);
/// An answer that lacks an exchange rate is kept by no cache for longer.
const UNCONVERTED_TTL: Duration = Duration::from_secs(3);

/// The prices that came with a part's holdings.
struct ProviderPrices {
    part: Part,
    currency: Currency,
    fetched_at: Timestamp,
    table: PriceTable,
}

/// Everything that is known of a wallet's prices, by currency.
pub(super) struct Known {
    currency: Currency,
    /// Per part of the holdings, as they came.
    provider: Vec<ProviderPrices>,
    /// Refreshed, as read and as found since.
    refreshed: BTreeMap<Currency, PriceTable>,
    pub rates: ExchangeRates,
}

impl Known {
    fn of(query: &Query, held: &Held, oldest: OldestPrices, now: Timestamp) -> Self {
        let provider = held.parts.iter().map(|(part, cached)| ProviderPrices {
            part: *part,
            currency: cached.currency,
            fetched_at: cached.fetched_at,
            table: cached.prices.clone(),
        });
        // A time that no clock can have told would stay the latest for ever.
        let plausible = |price: &Price| {
            !price.given_at.is_in_the_future(now) && !price.checked_at.is_in_the_future(now)
        };
        let mut known = Self {
            currency: query.currency,
            provider: provider.collect(),
            refreshed: BTreeMap::new(),
            rates: ExchangeRates::default(),
        };
        for (currency, read) in &held.cached.refreshed {
            let mut table = read.table.clone();
            table.prune(plausible);
            known.put(*currency, &table);
            for of in Currency::all() {
                let rate = table.get(PriceKey::of_dollar(of));
                let usable = rate.filter(|rate| rate.usable_since(oldest.listed));
                if let Some(rate) = usable {
                    known.rates.insert(of, *rate);
                }
            }
        }
        known
    }

    /// Puts refreshed prices over those that are known; exchange rates, which
    /// are kept among them, are none.
    pub fn put(&mut self, currency: Currency, fresh: &PriceTable) {
        let rates: BTreeSet<PriceKey> = Currency::all().map(PriceKey::of_dollar).collect();
        let prices = fresh.entries().iter().copied();
        let prices = prices.filter(|(key, _)| !rates.contains(key));
        let table = self.refreshed.entry(currency).or_default();
        *table = table.merged(prices);
    }

    /// The prices in one currency: as they came, and refreshed.
    pub fn direct(&self, currency: Currency) -> PriceTable {
        let provider = self.provider.iter();
        let provider = provider.filter(|it| it.currency == currency);
        let provider = provider.flat_map(|it| it.table.entries().iter().copied());
        let refreshed = self.refreshed.get(&currency);
        let refreshed = refreshed
            .into_iter()
            .flat_map(|it| it.entries().iter().copied());
        PriceTable::new(provider.chain(refreshed).collect())
    }

    /// Whether the provider, or a source since, has told a price in any
    /// currency.
    pub fn is_priced(&self, key: PriceKey) -> bool {
        let provider = self.provider.iter().map(|it| &it.table);
        let mut tables = provider.chain(self.refreshed.values());
        tables.any(|table| table.get(key).is_some())
    }

    /// The provider's own price of an asset, in `currency`.
    pub fn provider_price(&self, key: PriceKey, currency: Currency) -> Option<Price> {
        let prices = self.provider.iter().filter_map(|it| {
            let price = it.table.get(key)?;
            match it.currency == currency {
                true => Some(*price),
                false => self.rates.convert(price, it.currency, currency),
            }
        });
        prices.max_by_key(|price| price.given_at)
    }

    /// Returns the prices for an answer.
    pub fn select(&self, oldest: OldestPrices) -> WalletPrices {
        let provider = self.provider.iter();
        let provider = provider.map(|it| PricesIn {
            currency: it.currency,
            table: &it.table,
        });
        let refreshed = self.refreshed.iter().map(|(currency, table)| PricesIn {
            currency: *currency,
            table,
        });
        let known: Vec<_> = provider.chain(refreshed).collect();
        WalletPrices::select(self.currency, &known, &self.rates, oldest)
    }

    /// What is known of each wanted asset from those that are asked for it. The
    /// provider was asked for all of them, in the currency of its fetch: for
    /// what CoinMarketCap lists, only the answer's counts.
    pub fn checks(&self, wanted: &Wanted) -> Checks {
        let counts = |of: Currency, asset: &WantedAsset| match asset.quote {
            QuoteKey::Listed(_) => of == self.currency,
            QuoteKey::Unlisted(_) => true,
        };
        let (mut entries, mut unpriced) = (Vec::new(), BTreeMap::new());
        for (key, asset) in wanted.iter() {
            let of_holders = self.provider.iter();
            let of_holders = of_holders.filter(|it| asset.parts.contains(&it.part));
            for provider in of_holders.filter(|it| counts(it.currency, asset)) {
                let fetched_at = provider.fetched_at;
                match provider.table.get(key) {
                    Some(price) => entries.push((key, *price)),
                    None => {
                        let at = unpriced.entry(key).or_insert(fetched_at);
                        *at = (*at).max(fetched_at);
                    }
                }
            }
            let source = match asset.quote {
                QuoteKey::Listed(_) => self.currency,
                QuoteKey::Unlisted(_) => Currency::USD,
            };
            let refreshed = self.refreshed.get(&source);
            entries.extend(refreshed.and_then(|it| it.entry(key)).map(|it| (key, *it)));
        }
        Checks {
            entries: PriceTable::new(entries),
            unpriced,
        }
    }
}

/// When wanted assets were asked for, and what came of it.
pub(super) struct Checks {
    /// Prices, and marks of sources that know none.
    pub entries: PriceTable,
    /// When the provider was asked for those that it has no price of.
    unpriced: BTreeMap<PriceKey, Timestamp>,
}

/// What one answer's prices come from, and where they go.
pub(super) struct Pricing<'p> {
    pub query: &'p Query,
    pub held: &'p Held,
    pub wanted: Wanted,
    pub known: Known,
    pub request: &'p Request,
}

impl Service {
    /// Returns prices for what is held, in the asked currency.
    pub(super) async fn priced(
        &self,
        query: &Query,
        held: &Held,
        request: &Request,
    ) -> Result<(WalletPrices, Level), ServiceError> {
        let now = self.clock.now();
        let oldest = self.policy.oldest_prices(now);
        let known = Known::of(query, held, oldest, now);
        let wanted = Wanted::of(&held.parts, self.fallback.is_some(), |key| {
            known.is_priced(key)
        })?;
        let mut pricing = Pricing {
            query,
            held,
            wanted,
            known,
            request,
        };
        let prices = pricing.known.select(oldest);
        let (due, outcome) = self.due(&pricing);
        let rates = self.rates_due(&pricing, &prices);
        if held.fetched || (due.is_empty() && rates.is_empty()) {
            let mut level = self.hit(&pricing, &prices);
            if held.fetched {
                level.outcome = held.level.outcome;
                level.stored = held.level.stored;
                level.detail = Some(PriceSource::Zerion.as_str());
            }
            return Ok((prices, level));
        }
        let before = prices;
        let found = self.look_up_all(&pricing, &due, &rates, &before).await;
        let fresh = self.taken(&mut pricing, &due, &found);
        let stored = self.store_found(&pricing, &fresh, &found).await;
        let renewed = fresh.values().any(|table| !table.entries().is_empty());
        let oldest = self.policy.oldest_prices(self.clock.now());
        let prices = pricing.known.select(oldest);
        // Old prices stand in for a failing source; with none at all the
        // answer would be a wallet worth nothing.
        let quote_failed = pricing
            .wanted
            .iter()
            .any(|(key, asset)| due.contains(&key) && matches!(asset.quote, QuoteKey::Listed(_)));
        if let Some(error) = &found.listed.failed
            && !has_usable_price(&prices.table, oldest)
            && (quote_failed || prices.unconverted.is_empty())
        {
            return Err(error.clone().into());
        }
        let hit = self.hit(&pricing, &prices);
        let answered = found.listed.answered.or(found.unlisted.answered);
        let detail = match (&found.listed.failed, answered) {
            (Some(error), _) => word(error),
            (None, Some(source)) => source.as_str(),
            (None, None) => "book",
        };
        // Old data that stands in for a failure is a hit, whatever else came.
        let failed = found.listed.failed.is_some() && hit.stale;
        let level = Level {
            outcome: match renewed && !failed {
                true => outcome,
                false => hit.outcome,
            },
            stored,
            detail: Some(detail),
            ..hit
        };
        Ok((prices, level))
    }

    /// The assets whose prices have expired, and those whose are about to: they
    /// are refreshed with the rest.
    fn due(&self, pricing: &Pricing<'_>) -> (BTreeSet<PriceKey>, CacheOutcome) {
        let now = self.clock.now();
        let checks = pricing.known.checks(&pricing.wanted);
        let (mut expired, mut missing, mut along) = (0, 0, BTreeSet::new());
        for (key, asset) in pricing.wanted.iter() {
            let expires = self.expires(&checks, key, asset);
            missing += usize::from(expires.is_none());
            let Some(expires) = expires.filter(|expires| now < *expires) else {
                expired += 1;
                along.insert(key);
                continue;
            };
            let known = checks.entries.entry(key).filter(|it| !is_unknown(it));
            let ttl = known.map(|check| self.price_ttl(check, asset));
            if ttl.is_some_and(|ttl| now.plus(ttl / 6) >= expires) {
                along.insert(key);
            }
        }
        let all = pricing.wanted.iter().count();
        let outcome = match expired {
            0 => CacheOutcome::Hit,
            _ if missing == all => CacheOutcome::Miss,
            expired if expired < all => CacheOutcome::Partial,
            _ => CacheOutcome::Expired,
        };
        match expired {
            0 => (BTreeSet::new(), outcome),
            _ => (along, outcome),
        }
    }

    /// Until when an asset is not asked for; none if it never was. One that the
    /// provider does not price is asked for when that fetch's prices expire.
    fn expires(&self, checks: &Checks, key: PriceKey, asset: &WantedAsset) -> Option<Timestamp> {
        let now = self.clock.now();
        let check = checks.entries.entry(key);
        // A price that is known expires by itself.
        let known = check.is_some_and(Price::is_known);
        let unpriced = checks.unpriced.get(&key).filter(|_| !known);
        let check = check.map(|it| (it.checked_at, self.price_ttl(it, asset)));
        let unpriced = unpriced.map(|at| (*at, self.policy.prices.ttl));
        let told = check.into_iter().chain(unpriced);
        let told = told.filter(|(at, _)| !at.is_in_the_future(now));
        told.map(|(at, ttl)| at.plus(ttl)).max()
    }

    /// The currencies whose exchange rate the answer needs, and has not fresh.
    fn rates_due(&self, pricing: &Pricing<'_>, prices: &WalletPrices) -> BTreeSet<Currency> {
        let now = self.clock.now();
        let fresh = |currency: &Currency| {
            let rate = pricing.known.rates.get(*currency);
            rate.is_some_and(|rate| now < rate.checked_at.plus(self.policy.prices.ttl))
        };
        let needed = rates_needed(pricing.query.currency, prices);
        needed.into_iter().filter(|it| !fresh(it)).collect()
    }

    /// How long a price, or the mark that there is none, counts as fresh.
    fn price_ttl(&self, check: &Price, asset: &WantedAsset) -> Duration {
        let ttl = self.policy.prices.ttl;
        match &asset.quote {
            _ if is_unknown(check) => self.unknown_ttl(),
            // The provider's price stood in for a source that failed.
            _ if check.source == PriceSource::Zerion && check.checked_at > check.given_at => ttl,
            QuoteKey::Unlisted(_) if check.is_known() => self.unlisted_ttl(),
            _ => ttl,
        }
    }

    /// How long it is remembered that no source knows a price.
    pub(super) fn unknown_ttl(&self) -> Duration {
        UNKNOWN_TTL.max(self.policy.prices.ttl)
    }

    /// How long prices of tokens that CoinMarketCap does not list are fresh.
    pub(super) fn unlisted_ttl(&self) -> Duration {
        UNLISTED_TTL.max(self.policy.prices.ttl)
    }

    /// Looks for what is due: listed coins and the rate of the asked currency
    /// in one search, other tokens in another at the same time; then a rate in
    /// a third currency, without a second request to CoinMarketCap.
    async fn look_up_all(
        &self,
        pricing: &Pricing<'_>,
        due: &BTreeSet<PriceKey>,
        rates: &BTreeSet<Currency>,
        prices: &WalletPrices,
    ) -> FoundAll {
        let currency = pricing.query.currency;
        let listed = self.needs(pricing, due, Shelf::Listed, currency, prices, rates);
        let unlisted = self.needs(pricing, due, Shelf::Unlisted, Currency::USD, prices, rates);
        let (listed, unlisted) = self.look_up_both(&listed, &unlisted).await;
        let mut found = FoundAll {
            asked_coinmarketcap: listed.asked,
            listed,
            unlisted,
            ..FoundAll::default()
        };
        for other in rates.iter().filter(|other| **other != currency) {
            let needs = Needs {
                currency: *other,
                shelf: Shelf::Listed,
                keys: dollar_needs(prices),
                soft: has_usable_price(&prices.table, self.policy.oldest_prices(self.clock.now())),
                may_ask: !found.asked_coinmarketcap,
                request: pricing.request,
            };
            let rate = self.look_up(&needs).await;
            found.asked_coinmarketcap |= rate.asked;
            if found.listed.failed.is_none() {
                found.listed.failed = rate.failed.clone();
            }
            found.others.insert(*other, rate);
        }
        found
    }

    /// Runs both searches at once. What the first one found is published while
    /// the other is waited for.
    async fn look_up_both(&self, listed: &Needs<'_>, unlisted: &Needs<'_>) -> (Found, Found) {
        let (listed_search, unlisted_search) = (
            Box::pin(self.look_up(listed)),
            Box::pin(self.look_up(unlisted)),
        );
        let publish = async |needs: &Needs<'_>, found: &mut Found| {
            let writes = std::mem::take(&mut found.writes);
            let concurrent = RequestCost::default();
            self.write_book(needs.currency, &writes, needs.request, &concurrent)
                .await;
            needs.request.cost.merge_concurrent(&concurrent);
        };
        match futures::future::select(listed_search, unlisted_search).await {
            Either::Left((mut first, other)) => {
                let ((), second) = futures::join!(publish(listed, &mut first), other);
                (first, second)
            }
            Either::Right((mut first, other)) => {
                let ((), second) = futures::join!(publish(unlisted, &mut first), other);
                (second, first)
            }
        }
    }

    fn needs<'n>(
        &self,
        pricing: &Pricing<'n>,
        due: &BTreeSet<PriceKey>,
        shelf: Shelf,
        currency: Currency,
        prices: &WalletPrices,
        rates: &BTreeSet<Currency>,
    ) -> Needs<'n> {
        let oldest = self.policy.oldest_prices(self.clock.now());
        let direct = pricing.known.direct(currency);
        let (mut keys, mut all_usable) = (BTreeMap::new(), true);
        let due = pricing.wanted.iter().filter(|(key, _)| due.contains(key));
        for (key, asset) in due.filter(|(_, asset)| asset.quote.page().shelf == shelf) {
            let usable = |own: &Price| oldest.allow(key, own);
            let own = direct.get(key).copied();
            let own = own.or_else(|| pricing.known.provider_price(key, currency));
            // Its price is of another amount.
            let own = own.filter(|_| !asset.scaled);
            let in_answer = prices.table.get(key).is_some_and(usable);
            all_usable &= in_answer || !pricing.known.is_priced(key);
            let need = Need {
                own,
                usable: own.as_ref().is_some_and(usable) || in_answer,
                notable: own.is_some() || shelf == Shelf::Listed,
            };
            let known = keys.entry(asset.quote.clone()).or_insert(need);
            known.own = known.own.or(own);
            known.usable &= need.usable;
        }
        if shelf == Shelf::Listed && rates.contains(&currency) {
            for (key, need) in dollar_needs(prices) {
                keys.entry(key).or_insert(need);
            }
            all_usable &= prices.unconverted.is_empty();
        }
        Needs {
            currency,
            shelf,
            keys,
            soft: all_usable && has_usable_price(&prices.table, oldest),
            may_ask: true,
            request: pricing.request,
        }
    }

    /// Writes the wallet's prices and the book's at once; returns whether the
    /// wallet's were stored.
    async fn store_found(
        &self,
        pricing: &Pricing<'_>,
        fresh: &BTreeMap<Currency, PriceTable>,
        found: &FoundAll,
    ) -> bool {
        let (request, held) = (pricing.request, pricing.held);
        let now = self.clock.now();
        let concurrent = RequestCost::default();
        let others = found.others.iter().map(|(currency, it)| (*currency, it));
        let searches = [
            (pricing.query.currency, &found.listed),
            (Currency::USD, &found.unlisted),
        ];
        let writes = searches.into_iter().chain(others);
        let writes: Vec<_> = writes
            .filter(|(_, found)| !found.writes.is_empty())
            .collect();
        let book = writes.iter().map(|(currency, found)| {
            self.write_book(*currency, &found.writes, request, &concurrent)
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
        let limit = self.upstream_timeout(self.policy.structure_timeout, request);
        let both = async { futures::join!(wallet, book) };
        let written = tokio::time::timeout(limit, both).await;
        let (stored, _) = written.unwrap_or_else(|_| (Err(CacheError::deadline()), Vec::new()));
        cost.merge_concurrent(&concurrent);
        stored
            .inspect_err(|error| tracing::warn!(%error, "prices cannot be stored"))
            .unwrap_or(false)
    }

    /// Prices that are used as they are. Those that cannot be refreshed come
    /// with the holdings and expire with them.
    fn hit(&self, pricing: &Pricing<'_>, prices: &WalletPrices) -> Level {
        let now = self.clock.now();
        let checks = pricing.known.checks(&pricing.wanted);
        // Of some only the price in another currency is known.
        let expires = |(key, asset): (PriceKey, &WantedAsset)| {
            let expires = self.expires(&checks, key, asset).unwrap_or(now);
            let converted = prices.converted.contains(&key);
            let stand_in = prices.table.entry(key).filter(|_| converted);
            let stand_in = stand_in.map(|it| it.given_at.plus(self.price_ttl(it, asset)));
            stand_in.map_or(expires, |stand_in| expires.min(stand_in))
        };
        let assets = pricing.wanted.iter().map(expires);
        let needed = rates_needed(pricing.query.currency, prices);
        let rates = needed.iter().filter_map(|it| pricing.known.rates.get(*it));
        let rates = rates.map(|rate| rate.checked_at.plus(self.policy.prices.ttl));
        let holdings = pricing.held;
        let with_holdings = holdings.fetched_at.plus(self.policy.structure.ttl);
        let mut others = pricing.wanted.others();
        let others = others.any(|key| pricing.known.is_priced(key));
        let others = others.then_some(with_holdings);
        let fresh_until = assets.chain(rates).chain(others).min();
        let fresh_until = fresh_until.unwrap_or(holdings.level.fresh_until);
        let stale = now >= fresh_until;
        let fresh_until = match prices.unconverted.is_empty() {
            true => fresh_until,
            false => fresh_until.min(now.plus(UNCONVERTED_TTL)),
        };
        Level {
            outcome: CacheOutcome::Hit,
            fresh_until,
            stale,
            stored: false,
            detail: None,
        }
    }
}

/// What all searches of one answer found.
#[derive(Default)]
pub(super) struct FoundAll {
    pub listed: Found,
    pub unlisted: Found,
    /// Stablecoins in further currencies.
    pub others: BTreeMap<Currency, Found>,
    asked_coinmarketcap: bool,
}

impl FoundAll {
    /// What a dollar costs in `currency`, by what was found of stablecoins.
    pub fn rate(&self, asked: Currency, currency: Currency) -> Option<Price> {
        let found = match asked == currency {
            true => &self.listed,
            false => self.others.get(&currency)?,
        };
        let coins = USD_STABLECOINS.map(|id| found.prices.get(&QuoteKey::Listed(id)).copied());
        exchange_rate::rate_of_dollar(coins.into_iter().flatten())
    }
}

/// The currencies, other than the dollar, that an answer's conversions go
/// through.
pub(super) fn rates_needed(asked: Currency, prices: &WalletPrices) -> BTreeSet<Currency> {
    let mut needed = prices.converted_from.clone();
    if !needed.is_empty() {
        needed.insert(asked);
    }
    needed.remove(&Currency::USD);
    needed
}

/// The stablecoins that tell what a dollar costs.
fn dollar_needs(prices: &WalletPrices) -> BTreeMap<QuoteKey, Need> {
    let need = Need {
        own: None,
        usable: prices.unconverted.is_empty(),
        notable: true,
    };
    let keys = USD_STABLECOINS.map(QuoteKey::Listed);
    keys.into_iter().map(|key| (key, need)).collect()
}

/// Whether anything at all can be valued.
fn has_usable_price(table: &PriceTable, oldest: OldestPrices) -> bool {
    let mut entries = table.entries().iter();
    entries.any(|(key, price)| price.is_known() && oldest.allow(*key, price))
}

/// Whether a source other than the provider said that it knows no price.
fn is_unknown(check: &Price) -> bool {
    check.is_unknown() && check.source != PriceSource::Zerion
}

/// What an answer's header says of a failure.
fn word(error: &UpstreamError) -> &'static str {
    match error.failure {
        Failure::RateLimited { .. } => "rate-limited",
        _ => "upstream-error",
    }
}
