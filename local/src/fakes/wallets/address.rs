//! Addresses of wallets.

/// Whether Zerion would take this for a wallet: an EVM address, or a Solana one.
pub fn is_address(address: &str) -> bool {
    is_evm(address) || is_solana(address)
}

/// Whether this has the form of a Solana address.
pub fn is_solana(address: &str) -> bool {
    let base58 = |c: char| c.is_ascii_alphanumeric() && !matches!(c, '0' | 'O' | 'I' | 'l');
    (32..=44).contains(&address.len()) && address.chars().all(base58)
}

fn is_evm(address: &str) -> bool {
    address
        .strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 40 && digits.chars().all(|c| c.is_ascii_hexdigit()))
}

/// The address as wallets are filed under it: case matters on Solana only.
pub fn key(address: &str) -> String {
    if is_evm(address) {
        address.to_lowercase()
    } else {
        address.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_recognised_by_its_form() {
        assert!(is_address("0x00000000219ab540356cBB839Cbe05303d7705Fa"));
        assert!(is_address("9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"));
        assert!(!is_address("vitalik.eth"));
        assert!(!is_address("0x00000000219ab540356cBB839Cbe05303d7705F"));
        assert!(!is_address("0OIl0OIl0OIl0OIl0OIl0OIl0OIl0OIl"));
        assert_eq!(
            key("0xAB00000000000000000000000000000000000000").find('A'),
            None
        );
        assert_eq!(key("AB"), "AB");
    }
}
