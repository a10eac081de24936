//! How fresh one answer's prices are.

use std::{collections::BTreeSet, time::Duration};

use super::{
    known::{Checks, KnownPrices},
    wanted::{Wanted, WantedAsset},
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        currency::Currency,
        price::{Price, PriceKey},
        provider::Provider,
        query::Query,
        wallet_prices::WalletPrices,
    },
    service::{
        context::{CacheOutcome, Level, Request},
        policy::{Policy, UNCONVERTED_TTL},
        structure::LoadedHoldings,
    },
};

/// What one answer's prices come from, and where they go.
pub(super) struct Pricing<'p> {
    pub query: &'p Query,
    pub held: &'p LoadedHoldings,
    pub wanted: Wanted<'p>,
    pub known: KnownPrices,
    pub request: &'p Request,
    pub policy: &'p Policy,
    pub clock: &'p dyn Clock,
}

impl Pricing<'_> {
    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the assets whose prices have expired, and those whose are about to: they
    /// are refreshed with the rest.
    pub fn due(&self, checks: &Checks) -> (BTreeSet<PriceKey>, CacheOutcome) {
        let now = self.now();
        let (mut expired, mut missing, mut along) = (0, 0, BTreeSet::new());
        let mut walk = checks.entries.walk();
        for (key, asset) in self.wanted.iter() {
            let check = walk.entry(key);
            let expires = self.expires(check, checks.unpriced.get(&key), asset, now);
            missing += usize::from(expires.is_none());
            let Some(expires) = expires.filter(|expires| now < *expires) else {
                expired += 1;
                along.insert(key);
                continue;
            };
            let known = check.filter(|it| !is_unknown(it));
            let ttl = known.map(|check| self.price_ttl(check, asset));
            if ttl.is_some_and(|ttl| now.plus(ttl / 6) >= expires) {
                along.insert(key);
            }
        }
        let all = self.wanted.iter().count();
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

    /// Returns until when an asset is not asked for; none if it never was. One that the
    /// provider does not price is asked for when that fetch's prices expire.
    fn expires(
        &self,
        check: Option<&Price>,
        unpriced: Option<&Timestamp>,
        asset: &WantedAsset,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // A price that is known expires by itself.
        let known = check.is_some_and(Price::is_known);
        let unpriced = unpriced.filter(|_| !known);
        let check = check.map(|it| (it.checked_at, self.price_ttl(it, asset)));
        let unpriced = unpriced.map(|at| (*at, self.policy.prices.ttl));
        let told = check.into_iter().chain(unpriced);
        let told = told.filter(|(at, _)| !at.is_in_the_future(now));
        told.map(|(at, ttl)| at.plus(ttl)).max()
    }

    /// Returns the currencies whose exchange rate the answer needs, and has not fresh.
    pub fn rates_due(&self, prices: &WalletPrices) -> BTreeSet<Currency> {
        let now = self.now();
        let fresh = |currency: &Currency| {
            let rate = self.known.rates.get(*currency);
            rate.is_some_and(|rate| now < rate.checked_at.plus(self.policy.prices.ttl))
        };
        let needed = rates_needed(self.query.currency, prices);
        needed.into_iter().filter(|it| !fresh(it)).collect()
    }

    /// Returns how long a price, or the mark that there is none, counts as fresh.
    fn price_ttl(&self, check: &Price, asset: &WantedAsset) -> Duration {
        let ttl = self.policy.prices.ttl;
        let stood_in = check.source == Provider::Zerion && check.checked_at > check.quoted_at;
        match check.is_known() {
            _ if is_unknown(check) => self.policy.unknown_price_ttl(),
            // The provider's price stood in for a source that failed.
            true if !stood_in => ttl.max(self.wanted.terms(asset).min_ttl),
            _ => ttl,
        }
    }

    /// Returns the level of prices that are used as they are. Those that cannot be refreshed come
    /// with the holdings and expire with them.
    pub fn hit(&self, checks: &Checks, prices: &WalletPrices) -> Level {
        let now = self.now();
        // Of some only the price in another currency is known, or only that one
        // is young: what is shown counts.
        let (mut check_walk, mut shown_walk) = (checks.entries.walk(), prices.table.walk());
        let expires = |(key, asset): (PriceKey, &WantedAsset)| {
            let checked = check_walk.entry(key);
            let unpriced = checks.unpriced.get(&key);
            let expires = self.expires(checked, unpriced, asset, now).unwrap_or(now);
            let Some(shown) = shown_walk.entry(key).filter(|it| it.is_known()) else {
                return expires;
            };
            let from = match prices.converted.contains(&key) {
                true => shown.quoted_at,
                false if checked.is_some_and(|it| it.checked_at > shown.checked_at) => {
                    shown.checked_at
                }
                false => return expires,
            };
            expires.min(from.plus(self.price_ttl(shown, asset)))
        };
        let assets = self.wanted.iter().map(expires);
        let needed = rates_needed(self.query.currency, prices);
        let rates = needed.iter().filter_map(|it| self.known.rates.get(*it));
        let rates = rates.map(|rate| rate.checked_at.plus(self.policy.prices.ttl));
        let holdings = self.held;
        let with_holdings = holdings.fetched_at.plus(self.policy.structure.ttl);
        let mut others = self.wanted.others();
        let others = others.any(|key| self.known.is_priced(key));
        let others = others.then_some(with_holdings);
        let fresh_until = assets.chain(rates).chain(others).min();
        let fresh_until = fresh_until.unwrap_or(holdings.level.fresh_until);
        let stale = now >= fresh_until;
        let fresh_until = match prices.unconverted.is_empty() {
            true => fresh_until,
            false => fresh_until.min(now.plus(UNCONVERTED_TTL)),
        };
        Level {
            stale,
            ..Level::fresh(fresh_until)
        }
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

/// Whether a source other than the provider said that it knows no price.
fn is_unknown(check: &Price) -> bool {
    check.is_unknown() && check.source != Provider::Zerion
}
