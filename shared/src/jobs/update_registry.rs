//! Filling the asset registry from CoinMarketCap's map.
//!
//! A schedule looks at it often, so that an empty one is filled soon, and asks
//! CoinMarketCap once a day.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use thiserror::Error;

use crate::{
    cache::{
        CacheError,
        asset_registry::{AssetChanges, Assets, RegistryState, RegistryStore},
    },
    clock::{Clock, MAX_CLOCK_SKEW, Timestamp},
    domain::chain::{Chain, Native, is_native},
    telemetry::{
        metrics::{REGISTRY_EMPTY, function},
        request_cost::RequestCost,
    },
    upstream::{
        UpstreamError,
        coinmarketcap::{CoinMarketCap, MAP_PAGE, MapCoin},
    },
};

/// More pages than this are no map.
const MAX_PAGES: usize = 40;
/// One page of 5,000 rows takes longer than a price.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A registry that is older is brought up to date.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the whole map and stores what changed.
pub struct RegistryUpdate {
    map: CoinMarketCap,
    store: Arc<dyn RegistryStore>,
    clock: Arc<dyn Clock>,
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegistrySummary {
    /// Coins in the map.
    pub coins: usize,
    /// Assets that could be placed on a known chain.
    pub assets: usize,
    /// What changed, in assets.
    #[serde(flatten)]
    pub changes: AssetChanges,
    /// Items that were written.
    pub items_written: usize,
}

/// What a look at the registry led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RegistryRun {
    /// It was brought up to date.
    Updated(RegistrySummary),
    /// It needed nothing.
    Kept {
        /// Assets in the registry.
        assets: usize,
        /// When it was last brought up to date.
        completed_at: Timestamp,
    },
}

/// Why the registry stays as it is.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The map could not be read to its end.
    #[error(transparent)]
    Provider(#[from] UpstreamError),
    /// The registry could not be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The map lost more than a fifth of what is stored: taken for a fault.
    #[error("the map has {found} assets, {stored} are stored: nothing was changed")]
    Shrunk {
        /// Assets in the map.
        found: usize,
        /// Assets in the registry.
        stored: usize,
    },
}

impl RegistryError {
    /// A stable word for logs and callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Provider(_) => "upstream_error",
            Self::Cache(_) => "cache_error",
            Self::Shrunk { .. } => "map_shrunk",
        }
    }
}

impl RegistryUpdate {
    /// An update from `map` into `store`.
    pub fn new(map: CoinMarketCap, store: Arc<dyn RegistryStore>, clock: Arc<dyn Clock>) -> Self {
        Self { map, store, clock }
    }

    /// Runs if the registry needs it: if it is empty, damaged, in an older
    /// format, or older than a day.
    ///
    /// # Errors
    /// When the registry cannot be read, or the update fails.
    pub async fn run_if_due(&self) -> Result<RegistryRun, RegistryError> {
        let cost = RequestCost::default();
        let state = self.store.state(&cost).await?;
        cost.measure();
        let (assets, current) = (state.assets.len(), state.current);
        if assets == 0 {
            REGISTRY_EMPTY.add(1);
            tracing::warn!(function = function(), "the asset registry is empty");
        }
        match kept(&state, self.clock.now()) {
            Some(completed_at) => {
                tracing::debug!(assets, "the asset registry needs nothing");
                Ok(RegistryRun::Kept {
                    assets,
                    completed_at,
                })
            }
            None => {
                let completed_at = state.completed_at.map(|at| at.to_string());
                tracing::info!(assets, current, completed_at, "the asset registry is due");
                self.run().await.map(RegistryRun::Updated)
            }
        }
    }

    /// Runs once. Running it again changes nothing unless the map did.
    ///
    /// # Errors
    /// When the map or the registry fails; what is stored then stays.
    pub async fn run(&self) -> Result<RegistrySummary, RegistryError> {
        let cost = RequestCost::default();
        let now = self.clock.now();
        let coins = self.coins().await?;
        let assets = assets(&coins);
        let stored = self.store.read(&cost).await?;
        if assets.len() * 5 < stored.len() * 4 {
            return Err(RegistryError::Shrunk {
                found: assets.len(),
                stored: stored.len(),
            });
        }
        let summary = RegistrySummary {
            coins: coins.len(),
            assets: assets.len(),
            changes: assets.changes_since(&stored),
            items_written: self.store.write(&assets, now, &cost).await?,
        };
        cost.measure();
        tracing::info!(
            function = function(),
            coins = summary.coins,
            assets = summary.assets,
            changes = ?summary.changes,
            items_written = summary.items_written,
            "the asset registry is up to date"
        );
        Ok(summary)
    }

    async fn coins(&self) -> Result<Vec<MapCoin>, UpstreamError> {
        let mut coins = Vec::new();
        for page in 0..MAX_PAGES {
            let read = self.map.map_page(page * MAP_PAGE + 1, PAGE_TIMEOUT).await?;
            coins.extend(read.coins);
            if read.rows < MAP_PAGE {
                break;
            }
        }
        Ok(coins)
    }
}

