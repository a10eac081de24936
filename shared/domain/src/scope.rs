//! What a request asks for, and the two parts that a wallet's holdings split
//! into.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::address::Family;

/// One of the two disjoint halves of a wallet's holdings. Each is cached by
/// itself, so that one fetch of everything answers all three scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Plain token balances.
    Wallet,
    /// Positions in protocols.
    Defi,
}

impl Part {
    /// Whether the provider has this part of such wallets: DeFi positions of
    /// Solana wallets it does not have.
    pub fn is_covered(self, family: Family) -> bool {
        !(family == Family::Solana && self == Self::Defi)
    }

    /// Both, in storage order.
    pub const ALL: [Self; 2] = [Self::Wallet, Self::Defi];

    /// The word in keys, coverage and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Defi => "defi",
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Positions in protocols.
    Defi,
    /// Plain token balances.
    Wallet,
    /// Both.
    Aggregate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Defi, Self::Wallet, Self::Aggregate];

    /// The parts that answer this scope.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::Defi => &[Part::Defi],
            Self::Wallet => &[Part::Wallet],
            Self::Aggregate => &Part::ALL,
        }
    }

    /// The last segment of the scope's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Defi => "defi",
            Self::Wallet => "wallet",
            Self::Aggregate => "aggregate",
        }
    }

    /// The scope whose path ends in `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_read_by_the_word_that_it_prints() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
        assert_eq!(
            Scope::ALL.map(Scope::as_str),
            ["defi", "wallet", "aggregate"]
        );
        assert_eq!(Scope::parse("cache"), None);
    }

    #[test]
    fn the_provider_lacks_the_defi_part_of_solana_alone() {
        for family in [Family::Evm, Family::Solana] {
            assert!(Part::Wallet.is_covered(family));
        }
        assert!(Part::Defi.is_covered(Family::Evm));
        assert!(!Part::Defi.is_covered(Family::Solana));
    }
}
