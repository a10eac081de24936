//! Zerion: what a wallet holds, with prices, in one request.
//!
//! `GET /v1/wallets/{address}/positions/`. The documented answer is whole;
//! should `links.next` ever appear, it is followed on the same host.

mod row;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use reqwest::{Url, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Attempts, Failure, FetchedStructure, HoldingsProvider, HttpClient, Provider, Quota,
    UpstreamError,
    call_policy::CallPolicy,
    http::{HttpResponse, header_seconds, retry_after, send},
    key_rotation::with_rotated_key,
};
use crate::{
    aws::secrets::KeyRing,
    clock::Clock,
    config::Config,
    domain::{
        address::{Address, Family},
        currency::Currency,
        holdings_builder::HoldingsBuilder,
        scope::{Part, Scope},
    },
};

pub use self::row::read_page;

/// Pages that are followed before an answer is given up as endless.
const MAX_PAGES: usize = 100;

/// The client.
pub struct Zerion {
    http: HttpClient,
    base: Url,
    keys: Arc<KeyRing>,
    call_policy: CallPolicy,
}

impl Zerion {
    /// A client as configured.
    pub fn new(
        http: HttpClient,
        config: &Config,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (concurrency, usual) = (config.upstream_concurrency, config.zerion_timeout);
        Self {
            http,
            base: config.zerion.base.clone(),
            keys,
            call_policy: CallPolicy::new(Provider::Zerion, concurrency, usual, clock),
        }
    }

    async fn page(
        &self,
        url: Url,
        key: &SecretString,
        timeout: Duration,
    ) -> Result<HttpResponse, Failure> {
        let request = self
            .http
            .get(url)
            .basic_auth(key.expose_secret(), Some(""))
            .header("accept", "application/json");
        let response = send(request, timeout).await?;
        match classify_failure(&response) {
            Some(failure) => Err(failure),
            None => Ok(response),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "within one request")]
    async fn pages(
        &self,
        first: Url,
        only: Option<Part>,
        key: SecretString,
        timeout: Duration,
    ) -> Result<FetchedStructure, Failure> {
        let mut draft = HoldingsBuilder::default();
        let mut url = first.clone();
        // Within one request: the sandbox does not freeze here.
        let until = Instant::now() + timeout;
        for page in 0..MAX_PAGES {
            let left = until.saturating_duration_since(Instant::now());
            let response = match self.page(url.clone(), &key, left).await {
                Ok(response) => response,
                Err(failure) if page == 0 => return Err(failure),
                // What the first pages hold is still worth showing, marked.
                Err(failure) => {
                    tracing::warn!(%failure, page, "a further page of positions could not be fetched");
                    return Ok(FetchedStructure {
                        draft,
                        complete: false,
                    });
                }
            };
            let summary = match read_page(&response.body, only, &mut draft) {
                Ok(summary) => summary,
                Err(error) if page == 0 => return Err(Failure::Malformed(error)),
                Err(_) => {
                    return Ok(FetchedStructure {
                        draft,
                        complete: false,
                    });
                }
            };
            if summary.unreadable > 0 {
                tracing::warn!(rows = summary.unreadable, "positions could not be read");
                return Ok(FetchedStructure {
                    draft,
                    complete: false,
                });
            }
            let Some(next) = summary.next else {
                return Ok(FetchedStructure {
                    draft,
                    complete: true,
                });
            };
            // The key goes with the request: nowhere but to the same host.
            match first.join(&next) {
                Ok(next) if next.origin() == first.origin() && next != url => url = next,
                _ => break,
            }
        }
        Ok(FetchedStructure {
            draft,
            complete: false,
        })
    }
}

#[async_trait]
impl HoldingsProvider for Zerion {
    async fn fetch(
        &self,
        address: &Address,
        scope: Scope,
        currency: Currency,
        timeout: Duration,
        attempts: Attempts,
    ) -> Result<FetchedStructure, UpstreamError> {
        let (filter, only) = filter(address, scope);
        let url = url(&self.base, address, filter, currency);
        let call = |key: SecretString, left| {
            let url = &url;
            self.call_policy.call(left, attempts, move |left| {
                self.pages(url.clone(), only, key.clone(), left)
            })
        };
        with_rotated_key(&self.keys, Provider::Zerion, timeout, call)
            .await
            .map_err(|failure| UpstreamError {
                upstream: Provider::Zerion,
                failure,
            })
    }
}

