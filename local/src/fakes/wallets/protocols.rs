//! The protocols the generated wallets use.

/// A protocol as Zerion shows it.
#[derive(Debug)]
pub struct Protocol {
    /// The display name.
    pub name: &'static str,
    /// The id of the dapp.
    pub dapp: &'static str,
    pub url: &'static str,
    /// The contract that mints the NFTs of positions, by chain.
    nft_contracts: &'static [(&'static str, &'static str)],
}

impl Protocol {
    const fn new(name: &'static str, dapp: &'static str, url: &'static str) -> Self {
        Self {
            name,
            dapp,
            url,
            nft_contracts: &[],
        }
    }

    /// The contract that mints the NFTs of positions on a chain, where there is one.
    pub fn nft_contract(&self, chain: &str) -> Option<&'static str> {
        self.nft_contracts
            .iter()
            .find_map(|&(known, contract)| (known == chain).then_some(contract))
    }

    /// Where the picture of the protocol is.
    pub fn icon(&self) -> String {
        format!("https://protocol-icons.s3.amazonaws.com/{}.jpg", self.dapp)
    }
}

pub static AAVE: Protocol = Protocol::new("Aave V3", "aave-v3", "https://app.aave.com/");
pub static CURVE: Protocol = Protocol::new("Curve", "curve", "https://www.curve.finance/");
pub static GMX: Protocol = Protocol::new("GMX", "gmx", "https://app.gmx.io/");
pub static LIDO: Protocol = Protocol::new("Lido", "lido", "https://stake.lido.fi/");
pub static UNISWAP: Protocol = Protocol {
    name: "Uniswap V3",
    dapp: "uniswap-v3",
    url: "https://app.uniswap.org/",
    nft_contracts: &[
        ("ethereum", "0xc36442b4a4522e871399cd717abdd847ab11fe88"),
        ("arbitrum", "0xc36442b4a4522e871399cd717abdd847ab11fe88"),
        ("optimism", "0xc36442b4a4522e871399cd717abdd847ab11fe88"),
        ("polygon", "0xc36442b4a4522e871399cd717abdd847ab11fe88"),
        ("base", "0x03a520b32c04bf3beef7beb72e919cf822ed34f1"),
        (
            "binance-smart-chain",
            "0x7b8a01b39d58278b5de7e48c8449c9f4f5170613",
        ),
        ("avalanche", "0x655c406ebfa14ee2006250925e54ec43ad184f8b"),
    ],
};
