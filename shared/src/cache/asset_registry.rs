//! The asset registry: chain and contract (or native coin) → CoinMarketCap id.
//!
//! The whole map has some ten thousand entries. It is stored packed, a few
//! items per chain, and read as a whole into the process: resolving a wallet's
//! tokens then takes no round trip, where one item per contract would take a
//! read for every implementation of every token.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    CacheError, Table, codec, keys,
    table::item::{Item, VERSION, bytes, hash, number, text, time},
    table::{Condition, join_all},
};
use crate::{
    clock::Timestamp,
    domain::{asset_mapping::AssetResolver, identifier::Identifier, price::CmcId},
    telemetry::request_cost::RequestCost,
};

/// Entries per item: 40 bytes each at most, well under the item limit.
const ENTRIES_PER_ITEM: usize = 8000;
/// Version of the registry's items. It is not the one of the cache's other
/// items, which may change without emptying the registry: only a run of its
/// update fills that again.
const FORMAT: u8 = 2;
/// The attribute that holds it.
const REGISTRY_VERSION: &str = "rv";
/// What items of the first format have instead: the cache's version at that
/// time. It is still written, so that the release before this one reads what
/// this one writes.
const FIRST_FORMAT_VERSION: u8 = 3;
/// The item that says when the registry was last complete. Readers take it for
/// no part of the registry, because it names no chain.
const COMPLETE: &str = "complete";
/// A process reads the registry again after this long.
pub const REGISTRY_TTL: Duration = Duration::from_secs(600);

/// Contracts (`None`: the native coin) and their ids, per chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    chains: HashMap<String, HashMap<Option<Identifier<'static>>, CmcId>>,
}

/// What an update of the registry did, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AssetChanges {
    /// New ones.
    pub added: usize,
    /// Ones that have another id now.
    pub changed: usize,
    /// Ones that are as they were.
    pub unchanged: usize,
    /// Ones that are gone.
    pub removed: usize,
}

#[derive(Serialize, Deserialize)]
struct Packed<'a>(#[serde(borrow)] Vec<(Option<Identifier<'a>>, CmcId)>);

impl Assets {
    /// Adds an asset. Contracts on EVM chains are compared in lower case.
    pub fn insert(&mut self, chain: &str, address: Option<&str>, id: CmcId) {
        self.chains
            .entry(chain.to_owned())
            .or_default()
            .insert(address.map(key), id);
    }

    /// How many assets it holds.
    pub fn len(&self) -> usize {
        self.chains.values().map(HashMap::len).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What became of `old`.
    pub fn changes_since(&self, old: &Self) -> AssetChanges {
        let mut changes = AssetChanges::default();
        for (chain, assets) in &self.chains {
            for (address, id) in assets {
                let before = old.chains.get(chain).and_then(|known| known.get(address));
                match before {
                    None => changes.added += 1,
                    Some(before) if before == id => changes.unchanged += 1,
                    Some(_) => changes.changed += 1,
                }
            }
        }
        changes.removed = old.len() - changes.unchanged - changes.changed;
        changes
    }
}

/// Hexadecimal addresses are the same in any case; others are not.
fn key(address: &str) -> Identifier<'static> {
    let hex = address.starts_with("0x") || address.starts_with("0X");
    let text = if hex {
        address.to_ascii_lowercase()
    } else {
        address.to_owned()
    };
    Identifier::pack(text.into())
}

impl AssetResolver for Assets {
    fn resolve(&self, chain: &str, address: Option<&str>) -> Option<CmcId> {
        self.chains.get(chain)?.get(&address.map(key)).copied()
    }
}

/// The registry as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryState {
    /// What can be read of it.
    pub assets: Assets,
    /// Whether all of it is in the present format and undamaged.
    pub current: bool,
    /// When it was last updated to the end, if that is known.
    pub completed_at: Option<Timestamp>,
}

/// Keeps the registry.
#[async_trait]
pub trait AssetStore: Send + Sync {
    /// Reads all of it.
    async fn read(&self, cost: &RequestCost) -> Result<Assets, CacheError>;

    /// Writes what differs from what is stored, and that it is complete as of
    /// `now`; returns the number of items of assets that were written.
    async fn write(
        &self,
        assets: &Assets,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<usize, CacheError>;
}

/// Tells an update of the registry what is there.
#[async_trait]
pub trait RegistryStore: AssetStore {
    /// Reads all of it, and in which state it is.
    async fn state(&self, cost: &RequestCost) -> Result<RegistryState, CacheError>;
}

/// The registry in DynamoDB.
#[derive(Clone)]
pub struct DynamoAssetStore(Table);

impl DynamoAssetStore {
    /// The registry in `table`.
    pub fn new(table: Table) -> Self {
        Self(table)
    }

