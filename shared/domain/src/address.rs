//! Wallet addresses: EVM (20 bytes, hex) and Solana (32 bytes, base58).

use std::fmt;

use serde::{Serialize, Serializer};
use sha3::{Digest, Keccak256};
use thiserror::Error;

/// A wallet's address, validated, in its canonical form: lower-case hex for
/// EVM; base58 as given for Solana, whose letters' case carries meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    family: Family,
}

/// Which kind of chain an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Ethereum and the chains that share its address format.
    Evm,
    /// Solana.
    Solana,
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither form.
    #[error("an address is 0x and 40 hexadecimal digits (EVM) or 32 bytes in base58 (Solana)")]
    Malformed,
    /// An EVM address with too few or too many digits.
    #[error("an EVM address has 40 hexadecimal digits after 0x, this one has {0}")]
    Length(usize),
    /// Upper and lower case are mixed, but not as EIP-55 asks.
    #[error(
        "the letters' case does not match the address's EIP-55 checksum: mistyped, or write it in lower case"
    )]
    Checksum,
}

impl Address {
    /// Parses either form. An EVM checksum (EIP-55) is verified only when the
    /// case is mixed.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        match hex {
            Some(digits) => Self::parse_evm(digits),
            None => Self::parse_solana(text),
        }
    }

    fn parse_evm(digits: &str) -> Result<Self, AddressError> {
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AddressError::Malformed);
        }
        if digits.len() != 40 {
            return Err(AddressError::Length(digits.len()));
        }
        let lower = digits.to_ascii_lowercase();
        let mixed = digits.bytes().any(|b| b.is_ascii_lowercase())
            && digits.bytes().any(|b| b.is_ascii_uppercase());
        if mixed && checksummed(&lower) != digits {
            return Err(AddressError::Checksum);
        }
        Ok(Self {
            text: format!("0x{lower}"),
            family: Family::Evm,
        })
    }

    fn parse_solana(text: &str) -> Result<Self, AddressError> {
        let plausible = (32..=44).contains(&text.len());
        let mut bytes = [0_u8; 32];
        match plausible.then(|| bs58::decode(text).onto(&mut bytes)) {
            Some(Ok(32)) => Ok(Self {
                text: text.to_owned(),
                family: Family::Solana,
            }),
            _ => Err(AddressError::Malformed),
        }
    }

    /// The canonical text, also the cache key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Sixteen hexadecimal digits that tell wallets apart without naming them:
    /// the beginning of the canonical text's Keccak-256.
    pub fn fingerprint(&self) -> String {
        let hash = Keccak256::digest(self.text.as_bytes());
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How logs name the wallet: whose it is stays unsaid unless that is wanted.
    pub fn in_logs(&self, in_clear: bool) -> String {
        match in_clear {
            true => self.text.clone(),
            false => self.fingerprint(),
        }
    }

    /// Which kind of chain it belongs to.
    pub fn family(&self) -> Family {
        self.family
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The 40 digits in the case that EIP-55 gives them.
fn checksummed(lower: &str) -> String {
    let hash = Keccak256::digest(lower.as_bytes());
    lower
        .char_indices()
        .map(|(at, digit)| {
            let nibble = hash[at / 2] >> (if at % 2 == 0 { 4 } else { 0 }) & 0x0f;
            if nibble >= 8 {
                digit.to_ascii_uppercase()
            } else {
                digit
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn logs_name_a_wallet_by_a_fingerprint_unless_told_otherwise() {
        let text = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.in_logs(true), text);
        let name = address.in_logs(false);
        // The beginning of the text's Keccak-256.
        assert_eq!(name, "f947c9bd6495fc44");
        let other = Address::parse(&text.replace("77", "78")).unwrap();
        assert_ne!(other.fingerprint(), name);
    }

    #[test]
    fn accepts_the_examples_of_eip_55() {
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.as_str(), text.to_ascii_lowercase());
            assert_eq!(address.family(), Family::Evm);
        }
    }

    #[test]
    fn one_case_needs_no_checksum() {
        let lower = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
        assert_eq!(Address::parse(lower).unwrap().as_str(), lower);
        let upper = format!("0x{}", lower[2..].to_ascii_uppercase());
        assert_eq!(Address::parse(&upper).unwrap().as_str(), lower);
    }

    #[test]
    fn keeps_the_case_of_solana() {
        let text = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.as_str(), text);
        assert_eq!(address.family(), Family::Solana);
        assert!(Address::parse("11111111111111111111111111111111").is_ok());
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        let refused = |text: &str| Address::parse(text).unwrap_err();
        assert_eq!(
            refused("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"),
            AddressError::Checksum
        );
        assert_eq!(refused("0x5aaeb6"), AddressError::Length(6));
        assert_eq!(
            refused(&format!("0x{}", "0".repeat(41))),
            AddressError::Length(41)
        );
        for text in [
            "",
            "vitalik.eth",
            "0xzz",
            "0OIl",
            "abc",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1vv1",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,50}") {
            let _ = Address::parse(&text);
        }

        #[test]
        fn every_key_has_a_base58_address(bytes in any::<[u8; 32]>()) {
            let text = bs58::encode(bytes).into_string();
            let address = Address::parse(&text).unwrap();
            prop_assert_eq!(address.as_str(), text.as_str());
        }
    }
}
