//! Which prices are believed.
//!
//! A wrong mapping, a slipped decimal or a coin that stopped trading must not
//! change what a wallet is worth. A price that is rejected leaves the one before it
//! in place, and the reason stays with it.

use crate::{decimal::Decimal, price::Price, provider::Provider};

/// A price that is more than this many times another, or less than that part
/// of it, is not believed.
pub const MAX_DEVIATION: u8 = 5;

/// Whether two prices of one thing are near enough to each other.
pub fn within_deviation(a: Decimal, b: Decimal) -> bool {
    a.compare(b, MAX_DEVIATION).is_le() && b.compare(a, MAX_DEVIATION).is_le()
}

/// Whether all wallets may have `new` after `before`, which they have now
/// (none, or too old to count), when the wallet that asks has `own`.
///
/// The book's own price decides; a jump from it is a real one if Zerion's
/// price, which comes from elsewhere, has jumped as well. Without one the
/// asking wallet's price may object, but not the other way round: where the
/// book and the source within_deviation, it is the wallet's token that is mapped wrongly.
/// What was objected to stays out (`previously_rejected`) until a wallet's price agrees.
pub fn accept_for_book(
    new: Decimal,
    before: Option<Decimal>,
    previously_rejected: bool,
    own: Option<&Price>,
) -> bool {
    let confirmed =
        |own: &Price| own.source == Provider::Zerion && within_deviation(new, own.amount);
    match before {
        Some(before) => within_deviation(new, before) || own.is_some_and(confirmed),
        None => own.map_or(!previously_rejected, |own| {
            within_deviation(new, own.amount)
        }),
    }
}

/// Whether another source's price may replace the provider's for a token whose
/// displayed amount is not its base units ([`Token::scaled`]): only within 2 %
/// of it, the bounds included. Whether that source quotes base units or
/// displayed ones is not known, so without a price of the provider's nothing
/// can be compared.
///
/// [`Token::scaled`]: crate::holdings::Token::scaled
pub fn accept_for_scaled_token(new: Decimal, provider: Option<Decimal>) -> bool {
    let Some(provider) = provider.filter(|it| it.is_positive()) else {
        return false;
    };
    let hundredfold = Decimal::new(new.coefficient(), new.exponent().saturating_add(2));
    hundredfold.compare(provider, 98).is_ge() && hundredfold.compare(provider, 102).is_le()
}

/// Whether a wallet that has `own` may have `new`.
pub fn accept_for_wallet(new: Decimal, own: Option<Decimal>) -> bool {
    own.is_none_or(|own| within_deviation(new, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn price(text: &str, source: Provider) -> Price {
        Price::new(number(text), None, source, Timestamp::default())
    }

    #[test]
    fn five_times_is_the_limit_in_both_directions() {
        assert!(within_deviation(number("5"), number("1")));
        assert!(within_deviation(number("1"), number("5")));
        assert!(!within_deviation(number("5.000000001"), number("1")));
        assert!(!within_deviation(number("0.199999"), number("1")));
        assert!(within_deviation(number("5e-30"), number("1e-30")));
    }

    #[test]
    fn the_book_believes_itself_before_the_wallet() {
        let (zerion, cmc) = (Provider::Zerion, Provider::CoinMarketCap);
        let believed = |new, before: Option<&str>, own: Option<(&str, Provider)>| {
            let own = own.map(|(text, source)| price(text, source));
            accept_for_book(number(new), before.map(number), false, own.as_ref())
        };
        assert!(believed("3000", None, None));
        assert!(believed("3000", Some("2990"), None));
        assert!(!believed("3000", Some("1"), None));
        // A crash that the other provider saw as well.
        assert!(believed("3000", Some("1"), Some(("3100", zerion))));
        assert!(!believed("3000", Some("1"), Some(("3100", cmc))));
        // A wrong mapping in one wallet does not spoil the coin for all.
        assert!(believed("3000", Some("2990"), Some(("1", zerion))));
        assert!(!believed("3000", None, Some(("1", zerion))));
        let own = price("3100", zerion);
        assert!(!accept_for_book(number("3000"), None, true, None));
        assert!(accept_for_book(number("3000"), None, true, Some(&own)));
    }

    #[test]
    fn a_scaled_token_takes_only_what_is_within_two_percent() {
        let taken = |new: &str, provider: &str| {
            accept_for_scaled_token(number(new), Some(number(provider)))
        };
        assert!(taken("102", "100") && taken("98", "100"));
        assert!(!taken("102.0000000000001", "100") && !taken("97.99999999999999", "100"));
        assert!(taken("1.02e-30", "1e-30") && !taken("1.03e-30", "1e-30"));
        // A quarter of the price belongs to the base unit.
        assert!(!taken("25", "100") && !taken("400", "100"));
        assert!(!accept_for_scaled_token(number("1"), None));
        assert!(!taken("0", "0") && !taken("-1", "-1") && !taken("-1", "1"));
    }

    #[test]
    fn a_wallet_believes_what_is_near_its_own_price() {
        assert!(accept_for_wallet(number("3000"), None));
        assert!(accept_for_wallet(number("3000"), Some(number("2000"))));
        assert!(!accept_for_wallet(number("3000"), Some(number("1"))));
    }
}