/// Returns when the registry was completed, if that will do. A time that no
/// clock can have told will not.
fn kept(state: &RegistryState, now: Timestamp) -> Option<Timestamp> {
    let young = |at: &Timestamp| *at <= now.plus(MAX_CLOCK_SKEW) && now < at.plus(RENEWED_AFTER);
    let completed_at = state.completed_at.filter(young)?;
    (state.current && !state.assets.is_empty()).then_some(completed_at)
}

/// Places coins on chains. Where two claim one contract the lower id, which
/// is the older listing, keeps it.
fn assets(coins: &[MapCoin]) -> Assets {
    let mut ordered: Vec<&MapCoin> = coins.iter().collect();
    ordered.sort_by_key(|coin| std::cmp::Reverse(coin.id));
    let mut assets = Assets::default();
    for coin in ordered {
        let Some(platform) = &coin.platform else {
            continue;
        };
        let Some(chain) = Chain::by_platform(&platform.slug, &platform.name) else {
            continue;
        };
        let address = platform.token_address.trim();
        // Some entries hold no address at all, only a ticker of an old chain.
        if !is_native(chain.id, address) && is_contract(chain.id, address) {
            assets.insert(chain.id, Some(address), coin.id);
        }
    }
    for chain in Chain::all() {
        let listed = |native: &Native| {
            let coin = coins
                .iter()
                .find(|coin| native.is(coin.id, &coin.slug, &coin.symbol));
            coin.map(|coin| coin.id)
        };
        if let Some(id) = chain.natives().iter().find_map(listed) {
            assets.insert(chain.id, None, id);
        }
    }
    assets
}

fn is_contract(chain: &str, address: &str) -> bool {
    if chain == "solana" {
        return (32..=44).contains(&address.len());
    }
    let digits = address
        .strip_prefix("0x")
        .or_else(|| address.strip_prefix("0X"));
    digits
        .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|it| it.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{asset_mapping::AssetResolver, price::CmcId},
        upstream::coinmarketcap::MapPlatform,
    };

    fn coin(id: u32, symbol: &str, platform: Option<(&str, &str)>) -> MapCoin {
        MapCoin {
            id: CmcId(id),
            symbol: symbol.to_owned(),
            slug: symbol.to_lowercase(),
            platform: platform.map(|(slug, address)| MapPlatform {
                name: String::new(),
                slug: slug.to_owned(),
                token_address: address.to_owned(),
            }),
        }
    }

    #[test]
    fn a_registry_is_kept_for_a_day() {
        let now = Timestamp::from_millis(1_795_254_046_000);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let state = |completed_at| {
            let mut assets = Assets::default();
            assets.insert("ethereum", None, CmcId(1027));
            RegistryState {
                assets,
                current: true,
                completed_at,
            }
        };
        for (completed_at, young) in [
            (Some(now), true),
            (Some(now.minus(hours(23))), true),
            (Some(now.minus(hours(24))), false),
            (Some(now.plus(Duration::from_secs(5))), true),
            (Some(now.plus(hours(1))), false),
            (Some(Timestamp::from_millis(i64::MAX)), false),
            (None, false),
        ] {
            let kept = kept(&state(completed_at), now);
            assert_eq!(kept, completed_at.filter(|_| young), "{completed_at:?}");
        }
        let outdated = RegistryState {
            current: false,
            ..state(Some(now))
        };
        assert_eq!(kept(&outdated, now), None);
        let empty = RegistryState {
            assets: Assets::default(),
            ..state(Some(now))
        };
        assert_eq!(kept(&empty, now), None);
    }

    #[test]
    fn places_coins_on_chains() {
        let usdt = "0xdAC17F958D2ee523a2206206994597C13D831ec7";
        let map = [
            coin(1027, "ETH", None),
            coin(1839, "FAKE", None),
            coin(825, "USDT", Some(("ethereum", usdt))),
            coin(99_999, "COPY", Some(("ethereum", usdt))),
            coin(4687, "BUSD", Some(("bnb", "BUSD-BD1"))),
            MapCoin {
                slug: "hyperliquid".to_owned(),
                ..coin(32_196, "HYPE", None)
            },
            coin(7, "ELSE", Some(("some-new-chain", usdt))),
        ];
        let assets = assets(&map);
        assert_eq!(
            assets.resolve("ethereum", Some(&usdt.to_lowercase())),
            Some(CmcId(825))
        );
        assert_eq!(assets.resolve("base", None), Some(CmcId(1027)));
        assert_eq!(assets.resolve("hyperevm", None), Some(CmcId(32_196)));
        // The id is right but the symbol is another coin's.
        assert_eq!(assets.resolve("binance-smart-chain", None), None);
        assert_eq!(
            assets.resolve("binance-smart-chain", Some("BUSD-BD1")),
            None
        );
    }
}
