//! Exchange rates of the US dollar, from what stablecoins cost.

use std::collections::BTreeMap;

use crate::{
    currency::Currency,
    decimal::Decimal,
    price::{CmcId, Price, PriceKey, PriceTable},
};

/// Coins that are worth a dollar, by design: Tether, USD Coin and Dai. Their
/// prices in a currency tell its rate to the dollar, to a fraction of a
/// percent.
pub const USD_STABLECOINS: [CmcId; 3] = [CmcId(825), CmcId(3408), CmcId(4943)];

/// Fewer of them tell nothing: one may be the wrong one.
const MIN_STABLECOINS: usize = 2;
/// Fewer of a wallet's own coins tell nothing.
const MIN_COINS: usize = 3;

/// What one US dollar costs in other currencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeRates(BTreeMap<Currency, Price>);

impl ExchangeRates {
    /// Adds a rate; of two for one currency the later one stays.
    pub fn insert(&mut self, currency: Currency, rate: Price) {
        let known = self.0.get(&currency);
        if rate.is_known() && known.is_none_or(|known| known.quoted_at <= rate.quoted_at) {
            self.0.insert(currency, rate);
        }
    }

    /// Returns the rate of `currency`. The dollar itself has none.
    pub fn get(&self, currency: Currency) -> Option<&Price> {
        self.0.get(&currency)
    }

    /// Converts a price; `None` without a rate of both currencies.
    pub fn convert(&self, price: &Price, from: Currency, to: Currency) -> Option<Price> {
        let rate = |currency| match currency {
            Currency::USD => Some(Decimal::ONE),
            other => self.0.get(&other).map(|rate| rate.amount),
        };
        let amount = price.amount.converted(rate(from)?, rate(to)?)?;
        Some(Price { amount, ..*price })
    }
}

/// Returns what a dollar costs: the median of stablecoins' prices, as old as
/// the oldest of them. `None` if too few are known.
pub fn rate_of_dollar(stablecoins: impl IntoIterator<Item = Price>) -> Option<Price> {
    let known = stablecoins.into_iter().filter(Price::is_known);
    median(known.collect(), MIN_STABLECOINS)
}

/// Returns what a dollar costs in the currency of `there`, by coins whose
/// prices in dollars are in `dollars`: the median of at least three.
pub fn rate_by_coins(dollars: &PriceTable, there: &PriceTable) -> Option<Price> {
    let rate = |(key, price): &(PriceKey, Price)| {
        let PriceKey::Cmc(_) = key else { return None };
        let dollars = dollars.get(*key)?;
        let sound = price.is_known() && price.refused.is_none() && dollars.refused.is_none();
        let amount = Decimal::ONE.converted(dollars.amount, price.amount)?;
        let quoted_at = price.quoted_at.min(dollars.quoted_at);
        sound.then_some(Price {
            amount,
            quoted_at,
            checked_at: quoted_at,
            ..*price
        })
    };
    median(there.entries().iter().filter_map(rate).collect(), MIN_COINS)
}

