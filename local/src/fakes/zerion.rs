//! The fake of Zerion's positions.

mod parameters;
mod position_row;
mod quotes;
mod row;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::json;

use self::parameters::{Parameters, PositionFilter, Sort, TrashFilter};
use self::position_row::HOST;
use self::quotes::Quotes;
use self::row::{Row, Traits};
use super::clock;
use super::query::{self, Query};
use super::state::{Shared, lock};
use super::wallets::{self, Entry};

/// A well-known address that burns what it is sent; Zerion does not track it.
const BURN_ADDRESS: &str = "0x000000000000000000000000000000000000dead";
/// Requests allowed per second, day and month.
const LIMITS: [(&str, u64); 3] = [("second", 1_000), ("day", 1_000_000), ("month", 30_000_000)];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/wallets/{address}/positions/", get(positions))
        .route("/v1/wallets/{address}/positions", get(add_slash))
}

/// Adds the headers that tell how many requests are left.
pub(super) fn add_rate_headers(headers: &mut HeaderMap, requests: u64) {
    let now = clock::unix_seconds();
    let until_midnight = 86_400 - now % 86_400;
    for (span, limit) in LIMITS {
        // The span of a second is over when the next request comes.
        let (used, reset) = match span {
            "second" => (1, 1),
            "day" => (requests, until_midnight),
            _ => (requests, until_midnight + 10 * 86_400),
        };
        for (part, value) in [
            ("limit", limit),
            ("remaining", limit.saturating_sub(used)),
            ("reset", reset),
        ] {
            let name = HeaderName::try_from(format!("ratelimit-org-{span}-{part}"));
            if let Ok(name) = name {
                headers.insert(name, HeaderValue::from(value));
            }
        }
    }
    headers.insert(
        HeaderName::from_static("ratelimit-org-tier"),
        HeaderValue::from_static("enterprise"),
    );
}

async fn add_slash(request: Request) -> Response {
    let uri = request.uri();
    let query = uri.query().map_or_else(String::new, |q| format!("?{q}"));
    let location = format!("{}/{query}", uri.path());
    (StatusCode::MOVED_PERMANENTLY, [(LOCATION, location)]).into_response()
}

async fn positions(
    State(shared): State<Arc<Shared>>,
    Path(address): Path<String>,
    request: Request,
) -> Response {
    let headers = request.headers();
    if headers.get(USER_AGENT).is_none_or(HeaderValue::is_empty) {
        return (StatusCode::FORBIDDEN, "error code: 1010").into_response();
    }
    if !is_authorized(headers, &shared.options.zerion_key) {
        return error(
            StatusCode::UNAUTHORIZED,
            "Unauthorized Error",
            "The API key is invalid, please, make sure that you are using a valid key",
        );
    }
    let parameters = match check(&address, headers, request.uri()) {
        Ok(parameters) => parameters,
        Err(problem) => {
            let title = "Malformed parameter was sent";
            return error(StatusCode::BAD_REQUEST, title, &problem);
        }
    };
    let key = wallets::key(&address);
    let replaced = lock(&shared.wallets).get(&key).cloned();
    let entries = match headers.get("X-Env") {
        // The wallets hold nothing on test networks.
        Some(_) => Arc::default(),
        None => replaced.unwrap_or_else(|| wallets::holdings(&key)),
    };
    let body = Body {
        links: Links {
            this: self_link(&address, request.uri()),
        },
        data: rows(&entries, &parameters, wallets::is_solana(&key)),
    };
    match serde_json::to_vec(&body) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(problem) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            &problem.to_string(),
        ),
    }
}

/// The key is the user name, and there is no password.
fn is_authorized(headers: &HeaderMap, key: &str) -> bool {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
        .is_some_and(|credentials| credentials == format!("{key}:").as_bytes())
}

fn check(address: &str, headers: &HeaderMap, uri: &Uri) -> Result<Parameters, String> {
    if !wallets::is_address(address) {
        return Err(format!(
            "address {{{address}}} must be a valid EVM or Solana address"
        ));
    }
    if wallets::key(address) == BURN_ADDRESS {
        return Err(format!(
            "address {{{address}}} is not supported: contracts, burn addresses and exchange \
             wallets are not tracked"
        ));
    }
    if headers.get("X-Env").is_some_and(|env| env != "testnet") {
        return Err("header X-Env must be testnet".to_owned());
    }
    Parameters::read(&Query::of(uri))
}

#[derive(Serialize)]
struct Body<'a> {
    links: Links,
    data: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
}

fn self_link(address: &str, uri: &Uri) -> String {
    let query: Vec<String> = Query::of(uri)
        .iter()
        .map(|(name, value)| {
            let (name, value) = (query::percent_encoded(name), query::percent_encoded(value));
            format!("{name}={value}")
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let query = query.join("&");
    format!("{HOST}/v1/wallets/{address}/positions/{mark}{query}")
}

/// The rows that pass the filters, sorted.
fn rows<'a>(entries: &'a [Entry], parameters: &Parameters, on_solana: bool) -> Vec<Row<'a>> {
    let quotes = Quotes::new(parameters.currency);
    let mut rows: Vec<(Option<f64>, Row<'a>)> = entries
        .iter()
        .filter(|entry| passes(&Traits::of(entry), parameters, on_solana))
        .map(|entry| {
            let row = Row::new(entry, &quotes);
            (row.value(), row)
        })
        .collect();
    rows.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => match parameters.sort {
            Sort::HighestFirst => b.total_cmp(a),
            Sort::LowestFirst => a.total_cmp(b),
        },
        // Without a value: last either way.
        _ => b.is_some().cmp(&a.is_some()),
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

fn passes(row: &Traits<'_>, parameters: &Parameters, on_solana: bool) -> bool {
    let listed = |list: &Option<Vec<String>>, value: Option<&str>| {
        list.as_ref()
            .is_none_or(|list| value.is_some_and(|value| list.iter().any(|item| item == value)))
    };
    let simple = match parameters.positions {
        PositionFilter::OnlySimple => row.is_simple,
        PositionFilter::OnlyComplex => !row.is_simple,
        PositionFilter::NoFilter => true,
    };
    let trash = match parameters.trash {
        TrashFilter::OnlyNonTrash => !row.is_trash,
        TrashFilter::OnlyTrash => row.is_trash,
        TrashFilter::NoFilter => true,
    };
    // Positions in protocols are not served for Solana.
    let served = row.is_simple || !on_solana;
    simple
        && trash
        && served
        && listed(&parameters.position_types, row.position_type)
        && listed(&parameters.chains, row.chain)
        && listed(&parameters.fungibles, row.fungible)
        && listed(&parameters.dapps, row.dapp)
}

fn error(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({"errors": [{"title": title, "detail": detail}]});
    (status, Json(body)).into_response()
}
