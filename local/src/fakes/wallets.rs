//! The wallets: a few made by hand, and one derived from every other address.

mod derived;
mod dust;
mod farmer;
pub mod position;
mod protocols;
mod samples;
mod small;
mod solana;
mod whale;

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use self::position::Position;
pub use self::samples::{SAMPLES, Sample};

/// One row of a wallet.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A position whose price is the one of the minute.
    Position(Box<Position>),
    /// A row given as Zerion writes it, with values in US dollars.
    Json(Box<Value>),
}

impl Entry {
    /// A row given as Zerion writes it.
    pub fn json(row: Value) -> Self {
        Self::Json(Box::new(row))
    }
}

impl From<Position> for Entry {
    fn from(position: Position) -> Self {
        Self::Position(Box::new(position))
    }
}

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

/// The whale is large and always the same, so it is made once.
static WHALE: LazyLock<Arc<Vec<Entry>>> = LazyLock::new(|| Arc::new(entries(whale::positions())));

/// What an address holds, under its [`key`].
pub fn holdings(key: &str) -> Arc<Vec<Entry>> {
    match key {
        samples::SMALL => Arc::new(entries(small::positions())),
        samples::FARMER => Arc::new(entries(farmer::positions())),
        samples::SOLANA => Arc::new(entries(solana::positions())),
        samples::EMPTY => Arc::default(),
        samples::DUST => Arc::new(dust::entries()),
        samples::WHALE => WHALE.clone(),
        other => Arc::new(entries(derived::positions(other))),
    }
}

fn entries(positions: Vec<Position>) -> Vec<Entry> {
    positions.into_iter().map(Entry::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_told_apart() {
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

    #[test]
    fn samples_have_valid_addresses_in_the_form_they_are_filed_under() {
        for sample in SAMPLES {
            assert!(is_address(sample.address), "{}", sample.name);
            assert_eq!(key(sample.address), sample.address);
        }
    }

    #[test]
    fn the_whale_holds_ten_thousand_positions_on_ten_chains() {
        let whale = whale::positions();
        assert_eq!(whale.len(), 10_000);
        let ids: HashSet<String> = whale.iter().map(Position::id).collect();
        assert_eq!(ids.len(), 10_000);
        let chains: HashSet<_> = whale.iter().map(|position| &position.chain).collect();
        assert_eq!(chains.len(), 10);
        let pools: HashSet<_> = whale
            .iter()
            .filter_map(|position| position.defi.as_ref()?.group.as_ref())
            .collect();
        assert_eq!(pools.len(), 3_000);
    }

    #[test]
    fn ids_are_unique_in_every_wallet() {
        for wallet in [
            small::positions(),
            farmer::positions(),
            solana::positions(),
            derived::positions("0x00000000219ab540356cbb839cbe05303d7705fa"),
        ] {
            let ids: HashSet<String> = wallet.iter().map(Position::id).collect();
            assert_eq!(ids.len(), wallet.len());
        }
    }

    #[test]
    fn an_address_holds_the_same_every_time_and_another_one_something_else() {
        for n in 0..200 {
            let address = format!("0x{n:040x}");
            let held = derived::positions(&address);
            assert!((5..=40).contains(&held.len()), "{}", held.len());
            let chains: HashSet<_> = held.iter().map(|position| &position.chain).collect();
            assert!((1..=6).contains(&chains.len()), "{}", chains.len());
            let ids = |wallet: &[Position]| wallet.iter().map(Position::id).collect::<Vec<_>>();
            assert_eq!(ids(&held), ids(&derived::positions(&address)));
            let unique: HashSet<String> = held.iter().map(Position::id).collect();
            assert_eq!(unique.len(), held.len(), "{address}");
        }
        let solana = derived::positions("9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM");
        assert!(solana.iter().all(|position| position.chain == "solana"));
        assert!((5..=40).contains(&solana.len()));
    }
}
