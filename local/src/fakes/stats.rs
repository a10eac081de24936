//! What the fakes were asked, counted.

use std::collections::BTreeMap;

use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::query::{self, Query};
use portfolio::domain::provider::Provider;

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Those of Zerion.
    pub zerion: ZerionStats,
    /// Those of CoinMarketCap.
    pub coinmarketcap: CoinMarketCapStats,
    /// Those of DeFiLlama.
    pub defillama: DefiLlamaStats,
}

/// Requests to Zerion, refused ones included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZerionStats {
    /// All of them.
    pub requests: u64,
    /// By the kind of positions they ask for.
    pub by_filter: ByFilter,
    /// By the HTTP status of the answer, such as `200`.
    pub by_status: BTreeMap<String, u64>,
    /// Clients that disconnected before their answer.
    pub disconnects: u64,
}

/// Requests by `filter[positions]`; one without counts as the default, one with an unknown
/// value is not counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByFilter {
    /// Plain tokens, the default.
    pub only_simple: u64,
    /// Positions in protocols.
    pub only_complex: u64,
    /// Both.
    pub no_filter: u64,
}

/// Requests for quotes to CoinMarketCap, refused ones included, and next to them those for
/// the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CoinMarketCapStats {
    /// Those for quotes.
    pub requests: u64,
    /// Ids asked for in all requests together.
    pub ids: u64,
    /// What the answered requests cost; refused ones and the map cost nothing here.
    pub credits: u64,
    /// The ids of the last request, as asked.
    pub last_ids: Vec<String>,
    /// The currencies of the last request, as asked; `USD` where it named none.
    pub last_convert: String,
    /// Those for the map.
    pub map_requests: u64,
    /// Those for quotes by the HTTP status of the answer, such as `200`.
    pub by_status: BTreeMap<String, u64>,
    /// Clients that disconnected before their answer.
    pub disconnects: u64,
}

/// Requests to DeFiLlama, refused ones included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DefiLlamaStats {
    /// All of them.
    pub requests: u64,
    /// Keys asked for in all requests together.
    pub keys: u64,
    /// The keys of the last request, as asked, such as `ethereum:0x…`.
    pub last_keys: Vec<String>,
    /// By the HTTP status of the answer, such as `200`.
    pub by_status: BTreeMap<String, u64>,
    /// Clients that disconnected before their answer.
    pub disconnects: u64,
}

impl Stats {
    /// Counts a request as it comes in.
    pub fn asked(&mut self, upstream: Provider, uri: &Uri) {
        let query = Query::of(uri);
        match upstream {
            Provider::Zerion => {
                self.zerion.requests += 1;
                let by_filter = &mut self.zerion.by_filter;
                match query.get("filter[positions]") {
                    None | Some("only_simple") => by_filter.only_simple += 1,
                    Some("only_complex") => by_filter.only_complex += 1,
                    Some("no_filter") => by_filter.no_filter += 1,
                    Some(_) => {}
                }
            }
            Provider::CoinMarketCap if is_map(uri) => self.coinmarketcap.map_requests += 1,
            Provider::CoinMarketCap if is_quotes(uri) => {
                let stats = &mut self.coinmarketcap;
                stats.requests += 1;
                stats.last_ids = split(query.get("id").unwrap_or_default());
                stats.ids += stats.last_ids.len() as u64;
                stats.last_convert = query.get("convert").unwrap_or("USD").to_owned();
            }
            Provider::CoinMarketCap => {}
            Provider::DefiLlama => {
                let stats = &mut self.defillama;
                stats.requests += 1;
                stats.last_keys = split(&query::decoded_last_segment(uri));
                stats.keys += stats.last_keys.len() as u64;
            }
        }
    }

    /// Counts a client that disconnected before its answer.
    pub fn disconnected(&mut self, upstream: Provider) {
        match upstream {
            Provider::Zerion => self.zerion.disconnects += 1,
            Provider::CoinMarketCap => self.coinmarketcap.disconnects += 1,
            Provider::DefiLlama => self.defillama.disconnects += 1,
        }
    }

    /// Counts the status a request was answered with.
    pub fn answered(&mut self, upstream: Provider, uri: &Uri, status: StatusCode) {
        let by_status = match upstream {
            Provider::Zerion => &mut self.zerion.by_status,
            Provider::CoinMarketCap if is_quotes(uri) => &mut self.coinmarketcap.by_status,
            Provider::CoinMarketCap => return,
            Provider::DefiLlama => &mut self.defillama.by_status,
        };
        *by_status.entry(status.as_str().to_owned()).or_default() += 1;
    }
}

fn is_map(uri: &Uri) -> bool {
    uri.path() == "/v1/cryptocurrency/map"
}

fn is_quotes(uri: &Uri) -> bool {
    uri.path().ends_with("/quotes/latest") || uri.path() == "/v2/simple/price"
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
