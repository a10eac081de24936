//! How much of a token a position holds, digit for digit as the provider says.

use std::{borrow::Cow, fmt};

use num_bigint::BigUint;
use serde::{Deserialize, Serialize, Serializer};

use crate::unscaled::{Unscaled, write_scaled};

/// Base units and decimals beyond this are not a token amount.
const MAX_DECIMALS: u16 = 400;
/// Text longer than this is not a token amount.
const MAX_DIGITS: usize = 500;

/// A quantity: the integer of base units and the decimal amount as the
/// provider printed it.
///
/// The two usually say the same; they differ for tokens with a display
/// multiplier (Solana Token-2022 "scaled UI amounts"), where the decimal
/// amount is the true one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity<'a> {
    #[serde(borrow)]
    raw: Raw<'a>,
    decimals: u16,
    #[serde(borrow)]
    shown: Shown<'a>,
    negative: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Raw<'a> {
    Small(u128),
    Long(#[serde(borrow)] Cow<'a, str>),
    /// The provider sent no integer.
    Absent,
}

/// How the decimal amount is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Shown<'a> {
    /// `raw ÷ 10^decimals` without trailing zeros.
    Trimmed,
    /// `raw ÷ 10^decimals` with all of the decimals.
    Padded,
    /// Anything else, kept as it came.
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl<'a> Quantity<'a> {
    /// From what a provider sends: integer base units, decimals and the
    /// decimal amount. The decimal amount wins where it is readable. A minus
    /// sign is taken off and told by [`Quantity::is_negative`]. `None` when
    /// nothing readable is there.
    pub fn parse(
        int: Option<&'a str>,
        decimals: Option<u16>,
        numeric: Option<&'a str>,
    ) -> Option<Self> {
        let decimals = decimals.filter(|decimals| *decimals <= MAX_DECIMALS);
        let int = int.map(unsigned).filter(|(digits, _)| is_digits(digits));
        let numeric = numeric.map(unsigned).filter(|(text, _)| is_decimal(text));
        let negative = int.or(numeric)?.1;
        let raw = match int {
            Some((digits, _)) => match digits.parse() {
                // A leading zero would not come back from a number.
                Ok(small) if !digits.starts_with('0') || digits == "0" => Raw::Small(small),
                _ => Raw::Long(Cow::Borrowed(digits)),
            },
            None => Raw::Absent,
        };
        let mut quantity = Self {
            raw,
            decimals: decimals.unwrap_or(0),
            shown: Shown::Trimmed,
            negative,
        };
        let Some((text, _)) = numeric else {
            // Without decimals the integer alone says nothing about the amount.
            return decimals.map(|_| quantity);
        };
        for shown in [Shown::Trimmed, Shown::Padded] {
            quantity.shown = shown;
            if quantity.to_string() == text {
                return Some(quantity);
            }
        }
        quantity.shown = Shown::Text(Cow::Borrowed(text));
        Some(quantity)
    }

    /// Whether the provider sent it with a minus sign.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Whether the decimal amount is another than base units ÷ 10^`decimals`,
    /// by more than how it is written: the token has a display multiplier.
    ///
    /// Providers print all digits, so that any difference counts. One that
    /// leaves digits out differs by less than a unit of the last place that it
    /// printed; this is told from a multiplier by its size, a thousandth of the
    /// amount at most (one half of a token that was split is printed as 1).
    pub fn is_scaled(&self, decimals: Option<u16>) -> bool {
        let (Shown::Text(_), Some(raw)) = (&self.shown, self.raw()) else {
            return false;
        };
        // Otherwise the base units say nothing about the amount.
        if decimals != Some(self.decimals) {
            return false;
        }
        let shown = self.mantissa();
        let exact = Unscaled::of(&raw, usize::from(self.decimals));
        let places = shown.scale().max(exact.scale());
        let at = |amount: &Unscaled| {
            let missing = places.saturating_sub(amount.scale()).unsigned_abs();
            amount.to_big() * BigUint::from(10_u8).pow(missing)
        };
        let last_place = BigUint::from(10_u8).pow(places.abs_diff(shown.scale()));
        let (shown, exact) = (at(&shown), at(&exact));
        let difference = match shown > exact {
            true => &shown - &exact,
            false => &exact - &shown,
        };
        difference >= last_place || difference * 1000_u16 > exact
    }

    /// The integer of base units; `None` if the provider sent none.
    pub fn raw(&self) -> Option<Cow<'_, str>> {
        match &self.raw {
            Raw::Small(digits) => Some(Cow::Owned(digits.to_string())),
            Raw::Long(digits) => Some(Cow::Borrowed(digits)),
            Raw::Absent => None,
        }
    }

    /// The decimal amount as digits and scale.
    pub fn mantissa(&self) -> Unscaled {
        match (&self.shown, &self.raw) {
            (Shown::Text(text), _) => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                Unscaled::of(&format!("{whole}{fraction}"), fraction.len())
            }
            (_, Raw::Small(digits)) => Unscaled::Small {
                digits: *digits,
                scale: i32::from(self.decimals),
            },
            (_, Raw::Long(digits)) => Unscaled::of(digits, usize::from(self.decimals)),
            (_, Raw::Absent) => Unscaled::Small {
                digits: 0,
                scale: 0,
            },
        }
    }

    /// The same quantity, borrowing nothing.
    pub fn into_owned(self) -> Quantity<'static> {
        Quantity {
            raw: match self.raw {
                Raw::Small(digits) => Raw::Small(digits),
                Raw::Long(digits) => Raw::Long(Cow::Owned(digits.into_owned())),
                Raw::Absent => Raw::Absent,
            },
            decimals: self.decimals,
            shown: match self.shown {
                Shown::Trimmed => Shown::Trimmed,
                Shown::Padded => Shown::Padded,
                Shown::Text(text) => Shown::Text(Cow::Owned(text.into_owned())),
            },
            negative: self.negative,
        }
    }
}

