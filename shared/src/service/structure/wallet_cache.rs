//! Copies of wallets in the process's memory.
//!
//! The header is the witness: a copy counts only where it refers to the fetches
//! that the copy was read from, in the same epoch, and the header is read from the
//! table each time. So an invalidation or a fetch by another process is seen at
//! once. Refreshed prices have no witness: they count until they expire by their
//! own times, as they would in any process that read them at the same moment.

use std::{sync::Arc, time::Duration};

use super::loaded::LoadedHoldings;
use crate::{
    cache::{CachedPart, CachedWallet, Header},
    clock::Timestamp,
    domain::{
        address::Address,
        currency::Currency,
        price::PriceTable,
        query::Query,
        scope::{Part, Scope},
    },
    memory_cache::{Kept, MemoryCache},
    service::fresh_prices::FreshPrices,
};

/// Answers whose prices are kept with one copy: scopes and currencies.
const MAX_VIEWS: usize = 6;

/// In-process copies of wallets; the least recently used go first.
pub(in crate::service) struct WalletCache {
    copies: MemoryCache<Address, Arc<WalletCopy>>,
    /// How long holdings are of any use.
    usable: Duration,
}

/// Prices for answers of one scope in one currency.
type View = (Scope, Currency, Arc<FreshPrices>);

/// A wallet as it was read.
#[derive(Clone)]
struct WalletCopy {
    wallet: CachedWallet,
    /// The currency, besides the dollar, that refreshed prices were read in.
    currency: Currency,
    useful_until: Timestamp,
    /// Prices for answers from it. A kept copy never changes, or the cache would
    /// lose count of its bytes.
    views: Vec<View>,
}

impl WalletCopy {
    fn view(&self, query: &Query, now: Timestamp) -> Option<Arc<FreshPrices>> {
        let of_query =
            |(scope, currency, _): &&View| *scope == query.scope && *currency == query.currency;
        let (_, _, prices) = self.views.iter().find(of_query)?;
        prices.hold_at(now).then(|| prices.clone())
    }
}

impl Kept for Arc<WalletCopy> {
    fn bytes(&self) -> usize {
        let prices = |table: &PriceTable| size_of_val(table.entries());
        let part = |part: &Arc<CachedPart>| part.holdings.size() + prices(&part.prices);
        let parts: usize = self.wallet.parts.values().map(part).sum();
        let refreshed = self.wallet.refreshed.values();
        let refreshed: usize = refreshed.map(|read| prices(&read.table)).sum();
        let views: usize = self
            .views
            .iter()
            .map(|(_, _, view)| prices(&view.prices.table))
            .sum();
        size_of::<WalletCopy>() + parts + refreshed + views
    }

    fn useful_until(&self) -> Timestamp {
        self.useful_until
    }
}

impl WalletCache {
    /// Returns a cache of so many bytes, of holdings that are usable for so long.
    pub fn new(bytes: u64, usable: Duration) -> Self {
        Self {
            copies: MemoryCache::new(bytes),
            usable,
        }
    }

    /// Keeps a wallet as it was read, with refreshed prices in `currency`.
    pub fn keep(&self, query: &Query, wallet: &CachedWallet, now: Timestamp) {
        let fetched_at = wallet.parts.values().map(|part| part.fetched_at);
        let Some(fetched_at) = fetched_at.max() else {
            return;
        };
        let copy = WalletCopy {
            wallet: CachedWallet {
                // They may be referred to by the time that the copy is used.
                leftovers: Vec::new(),
                ..wallet.clone()
            },
            currency: query.currency,
            useful_until: fetched_at.plus(self.usable),
            views: Vec::new(),
        };
        self.copies
            .insert(query.address.clone(), Arc::new(copy), now);
    }

    /// Returns the copy as it was read; the wallet may have changed since.
    pub fn last(&self, address: &Address) -> Option<CachedWallet> {
        self.copies.get(address).map(|copy| copy.wallet.clone())
    }

