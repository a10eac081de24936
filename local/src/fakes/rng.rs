//! A small deterministic source of numbers, so that the same address always holds the same.

use std::fmt::Write;

/// `SplitMix64`: one step per number, good enough for sample data.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A source that depends on the text alone.
    pub fn from_text(text: &str) -> Self {
        // FNV-1a.
        let state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { state }
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `end`; 0 for an `end` of 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        // Smaller than `end`, so it fits.
        self.next().checked_rem(end).unwrap_or(0) as usize
    }

    /// A number from 0 up to, not including, 1.
    #[expect(clippy::float_arithmetic, reason = "sample data is made of doubles")]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// This many lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{:016x}", self.next());
        }
        text.truncate(digits);
        text
    }

    /// A contract address.
    pub fn address(&mut self) -> String {
        format!("0x{}", self.hex(40))
    }

    /// An id of the form Zerion gives to assets that have none on Ethereum.
    pub fn uuid(&mut self) -> String {
        let digits = self.hex(32);
        format!(
            "{}-{}-4{}-a{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[13..16],
            &digits[17..20],
            &digits[20..]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_gives_the_same_numbers() {
        let (mut a, mut b) = (Rng::from_text("x"), Rng::from_text("x"));
        assert_eq!(a.next(), b.next());
        assert_eq!(a.hex(40), b.hex(40));
        assert_ne!(Rng::from_text("x").next(), Rng::from_text("y").next());
        assert_eq!(a.below(0), 0);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&a.unit())));
    }
}
