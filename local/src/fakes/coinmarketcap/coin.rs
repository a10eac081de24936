//! The coins CoinMarketCap lists.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::fakes::catalog::{self, Asset, chains};
use crate::fakes::clock;
use crate::fakes::market::{self, Source};

/// The primary chain of a token, with its contract there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// CoinMarketCap's id of the chain, such as 1027 for Ethereum.
    pub id: u32,
    /// The chain's name, such as `Ethereum`.
    pub name: String,
    /// The ticker of the chain's own coin, such as `ETH`.
    pub symbol: String,
    /// The chain's name in URLs, such as `ethereum`.
    pub slug: String,
    /// The contract, written as the service does: sometimes in mixed case.
    pub token_address: String,
}

impl Platform {
    /// The platform as it is written in the map and in quotes.
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "symbol": self.symbol,
            "slug": self.slug,
            "token_address": self.token_address,
        })
    }
}

/// One coin of the map and of the quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct Coin {
    /// CoinMarketCap's id of the coin, such as 3408 for USDC.
    pub id: u32,
    /// The name, such as `USD Coin`.
    pub name: String,
    /// The ticker, which other coins may have as well.
    pub symbol: String,
    /// The name in URLs, such as `usd-coin`.
    pub slug: String,
    /// `None` for a coin with a chain of its own.
    pub platform: Option<Platform>,
    /// US dollars for one; `None` is quoted as `null`.
    pub price_usd: Option<f64>,
    /// The price's change over a day: 0.5 is half a percent up.
    pub percent_change_24h: Option<f64>,
    /// How many there are, in whole coins.
    pub circulating_supply: f64,
    /// How many there can ever be; `None` for no limit.
    pub max_supply: Option<f64>,
    /// Whether the map lists the coin as active.
    pub is_active: bool,
    /// When the quote was made; `None` for now.
    pub last_updated: Option<String>,
    /// Slug, name and category of each tag.
    pub tags: Vec<(String, String, String)>,
}

impl Coin {
    /// An active coin with a chain of its own.
    pub fn new(id: u32, name: &str, symbol: &str, price_usd: f64) -> Self {
        Self {
            id,
            name: name.to_owned(),
            symbol: symbol.to_owned(),
            slug: name.to_lowercase().replace(' ', "-"),
            platform: None,
            price_usd: Some(price_usd),
            percent_change_24h: Some(0.5),
            circulating_supply: 1_000_000.0,
            max_supply: None,
            is_active: true,
            last_updated: None,
            tags: Vec::new(),
        }
    }

    fn of(asset: &Asset) -> Option<Self> {
        let listing = asset.listing?;
        Some(Self {
            slug: listing.slug.to_owned(),
            platform: platform(asset),
            percent_change_24h: Some(asset.change_24h),
            circulating_supply: listing.supply,
            max_supply: listing.max_supply,
            tags: asset
                .tags()
                .iter()
                .map(|&(slug, name, category)| (slug.into(), name.into(), category.into()))
                .collect(),
            ..Self::new(listing.id, asset.name, asset.symbol, asset.usd)
        })
    }

    /// The market capitalisation in US dollars, by which coins are ranked.
    #[expect(clippy::float_arithmetic, reason = "the real service sends doubles")]
    pub(super) fn market_cap(&self) -> f64 {
        self.price_usd.unwrap_or(0.0) * self.circulating_supply
    }

    /// When the coin was listed, judged by its id.
    pub(super) fn date_added(&self) -> String {
        clock::iso_millis_at(listed_at(u64::from(self.id)))
    }

    /// When the quote was made.
    pub(super) fn quoted_at(&self) -> String {
        self.last_updated.clone().unwrap_or_else(clock::iso_millis)
    }
}

/// Ids are given one after the other, so the time of one lies between those of its neighbours.
fn listed_at(id: u64) -> u64 {
    const KNOWN: &[(u64, u64)] = &[
        (1, 1_373_673_600),
        (1_027, 1_438_905_600),
        (1_839, 1_500_940_800),
        (3_408, 1_538_956_800),
        (5_426, 1_586_476_800),
        (9_000, 1_615_766_400),
        (24_000, 1_677_628_800),
        (29_210, 1_706_659_200),
        (33_000, 1_726_704_000),
    ];
    KNOWN
        .windows(2)
        .find_map(|pair| match pair {
            [(low, from), (high, to)] if id <= *high => {
                Some(from + (to - from) * id.saturating_sub(*low) / (high - low))
            }
            _ => None,
        })
        .unwrap_or(1_726_704_000)
}

fn platform(asset: &Asset) -> Option<Platform> {
    let listing = asset.listing?;
    let chain = listing.chain?;
    let known = chains::cmc_platform(chain)?;
    let address = asset.on(chain)?.address?;
    Some(Platform {
        id: known.id,
        name: known.name.to_owned(),
        symbol: known.symbol.to_owned(),
        slug: known.slug.to_owned(),
        token_address: listing.checksummed.unwrap_or(address).to_owned(),
    })
}

/// All coins, with the prices that are pinned.
#[derive(Clone, Debug)]
pub struct Coins {
    coins: BTreeMap<u32, Coin>,
    pinned: HashMap<u32, f64>,
}

impl Coins {
    /// The coins of the catalogue, none of them pinned.
    pub fn from_catalog() -> Self {
        Self {
            coins: catalog::all()
                .iter()
                .filter_map(Coin::of)
                .map(|coin| (coin.id, coin))
                .collect(),
            pinned: HashMap::new(),
        }
    }

    /// Adds or replaces a coin and pins its price.
    pub fn set(&mut self, coin: Coin) {
        match coin.price_usd {
            Some(price) => self.pinned.insert(coin.id, price),
            None => self.pinned.remove(&coin.id),
        };
        self.coins.insert(coin.id, coin);
    }

    /// Forgets a coin.
    pub fn remove(&mut self, id: u32) {
        self.coins.remove(&id);
        self.pinned.remove(&id);
    }

    /// Pins the price of a coin.
    pub fn pin(&mut self, id: u32, usd: f64) {
        self.pinned.insert(id, usd);
    }

    /// The coin with this id.
    pub fn get(&self, id: u32) -> Option<&Coin> {
        self.coins.get(&id)
    }

    /// Every coin, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Coin> {
        self.coins.values()
    }

    /// What a coin costs now, in US dollars.
    pub fn price(&self, coin: &Coin) -> Option<f64> {
        let base = coin.price_usd?;
        Some(self.pinned.get(&coin.id).copied().unwrap_or_else(|| {
            let minute = clock::unix_seconds() / 60;
            market::usd_at(&coin.symbol, base, Source::CoinMarketCap, minute)
        }))
    }

    /// Ids with their rank by market capitalisation, from 1.
    pub fn ranks(&self) -> HashMap<u32, usize> {
        let mut ranked: Vec<&Coin> = self.iter().collect();
        ranked.sort_by(|a, b| b.market_cap().total_cmp(&a.market_cap()));
        ranked
            .iter()
            .enumerate()
            .map(|(place, coin)| (coin.id, place + 1))
            .collect()
    }
}