/// The value of `filter[positions]`, and the part that its answer belongs to.
/// Solana is asked for plain balances alone: it has nothing else there yet.
fn filter(address: &Address, scope: Scope) -> (&'static str, Option<Part>) {
    match (scope, address.family()) {
        (Scope::Wallet, _) | (_, Family::Solana) => ("only_simple", Some(Part::Wallet)),
        (Scope::Defi, Family::Evm) => ("only_complex", Some(Part::Defi)),
        (Scope::Aggregate, Family::Evm) => ("no_filter", None),
    }
}

/// Trash is asked for as well: `hidden=true` lists it without a new request.
fn url(base: &Url, address: &Address, filter: &str, currency: Currency) -> Url {
    let mut url = base.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{path}/v1/wallets/{address}/positions/"));
    url.set_query(Some(&format!(
        "filter%5Bpositions%5D={filter}&filter%5Btrash%5D=no_filter&currency={currency}"
    )));
    url
}

fn classify_failure(response: &HttpResponse) -> Option<Failure> {
    let headers = &response.headers;
    Some(match response.status.as_u16() {
        200 => return None,
        202 => Failure::Preparing {
            retry_after: retry_after(headers).or(Some(Duration::from_secs(3))),
        },
        // The address was checked before: unless a parameter of ours is what
        // it does not like, it does not track the wallet (contracts, exchanges,
        // burn addresses).
        400 if names_a_parameter(&response.body) => Failure::Rejected(400),
        400 => Failure::NotTrackable,
        status @ (401..=403) => Failure::Unauthorized(status),
        429 => Failure::RateLimited {
            retry_after: rate_limit_reset(headers),
            quota: Quota::Requests,
        },
        503 if retry_after(headers).is_some() => Failure::Preparing {
            retry_after: retry_after(headers),
        },
        status @ 500.. => Failure::Unavailable(format!("HTTP {status}")),
        status => Failure::Rejected(status),
    })
}

/// Whether an error, `{"errors": [{"title", "detail"}]}`, speaks of one of the
/// parameters that we send.
fn names_a_parameter(body: &[u8]) -> bool {
    let said = String::from_utf8_lossy(body).to_lowercase();
    ["currency", "filter"]
        .iter()
        .any(|word| said.contains(word))
}

/// Zerion sends no `Retry-After` with 429 but says when each limit resets; a
/// used-up day or month counts before the second.
fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    if let Some(told) = retry_after(headers) {
        return Some(told);
    }
    for period in ["month", "day"] {
        let remaining = header_seconds(headers, &format!("ratelimit-org-{period}-remaining"));
        if remaining == Some(Duration::ZERO) {
            return header_seconds(headers, &format!("ratelimit-org-{period}-reset"));
        }
    }
    header_seconds(headers, "ratelimit-org-second-reset")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_as_documented() {
        let evm = Address::parse(&format!("0x{}", "ab".repeat(20))).unwrap();
        let base = Url::parse("https://api.zerion.io").unwrap();
        let (filter, only) = filter(&evm, Scope::Aggregate);
        assert_eq!(only, None);
        assert_eq!(
            url(&base, &evm, filter, Currency::USD).as_str(),
            "https://api.zerion.io/v1/wallets/0xabababababababababababababababababababab/positions/\
             ?filter%5Bpositions%5D=no_filter&filter%5Btrash%5D=no_filter&currency=usd"
        );
    }

    #[test]
    fn asks_solana_for_balances_only() {
        let solana = Address::parse("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v").unwrap();
        assert_eq!(
            filter(&solana, Scope::Aggregate),
            ("only_simple", Some(Part::Wallet))
        );
        assert_eq!(
            filter(&solana, Scope::Wallet),
            ("only_simple", Some(Part::Wallet))
        );
    }

    #[test]
    fn waits_as_long_as_the_used_up_limit_says() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-org-second-reset", "1".parse().unwrap());
        assert_eq!(rate_limit_reset(&headers), Some(Duration::from_secs(1)));
        headers.insert("ratelimit-org-day-remaining", "0".parse().unwrap());
        headers.insert("ratelimit-org-day-reset", "3600".parse().unwrap());
        assert_eq!(rate_limit_reset(&headers), Some(Duration::from_secs(3600)));
        headers.insert("retry-after", "7".parse().unwrap());
        assert_eq!(rate_limit_reset(&headers), Some(Duration::from_secs(7)));
    }
}
