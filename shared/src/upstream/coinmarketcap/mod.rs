//! CoinMarketCap: prices of many coins by numeric id in one request, and the
//! map from contracts to ids.

mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Attempts, Failure, HttpClient, Provider, Quota, Quote, QuoteProvider, QuoteTerms,
    UpstreamError,
    call_policy::CallPolicy,
    http::{HttpResponse, header_seconds, retry_after, send},
    key_rotation::with_rotated_key,
};
use crate::{
    aws::secrets::KeyRing,
    clock::Clock,
    config::{CmcPriceApi, Config},
    domain::{
        currency::Currency,
        exchange_rate::USD_STABLECOINS,
        holdings::{Holdings, Token},
        price_book::QuoteId,
    },
    telemetry::metrics::CREDITS_USED,
};

pub use self::wire::{MapCoin, MapPage, MapPlatform, read_map, read_quotes};

/// Rows per page of the map, its documented maximum.
pub const MAP_PAGE: usize = 5000;
/// Error codes of limits: of the requests in a minute, of the plan's credits
/// in a day and in a month, of the requests in a minute from one address.
const RATE_LIMIT_CODES: std::ops::RangeInclusive<i64> = 1008..=1011;
/// Those of them that do not end with the minute.
const QUOTA_CODES: [i64; 2] = [1009, 1010];
/// What CoinMarketCap's own tools read where `Retry-After` is missing.
const RATE_LIMIT_RESET: &str = "x-ratelimit-reset";
/// More seconds than this are no waiting time but a date.
const MAX_RESET: Duration = Duration::from_secs(31 * 86_400);

/// Coins that are no longer traded keep their last quote.
const MAX_QUOTE_AGE: Duration = Duration::from_secs(3600);
/// Stablecoins.
pub const DOLLARS: [QuoteId; 3] = [
    QuoteId::Number(USD_STABLECOINS[0].0),
    QuoteId::Number(USD_STABLECOINS[1].0),
    QuoteId::Number(USD_STABLECOINS[2].0),
];

/// Returns what it takes and gives where a request may hold `max_ids`.
pub fn terms(max_ids: usize) -> QuoteTerms {
    QuoteTerms {
        per_request: max_ids,
        // One request an answer; what does not fit is refreshed by the next.
        per_answer: max_ids,
        dollars_only: false,
        curated: true,
        min_ttl: Duration::ZERO,
        max_quote_age: MAX_QUOTE_AGE,
    }
}

/// Returns what it calls a token, if it lists it.
pub fn id_of(token: &Token<'_>) -> Option<QuoteId> {
    token.cmc.map(|id| QuoteId::Number(id.0))
}

/// The client.
pub struct CoinMarketCap {
    http: HttpClient,
    base: Url,
    keys: Arc<KeyRing>,
    api: CmcPriceApi,
    max_ids: usize,
    call_policy: CallPolicy,
}

impl CoinMarketCap {
    /// A client as configured.
    pub fn new(
        http: HttpClient,
        config: &Config,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (concurrency, usual) = (config.upstream_concurrency, config.price_timeout);
        Self {
            http,
            base: config.coinmarketcap.base.clone(),
            keys,
            api: config.cmc_price_api,
            max_ids: config.cmc_max_ids,
            call_policy: CallPolicy::new(Provider::CoinMarketCap, concurrency, usual, clock),
        }
    }

    /// One page of `/v1/cryptocurrency/map`: active coins from the `start`-th
    /// (1 is the first), at most [`MAP_PAGE`].
    ///
    /// # Errors
    /// When the page cannot be had or read.
    pub async fn map_page(
        &self,
        start: usize,
        timeout: Duration,
    ) -> Result<MapPage, UpstreamError> {
        let query = format!("listing_status=active&start={start}&limit={MAP_PAGE}&sort=id");
        let response = self.get("/v1/cryptocurrency/map", &query, timeout).await;
        response
            .and_then(|response| read_map(&response.body).map_err(Failure::Malformed))
            .map_err(error)
    }

    async fn get(
        &self,
        path: &str,
        query: &str,
        timeout: Duration,
    ) -> Result<HttpResponse, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(query));
        let attempt = |key: SecretString, left| {
            let request = self
                .http
                .get(url.clone())
                .header("accept", "application/json")
                .headers(authorisation(&key));
            async move {
                let response = send(request, left).await?;
                let said = wire::read_status(&response.body);
                CREDITS_USED.add_for(Provider::CoinMarketCap, said.credits);
                match classify_failure(&response, said.error_code) {
                    Some(failure) => Err(failure),
                    None => Ok(response),
                }
            }
        };
        let call = |key: SecretString, left| {
            self.call_policy
                .call(left, Attempts::Two, move |left| attempt(key.clone(), left))
        };
        with_rotated_key(&self.keys, Provider::CoinMarketCap, timeout, call).await
    }
}

/// The key's header, marked so that nothing prints it.
fn authorisation(key: &SecretString) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(mut key) = HeaderValue::from_str(key.expose_secret()) {
        key.set_sensitive(true);
        headers.insert("x-cmc_pro_api_key", key);
    }
    headers
}

fn error(failure: Failure) -> UpstreamError {
    UpstreamError {
        upstream: Provider::CoinMarketCap,
        failure,
    }
}

#[async_trait]
impl QuoteProvider for CoinMarketCap {
    fn provider(&self) -> Provider {
        Provider::CoinMarketCap
    }

    fn terms(&self) -> QuoteTerms {
        terms(self.max_ids)
    }

    fn id(&self, _: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        id_of(token)
    }

    fn dollars(&self) -> &[QuoteId] {
        &DOLLARS
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        currency: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let convert = currency.as_str().to_ascii_uppercase();
        let (path, extra) = match self.api {
            // Without skip_invalid one retired id would fail the whole batch.
            CmcPriceApi::QuotesV3 => ("/v3/cryptocurrency/quotes/latest", "&skip_invalid=true"),
            CmcPriceApi::QuotesV2 => ("/v2/cryptocurrency/quotes/latest", "&skip_invalid=true"),
            CmcPriceApi::SimplePriceV2 => (
                "/v2/simple/price",
                "&skip_invalid=true&include_24h_change=true&include_last_updated=true",
            ),
        };
        let query = format!("id={}&convert={convert}{extra}", ids.join(","));
        let response = self.get(path, &query, timeout).await;
        response
            .and_then(|response| read_quotes(&response.body, &convert).map_err(Failure::Malformed))
            .map_err(error)
    }
}

/// The error in the body counts even on HTTP 200.
fn classify_failure(response: &HttpResponse, code: Option<i64>) -> Option<Failure> {
    let status = response.status.as_u16();
    if status == 200 && matches!(code, None | Some(0)) {
        return None;
    }
    Some(match (status, code.unwrap_or(0)) {
        (_, code) if status == 429 || RATE_LIMIT_CODES.contains(&code) => Failure::RateLimited {
            retry_after: retry_after(&response.headers).or_else(|| {
                let reset = header_seconds(&response.headers, RATE_LIMIT_RESET);
                reset.filter(|seconds| *seconds <= MAX_RESET)
            }),
            quota: match QUOTA_CODES.contains(&code) {
                true => Quota::Plan,
                false => Quota::Requests,
            },
        },
        (status @ 401..=403, _) => Failure::Unauthorized(status),
        (_, 1001..=1007) => Failure::Unauthorized(status),
        (status, _) if status >= 500 => Failure::Unavailable(format!("HTTP {status}")),
        (200, code) => Failure::Unavailable(format!("error code {code}")),
        (status, _) => Failure::Rejected(status),
    })
}
