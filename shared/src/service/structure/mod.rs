//! The first level: what wallets hold.

mod asset_cache;
mod cache;
mod holdings;
mod loaded;
mod wallet_cache;

pub use self::asset_cache::AssetCache;
pub(super) use self::{
    cache::StructureCache, holdings::HoldingsPorts, loaded::LoadedHoldings,
    wallet_cache::WalletCache,
};