fn median(mut rates: Vec<Price>, least: usize) -> Option<Price> {
    if rates.len() < least {
        return None;
    }
    let quoted_at = rates.iter().map(|rate| rate.quoted_at).min()?;
    let checked_at = rates.iter().map(|rate| rate.checked_at).min()?;
    rates.sort_by(|a, b| a.amount.compare(b.amount, 1));
    let middle = rates.get(rates.len() / 2)?;
    Some(Price {
        change_24h_percent: None,
        as_of: quoted_at,
        quoted_at,
        checked_at,
        refused: None,
        ..*middle
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{price::RejectReason, provider::Provider, timestamp::Timestamp};

    fn price(text: &str, at: i64) -> Price {
        let (amount, at) = (Decimal::parse(text).unwrap(), Timestamp::from_millis(at));
        Price::new(amount, None, Provider::CoinMarketCap, at)
    }

    fn rate(text: &str) -> ExchangeRates {
        let mut rates = ExchangeRates::default();
        rates.insert(euro(), price(text, 0));
        rates
    }

    fn euro() -> Currency {
        Currency::parse("eur").unwrap()
    }

    #[test]
    fn one_wrong_stablecoin_does_not_decide() {
        let rate = rate_of_dollar([price("0.86", 7), price("0.87", 5), price("0.01", 9)]);
        let rate = rate.unwrap();
        assert_eq!(rate.amount.to_string(), "0.86");
        assert_eq!(rate.quoted_at, Timestamp::from_millis(5));
        assert_eq!(rate_of_dollar([price("0.86", 7)]), None);
    }

    #[test]
    fn a_rate_is_as_old_as_the_oldest_price_and_nothing_else_of_them() {
        let at = Timestamp::from_millis;
        let odd = Price {
            change_24h_percent: Some(Decimal::ONE),
            as_of: at(1),
            checked_at: at(20),
            refused: Some(RejectReason::Outlier),
            ..price("0.86", 7)
        };
        let rate = rate_of_dollar([odd, price("0.87", 9), price("0.85", 8)]).unwrap();
        let plain = Price {
            checked_at: at(8),
            ..price("0.86", 7)
        };
        assert_eq!(rate, plain);
        // Of two the higher one.
        let two = rate_of_dollar([price("0.87", 9), price("0.85", 8)]).unwrap();
        assert_eq!(two.amount.to_string(), "0.87");

        let coins = |prices: [Price; 3]| {
            let keys = [1, 2, 3].map(|id| PriceKey::Cmc(CmcId(id)));
            PriceTable::new(keys.into_iter().zip(prices).collect())
        };
        let dollars = coins([price("1", 30), price("10", 31), price("100", 32)]);
        let euros = coins([
            Price {
                refused: None,
                ..odd
            },
            price("8.6", 9),
            price("86", 40),
        ]);
        let rate = rate_by_coins(&dollars, &euros).unwrap();
        let oldest = Price {
            amount: rate.amount,
            ..price("1", 7)
        };
        assert_eq!(rate, oldest);
        // As old as the prices in dollars, where these are older.
        let dollars = coins([price("1", 3), price("10", 31), price("100", 32)]);
        let rate = rate_by_coins(&dollars, &euros).unwrap();
        assert_eq!((rate.quoted_at, rate.checked_at), (at(3), at(3)));
    }

    #[test]
    fn refused_prices_tell_no_rate() {
        let coins = |refused: [Option<RejectReason>; 3]| {
            let entries = (1..).zip(refused).map(|(id, refused)| {
                let price = price("1", 0);
                (PriceKey::Cmc(CmcId(id)), Price { refused, ..price })
            });
            PriceTable::new(entries.collect())
        };
        let (sound, one_refused) = ([None; 3], [None, None, Some(RejectReason::Outlier)]);
        assert!(rate_by_coins(&coins(sound), &coins(sound)).is_some());
        assert_eq!(rate_by_coins(&coins(one_refused), &coins(sound)), None);
        assert_eq!(rate_by_coins(&coins(sound), &coins(one_refused)), None);
    }

    #[test]
    fn the_later_of_two_rates_stays_and_marks_are_none() {
        let mut rates = rate("0.8");
        let amount = |rates: &ExchangeRates| rates.get(euro()).unwrap().amount.to_string();
        rates.insert(euro(), price("0.9", 5));
        assert_eq!(amount(&rates), "0.9");
        rates.insert(euro(), price("0.7", 4));
        assert_eq!(amount(&rates), "0.9");
        rates.insert(euro(), price("0.6", 5));
        assert_eq!(amount(&rates), "0.6");
        let unknown = Price::unknown(Provider::CoinMarketCap, Timestamp::from_millis(9));
        rates.insert(euro(), unknown);
        assert_eq!(amount(&rates), "0.6");
        let mut none = ExchangeRates::default();
        none.insert(euro(), unknown);
        assert_eq!(none.get(euro()), None);
    }

    #[test]
    fn prices_are_converted_both_ways() {
        let (rates, ten) = (rate("0.8"), price("10", 3));
        let amount = |from, to| rates.convert(&ten, from, to).unwrap().amount.to_string();
        assert_eq!(amount(Currency::USD, euro()), "8");
        assert_eq!(amount(euro(), Currency::USD), "12.5");
        assert_eq!(
            rates.convert(&ten, Currency::USD, Currency::parse("jpy").unwrap()),
            None
        );
    }

    #[test]
    fn coins_tell_a_rate_if_there_are_three() {
        let table = |prices: &[(u32, &str)]| {
            let entry = |(id, text): &(u32, &str)| (PriceKey::Cmc(CmcId(*id)), price(text, 0));
            PriceTable::new(prices.iter().map(entry).collect())
        };
        let dollars = table(&[(1, "1"), (2, "10"), (3, "100")]);
        let euros = table(&[(1, "0.8"), (2, "80000"), (3, "80")]);
        let rate = rate_by_coins(&dollars, &euros).unwrap();
        assert_eq!(rate.amount.to_string(), "0.8");
        assert_eq!(
            rate_by_coins(&dollars, &table(&[(1, "0.8"), (2, "8")])),
            None
        );
    }
}
