//! The process's copies of pages of the price book, and of breakers.
//!
//! A copy is never asked whether it is current: each price in it tells when it
//! was checked, and counts as fresh by that alone.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::{
    cache::price_book::{PageState, Prices},
    clock::Timestamp,
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
        provider::Provider,
    },
    sync::locked,
};

/// Most pages that are kept, of all currencies together: both shelves of two.
const MAX_PAGES: usize = 256;
/// Most prices that are kept of a page; some 150 bytes each.
const MAX_PRICES: usize = 1000;

/// An open breaker is read again after this long.
const BREAKER_TTL: Duration = Duration::from_secs(60);

/// What the process knows of the book.
#[derive(Default)]
pub(super) struct Copies {
    pages: Mutex<HashMap<(Currency, Page), Copy>>,
    breakers: Mutex<HashMap<Provider, Breaker>>,
}

/// Until when an upstream wants to be left alone, and when that was read.
struct Breaker {
    until: Timestamp,
    read_at: Timestamp,
}

/// A page as it was last seen.
#[derive(Default)]
struct Copy {
    seen_at: Timestamp,
    prices: Prices,
    state: PageState,
}

impl Copies {
    /// The price of `key`, if the copy has one.
    pub fn price(&self, currency: Currency, key: &QuoteKey) -> Option<Price> {
        let pages = locked(&self.pages);
        pages.get(&(currency, key.page()))?.prices.get(key).copied()
    }

    /// Whether `key` is known to be noted as wanted.
    pub fn notes(&self, currency: Currency, key: &QuoteKey, now: DemandWindow) -> bool {
        let pages = locked(&self.pages);
        let copy = pages.get(&(currency, key.page()));
        copy.is_some_and(|copy| copy.state.notes(key, now))
    }

    /// A page's lease item as it was last seen.
    pub fn state(&self, currency: Currency, page: Page) -> Option<PageState> {
        let pages = locked(&self.pages);
        Some(pages.get(&(currency, page))?.state.clone())
    }

    /// When a page was last refreshed, as far as is known.
    pub fn fresh_at(&self, currency: Currency, page: Page) -> Option<Timestamp> {
        let pages = locked(&self.pages);
        pages.get(&(currency, page))?.state.fresh_at
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

    /// Keeps a page's lease item as it was read.
    pub fn keep_state(&self, currency: Currency, page: Page, state: PageState, now: Timestamp) {
        entry(&mut locked(&self.pages), (currency, page), now).state = state;
    }

    /// Changes what is known of a page's lease item.
    pub fn change_state(
        &self,
        currency: Currency,
        page: Page,
        now: Timestamp,
        change: impl FnOnce(&mut PageState),
    ) {
        change(&mut entry(&mut locked(&self.pages), (currency, page), now).state);
    }

    /// Drops what is known of a page's prices that are older than `oldest`.
    pub fn prune(&self, currency: Currency, page: Page, oldest: Timestamp) {
        if let Some(copy) = locked(&self.pages).get_mut(&(currency, page)) {
            copy.prices.retain(|_, price| price.checked_at >= oldest);
        }
    }

    /// Until when `upstream` is known to want to be left alone.
    pub fn open_until(&self, upstream: Provider, now: Timestamp) -> Option<Timestamp> {
        let until = locked(&self.breakers).get(&upstream)?.until;
        Some(until).filter(|until| now < *until)
    }

    /// Whether it should be read again: always while it is closed, and now and
    /// then while it is open, since somebody may have closed it by hand.
    pub fn breaker_is_due(&self, upstream: Provider, now: Timestamp) -> bool {
        let breakers = locked(&self.breakers);
        let open = breakers.get(&upstream).filter(|it| now < it.until);
        open.is_none_or(|it| now >= it.read_at.plus(BREAKER_TTL))
    }

    /// Keeps what was read by a look that began at `began`: until when
    /// `upstream` wants to be left alone. What was learned since then stays.
    pub fn keep_breaker(&self, upstream: Provider, until: Option<Timestamp>, began: Timestamp) {
        let mut breakers = locked(&self.breakers);
        let newer = breakers.get(&upstream).filter(|it| it.read_at > began);
        let until = match newer {
            Some(newer) => Some(newer.until.max(until.unwrap_or_default())),
            None => until,
        };
        match until {
            Some(until) => {
                let read_at = newer.map_or(began, |newer| newer.read_at);
                breakers.insert(upstream, Breaker { until, read_at });
            }
            None => {
                breakers.remove(&upstream);
            }
        }
    }
}

/// The copy of a page; where there are too many, the one that was not seen for
/// the longest time goes.
fn entry(
    pages: &mut HashMap<(Currency, Page), Copy>,
    of: (Currency, Page),
    now: Timestamp,
) -> &mut Copy {
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
    use crate::domain::{decimal::Decimal, price::CmcId, price::PriceSource, price_book::Shelf};

    #[test]
    fn are_bounded_and_keep_the_newest() {
        let copies = Copies::default();
        let at = Timestamp::from_millis;
        let price = |time| Price::new(Decimal::ONE, None, PriceSource::CoinMarketCap, at(time));
        let key = QuoteKey::Listed(CmcId(1));
        let keep = |currency, number, time| {
            let page = Page {
                shelf: Shelf::Unlisted,
                number,
            };
            copies.keep_prices(currency, page, [(&key, &price(time))], at(time));
        };
        for (currency, time) in Currency::all().zip(0..) {
            for number in 0..64 {
                keep(currency, number, time);
            }
        }
        assert_eq!(locked(&copies.pages).len(), MAX_PAGES);

        let page = key.page();
        copies.keep_prices(Currency::USD, page, [(&key, &price(200))], at(200));
        copies.keep_prices(Currency::USD, page, [(&key, &price(100))], at(201));
        let kept = copies.price(Currency::USD, &key).unwrap();
        assert_eq!(kept.checked_at, at(200));
        copies.prune(Currency::USD, page, at(201));
        assert_eq!(copies.price(Currency::USD, &key), None);
    }

    #[test]
    fn breakers_close_by_the_clock_or_by_hand() {
        let copies = Copies::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let of = Provider::CoinMarketCap;
        assert!(copies.breaker_is_due(of, at(0)));
        copies.keep_breaker(of, Some(at(500)), at(0));
        assert_eq!(copies.open_until(of, at(499)), Some(at(500)));
        assert_eq!(copies.open_until(of, at(500)), None);
        assert_eq!(copies.open_until(Provider::Zerion, at(0)), None);
        assert!(!copies.breaker_is_due(of, at(59)));
        assert!(copies.breaker_is_due(of, at(60)));
        copies.keep_breaker(of, None, at(60));
        assert_eq!(copies.open_until(of, at(61)), None);
    }
}
