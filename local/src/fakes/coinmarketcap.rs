//! The fake of CoinMarketCap.

pub mod coin;
mod map;
mod quotes;
pub mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use self::quotes::Form;
use self::status::{ErrorCodes, Refusal};
use super::query::Query;
use super::state::{Shared, lock};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/cryptocurrency/map", get(map))
        .route("/v2/cryptocurrency/quotes/latest", get(quotes_v2))
        .route("/v3/cryptocurrency/quotes/latest", get(quotes_v3))
        .route("/v2/simple/price", get(simple_price))
        .route("/v1/key/info", get(key_info))
}

async fn map(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, &request, ErrorCodes::Numbers, |query| {
        Ok((map::rows(query, &lock(&shared.coins))?, 0))
    })
}

async fn quotes_v2(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    quotes(&shared, &request, Form::V2)
}

async fn quotes_v3(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    quotes(&shared, &request, Form::V3)
}

async fn simple_price(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    quotes(&shared, &request, Form::Simple)
}

fn quotes(shared: &Shared, request: &Request, form: Form) -> Response {
    answer(shared, request, form.error_codes(), |query| {
        let (data, credits) = quotes::latest(query, form, &lock(&shared.coins))?;
        lock(&shared.stats).coinmarketcap.credits += credits;
        Ok((data, credits))
    })
}

async fn key_info(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, &request, ErrorCodes::Numbers, |_| {
        let stats = lock(&shared.stats).coinmarketcap.clone();
        let left = |limit: u64, used: u64| limit.saturating_sub(used);
        let data = json!({
            "plan": {
                "credit_limit_monthly": 300_000,
                "credit_limit_monthly_reset": "In 30 days, at 00:00 UTC",
                "credit_limit_monthly_reset_timestamp": null,
                "rate_limit_minute": 60,
            },
            "usage": {
                "current_minute": {"requests_made": 0, "requests_left": 60},
                "current_day": {"credits_used": stats.credits},
                "current_month": {
                    "credits_used": stats.credits,
                    "credits_left": left(300_000, stats.credits),
                },
            },
        });
        Ok((data, 0))
    })
}

/// Checks the key and the query, and puts the status next to the data.
fn answer(
    shared: &Shared,
    request: &Request,
    codes: ErrorCodes,
    data: impl FnOnce(&Query) -> Result<(Value, u64), Refusal>,
) -> Response {
    let key = request
        .headers()
        .get("X-CMC_PRO_API_KEY")
        .map(|key| key.as_bytes());
    match key {
        None => return Refusal::key(1002, "API key missing.").response(ErrorCodes::Numbers),
        Some(key) if key != shared.options.coinmarketcap_key.as_bytes() => {
            return Refusal::key(1001, "This API Key is invalid.").response(ErrorCodes::Numbers);
        }
        Some(_) => {}
    }
    match data(&Query::of(request.uri())) {
        Ok((data, credits)) => status::success(data, credits, codes),
        Err(refusal) => refusal.response(codes),
    }
}