fn unsigned(text: &str) -> (&str, bool) {
    match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    match text.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(text),
    }
}

impl Quantity<'_> {
    /// Returns the integer of base units as text, put into `buffer` where it is
    /// kept as a number; `None` if the provider sent none.
    pub(crate) fn raw_text<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> Option<&'b str> {
        match &self.raw {
            Raw::Small(digits) => Some(buffer.format(*digits)),
            Raw::Long(digits) => Some(digits),
            Raw::Absent => None,
        }
    }

    /// Writes the decimal amount, without its sign.
    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let padded = match &self.shown {
            Shown::Text(text) => return out.write_str(text),
            Shown::Trimmed => false,
            Shown::Padded => true,
        };
        let mut buffer = itoa::Buffer::new();
        let digits = self.raw_text(&mut buffer).unwrap_or("0");
        let places = usize::from(self.decimals);
        let zeros = if padded {
            0
        } else if digits.bytes().all(|b| b == b'0') {
            return out.write_str("0");
        } else {
            (digits.len() - digits.trim_end_matches('0').len()).min(places)
        };
        let exponent = i32::try_from(places - zeros).unwrap_or(0);
        write_scaled(out, &digits[..digits.len() - zeros], -exponent)
    }
}

impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Serialises as the decimal amount.
pub(crate) struct AsDecimal<'q, 'a>(pub &'q Quantity<'a>);

impl Serialize for AsDecimal<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Serialises as the integer of base units; null if there is none.
pub(crate) struct AsRaw<'q, 'a>(pub &'q Quantity<'a>);

