//! Money: exact sums in fixed point, never floats.

use std::{cmp::Ordering, fmt};

use num_bigint::{BigInt, BigUint, Sign};
use serde::{Serialize, Serializer};

use crate::{
    decimal::Decimal,
    unscaled::{Unscaled, write_scaled},
};

/// Decimal places that every amount carries.
pub const SCALE: u32 = 18;
/// Counts in one currency unit.
const UNIT: u64 = 10_u64.pow(SCALE);
/// Most digits before the point of what a user writes.
pub const MAX_WHOLE_DIGITS: usize = 60;

/// An amount of money in fixed point: an integer count of 10^-18 currency
/// units. Sums are exact and cannot overflow: what an `i128` (± 1.7 × 10^20
/// units) cannot hold moves to a big integer.
#[derive(Clone, Debug)]
pub struct Amount(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Small(i128),
    Big(Box<BigInt>),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Repr::Small(0));

    /// From a count of 10^-18 currency units.
    pub const fn from_units(units: i128) -> Self {
        Self(Repr::Small(units))
    }

    /// Parses plain decimal text of at least zero, at most 18 decimal places
    /// and at most [`MAX_WHOLE_DIGITS`], as users write thresholds.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() > MAX_WHOLE_DIGITS {
            return None;
        }
        Self::parse_digits(text, whole, fraction)
    }

    /// Parses what [`Amount`] prints for amounts of at least zero, however
    /// long.
    pub(super) fn parse_unbounded(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Self::parse_digits(text, whole, fraction)
    }

    fn parse_digits(text: &str, whole: &str, fraction: &str) -> Option<Self> {
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || fraction.len() > SCALE as usize
            || (text.contains('.') && fraction.is_empty())
            || !plain(whole)
            || !plain(fraction)
        {
            return None;
        }
        let digits = format!("{whole}{fraction:0<width$}", width = SCALE as usize);
        Some(Self::from_big(digits.parse::<BigInt>().ok()?))
    }

    /// `quantity × price`, rounded half away from zero to 18 decimal places.
    pub fn value_of(quantity: &Unscaled, price: Decimal) -> Self {
        let exponent =
            i32::from(price.exponent()) - quantity.scale() + i32::try_from(SCALE).unwrap_or(18);
        Self::scaled_product(quantity, price.coefficient(), exponent)
    }

    fn scaled_product(quantity: &Unscaled, factor: i64, exponent: i32) -> Self {
        if let Unscaled::Small { digits, .. } = quantity
            && let Some(product) = i128::try_from(*digits)
                .ok()
                .and_then(|digits| digits.checked_mul(i128::from(factor)))
            && let Some(units) = shift_small(product, exponent)
        {
            return Self::from_units(units);
        }
        let product = BigInt::from(quantity.to_big()) * factor;
        Self::from_big(shift_big(product, exponent))
    }

    /// What `percent` (of the value one period ago) amounts to in this value:
    /// `value × percent ÷ (100 + percent)`, rounded. `None` when the value
    /// fell by 100 % or more, where no earlier value can be told.
    pub fn change_for(&self, percent: Decimal) -> Option<Self> {
        const PLACES: u8 = 6;
        let part = percent.scaled(PLACES)?;
        let whole = 100_000_000_i64.checked_add(part)?;
        if whole <= 0 {
            return None;
        }
        Some(self.mul_div(part, whole))
    }

    fn mul_div(&self, numerator: i64, denominator: i64) -> Self {
        if let Repr::Small(units) = self.0
            && let Some(product) = units.checked_mul(i128::from(numerator))
        {
            return Self::from_units(div_round(product, i128::from(denominator)));
        }
        let product = self.to_big() * numerator;
        Self::from_big(div_round_big(product, &BigInt::from(denominator)))
    }

    /// `self ÷ |base| × 100`, rounded to 6 decimal places; `None` when `base`
    /// is zero.
    pub fn percent_of(&self, base: &Self) -> Option<Self> {
        let base = BigInt::from(base.to_big().magnitude().clone());
        if base.sign() == Sign::NoSign {
            return None;
        }
        let millionths = div_round_big(self.to_big() * 100_000_000, &base);
        Some(Self::from_big(millionths * 10_i64.pow(SCALE - 6)))
    }

    /// Adds exactly.
    pub fn add(&mut self, other: &Self) {
        *self = match (&self.0, &other.0) {
            (Repr::Small(a), Repr::Small(b)) => match a.checked_add(*b) {
                Some(sum) => Self::from_units(sum),
                None => Self::from_big(BigInt::from(*a) + BigInt::from(*b)),
            },
            _ => Self::from_big(self.to_big() + other.to_big()),
        };
    }

    /// Subtracts exactly.
    pub fn sub(&mut self, other: &Self) {
        self.add(&other.negated());
    }

    /// The same magnitude with the other sign.
    pub fn negated(&self) -> Self {
        match &self.0 {
            Repr::Small(units) => match units.checked_neg() {
                Some(units) => Self::from_units(units),
                None => Self::from_big(-BigInt::from(*units)),
            },
            Repr::Big(big) => Self::from_big(-(**big).clone()),
        }
    }

    /// Whether this is exactly zero.
    pub fn is_zero(&self) -> bool {
        matches!(self.0, Repr::Small(0))
    }

    fn to_big(&self) -> BigInt {
        match &self.0 {
            Repr::Small(units) => BigInt::from(*units),
            Repr::Big(big) => (**big).clone(),
        }
    }

    /// Keeps one representation per value, so that equality can be derived.
    fn from_big(big: BigInt) -> Self {
        match i128::try_from(&big) {
            Ok(units) => Self::from_units(units),
            Err(_) => Self(Repr::Big(Box::new(big))),
        }
    }
}

