//! Fakes of Zerion, CoinMarketCap and DeFiLlama: all three on one port, with sample
//! wallets, the same shapes and the same refusals, for trying the product and for its tests.

mod catalog;
mod clock;
mod coinmarketcap;
mod control;
mod currencies;
mod defillama;
mod faults;
mod market;
mod query;
mod rng;
mod stats;
mod wallets;
mod zerion;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tower_http::compression::CompressionLayer;

pub use coinmarketcap::coin::{Coin, Platform};
pub use defillama::ContractPrice;
pub use faults::Fault;
pub use stats::{ByFilter, CoinMarketCapStats, DefiLlamaStats, Stats, ZerionStats};
pub use wallets::{SAMPLES, Sample};

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

/// One of the three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// What wallets hold, with prices.
    Zerion,
    /// Prices by coin, and the map of coins.
    CoinMarketCap,
    /// Prices by contract, in US dollars only.
    DefiLlama,
}

impl Upstream {
    fn by_name(name: &str) -> Option<Self> {
        match name {
            "zerion" => Some(Self::Zerion),
            "coinmarketcap" => Some(Self::CoinMarketCap),
            "defillama" => Some(Self::DefiLlama),
            _ => None,
        }
    }
}

/// The three services. Clones share their state.
#[derive(Clone, Debug)]
pub struct FakeProviders {
    shared: Arc<Shared>,
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    options: Options,
    stats: Mutex<Stats>,
    faults: Mutex<faults::Faults>,
    coins: Mutex<coinmarketcap::coin::Coins>,
    /// Prices at DeFiLlama that replace or add to those of the catalogue, by key.
    contracts: Mutex<HashMap<String, ContractPrice>>,
    /// Wallets that replace those made from the address.
    wallets: Mutex<HashMap<String, Arc<Vec<wallets::Entry>>>>,
}

impl FakeProviders {
    /// Fakes that know the sample wallets and the catalogue.
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                stats: Mutex::default(),
                faults: Mutex::default(),
                coins: Mutex::new(coinmarketcap::coin::Coins::from_catalog()),
                contracts: Mutex::default(),
                wallets: Mutex::default(),
            }),
        }
    }

    /// The routes of the services and of the control of the fakes.
    pub fn router(&self) -> Router {
        let shared = &self.shared;
        let observed = |upstream, routes: Router<Arc<Shared>>| {
            let state = (shared.clone(), upstream);
            routes.route_layer(middleware::from_fn_with_state(state, observe))
        };
        Router::new()
            .merge(observed(Upstream::Zerion, zerion::routes()))
            .merge(observed(Upstream::CoinMarketCap, coinmarketcap::routes()))
            .merge(observed(Upstream::DefiLlama, defillama::routes()))
            .merge(control::routes())
            .fallback(not_found)
            .layer(CompressionLayer::new())
            .with_state(shared.clone())
    }

    /// Replaces what a wallet holds by rows as Zerion gives them, with values in US dollars.
    pub fn set_wallet(&self, address: &str, rows: Vec<Value>) {
        let rows = rows.into_iter().map(wallets::Entry::json).collect();
        lock(&self.shared.wallets).insert(wallets::key(address), Arc::new(rows));
    }

    /// Adds a coin to CoinMarketCap, or replaces it. Its price is quoted exactly as given.
    pub fn set_coin(&self, coin: Coin) {
        lock(&self.shared.coins).set(coin);
    }

    /// Makes CoinMarketCap forget a coin.
    pub fn remove_coin(&self, cmc_id: u32) {
        lock(&self.shared.coins).remove(cmc_id);
    }

    /// Pins the price CoinMarketCap quotes for a coin it knows.
    pub fn set_price(&self, cmc_id: u32, usd: f64) {
        lock(&self.shared.coins).pin(cmc_id, usd);
    }

    /// Sets what DeFiLlama quotes for a key such as `ethereum:0x…`, or makes it forget that.
    pub fn set_contract_price(&self, key: &str, price: Option<ContractPrice>) {
        let mut contracts = lock(&self.shared.contracts);
        match price {
            Some(price) => contracts.insert(key.to_owned(), price),
            None => contracts.remove(key),
        };
    }

    /// Sets or clears the trouble with a service.
    pub fn set_fault(&self, upstream: Upstream, fault: Option<Fault>) {
        lock(&self.shared.faults).set(upstream, fault);
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        lock(&self.shared.stats).clone()
    }

    /// Sets every counter back to nothing.
    pub fn reset_stats(&self) {
        *lock(&self.shared.stats) = Stats::default();
    }
}

/// Counts a request, and lets the fault that is set for its service, if any, have it.
async fn observe(
    State((shared, upstream)): State<(Arc<Shared>, Upstream)>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    lock(&shared.stats).asked(upstream, &uri);
    let fault = lock(&shared.faults).take(upstream, uri.path());
    let fault = fault.unwrap_or_default();
    let mut left = Left(Some((shared.clone(), upstream)));
    if !fault.delay().is_zero() {
        tokio::time::sleep(fault.delay()).await;
    }
    let mut response = match fault.replacement(upstream) {
        Some(response) => response,
        None => next.run(request).await,
    };
    if upstream == Upstream::Zerion {
        let requests = lock(&shared.stats).zerion.requests;
        zerion::add_rate_headers(response.headers_mut(), requests);
    }
    fault.add_headers(response.headers_mut());
    let response = fault.spoil(response).await;
    left.0 = None;
    lock(&shared.stats).answered(upstream, &uri, response.status());
    response
}

/// Counts a client that leaves before its answer.
struct Left(Option<(Arc<Shared>, Upstream)>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some((shared, upstream)) = self.0.take() {
            lock(&shared.stats).left(upstream);
        }
    }
}

async fn not_found() -> Response {
    let body = json!({"statusCode": 404, "error": "Not Found", "message": "Not Found"});
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

/// Locks, also after a panic elsewhere: every value here is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
