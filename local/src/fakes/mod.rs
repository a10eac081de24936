//! Fakes of Zerion, CoinMarketCap and DeFiLlama: all three on one port, with sample wallets,
//! the same shapes and the same refusals, for trying the product and for its tests.

mod catalog;
mod clock;
mod coinmarketcap;
mod currencies;
mod defillama;
mod faults;
mod market;
mod query;
mod rng;
mod state;
mod stats;
mod wallets;
mod zerion;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use portfolio::domain::provider::Provider;
use serde_json::{Value, json};
use tower_http::compression::CompressionLayer;

use state::{Shared, lock};

pub use coinmarketcap::coin::{Coin, Platform};
pub use faults::Fault;
pub use market::ContractPrice;
pub use state::Options;
pub use stats::{ByFilter, CoinMarketCapStats, DefiLlamaStats, Stats, ZerionStats};
pub use wallets::{SAMPLES, Sample};

/// The three services. Clones share their state.
#[derive(Clone, Debug)]
pub struct FakeProviders {
    shared: Arc<Shared>,
}

impl FakeProviders {
    /// Fakes that know the sample wallets and the catalogue.
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared::new(options)),
        }
    }

    /// The routes of the services, and those that control the fakes: `/__stats` and
    /// `/__faults`.
    pub fn router(&self) -> Router {
        let shared = &self.shared;
        let observed = |upstream, routes: Router<Arc<Shared>>| {
            let state = (shared.clone(), upstream);
            routes.route_layer(middleware::from_fn_with_state(state, observe))
        };
        Router::new()
            .merge(observed(Provider::Zerion, zerion::routes()))
            .merge(observed(Provider::CoinMarketCap, coinmarketcap::routes()))
            .merge(observed(Provider::DefiLlama, defillama::routes()))
            .route("/__stats", get(stats).delete(reset_stats))
            .route("/__faults", put(set_faults))
            .fallback(not_found)
            .layer(CompressionLayer::new())
            .with_state(shared.clone())
    }

    /// Replaces what a wallet holds by rows as Zerion gives them, with values in US dollars.
    pub fn set_wallet(&self, address: &str, rows: Vec<Value>) {
        let rows = rows.into_iter().map(wallets::Entry::fixed).collect();
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

    /// Sets or clears the fault of a service.
    pub fn set_fault(&self, upstream: Provider, fault: Option<Fault>) {
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

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Stats> {
    Json(lock(&shared.stats).clone())
}

async fn reset_stats(State(shared): State<Arc<Shared>>) -> StatusCode {
    *lock(&shared.stats) = Stats::default();
    StatusCode::NO_CONTENT
}

async fn set_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match faults::parse(&body) {
        Ok(changes) => {
            let mut faults = lock(&shared.faults);
            for (upstream, fault) in changes {
                faults.set(upstream, fault);
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => (StatusCode::BAD_REQUEST, Json(json!({"error": problem}))).into_response(),
    }
}

/// Counts a request, and applies the fault that is set for its service, if any.
async fn observe(
    State((shared, upstream)): State<(Arc<Shared>, Provider)>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    lock(&shared.stats).asked(upstream, &uri);
    let fault = lock(&shared.faults).next(upstream, uri.path());
    let fault = fault.unwrap_or_default();
    let mut disconnected = ClientDisconnected(Some((shared.clone(), upstream)));
    if !fault.delay().is_zero() {
        tokio::time::sleep(fault.delay()).await;
    }
    let mut response = match fault.canned_response(upstream) {
        Some(response) => response,
        None => next.run(request).await,
    };
    if upstream == Provider::Zerion {
        let requests = lock(&shared.stats).zerion.requests;
        zerion::add_rate_headers(response.headers_mut(), requests);
    }
    fault.add_headers(response.headers_mut());
    let response = fault.corrupt(response).await;
    disconnected.0 = None;
    lock(&shared.stats).answered(upstream, &uri, response.status());
    response
}

/// Counts a client that disconnects before its answer: the server then drops the handler's
/// future, and this with it.
struct ClientDisconnected(Option<(Arc<Shared>, Provider)>);

impl Drop for ClientDisconnected {
    fn drop(&mut self) {
        if let Some((shared, upstream)) = self.0.take() {
            lock(&shared.stats).disconnected(upstream);
        }
    }
}

async fn not_found() -> Response {
    let body = json!({"statusCode": 404, "error": "Not Found", "message": "Not Found"});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
