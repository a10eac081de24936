//! The rate between two currencies, from what coins cost in both.

use std::time::Duration;

use super::{
    currency::Currency,
    number::Number,
    price::{CmcId, PriceKey, PriceTable},
};

/// Coins that are worth a dollar, by design: Tether, USD Coin and Dai. Their
/// prices in a currency tell its rate to the dollar, to a fraction of a
/// percent.
pub const DOLLARS: [CmcId; 3] = [CmcId(825), CmcId(3408), CmcId(4943)];

/// Two prices of one coin tell a rate if they were given within this time.
const SAME_TIME: Duration = Duration::from_secs(900);
/// Fewer than this many of them tell nothing: one may be the wrong one.
const ENOUGH: usize = 3;
/// So many coins that are worth a dollar are.
const ENOUGH_DOLLARS: usize = 2;

/// What one thing costs in two currencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the currency that is converted from.
    pub from: Number,
    /// In the one that is converted to.
    pub to: Number,
}

impl Rate {
    /// The rate between the currencies of two of a wallet's tables, the median
    /// of what coins tell: those that are worth a dollar, else at least three
    /// of the wallet's own. `None` if there are too few.
    pub fn between(from: (Currency, &PriceTable), to: (Currency, &PriceTable)) -> Option<Self> {
        let dollars = DOLLARS.map(PriceKey::Cmc);
        let of = |key: PriceKey| Self::of_coin(key, from.1, to.1);
        let one = |(currency, table): (Currency, &PriceTable), key| match currency {
            Currency::USD => Some(Number::ONE),
            _ => table.get(key).map(|price| price.amount),
        };
        let of_dollar = |key: PriceKey| {
            of(key).or_else(|| {
                let (from, to) = (one(from, key)?, one(to, key)?);
                Some(Self { from, to })
            })
        };
        let told: Vec<Self> = dollars.into_iter().filter_map(of_dollar).collect();
        if told.len() >= ENOUGH_DOLLARS {
            return Self::median(told);
        }
        let coins = to.1.entries().iter().map(|(key, _)| *key);
        let coins = coins.filter(|key| matches!(key, PriceKey::Cmc(_)));
        let told: Vec<Self> = coins.filter_map(of).collect();
        (told.len() >= ENOUGH).then(|| Self::median(told)).flatten()
    }

    fn of_coin(key: PriceKey, from: &PriceTable, to: &PriceTable) -> Option<Self> {
        let (from, to) = (from.get(key)?, to.get(key)?);
        let sound = from.refused.is_none() && to.refused.is_none();
        let together = from.given_at.distance(to.given_at) <= SAME_TIME;
        (sound && together).then_some(Self {
            from: from.amount,
            to: to.amount,
        })
    }

    fn median(mut rates: Vec<Self>) -> Option<Self> {
        let ratio = |rate: &Self| Number::ONE.converted(rate.from, rate.to);
        rates.retain(|rate| ratio(rate).is_some());
        rates.sort_by(|a, b| {
            let (a, b) = (ratio(a), ratio(b));
            a.unwrap_or(Number::ZERO)
                .compare(b.unwrap_or(Number::ZERO), 1)
        });
        rates.get(rates.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, domain::price::Price, domain::price::PriceSource};

    fn table(prices: &[(u32, &str)], at: i64) -> PriceTable {
        let price = |text| {
            let (amount, at) = (Number::parse(text).unwrap(), Timestamp::from_millis(at));
            Price::new(amount, None, PriceSource::CoinMarketCap, at)
        };
        let entry = |(id, text): &(u32, &'static str)| (PriceKey::Cmc(CmcId(*id)), price(text));
        let prices: Vec<(u32, &'static str)> = prices
            .iter()
            .map(|(id, text)| (*id, String::leak((*text).to_owned()) as &_))
            .collect();
        PriceTable::new(prices.iter().map(entry).collect())
    }

    fn euros_per_dollar(dollars: &PriceTable, euros: &PriceTable) -> Option<String> {
        let euro = Currency::parse("eur").unwrap();
        let rate = Rate::between((Currency::USD, dollars), (euro, euros))?;
        Number::ONE
            .converted(rate.from, rate.to)
            .map(|it| it.to_string())
    }

    #[test]
    fn coins_that_are_worth_a_dollar_tell_it() {
        let wrong = table(&[(7, "1")], 0);
        let euros = table(
            &[(7, "2760"), (825, "0.86"), (3408, "0.87"), (4943, "0.01")],
            0,
        );
        assert_eq!(euros_per_dollar(&wrong, &euros).as_deref(), Some("0.86"));
    }

    #[test]
    fn one_wrong_price_does_not_tell_it() {
        let dollars = table(&[(1, "1"), (2, "10"), (3, "100")], 0);
        let euros = table(&[(1, "0.8"), (2, "80000"), (3, "80")], 0);
        assert_eq!(euros_per_dollar(&dollars, &euros).as_deref(), Some("0.8"));
        let fewer = table(&[(1, "0.8"), (2, "80000")], 0);
        assert_eq!(euros_per_dollar(&dollars, &fewer), None);
        let later = table(&[(1, "0.8"), (2, "8"), (3, "80")], 3_600_000);
        assert_eq!(euros_per_dollar(&dollars, &later), None);
    }
}
