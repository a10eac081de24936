//! Decimal numbers as providers write them in JSON: prices and percentages.

use std::{cmp::Ordering, fmt};

use num_bigint::{BigInt, BigUint};
use serde::{Deserialize, Serialize};

use crate::unscaled::{Unscaled, write_scaled};

/// Significant digits that are kept. Providers write doubles, which carry at
/// most 17.
const DIGITS: usize = 18;
/// Numbers beyond 10^±400 are not prices of anything.
const MAX_EXPONENT: i32 = 400;

/// `coefficient × 10^exponent`, without trailing zeros in the coefficient.
///
/// Prices are exact as long as the provider wrote at most 18 significant
/// digits; longer ones are rounded half away from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decimal {
    coefficient: i64,
    exponent: i16,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        coefficient: 0,
        exponent: 0,
    };

    /// One.
    pub const ONE: Self = Self {
        coefficient: 1,
        exponent: 0,
    };

    /// One half.
    pub const fn half() -> Self {
        Self {
            coefficient: 5,
            exponent: -1,
        }
    }

    /// Whether this is `least` or more.
    pub fn at_least(self, least: Self) -> bool {
        self.compare(least, 1) != Ordering::Less
    }

    /// Compares with `times × other`.
    pub fn compare(self, other: Self, times: u8) -> Ordering {
        let lower = self.exponent.min(other.exponent);
        let raised = |number: Self| {
            let power = i32::from(number.exponent) - i32::from(lower);
            BigInt::from(number.coefficient) * BigInt::from(10_u8).pow(power.unsigned_abs())
        };
        raised(self).cmp(&(raised(other) * times))
    }

    /// `coefficient × 10^exponent`.
    pub fn new(coefficient: i64, exponent: i16) -> Self {
        Self {
            coefficient,
            exponent,
        }
        .normalised()
    }

    /// Parses decimal text with an optional sign, fraction and exponent
    /// (`-12.5`, `6.315931e-08`). `None` for anything else, NaN included, and
    /// for magnitudes outside of 10^±400.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        if exponent.unsigned_abs() > 10_000 {
            return None;
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits = Digits::default();
        for byte in whole.bytes() {
            digits.push(byte, false)?;
        }
        for byte in fraction.bytes() {
            digits.push(byte, true)?;
        }
        let (coefficient, shift) = digits.finish();
        let exponent = exponent.checked_add(shift)?;
        if coefficient == 0 {
            return Some(Self::ZERO);
        }
        if exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let coefficient = if negative { -coefficient } else { coefficient };
        Some(Self::new(coefficient, i16::try_from(exponent).ok()?))
    }

    /// `value ÷ quantity` to 18 significant digits; `None` for a quantity of
    /// zero and for values that are not positive.
    pub fn ratio(value: Self, quantity: &Unscaled) -> Option<Self> {
        let divisor = quantity.to_big();
        let dividend = u64::try_from(value.coefficient).ok().filter(|it| *it > 0)?;
        if divisor.bits() == 0 {
            return None;
        }
        // Enough for a quotient of more digits than are kept: each of the
        // divisor's takes more than three bits.
        let shift = u32::try_from(divisor.bits() / 3).ok()?.checked_add(24)?;
        let shifted = BigUint::from(dividend) * BigUint::from(10_u8).pow(shift);
        let exponent = i32::from(value.exponent) + quantity.scale() - i32::try_from(shift).ok()?;
        Self::parse(&format!("{}e{exponent}", shifted / divisor)).filter(|it| it.is_positive())
    }

    /// The signed coefficient.
    pub fn coefficient(self) -> i64 {
        self.coefficient
    }

    /// The power of ten that the coefficient is multiplied with.
    pub fn exponent(self) -> i16 {
        self.exponent
    }

    /// `self × to ÷ from` to 18 significant digits, for positive numbers: what
    /// `self` is in another currency, by one thing's price in both. `None` if
    /// one of them is not positive.
    pub fn converted(self, from: Self, to: Self) -> Option<Self> {
        let positive = |number: Self| u64::try_from(number.coefficient).ok().filter(|it| *it > 0);
        let product = BigUint::from(positive(self)?) * positive(to)?;
        let exponent = i32::from(self.exponent) + i32::from(to.exponent) - i32::from(from.exponent);
        let shifted = product * BigUint::from(10_u8).pow(40);
        Self::parse(&format!("{}e{}", shifted / positive(from)?, exponent - 40))
    }

    /// The number without its sign.
    pub fn magnitude(self) -> Self {
        Self {
            coefficient: self.coefficient.saturating_abs(),
            ..self
        }
    }

    /// Whether this is more than zero.
    pub fn is_positive(self) -> bool {
        self.coefficient > 0
    }

    /// The number rounded (half away from zero) to `places` decimal places.
    pub fn rounded(self, places: u8) -> Self {
        let surplus = -i32::from(self.exponent) - i32::from(places);
        if surplus <= 0 {
            return self;
        }
        let Some(divisor) = u32::try_from(surplus)
            .ok()
            .and_then(|power| 10_i64.checked_pow(power))
        else {
            return Self::ZERO;
        };
        let half = divisor / 2 * self.coefficient.signum();
        let coefficient = self.coefficient.saturating_add(half) / divisor;
        Self::new(coefficient, -i16::from(places))
    }

    /// This number as an integer count of 10^-`places`, rounded; `None` where
    /// an `i64` cannot hold it.
    pub fn scaled(self, places: u8) -> Option<i64> {
        let rounded = self.rounded(places);
        let power = u32::try_from(i32::from(rounded.exponent) + i32::from(places)).ok()?;
        rounded.coefficient.checked_mul(10_i64.checked_pow(power)?)
    }

    fn normalised(mut self) -> Self {
        if self.coefficient == 0 {
            return Self::ZERO;
        }
        while self.coefficient % 10 == 0 {
            self.coefficient /= 10;
            self.exponent = self.exponent.saturating_add(1);
        }
        self
    }
}

/// Collects decimal digits, rounding those beyond [`DIGITS`].
#[derive(Default)]
struct Digits {
    value: i64,
    kept: usize,
    shift: i32,
    round_up: Option<bool>,
}

impl Digits {
    fn push(&mut self, byte: u8, fraction: bool) -> Option<()> {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        if self.kept < DIGITS {
            self.value = self.value * 10 + digit;
            if self.value != 0 {
                self.kept += 1;
            }
            if fraction {
                self.shift -= 1;
            }
        } else {
            self.round_up.get_or_insert(digit >= 5);
            if !fraction {
                self.shift += 1;
            }
        }
        Some(())
    }

    fn finish(self) -> (i64, i32) {
        let rounded = self.value + i64::from(self.round_up == Some(true));
        (rounded, self.shift)
    }
}

impl Decimal {
    /// Writes plain decimal notation, never an exponent.
    pub(crate) fn write(self, out: &mut impl fmt::Write) -> fmt::Result {
        if self.coefficient < 0 {
            out.write_str("-")?;
        }
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.coefficient.unsigned_abs());
        write_scaled(out, digits, i32::from(self.exponent))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests;
