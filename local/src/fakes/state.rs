//! The state that the handlers of all three services share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::coinmarketcap::coin::Coins;
use super::faults::Faults;
use super::market::ContractPrice;
use super::stats::Stats;
use super::wallets::Entry;

/// The keys the fakes accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The user name of Zerion's basic authentication.
    pub zerion_key: String,
    /// The value of CoinMarketCap's header `X-CMC_PRO_API_KEY`.
    pub coinmarketcap_key: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zerion_key: "zk_local".to_owned(),
            coinmarketcap_key: "cmc_local".to_owned(),
        }
    }
}

/// What the handlers share.
#[derive(Debug)]
pub struct Shared {
    pub options: Options,
    pub stats: Mutex<Stats>,
    pub faults: Mutex<Faults>,
    pub coins: Mutex<Coins>,
    /// Prices at DeFiLlama that replace or add to those of the catalogue, by key.
    pub contracts: Mutex<HashMap<String, ContractPrice>>,
    /// Wallets that replace those made from the address.
    pub wallets: Mutex<HashMap<String, Arc<Vec<Entry>>>>,
}

impl Shared {
    /// The state before the first request: the catalogue's coins, and nothing replaced.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            stats: Mutex::default(),
            faults: Mutex::default(),
            coins: Mutex::new(Coins::from_catalog()),
            contracts: Mutex::default(),
            wallets: Mutex::default(),
        }
    }
}

/// Locks, also after a panic elsewhere: every value here is whole at every moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
