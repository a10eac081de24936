//! One table of prices for an answer, from all that is known of a wallet's
//! assets in any currency.

use std::collections::BTreeSet;

use crate::{
    currency::Currency,
    exchange_rate::ExchangeRates,
    price::{Price, PriceAgeLimit, PriceKey, PriceTable},
};

/// A wallet's prices in the currency of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalletPrices {
    /// The prices.
    pub table: PriceTable,
    /// Assets whose price is known in another currency alone, and cannot be
    /// converted.
    pub unconverted: BTreeSet<PriceKey>,
    /// Assets whose price is converted from another currency.
    pub converted: BTreeSet<PriceKey>,
    /// Currencies of prices that are converted, or would be.
    pub converted_from: BTreeSet<Currency>,
}

/// Prices in some currency.
#[derive(Clone, Copy, Debug)]
pub struct PricesIn<'t> {
    /// The currency.
    pub currency: Currency,
    /// The prices.
    pub table: &'t PriceTable,
}

impl WalletPrices {
    /// Returns the best known price of each asset in `currency`: given in that
    /// currency, or converted where there is none that may be used, or where an
    /// asset that CoinMarketCap does not list has a later one in another
    /// currency.
    pub fn select(
        currency: Currency,
        known: &[PricesIn<'_>],
        rates: &ExchangeRates,
        oldest: PriceAgeLimit,
    ) -> Self {
        let direct = known.iter().filter(|known| known.currency == currency);
        let direct = PriceTable::merge(direct.map(|known| known.table));
        let mut selected = Self::default();
        let mut others: Vec<(PriceKey, Price, Currency)> = Vec::new();
        for other in known.iter().filter(|known| known.currency != currency) {
            let entries = other.table.entries().iter();
            let entries = entries.filter(|(_, price)| price.is_known());
            others.extend(entries.map(|(key, price)| (*key, *price, other.currency)));
        }
        if others.is_empty() {
            selected.table = direct;
            return selected;
        }
        // The latest of each asset first.
        others.sort_by(|(a, x, _), (b, y, _)| a.cmp(b).then(y.quoted_at.cmp(&x.quoted_at)));
        others.dedup_by_key(|(key, ..)| *key);
        let mut converted = Vec::new();
        for (key, price, from) in others {
            let here = direct.get(key);
            let later = here.is_none_or(|here| here.quoted_at < price.quoted_at);
            let usable = here.is_some_and(|here| oldest.permits(key, here));
            let listed = matches!(key, PriceKey::Cmc(_));
            if !later || (usable && listed) {
                continue;
            }
            selected.converted_from.insert(from);
            match rates.convert(&price, from, currency) {
                Some(price) => {
                    let refused = direct.entry(key).and_then(|here| here.refused);
                    let refused = price.refused.or(refused);
                    converted.push((key, Price { refused, ..price }));
                }
                None if !usable => {
                    selected.unconverted.insert(key);
                }
                None => {}
            }
        }
        selected.converted = converted.iter().map(|(key, _)| *key).collect();
        let replaced = &selected.converted;
        let kept = direct.entries().iter().copied();
        let kept = kept.filter(|(key, _)| !replaced.contains(key));
        selected.table = PriceTable::new(kept.chain(converted).collect());
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decimal::Decimal,
        price::{CmcId, RejectReason},
        provider::Provider,
        timestamp::Timestamp,
    };

    fn price(text: &str, at: i64) -> Price {
        let (amount, at) = (Decimal::parse(text).unwrap(), Timestamp::from_millis(at));
        Price::new(amount, None, Provider::Zerion, at)
    }

    fn selected(
        euros: Vec<(PriceKey, Price)>,
        dollars: Vec<(PriceKey, Price)>,
        rate: Option<&str>,
    ) -> WalletPrices {
        let euro = Currency::parse("eur").unwrap();
        let mut rates = ExchangeRates::default();
        if let Some(rate) = rate {
            rates.insert(euro, price(rate, 0));
        }
        let (euros, dollars) = (PriceTable::new(euros), PriceTable::new(dollars));
        let known = [(euro, &euros), (Currency::USD, &dollars)];
        let known = known.map(|(currency, table)| PricesIn { currency, table });
        let oldest = PriceAgeLimit {
            listed: Timestamp::from_millis(100),
            unlisted: Timestamp::from_millis(50),
        };
        WalletPrices::select(euro, &known, &rates, oldest)
    }

    fn amount(prices: &WalletPrices, key: PriceKey) -> Option<String> {
        prices.table.get(key).map(|price| price.amount.to_string())
    }

    #[test]
    fn later_prices_of_unlisted_assets_are_converted() {
        let key = PriceKey::of_asset("x");
        let later = selected(
            vec![(key, price("1", 150))],
            vec![(key, price("20", 200))],
            Some("0.8"),
        );
        assert_eq!(amount(&later, key).as_deref(), Some("16"));
        let earlier = selected(
            vec![(key, price("1", 250))],
            vec![(key, price("20", 200))],
            Some("0.8"),
        );
        assert_eq!(amount(&earlier, key).as_deref(), Some("1"));
    }

    #[test]
    fn listed_coins_are_converted_only_without_a_usable_price() {
        let key = PriceKey::Cmc(CmcId(1));
        let convert = |at| {
            let euros = vec![(key, price("1", at))];
            amount(
                &selected(euros, vec![(key, price("20", 200))], Some("0.8")),
                key,
            )
        };
        assert_eq!(convert(150).as_deref(), Some("1"));
        assert_eq!(convert(99).as_deref(), Some("16"));
    }

    #[test]
    fn of_two_prices_of_one_moment_the_one_in_the_asked_currency_stays() {
        let key = PriceKey::of_asset("x");
        let (euros, dollars) = (price("1", 200), price("20", 200));
        let prices = selected(vec![(key, euros)], vec![(key, dollars)], Some("0.8"));
        assert_eq!(amount(&prices, key).as_deref(), Some("1"));
        assert!(prices.converted.is_empty() && prices.converted_from.is_empty());
    }

    #[test]
    fn a_usable_price_stands_in_where_a_later_one_cannot_be_converted() {
        let (usable, old) = (PriceKey::of_asset("a"), PriceKey::of_asset("b"));
        let euros = vec![(usable, price("1", 150)), (old, price("1", 49))];
        let dollars = vec![(usable, price("20", 200)), (old, price("20", 200))];
        let prices = selected(euros, dollars, None);
        assert_eq!(prices.unconverted, BTreeSet::from([old]));
        assert_eq!(amount(&prices, usable).as_deref(), Some("1"));
    }

    #[test]
    fn a_converted_price_keeps_why_the_one_in_the_asked_currency_was_refused() {
        let key = PriceKey::of_asset("x");
        let reason = Some(RejectReason::Outlier);
        let other = Some(RejectReason::Outdated);
        let refused = |one: Option<RejectReason>, two: Option<RejectReason>| {
            let euros = vec![(
                key,
                Price {
                    refused: one,
                    ..price("1", 150)
                },
            )];
            let dollars = vec![(
                key,
                Price {
                    refused: two,
                    ..price("20", 200)
                },
            )];
            let prices = selected(euros, dollars, Some("0.8"));
            assert!(prices.converted.contains(&key));
            prices.table.refused(key)
        };
        assert_eq!(refused(None, None), None);
        assert_eq!(refused(reason, None), reason);
        assert_eq!(refused(None, reason), reason);
        assert_eq!(refused(other, reason), reason);
    }

    #[test]
    fn without_a_rate_what_cannot_be_converted_is_named() {
        let (a, b) = (PriceKey::of_asset("a"), PriceKey::Cmc(CmcId(1)));
        let dollars = vec![(a, price("20", 200)), (b, price("5", 200))];
        let prices = selected(vec![(b, price("4", 150))], dollars, None);
        assert_eq!(prices.unconverted, BTreeSet::from([a]));
        assert_eq!(amount(&prices, a), None);
        assert_eq!(amount(&prices, b).as_deref(), Some("4"));
    }
}