    /// All items that `assets` takes, by sort key. Equal assets give equal
    /// bytes.
    fn items(assets: &Assets) -> Result<BTreeMap<String, Vec<u8>>, CacheError> {
        let corrupt = |reason: String| CacheError {
            operation: "PutItem",
            reason,
        };
        let mut items = BTreeMap::new();
        for (chain, entries) in &assets.chains {
            let mut entries: Vec<_> = entries.iter().map(|(key, id)| (key.clone(), *id)).collect();
            entries.sort();
            for (index, slice) in entries.chunks(ENTRIES_PER_ITEM).enumerate() {
                let packed = postcard::to_allocvec(&Packed(slice.to_vec()))
                    .map_err(|error| corrupt(error.to_string()))?;
                let packed =
                    codec::compress(&packed).map_err(|error| corrupt(error.to_string()))?;
                items.insert(keys::assets(chain, index), packed);
            }
        }
        Ok(items)
    }
}

/// Returns the format of an item of assets.
fn format(item: &Item) -> Option<u8> {
    let first = || (item.number::<u8>(VERSION) == Some(FIRST_FORMAT_VERSION)).then_some(1);
    item.number(REGISTRY_VERSION).or_else(first)
}

/// Puts an item's assets into `assets`; `false` if they cannot be read.
fn unpack(item: &Item, chain: &str, assets: &mut Assets) -> bool {
    let Some(Ok(unpacked)) = item.bytes("b").map(codec::decompress) else {
        return false;
    };
    let Ok(Packed(entries)) = postcard::from_bytes::<Packed<'_>>(&unpacked) else {
        return false;
    };
    let known = assets.chains.entry(chain.to_owned()).or_default();
    let owned = entries
        .into_iter()
        .map(|(key, id)| (key.map(Identifier::into_owned), id));
    known.extend(owned);
    true
}

#[async_trait]
impl RegistryStore for DynamoAssetStore {
    async fn state(&self, cost: &RequestCost) -> Result<RegistryState, CacheError> {
        let partition = keys::REGISTRY.to_owned();
        let items = self.0.query(partition, false, cost).await?;
        let mut state = RegistryState {
            current: true,
            ..RegistryState::default()
        };
        for item in &items {
            if item.sort_key() == COMPLETE {
                state.completed_at = item.time("t_ms");
                continue;
            }
            let Some((chain, _)) = item.sort_key().rsplit_once('#') else {
                continue;
            };
            let format = format(item);
            state.current &= format == Some(FORMAT);
            // Of the present format or the one before, which has the same bytes.
            let readable = format.is_some_and(|it| (FORMAT - 1..=FORMAT).contains(&it));
            if readable && !unpack(item, chain, &mut state.assets) {
                tracing::warn!(chain, "a registry item is damaged");
                state.current = false;
            }
        }
        Ok(state)
    }
}

#[async_trait]
impl AssetStore for DynamoAssetStore {
    async fn read(&self, cost: &RequestCost) -> Result<Assets, CacheError> {
        Ok(self.state(cost).await?.assets)
    }

    async fn write(
        &self,
        assets: &Assets,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<usize, CacheError> {
        let stored = self.0.query(keys::REGISTRY.to_owned(), true, cost).await?;
        let items = Self::items(assets)?;
        let unchanged = |key: &str, packed: &[u8]| {
            let there = stored.iter().find(|item| item.sort_key() == key);
            there
                .is_some_and(|item| format(item) == Some(FORMAT) && item.bytes("b") == Some(packed))
        };
        // An update that began later and ended sooner stays.
        let newest = || {
            Condition::new(
                "attribute_not_exists(pk) OR t_ms <= :t",
                [(":t", time(now))],
            )
        };
        let writes = items
            .iter()
            .filter(|(key, packed)| !unchanged(key, packed))
            .map(|(key, packed)| {
                let item = item(key, now)
                    .with(VERSION, number(FIRST_FORMAT_VERSION))
                    .with("h", hash(codec::hash(packed)))
                    .with("b", bytes(packed));
                self.0.put(item, newest(), cost)
            });
        let written = join_all(writes, cost).await?;
        let gone: Vec<&str> = stored
            .iter()
            .map(Item::sort_key)
            .filter(|key| *key != COMPLETE && !items.contains_key(*key))
            .collect();
        for key in &gone {
            let always = Condition::default();
            let partition = keys::REGISTRY.to_owned();
            self.0.delete(partition, key, always, cost).await?;
        }
        // Last, so that an update that breaks off leaves none.
        let complete = [self.0.put(item(COMPLETE, now), newest(), cost)];
        join_all(complete, cost).await?;
        Ok(written.into_iter().filter(|done| *done).count() + gone.len())
    }
}

/// Returns an item of the registry, as of `now`.
fn item(key: &str, now: Timestamp) -> Item {
    Item::default()
        .with("pk", text(keys::REGISTRY))
        .with("sk", text(key))
        .with(REGISTRY_VERSION, number(FORMAT))
        .with("t_ms", time(now))
}
