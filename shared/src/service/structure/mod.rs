//! The first level: what wallets hold.

mod asset_cache;
mod cache;
mod fetch;
mod loaded;
mod loader;
mod lookup;
mod negative_cache;
mod state;
mod wallet_cache;

pub use self::asset_cache::AssetCache;
pub(super) use self::{
    cache::StructureCache, fetch::Fetcher, loaded::LoadedHoldings, loader::WalletLoader,
    wallet_cache::WalletCache,
};