/// `value × 10^exponent`, rounded half away from zero; `None` on overflow.
fn shift_small(value: i128, exponent: i32) -> Option<i128> {
    let power = exponent.unsigned_abs();
    if exponent >= 0 {
        value.checked_mul(10_i128.checked_pow(power)?)
    } else {
        // A divisor beyond i128 is beyond twice any value: rounds to zero.
        Some(
            10_i128
                .checked_pow(power)
                .map_or(0, |divisor| div_round(value, divisor)),
        )
    }
}

fn shift_big(value: BigInt, exponent: i32) -> BigInt {
    let power = BigInt::from(BigUint::from(10_u8).pow(exponent.unsigned_abs()));
    if exponent >= 0 {
        value * power
    } else {
        div_round_big(value, &power)
    }
}

/// Rounds half away from zero; `divisor` is positive.
fn div_round(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    if rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2) {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// Rounds half away from zero; `divisor` is positive.
fn div_round_big(value: BigInt, divisor: &BigInt) -> BigInt {
    let half = divisor / 2_u8;
    match value.sign() {
        Sign::Minus => -((-value + half) / divisor),
        _ => (value + half) / divisor,
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Small(a), Repr::Small(b)) => a.cmp(b),
            _ => self.to_big().cmp(&other.to_big()),
        }
    }
}

impl Amount {
    /// Writes plain decimal notation without trailing zeros.
    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match &self.0 {
            Repr::Small(units) => write_units(out, *units),
            Repr::Big(big) => write_big_units(out, big),
        }
    }
}

/// Writes an integer count of 10^-18 units.
fn write_units(out: &mut impl fmt::Write, units: i128) -> fmt::Result {
    if units < 0 {
        out.write_str("-")?;
    }
    let units = units.unsigned_abs();
    let (whole, fraction) = match u64::try_from(units) {
        // Much faster than division of 128 bits.
        Ok(units) => (u128::from(units / UNIT), units % UNIT),
        Err(_) => {
            let unit = u128::from(UNIT);
            (units / unit, u64::try_from(units % unit).unwrap_or(0))
        }
    };
    out.write_str(itoa::Buffer::new().format(whole))?;
    if fraction == 0 {
        return Ok(());
    }
    let mut places = [b'0'; SCALE as usize];
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(fraction).as_bytes();
    places[SCALE as usize - digits.len()..].copy_from_slice(digits);
    out.write_str(".")?;
    out.write_str(
        str::from_utf8(&places)
            .unwrap_or_default()
            .trim_end_matches('0'),
    )
}

fn write_big_units(out: &mut impl fmt::Write, units: &BigInt) -> fmt::Result {
    let digits = units.magnitude().to_string();
    let kept = digits.trim_end_matches('0').len();
    let zeros = (digits.len() - kept).min(SCALE as usize);
    if units.sign() == Sign::Minus {
        out.write_str("-")?;
    }
    let exponent = i32::try_from(zeros).unwrap_or(0) - i32::try_from(SCALE).unwrap_or(18);
    write_scaled(out, &digits[..digits.len() - zeros], exponent)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
