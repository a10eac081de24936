//! What wallets hold over time.

use portfolio::domain::{
    address::Address,
    decimal::Decimal,
    provider_position::{Implementation, ProviderPosition, ProviderProtocol},
    quantity::Quantity,
    scope::Part,
};

use crate::{
    coins::{self, ASSETS, Asset},
    rng::{Rng, mix},
    world::Moment,
};

/// Versions of wallets that change with every fetch start here.
const RESTLESS: u64 = 500_000_000;

/// Addresses of wallets on Solana: any 32 bytes are one.
const SOLANA: [&str; 4] = [
    "So11111111111111111111111111111111111111112",
    "11111111111111111111111111111111",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
];

/// When a wallet's holdings change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Never.
    Still,
    /// Every so many milliseconds.
    Every(i64),
    /// Between any two fetches.
    Restless,
}

/// A wallet as the provider knows it.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// Its number.
    pub index: usize,
    /// Its address.
    pub address: Address,
    /// When it changes.
    pub pace: Pace,
    /// What it may hold.
    pub assets: Vec<&'static Asset>,
}

impl Wallet {
    /// Draws a wallet.
    pub fn draw(index: usize, rng: &mut Rng) -> Self {
        let solana = rng.chance(120);
        let text = match solana {
            true => SOLANA[index % SOLANA.len()].to_owned(),
            false => format!("0x{:040x}", 0xa11ce + index),
        };
        let address = Address::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let on_solana = |asset: &&Asset| (asset.chain == "solana") == solana;
        let only_unlisted = rng.chance(150);
        let mut assets: Vec<&'static Asset> = ASSETS
            .iter()
            .filter(on_solana)
            .filter(|asset| !only_unlisted || asset.cmc.is_none())
            .collect();
        assets.retain(|_| rng.chance(700));
        let pace = match rng.below(4) {
            0 => Pace::Still,
            1 => Pace::Every(i64::try_from(rng.between(20, 600)).unwrap_or(20) * 1000),
            _ => Pace::Restless,
        };
        Self {
            index,
            address,
            pace,
            assets,
        }
    }

    /// The version that a fetch brings.
    pub fn version(&self, at: Moment, fetch: usize) -> u64 {
        match self.pace {
            Pace::Still => 1,
            Pace::Every(period) => u64::try_from(at / period).unwrap_or(0) + 2,
            Pace::Restless => RESTLESS + u64::try_from(fetch).unwrap_or(0),
        }
    }

    /// What the wallet holds in a version, one asset after the other.
    pub fn holds(&self, part: Part, version: u64) -> Vec<&'static Asset> {
        let covered = part.is_covered(self.address.family());
        let held = |asset: &&&'static Asset| {
            let part = u64::from(part == Part::Defi);
            let dice = mix(version ^ mix(part << 32 | asset.index as u64 | 1 << 40));
            // Seldom nothing at all.
            covered && !dice.is_multiple_of(4)
        };
        self.assets.iter().filter(held).copied().collect()
    }

    /// What a fetch brings of a version: one that is not whole lacks something.
    pub fn brought(&self, part: Part, version: u64, complete: bool) -> Vec<&'static Asset> {
        let mut assets = self.holds(part, version);
        if !complete && !assets.is_empty() {
            assets.remove(0);
        }
        assets
    }

    /// How much of an asset there is: a number that tells the version.
    pub fn quantity(part: Part, version: u64, asset: &Asset) -> u64 {
        let part = u64::from(part == Part::Defi);
        version * 1000 + part * 100 + u64::try_from(asset.index).unwrap_or(0)
    }

    /// The version that a quantity tells.
    pub fn version_of(quantity: u64) -> u64 {
        quantity / 1000
    }

    /// The row of an asset in a version.
    pub fn row(
        &self,
        part: Part,
        version: u64,
        asset: &Asset,
        price: Option<Decimal>,
    ) -> ProviderPosition {
        let raw = Self::quantity(part, version, asset).to_string();
        let contract = asset.contract.unwrap_or("base");
        let (kind, suffix) = match part {
            Part::Wallet => ("wallet", "asset-asset"),
            Part::Defi => ("staked", "pool-staked"),
        };
        ProviderPosition {
            id: format!("{contract}-{}-{suffix}", asset.chain),
            kind: Some(kind.to_owned()),
            name: if part == Part::Defi { "Pool" } else { "Asset" }.to_owned(),
            chain: asset.chain.to_owned(),
            fungible: Some(coins::fungible(asset)),
            symbol: format!("S{}", asset.index),
            token_name: format!("Asset {}", asset.index),
            verified: asset.verified,
            implementations: vec![Implementation {
                chain: asset.chain.to_owned(),
                address: asset.contract.map(str::to_owned),
                decimals: Some(6),
            }],
            quantity: Quantity::parse(Some(&raw), Some(6), None).map(Quantity::into_owned),
            decimals: Some(6),
            protocol: (part == Part::Defi).then(|| ProviderProtocol {
                id: "protocol".to_owned(),
                name: "Protocol".to_owned(),
                ..ProviderProtocol::default()
            }),
            group: (part == Part::Defi).then(|| "group".to_owned()),
            displayable: true,
            price,
            ..ProviderPosition::default()
        }
    }
}
