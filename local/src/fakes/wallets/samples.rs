//! The addresses of the wallets made by hand.

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
