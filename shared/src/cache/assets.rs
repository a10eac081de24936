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
    CacheError, Table, codec,
    items::{Item, bytes, hash, time},
    keys,
    table::{Condition, together},
};
use crate::{
    clock::Timestamp,
    domain::{draft::AssetResolver, ident::Ident, price::CmcId},
    usage::Usage,
};

/// Entries per item: 40 bytes each at most, well under the item limit.
const ENTRIES_PER_ITEM: usize = 8000;
/// A process reads the registry again after this long.
pub const REGISTRY_TTL: Duration = Duration::from_secs(600);

/// Contracts (`None`: the native coin) and their ids, per chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    chains: HashMap<String, HashMap<Option<Ident<'static>>, CmcId>>,
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
struct Packed<'a>(#[serde(borrow)] Vec<(Option<Ident<'a>>, CmcId)>);

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
fn key(address: &str) -> Ident<'static> {
    let hex = address.starts_with("0x") || address.starts_with("0X");
    let text = if hex {
        address.to_ascii_lowercase()
    } else {
        address.to_owned()
    };
    Ident::pack(text.into())
}

impl AssetResolver for Assets {
    fn resolve(&self, chain: &str, address: Option<&str>) -> Option<CmcId> {
        self.chains.get(chain)?.get(&address.map(key)).copied()
    }
}

/// Keeps the registry.
#[async_trait]
pub trait AssetStore: Send + Sync {
    /// Reads all of it.
    async fn read(&self, usage: &Usage) -> Result<Assets, CacheError>;

    /// Writes what differs from what is stored, and nothing else; returns the
    /// number of items that were written.
    async fn write(
        &self,
        assets: &Assets,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<usize, CacheError>;
}

/// The registry in DynamoDB.
#[derive(Clone)]
pub struct Registry(Table);

impl Registry {
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

#[async_trait]
impl AssetStore for Registry {
    async fn read(&self, usage: &Usage) -> Result<Assets, CacheError> {
        let items = self
            .0
            .query(keys::REGISTRY.to_owned(), false, usage)
            .await?;
        let mut assets = Assets::default();
        for item in items.iter().filter(|item| item.is_current()) {
            let Some((chain, _)) = item.sort_key().rsplit_once('#') else {
                continue;
            };
            let unpacked = item.bytes("b").map(codec::decompress);
            let Some(Ok(unpacked)) = unpacked else {
                tracing::warn!(chain, "a registry item is damaged");
                continue;
            };
            match postcard::from_bytes::<Packed<'_>>(&unpacked) {
                Ok(Packed(entries)) => {
                    let known = assets.chains.entry(chain.to_owned()).or_default();
                    known.extend(
                        entries
                            .into_iter()
                            .map(|(key, id)| (key.map(Ident::into_owned), id)),
                    );
                }
                Err(_) => tracing::warn!(chain, "a registry item is damaged"),
            }
        }
        Ok(assets)
    }

    async fn write(
        &self,
        assets: &Assets,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<usize, CacheError> {
        let stored = self.0.query(keys::REGISTRY.to_owned(), true, usage).await?;
        let items = Self::items(assets)?;
        let unchanged = |key: &str, packed: &[u8]| {
            let there = stored.iter().find(|item| item.sort_key() == key);
            there.is_some_and(|item| {
                item.is_current() && item.hash("h") == Some(codec::hash(packed))
            })
        };
        let writes = items
            .iter()
            .filter(|(key, packed)| !unchanged(key, packed))
            .map(|(key, packed)| {
                let item = Item::keyed(keys::REGISTRY.to_owned(), key.clone())
                    .with("h", hash(codec::hash(packed)))
                    .with("b", bytes(packed))
                    .with("t_ms", time(now));
                // An update that began later and ended sooner stays.
                let condition = Condition::new(
                    "attribute_not_exists(pk) OR t_ms <= :t",
                    [(":t", time(now))],
                );
                self.0.put(item, condition, usage)
            });
        let written = together(writes, usage).await?;
        let gone: Vec<&str> = stored
            .iter()
            .map(Item::sort_key)
            .filter(|key| !items.contains_key(*key))
            .collect();
        for key in &gone {
            let always = Condition::default();
            let partition = keys::REGISTRY.to_owned();
            self.0.delete(partition, key, always, usage).await?;
        }
        Ok(written.into_iter().filter(|done| *done).count() + gone.len())
    }
}
