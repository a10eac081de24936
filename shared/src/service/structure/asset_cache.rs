//! The process's copy of the asset registry.

use std::sync::{Arc, Mutex};

use crate::{
    cache::{
        AssetStoreRef,
        asset_registry::{Assets, REGISTRY_TTL},
    },
    clock::Timestamp,
    service::policy::EMPTY_REGISTRY_TTL,
    sync::locked,
    telemetry::{metrics::REGISTRY_EMPTY, request_cost::RequestCost},
};

/// Reads the registry at most once per [`REGISTRY_TTL`].
pub struct AssetCache {
    store: AssetStoreRef,
    read: Mutex<Option<(Timestamp, Arc<Assets>)>>,
}

impl AssetCache {
    /// A copy of what `store` holds.
    pub fn new(store: AssetStoreRef) -> Self {
        Self {
            store,
            read: Mutex::new(None),
        }
    }

    /// The registry, at most a few minutes old. When it cannot be read, the
    /// older copy or none: assets then stay unlisted until the wallet's next
    /// fetch.
    pub async fn get(&self, now: Timestamp, cost: &RequestCost) -> Arc<Assets> {
        let known = locked(&self.read).clone();
        if let Some((at, assets)) = &known {
            let ttl = if assets.is_empty() {
                EMPTY_REGISTRY_TTL
            } else {
                REGISTRY_TTL
            };
            if now < at.plus(ttl) {
                return assets.clone();
            }
        }
        match self.store.read(cost).await {
            Ok(assets) => {
                if assets.is_empty() {
                    REGISTRY_EMPTY.add(1);
                    tracing::warn!("the asset registry is empty");
                }
                let assets = Arc::new(assets);
                *locked(&self.read) = Some((now, assets.clone()));
                assets
            }
            Err(error) => {
                tracing::warn!(%error, "the asset registry cannot be read");
                known.map(|(_, assets)| assets).unwrap_or_default()
            }
        }
    }
}
