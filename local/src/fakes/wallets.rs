//! The wallets: a few that are data, one that is large, and one derived from every other
//! address.

mod address;
mod derived;
mod entry;
mod generate;
pub mod position;
mod protocols;
mod samples;
mod whale;

use std::sync::{Arc, LazyLock};

use self::position::Position;

pub use self::address::{is_address, is_solana, key};
pub use self::entry::Entry;
pub use self::samples::{SAMPLES, Sample};

/// The whale is large and always the same, so it is made once.
static WHALE: LazyLock<Arc<Vec<Entry>>> = LazyLock::new(|| entries(whale::positions()));

/// What an address holds, under its [`key`].
pub fn holdings(key: &str) -> Arc<Vec<Entry>> {
    if key == samples::WHALE {
        return WHALE.clone();
    }
    samples::holdings(key).unwrap_or_else(|| entries(derived::positions(key)))
}

fn entries(positions: Vec<Position>) -> Arc<Vec<Entry>> {
    Arc::new(positions.into_iter().map(Entry::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn samples_have_valid_addresses_in_the_form_of_their_keys() {
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
        let derived = "0x00000000219ab540356cbb839cbe05303d7705fa";
        for address in SAMPLES.iter().map(|sample| sample.address).chain([derived]) {
            let held = holdings(address);
            let id = |entry: &Entry| match entry {
                Entry::Generated(position) => position.id(),
                Entry::Market(_, row) | Entry::Fixed(row) => row["id"].to_string(),
            };
            let ids: HashSet<String> = held.iter().map(id).collect();
            assert_eq!(ids.len(), held.len(), "{address}");
        }
    }

    #[test]
    fn a_derived_wallet_depends_on_its_address_alone() {
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
