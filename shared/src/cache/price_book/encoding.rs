//! A price of the book as an attribute's bytes: some 20 of them.

use serde::{Deserialize, Serialize};

use crate::{
    cache::codec::CorruptItem,
    clock::Timestamp,
    domain::{decimal::Decimal, price::Price, price::RejectReason, provider::Provider},
};

/// Version of the bytes, the first of them. A price of another version counts
/// as not there.
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Packed {
    coefficient: i64,
    exponent: i16,
    change: Option<(i64, i16)>,
    source: Provider,
    checked_at: i64,
    /// How long before that the source gave it, in milliseconds.
    given_before: i64,
    /// And how long before that it dates it.
    age: i64,
    refused: Option<RejectReason>,
}

/// Packs a price.
pub fn pack(price: &Price) -> Vec<u8> {
    let (checked_at, quoted_at) = (price.checked_at.as_millis(), price.quoted_at.as_millis());
    let packed = Packed {
        coefficient: price.amount.coefficient(),
        exponent: price.amount.exponent(),
        change: price
            .change_24h_percent
            .map(|change| (change.coefficient(), change.exponent())),
        source: price.source,
        checked_at,
        given_before: checked_at.saturating_sub(quoted_at),
        age: quoted_at.saturating_sub(price.as_of.as_millis()),
        refused: price.refused,
    };
    // A vector takes everything.
    postcard::to_extend(&packed, vec![FORMAT]).unwrap_or_default()
}

/// Unpacks what [`pack`] made.
///
/// # Errors
/// When the bytes are damaged or of another version.
pub fn unpack(bytes: &[u8]) -> Result<Price, CorruptItem> {
    let Some((&FORMAT, bytes)) = bytes.split_first() else {
        return Err(CorruptItem("a price of another version".to_owned()));
    };
    let packed: Packed =
        postcard::from_bytes(bytes).map_err(|error| CorruptItem(error.to_string()))?;
    if packed.coefficient < 0 {
        return Err(CorruptItem("a negative price".to_owned()));
    }
    let quoted_at = packed.checked_at.saturating_sub(packed.given_before);
    let as_of = quoted_at.saturating_sub(packed.age);
    Ok(Price {
        amount: Decimal::new(packed.coefficient, packed.exponent),
        change_24h_percent: packed.change.map(|(c, e)| Decimal::new(c, e)),
        source: packed.source,
        as_of: Timestamp::from_millis(as_of),
        quoted_at: Timestamp::from_millis(quoted_at),
        checked_at: Timestamp::from_millis(packed.checked_at),
        refused: packed.refused,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_small() {
        let now = Timestamp::from_millis(1_795_254_046_007);
        let amount = Decimal::parse("1875.3832420347037").unwrap();
        let change = Decimal::parse("-3.036101");
        let price = Price::new(amount, change, Provider::CoinMarketCap, now);
        assert!(pack(&price).len() <= 29, "{}", pack(&price).len());
        let kept = price.checked(
            Timestamp::from_millis(1_795_254_106_007),
            Some(RejectReason::Outlier),
        );
        assert_eq!(unpack(&pack(&kept)).unwrap(), kept);
    }

    proptest! {
        #[test]
        fn damage_is_noticed_or_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(price) = unpack(&bytes) {
                prop_assert_eq!(unpack(&pack(&price)).unwrap(), price);
            }
        }
    }
}