impl Serialize for AsRaw<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            .raw_text(&mut itoa::Buffer::new())
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(int: &'a str, decimals: u16, numeric: &'a str) -> (String, String) {
        let quantity = Quantity::parse(Some(int), Some(decimals), Some(numeric)).unwrap();
        (quantity.to_string(), quantity.raw().unwrap().into_owned())
    }

    #[test]
    fn leaves_as_it_came() {
        for (int, decimals, numeric) in [
            ("844579688243755982", 18, "0.844579688243755982"),
            ("5000000000000000000000", 18, "5000.000000000000000000"),
            ("1500000000000000000", 18, "1.5"),
            ("7", 0, "7"),
            ("0", 6, "0"),
            ("0", 6, "0.000000"),
            ("100", 2, "1"),
        ] {
            assert_eq!(read(int, decimals, numeric), (numeric.into(), int.into()));
        }
    }

    #[test]
    fn believes_the_decimal_amount_of_scaled_tokens() {
        let quantity = Quantity::parse(Some("1000000"), Some(6), Some("1.035")).unwrap();
        assert_eq!(quantity.to_string(), "1.035");
        assert_eq!(quantity.raw().unwrap(), "1000000");
        assert_eq!(
            quantity.mantissa(),
            Unscaled::Small {
                digits: 1035,
                scale: 3
            }
        );
    }

    #[test]
    fn a_display_multiplier_is_told_from_how_an_amount_is_written() {
        let scaled = |int: &str, decimals, numeric: &str| {
            let quantity = Quantity::parse(Some(int), Some(decimals), Some(numeric));
            quantity.unwrap().is_scaled(Some(decimals))
        };
        for (int, numeric) in [
            ("1000000", "4"),
            ("1000000", "1.035"),
            ("1000000", "1.000001"),
            ("1000000", "0.999999"),
            // A split in two, of half a token.
            ("500000", "1"),
            ("2500000", "5.0"),
            ("0", "1"),
            ("1", "0"),
        ] {
            assert!(scaled(int, 6, numeric), "{int} {numeric}");
        }
        for (int, numeric) in [
            ("1000000", "1"),
            ("1000000", "1.000000"),
            ("1000000", "1.00"),
            ("1000000", "01.0"),
            ("0001000000", "1.0"),
            ("0", "0.0"),
            // A thousandth of the amount exactly.
            ("1001000", "1.00"),
            // Digits left out, rounded or cut off.
            ("1234567", "1.23457"),
            ("1234567", "1.23456"),
            ("123456789123", "123456.789"),
        ] {
            assert!(!scaled(int, 6, numeric), "{int} {numeric}");
        }
        let long = "9".repeat(90);
        assert!(scaled(&long, 6, &"9".repeat(85)));
        let quantity = Quantity::parse(Some("1000000"), None, Some("4")).unwrap();
        assert!(!quantity.is_scaled(None) && !quantity.is_scaled(Some(6)));
    }

    #[test]
    fn numbers_that_would_not_come_back_are_kept_as_text() {
        let parse = |int| Quantity::parse(Some(int), Some(0), None).unwrap();
        let beyond_128_bits = "9".repeat(39);
        for (int, number) in [
            ("0", true),
            ("10", true),
            ("01", false),
            ("00", false),
            (&*beyond_128_bits, false),
        ] {
            let quantity = parse(int);
            assert_eq!(matches!(quantity.raw, Raw::Small(_)), number, "{int}");
            assert_eq!(quantity.raw().unwrap(), int);
        }
    }

    #[test]
    fn falls_back_to_base_units() {
        let quantity = Quantity::parse(Some("1230"), Some(2), Some("1.23e1")).unwrap();
        assert_eq!(quantity.to_string(), "12.3");
        assert_eq!(Quantity::parse(Some("1230"), None, None), None);
        assert_eq!(Quantity::parse(None, Some(18), Some("junk")), None);
        let bare = Quantity::parse(None, None, Some("2.50")).unwrap();
        assert_eq!((bare.to_string().as_str(), bare.raw()), ("2.50", None));
    }

    #[test]
    fn takes_the_sign_off() {
        let quantity = Quantity::parse(Some("-200"), Some(2), Some("-2")).unwrap();
        assert!(quantity.is_negative());
        assert_eq!(quantity.to_string(), "2");
    }

    proptest! {
        #[test]
        fn any_integer_is_kept(int in "[0-9]{1,90}", decimals in 0_u16..40) {
            let quantity = Quantity::parse(Some(&int), Some(decimals), None).unwrap();
            let raw = quantity.raw().unwrap();
            prop_assert_eq!(raw.as_ref(), int.as_str());
            let shown = quantity.to_string();
            let packed = postcard::to_allocvec(&quantity).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Quantity<'_>>(&packed).unwrap().to_string(), shown);
        }

        #[test]
        fn any_decimal_text_is_kept(text in "[0-9]{1,50}(\\.[0-9]{1,40})?", int in "[0-9]{1,40}") {
            let quantity = Quantity::parse(Some(&int), Some(18), Some(&text)).unwrap();
            prop_assert_eq!(quantity.to_string(), text);
        }
    }
}
