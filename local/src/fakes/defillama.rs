//! The fake of DeFiLlama's coin prices.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, EXPIRES};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::catalog::{self, Asset, chains};
use super::market::{self, ContractPrice, Source};
use super::rng::Rng;
use super::state::{Shared, lock};
use super::{clock, query};

/// How many keys fit into a request.
const MAX_KEYS: usize = 258;
/// The edge keeps an answer up to this long after every fifth minute.
const EXPIRY_SECONDS: u64 = 300;
const EXPIRY_DELAY: u64 = 20;
const ZERO_ADDRESS: &str = "0x0000000000000000000000000000000000000000";
/// Wrapped SOL, under whose address the chain's own coin is priced.
const WRAPPED_SOL: &str = "So11111111111111111111111111111111111111112";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/prices/current/{coins}", get(current))
}

async fn current(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let keys = query::decoded_last_segment(request.uri());
    let keys: Vec<&str> = keys.split(',').filter(|key| !key.is_empty()).collect();
    if keys.len() > MAX_KEYS {
        let page = "<html>\r\n<head><title>414 Request-URI Too Large</title></head>\r\n<body>\r\n\
                    <center><h1>414 Request-URI Too Large</h1></center>\r\n</body>\r\n</html>\r\n";
        let html = [(CONTENT_TYPE, "text/html")];
        return (StatusCode::URI_TOO_LONG, html, page).into_response();
    }
    let now = clock::unix_seconds();
    let contracts = lock(&shared.contracts).clone();
    let quoted = |key: &str| match contracts.get(key) {
        Some(price) => Some(set(price, now)),
        None => price(key, now),
    };
    let coins: Map<String, Value> = keys
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), quoted(key)?)))
        .collect();
    let expires = (now / EXPIRY_SECONDS + 1) * EXPIRY_SECONDS + EXPIRY_DELAY;
    let headers = [(EXPIRES, clock::http_date(expires))];
    (headers, axum::Json(json!({"coins": coins}))).into_response()
}

/// The entry of a key whose price was set.
fn set(price: &ContractPrice, now: u64) -> Value {
    json!({
        "symbol": "SET",
        "decimals": 18,
        "price": price.usd,
        "timestamp": price.timestamp.unwrap_or(now),
        "confidence": 0.99,
    })
}

/// The entry of one key; nothing for what is not known, as the service leaves it out.
fn price(key: &str, now: u64) -> Option<Value> {
    let (chain, address) = key.split_once(':')?;
    let (asset, decimals) = if chain == "coingecko" {
        let asset = catalog::all()
            .iter()
            .find(|asset| asset.coingecko == Some(address))?;
        (asset, None)
    } else {
        let (asset, decimals) = find(chain, address)?;
        (asset, Some(decimals))
    };
    let age = Rng::from_text(key).below(100) as u64;
    let mut entry = json!({
        "symbol": asset.symbol,
        "price": market::usd(asset, Source::DefiLlama),
        "timestamp": now - age.min(now),
        "confidence": confidence(asset),
    });
    if let Some(decimals) = decimals {
        entry["decimals"] = decimals.into();
    }
    Some(entry)
}

/// The asset behind an address, with its decimals there.
fn find(slug: &str, address: &str) -> Option<(&'static Asset, u8)> {
    let chain = chains::by_defillama_slug(slug)?;
    let same = |known: &str| {
        if chain.zerion == "solana" {
            known == address
        } else {
            known.eq_ignore_ascii_case(address)
        }
    };
    let native = (chain.zero_address && address == ZERO_ADDRESS)
        || (chain.zerion == "solana" && address == WRAPPED_SOL);
    catalog::all().iter().find_map(|asset| {
        let here = asset.on(chain.zerion)?;
        let matches = match here.address {
            Some(known) => same(known) || (native && is_native_address(known)),
            None => native,
        };
        matches.then_some((asset, here.decimals))
    })
}

/// Whether this address stands for the coin of its chain.
fn is_native_address(address: &str) -> bool {
    matches!(
        address,
        "0x0000000000000000000000000000000000001010" | "11111111111111111111111111111111"
    )
}

/// Certain of listed coins, a little less of the rest.
fn confidence(asset: &Asset) -> Value {
    match asset.symbol {
        "ETH" | "BTC" => 1.into(),
        _ if asset.listing.is_some() => 0.99.into(),
        _ => 0.95.into(),
    }
}
