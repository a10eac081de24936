//! Numbers that look random and are the same in every run.

/// A xorshift generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed; the same one gives the same numbers.
    pub fn new(seed: u64) -> Self {
        // Never zero, which the generator would stay at.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.bits() >> 8) % limit
    }

    /// Returns an index below `length`, which is not zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Tells whether something happens whose chance is `per_mille` in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Appends `length` letters and digits that do not compress well.
    pub fn text(&mut self, length: usize, into: &mut String) {
        const SIGNS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bits = 0;
        for at in 0..length {
            if at % 8 == 0 {
                bits = self.bits() >> 8;
            }
            let sign = usize::try_from(bits % 64).unwrap_or(0);
            into.push(char::from(SIGNS[sign]));
            bits >>= 6;
        }
    }
}
