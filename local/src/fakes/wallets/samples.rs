//! The wallets to try. What they hold is in `data/wallets/`, as Zerion's API writes it and
//! at the prices of `data/assets.json`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::entry::Entry;

/// A wallet to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The address, as the API takes it.
    pub address: &'static str,
    /// A short name to find it by.
    pub name: &'static str,
    /// What it holds, for the start screen.
    pub description: &'static str,
}

pub(super) const SMALL: &str = "0x1001a5b0e9d2c47f83b6e1d05a9c7f24e8d31001";
pub(super) const FARMER: &str = "0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002";
pub(super) const SOLANA: &str = "SampLe3So1anaWa11etkQ8vTn5rXc2ydBfGj7mPzUh3";
pub(super) const EMPTY: &str = "0x40040c5e7b1fa93d28e6c04b97d5a1f3e8204004";
pub(super) const DUST: &str = "0x5005d057f3a82c6be914d70c5b8e2f96a1435005";
pub(super) const WHALE: &str = "0x6006ba1ee5d94c73f02b8a6e1c57d3f984be6006";

/// The wallets to try. Every other address holds something derived from it.
pub const SAMPLES: &[Sample] = &[
    Sample {
        address: SMALL,
        name: "small",
        description: "A dozen tokens on Ethereum, Base and BNB Chain, where USDC has 18 decimals",
    },
    Sample {
        address: FARMER,
        name: "farmer",
        description: "Loans at Aave, liquidity at Uniswap and Aerodrome, staked, locked and vaulted tokens, rewards",
    },
    Sample {
        address: SOLANA,
        name: "solana",
        description: "Tokens of Solana, one of them with a scaled amount",
    },
    Sample {
        address: EMPTY,
        name: "empty",
        description: "Nothing at all",
    },
    Sample {
        address: DUST,
        name: "dust",
        description: "Spam, tokens without a price and rows with odd or missing fields",
    },
    Sample {
        address: WHALE,
        name: "whale",
        description: "10,000 positions on ten chains",
    },
];

static ROWS: LazyLock<HashMap<&str, Arc<Vec<Entry>>>> = LazyLock::new(|| {
    [
        (SMALL, include_str!("../../../data/wallets/small.json")),
        (FARMER, include_str!("../../../data/wallets/farmer.json")),
        (SOLANA, include_str!("../../../data/wallets/solana.json")),
        (EMPTY, "[]"),
        (DUST, include_str!("../../../data/wallets/dust.json")),
    ]
    .into_iter()
    .map(|(address, rows)| {
        let rows: Vec<Value> = serde_json::from_str(rows)
            .unwrap_or_else(|error| panic!("the rows of {address}: {error}"));
        (
            address,
            Arc::new(rows.into_iter().map(Entry::sample).collect()),
        )
    })
    .collect()
});

/// What a sample other than the whale holds; `None` for any other address.
pub(super) fn holdings(address: &str) -> Option<Arc<Vec<Entry>>> {
    ROWS.get(address).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::wallets::position::whole;

    #[test]
    fn amounts_of_samples_agree_with_their_units() {
        for entry in ROWS.values().flat_map(|rows| rows.iter()) {
            let (Entry::Market(_, row) | Entry::Fixed(row)) = entry else {
                panic!("a generated row");
            };
            let quantity = &row["attributes"]["quantity"];
            let decimals = quantity["decimals"]
                .as_u64()
                .and_then(|it| it.try_into().ok());
            let units = quantity["int"].as_str().expect("units");
            let numeric = whole(units, decimals.expect("decimals"));
            // Its shares count more than its units since a dividend.
            if row["attributes"]["fungible_info"]["symbol"] == "AAPLx" {
                assert_eq!(units, "200000000");
                assert_eq!(quantity["numeric"], "2.008400000000");
            } else {
                assert_eq!(quantity["numeric"], numeric, "{row}");
            }
        }
    }

    #[test]
    fn samples_are_written_at_the_prices_of_the_catalogue() {
        for entry in ROWS.values().flat_map(|rows| rows.iter()) {
            if let Entry::Market(asset, row) = entry {
                let attributes = &row["attributes"];
                assert_eq!(attributes["price"], asset.usd, "{row}");
                assert_eq!(attributes["changes"]["percent_1d"], asset.change_24h);
            }
        }
    }
}
