//! What must hold of every price that a source gives.

use portfolio::{
    cache::{
        codec::{pack_prices, unpack_prices},
        price_book::{pack, unpack},
    },
    clock::Timestamp,
    domain::{
        decimal::Decimal,
        price::RejectReason,
        price::{Price, PriceKey, PriceTable},
        price_guard::within_deviation,
        provider::Provider,
    },
};

use crate::NOW;

/// A price as a source's answer tells it.
pub struct Told {
    /// Of what.
    pub key: PriceKey,
    /// The price, or why it is none.
    pub price: Result<Decimal, RejectReason>,
    /// Its change in a day.
    pub change: Option<Decimal>,
    /// Its own time.
    pub as_of: Option<Timestamp>,
    /// Who tells it.
    pub source: Provider,
}

/// Prices are positive, print as what they are, and come back from the cache.
pub fn check(told: impl IntoIterator<Item = Told>) {
    let mut entries = Vec::new();
    for one in told {
        let Ok(amount) = one.price else { continue };
        assert!(amount.is_positive(), "{amount} is no price");
        for number in [Some(amount), one.change].into_iter().flatten() {
            let again = Decimal::parse(&number.to_string());
            assert_eq!(again, Some(number), "a number prints as what it is");
            assert!(within_deviation(number.magnitude(), number.magnitude()));
        }
        let price = Price {
            // Times as far off as these are refused before they are stored.
            as_of: one.as_of.filter(near).unwrap_or(NOW),
            ..Price::new(amount, one.change, one.source, NOW)
        };
        assert_eq!(unpack(&pack(&price)), Ok(price), "the book keeps a price");
        if let Some(as_of) = one.as_of {
            assert!(!as_of.to_string().is_empty());
            let _ = unpack(&pack(&Price { as_of, ..price })).expect("any time is packed");
        }
        entries.push((one.key, price));
    }
    let table = PriceTable::new(entries);
    let packed = pack_prices(&table).expect("there is memory");
    assert_eq!(
        unpack_prices(&packed),
        Ok(table),
        "a wallet keeps its prices"
    );
}

fn near(time: &Timestamp) -> bool {
    const CENTURIES: i64 = 1 << 45;
    (-CENTURIES..CENTURIES).contains(&time.as_millis())
}