    /// Returns the copy as it was read, if all that the query needs of it is fresh:
    /// holdings by the time after which they must have been fetched.
    pub fn fresh_copy(
        &self,
        query: &Query,
        fresh_after: Timestamp,
        now: Timestamp,
    ) -> Option<CachedWallet> {
        let copy = self.copies.get(&query.address)?;
        copy.view(query, now)?;
        let parts = query.scope.parts().iter();
        let mut parts = parts.filter_map(|part| copy.wallet.parts.get(part));
        let fresh = parts.all(|part| part.fetched_at > fresh_after);
        fresh.then(|| copy.wallet.clone())
    }

    /// Returns the copy's parts that `header` refers to, under that header.
    pub fn under(&self, address: &Address, header: &Header) -> CachedWallet {
        let mut wallet = CachedWallet {
            header: header.clone(),
            ..CachedWallet::default()
        };
        let Some(copy) = self.copies.get(address) else {
            return wallet;
        };
        let copy = &copy.wallet;
        let same = |part: &Part| {
            let there = stored_fetch(header, *part);
            there.is_some() && there == stored_fetch(&copy.header, *part)
        };
        let parts = copy.parts.iter().filter(|(part, _)| same(part));
        wallet.parts = parts
            .map(|(part, cached)| (*part, cached.clone()))
            .collect();
        if copy.header.epoch == header.epoch {
            wallet.refreshed = copy.refreshed.clone();
        }
        wallet
    }

    /// Returns the prices that an earlier answer made of the same data, if none of
    /// them has expired.
    pub fn fresh_prices(
        &self,
        query: &Query,
        held: &LoadedHoldings,
        now: Timestamp,
    ) -> Option<Arc<FreshPrices>> {
        let copy = self.copy_of(query, held)?;
        copy.view(query, now)
    }

    /// Keeps the prices that an answer made of these data.
    pub fn keep_prices(
        &self,
        query: &Query,
        held: &LoadedHoldings,
        prices: &Arc<FreshPrices>,
        now: Timestamp,
    ) {
        let Some(copy) = self.copy_of(query, held) else {
            return;
        };
        let mut copy = WalletCopy::clone(&copy);
        let views = &mut copy.views;
        views.retain(|(scope, currency, _)| *scope != query.scope || *currency != query.currency);
        if views.len() >= MAX_VIEWS {
            views.remove(0);
        }
        views.push((query.scope, query.currency, prices.clone()));
        self.copies
            .insert(query.address.clone(), Arc::new(copy), now);
    }

    /// Returns the copy, if `held` is exactly what is in it.
    fn copy_of(&self, query: &Query, held: &LoadedHoldings) -> Option<Arc<WalletCopy>> {
        let copy = self.copies.get(&query.address)?;
        let parts = &copy.wallet.parts;
        let mut wanted = held.parts.iter();
        let same_parts = wanted.all(|(part, cached)| {
            let kept = parts.get(part);
            kept.is_some_and(|kept| Arc::ptr_eq(kept, cached))
        });
        let same_prices = [Currency::USD, query.currency].iter().all(|currency| {
            let kept = copy.wallet.refreshed.get(currency);
            match (kept, held.cached.refreshed.get(currency)) {
                (Some(kept), Some(read)) => Arc::ptr_eq(kept, read),
                (None, None) => true,
                _ => false,
            }
        });
        // Prices in a currency that was not read may be stored all the same.
        let read = [Currency::USD, copy.currency].contains(&query.currency);
        (same_parts && same_prices && read).then_some(copy)
    }
}

/// Returns which fetch a header refers to.
fn stored_fetch(header: &Header, part: Part) -> Option<u64> {
    Some(header.parts.get(&part)?.stored?.fetch)
}

/// Returns whether two headers refer to the same fetches in the same epoch.
pub(super) fn refer_to_the_same(one: &Header, other: &Header) -> bool {
    let same = |part| stored_fetch(one, part) == stored_fetch(other, part);
    one.epoch == other.epoch && Part::ALL.into_iter().all(same)
}

#[cfg(test)]
mod tests;
