//! Integer digits and a decimal scale: what quantities and prices are
//! multiplied and written with.

use std::{cmp::Ordering, fmt};

use num_bigint::BigUint;

/// An unsigned amount as integer digits and a decimal scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unscaled {
    /// `digits ÷ 10^scale`.
    Small {
        /// The integer digits.
        digits: u128,
        /// Decimal places.
        scale: i32,
    },
    /// `digits ÷ 10^scale`, for what 128 bits cannot hold.
    Big {
        /// The integer digits.
        digits: BigUint,
        /// Decimal places.
        scale: i32,
    },
}

impl Unscaled {
    /// Decimal places.
    pub fn scale(&self) -> i32 {
        match self {
            Self::Small { scale, .. } | Self::Big { scale, .. } => *scale,
        }
    }

    /// The integer digits.
    pub fn to_big(&self) -> BigUint {
        match self {
            Self::Small { digits, .. } => BigUint::from(*digits),
            Self::Big { digits, .. } => digits.clone(),
        }
    }

    /// Reads integer digits; anything else counts as zero.
    pub(super) fn of(digits: &str, scale: usize) -> Self {
        let scale = i32::try_from(scale).unwrap_or(i32::MAX);
        match digits.parse() {
            Ok(digits) => Self::Small { digits, scale },
            Err(_) => Self::Big {
                digits: digits.parse().unwrap_or_default(),
                scale,
            },
        }
    }
}

/// Writes `digits × 10^exponent` in plain notation.
pub(crate) fn write_scaled(out: &mut impl fmt::Write, digits: &str, exponent: i32) -> fmt::Result {
    match exponent.cmp(&0) {
        Ordering::Equal => out.write_str(digits),
        Ordering::Greater => {
            out.write_str(digits)?;
            if digits != "0" {
                for _ in 0..exponent {
                    out.write_char('0')?;
                }
            }
            Ok(())
        }
        Ordering::Less => {
            let places = exponent.unsigned_abs() as usize;
            if digits.len() > places {
                let (whole, fraction) = digits.split_at(digits.len() - places);
                out.write_str(whole)?;
                out.write_char('.')?;
                out.write_str(fraction)
            } else {
                out.write_str("0.")?;
                for _ in digits.len()..places {
                    out.write_char('0')?;
                }
                out.write_str(digits)
            }
        }
    }
}
