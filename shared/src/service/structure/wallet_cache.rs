//! The wallets that this process has read last, for when the table cannot be
//! read.
//!
//! A copy counts only while the wallet's header, which a lease attempt brings
//! as well, refers to the same fetch.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use crate::{
    cache::{CachedPart, CachedWallet, Header},
    domain::{address::Address, scope::Part},
};

/// Bytes of holdings and prices that are kept.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// Wallets that the table of entries is laid out for.
const USUAL_WALLETS: usize = 1000;
/// About what an entry takes besides its holdings, and one price.
const ENTRY_BYTES: usize = 512;
const PRICE_BYTES: usize = 72;

/// In-process copies of wallets; the least used go first.
pub(in crate::service) struct WalletCache(Cache<Address, Arc<CachedWallet>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Address, Arc<CachedWallet>> for Bytes {
    fn weight(&self, _: &Address, wallet: &Arc<CachedWallet>) -> u64 {
        let part =
            |part: &Arc<CachedPart>| part.bytes.len() + part.prices.entries().len() * PRICE_BYTES;
        let parts: usize = wallet.parts.values().map(part).sum();
        let refreshed = wallet.refreshed.values();
        let refreshed: usize = refreshed
            .map(|read| read.table.entries().len() * PRICE_BYTES)
            .sum();
        (ENTRY_BYTES + parts + refreshed) as u64
    }
}

impl Default for WalletCache {
    fn default() -> Self {
        Self(Cache::with_weighter(USUAL_WALLETS, MAX_BYTES, Bytes))
    }
}

impl WalletCache {
    /// Keeps a wallet as it was read.
    pub fn keep(&self, address: &Address, wallet: &CachedWallet) {
        if !wallet.parts.is_empty() {
            self.0.insert(address.clone(), Arc::new(wallet.clone()));
        }
    }

    /// Returns the copy as it was read; the wallet may have changed since.
    pub fn last(&self, address: &Address) -> Option<CachedWallet> {
        self.0.get(address).map(|copy| (*copy).clone())
    }

    /// Returns the copy's parts that `header` refers to, under that header.
    pub fn under(&self, address: &Address, header: &Header) -> CachedWallet {
        let mut wallet = CachedWallet {
            header: header.clone(),
            ..CachedWallet::default()
        };
        let Some(copy) = self.0.get(address) else {
            return wallet;
        };
        let same = |part: &Part| {
            let fetch = |header: &Header| Some(header.parts.get(part)?.stored?.fetch);
            let there = fetch(header);
            there.is_some() && there == fetch(&copy.header)
        };
        let parts = copy.parts.iter().filter(|(part, _)| same(part));
        wallet.parts = parts
            .map(|(part, cached)| (*part, cached.clone()))
            .collect();
        if copy.header.epoch == header.epoch {
            wallet.refreshed = copy.refreshed.clone();
        }
        wallet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{PartHeader, StoredPart},
        clock::Timestamp,
        domain::{currency::Currency, price::PriceTable},
    };

    fn header(fetch: u64) -> Header {
        let stored = StoredPart {
            hash: 1,
            fetched_at: Timestamp::default(),
            currency: Currency::USD,
            fetch,
            written: 1,
            chunks: 1,
            chunks_expire: Timestamp::default(),
            price_chunks: 0,
        };
        let part = PartHeader {
            stored: Some(stored),
            ..PartHeader::default()
        };
        Header {
            parts: [(Part::Wallet, part)].into(),
            ..Header::default()
        }
    }

    #[test]
    fn copies_count_only_under_the_header_of_their_fetch() {
        let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234").unwrap();
        let part = CachedPart {
            bytes: vec![1],
            hash: 1,
            fetched_at: Timestamp::default(),
            currency: Currency::USD,
            prices: PriceTable::default(),
        };
        let cache = WalletCache::default();
        cache.keep(
            &address,
            &CachedWallet {
                parts: [(Part::Wallet, Arc::new(part))].into(),
                header: header(3),
                ..CachedWallet::default()
            },
        );
        assert_eq!(cache.under(&address, &header(3)).parts.len(), 1);
        assert_eq!(cache.under(&address, &header(4)).parts.len(), 0);
        assert_eq!(cache.under(&address, &Header::default()).parts.len(), 0);
    }
}
