//! The process's copies of pages of the price book.
//!
//! A copy is never asked whether it is current: each price in it tells when it
//! was checked, and counts as fresh by that alone.

use std::{collections::HashMap, sync::Mutex};

use crate::{
    cache::price_book::{Demand, Prices, StoredPage},
    clock::Timestamp,
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
    },
    sync::locked,
};

/// Most pages that are kept, of all currencies together: those of two providers
/// in two.
const MAX_PAGES: usize = 64;
/// Most prices that are kept of a page; some 150 bytes each.
const MAX_PRICES: usize = 4000;

/// What the process knows of the book.
#[derive(Default)]
pub(in crate::service) struct PageCache {
    pages: Mutex<HashMap<(Currency, Page), CachedPage>>,
}

/// A page as it was last seen.
#[derive(Default)]
struct CachedPage {
    seen_at: Timestamp,
    prices: Prices,
    demand: Demand,
}

impl PageCache {
    /// The price of `key`, if the copy has one.
    pub fn price(&self, currency: Currency, key: &QuoteKey) -> Option<Price> {
        let pages = locked(&self.pages);
        pages.get(&(currency, key.page()))?.prices.get(key).copied()
    }

    /// Returns whether `key` is known to be noted as wanted.
    pub fn notes(&self, currency: Currency, key: &QuoteKey, now: DemandWindow) -> bool {
        let pages = locked(&self.pages);
        let page = pages.get(&(currency, key.page()));
        let noted = page.and_then(|page| page.demand.get(key));
        noted.is_some_and(|window| window.is_current_in(now))
    }

    /// Keeps a page as it was read.
    pub fn keep(&self, currency: Currency, page: Page, stored: &StoredPage, now: Timestamp) {
        self.keep_prices(currency, page, &stored.prices, now);
        let mut pages = locked(&self.pages);
        let copy = entry(&mut pages, (currency, page), now);
        for (key, window) in stored.demand.iter().take(MAX_PRICES) {
            let known = copy.demand.entry(key.clone()).or_insert(*window);
            *known = (*known).max(*window);
        }
    }

    /// Keeps what is noted as wanted from now on.
    pub fn keep_demand<'k>(
        &self,
        currency: Currency,
        page: Page,
        keys: impl IntoIterator<Item = &'k QuoteKey>,
        window: DemandWindow,
        now: Timestamp,
    ) {
        let mut pages = locked(&self.pages);
        let copy = entry(&mut pages, (currency, page), now);
        copy.demand.retain(|_, at| at.is_live_in(window));
        let room = MAX_PRICES.saturating_sub(copy.demand.len());
        let keys = keys.into_iter().take(room);
        copy.demand.extend(keys.map(|key| (key.clone(), window)));
    }

    /// Keeps what was read of a page or written to it. Of two prices of one
    /// key the later checked one stays.
    pub fn keep_prices<'p>(
        &self,
        currency: Currency,
        page: Page,
        prices: impl IntoIterator<Item = (&'p QuoteKey, &'p Price)>,
        now: Timestamp,
    ) {
        let mut pages = locked(&self.pages);
        let copy = entry(&mut pages, (currency, page), now);
        for (key, price) in prices {
            let known = copy.prices.get(key);
            let newer = known.is_none_or(|known| known.checked_at <= price.checked_at);
            let room = known.is_some() || copy.prices.len() < MAX_PRICES;
            if newer && room {
                copy.prices.insert(key.clone(), *price);
            }
        }
    }

    /// Drops what is known of a page's prices that are older than `oldest`.
    pub fn prune(&self, currency: Currency, page: Page, oldest: Timestamp) {
        if let Some(copy) = locked(&self.pages).get_mut(&(currency, page)) {
            copy.prices.retain(|_, price| price.checked_at >= oldest);
        }
    }
}

/// The copy of a page; where there are too many, the one that was not seen for
/// the longest time goes.
fn entry(
    pages: &mut HashMap<(Currency, Page), CachedPage>,
    of: (Currency, Page),
    now: Timestamp,
) -> &mut CachedPage {
    if !pages.contains_key(&of) && pages.len() >= MAX_PAGES {
        let oldest = pages.iter().min_by_key(|(_, copy)| copy.seen_at);
        if let Some(oldest) = oldest.map(|(key, _)| *key) {
            pages.remove(&oldest);
        }
    }
    let copy = pages.entry(of).or_default();
    copy.seen_at = now;
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{decimal::Decimal, price::CmcId, provider::Provider};

    #[test]
    fn are_bounded_and_keep_the_newest() {
        let page_cache = PageCache::default();
        let at = Timestamp::from_millis;
        let price = |time| Price::new(Decimal::ONE, None, Provider::CoinMarketCap, at(time));
        let key = QuoteKey::cmc(CmcId(1));
        let keep = |currency, number, time| {
            let page = Page {
                provider: Provider::DefiLlama,
                number,
            };
            page_cache.keep_prices(currency, page, [(&key, &price(time))], at(time));
        };
        for (currency, time) in Currency::all().zip(0..) {
            for number in 0..16 {
                keep(currency, number, time);
            }
        }
        assert_eq!(locked(&page_cache.pages).len(), MAX_PAGES);

        let page = key.page();
        page_cache.keep_prices(Currency::USD, page, [(&key, &price(200))], at(200));
        page_cache.keep_prices(Currency::USD, page, [(&key, &price(100))], at(201));
        let kept = page_cache.price(Currency::USD, &key).unwrap();
        assert_eq!(kept.checked_at, at(200));
        page_cache.prune(Currency::USD, page, at(201));
        assert_eq!(page_cache.price(Currency::USD, &key), None);
    }
}
