//! DeFiLlama: prices of tokens that CoinMarketCap does not list, by chain and
//! contract, in US dollars. No key is needed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Attempts, Failure, HttpClient, Provider, Quota, Quote, QuoteProvider, QuoteTerms,
    UpstreamError,
    call_policy::CallPolicy,
    http::{retry_after, send},
    lenient::{describe, lenient, number},
};
use crate::{
    clock::{Clock, Timestamp},
    config::Config,
    domain::{
        chain::Chain,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        identifier::MAX_TEXT,
        price::RejectReason,
        price_book::QuoteId,
    },
};

/// What it takes and gives.
pub const TERMS: QuoteTerms = QuoteTerms {
    // More than about 250 make the URL too long.
    per_request: 100,
    per_answer: 300,
    dollars_only: true,
    // It has a price of any token that is traded somewhere.
    curated: false,
    // Its own data move every five minutes.
    min_ttl: Duration::from_secs(300),
    // Thinly traded tokens are priced seldom.
    max_quote_age: Duration::from_secs(4 * 3600),
};
/// How old a price may be, in the service's own words.
const SEARCH_WIDTH: &str = "4h";
/// The service rates its own prices from 0 to 1; what is below this is a guess.
const LEAST_CONFIDENCE: Decimal = Decimal::half();

/// Returns what it calls a token: `chain:contract`, for native coins with the
/// zero address, on Solana with the wrapped coin's.
pub fn id_of(holdings: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
    let chain = chain_of(holdings, token)?;
    let native = match chain {
        "solana" => "So11111111111111111111111111111111111111112",
        _ => "0x0000000000000000000000000000000000000000",
    };
    let mut buffer = [0; MAX_TEXT];
    let contract = holdings.contract(token, native, &mut buffer)?;
    Some(QuoteId::Text([chain, ":", &contract].concat()))
}

/// Returns whether a token has an id, without making it.
pub fn knows(holdings: &Holdings<'_>, token: &Token<'_>) -> bool {
    chain_of(holdings, token).is_some() && holdings.has_contract(token)
}

fn chain_of(holdings: &Holdings<'_>, token: &Token<'_>) -> Option<&'static str> {
    Some(Chain::by_id(holdings.chain(token))?.defillama)
}

/// The client.
pub struct DefiLlama {
    http: HttpClient,
    base: Url,
    call_policy: CallPolicy,
}

impl DefiLlama {
    /// Returns a client of the service at `base`.
    pub fn new(http: HttpClient, base: Url, config: &Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            base,
            call_policy: CallPolicy::new(
                Provider::DefiLlama,
                config.upstream_concurrency,
                config.price_timeout,
                clock,
            ),
        }
    }

    async fn batch(&self, ids: &[QuoteId], timeout: Duration) -> Result<Vec<Quote>, Failure> {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut url = self.base.clone();
        let path = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{path}/prices/current/{}", names.join(",")));
        url.set_query(Some(&format!("searchWidth={SEARCH_WIDTH}")));
        let attempt = |left| {
            let request = self.http.get(url.clone());
            let request = request.header("accept", "application/json");
            async move {
                let response = send(request, left).await?;
                match response.status.as_u16() {
                    200 => read_prices(&response.body).map_err(Failure::Malformed),
                    429 => Err(Failure::RateLimited {
                        retry_after: retry_after(&response.headers),
                        quota: Quota::Requests,
                    }),
                    status if status >= 500 => Err(Failure::Unavailable(format!("HTTP {status}"))),
                    status => Err(Failure::Rejected(status)),
                }
            }
        };
        self.call_policy.call(timeout, Attempts::Two, attempt).await
    }
}

#[async_trait]
impl QuoteProvider for DefiLlama {
    fn provider(&self) -> Provider {
        Provider::DefiLlama
    }

    fn terms(&self) -> QuoteTerms {
        TERMS
    }

    fn id(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        id_of(holdings, token)
    }

    fn knows(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> bool {
        knows(holdings, token)
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        _: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        let answered = self.batch(ids, timeout).await;
        answered.map_err(|failure| UpstreamError {
            upstream: Provider::DefiLlama,
            failure,
        })
    }
}

#[derive(Deserialize)]
struct Envelope<'b> {
    #[serde(borrow)]
    coins: HashMap<String, &'b RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireCoin {
    #[serde(deserialize_with = "number")]
    price: Option<Decimal>,
    #[serde(deserialize_with = "lenient")]
    timestamp: Option<i64>,
    #[serde(deserialize_with = "number")]
    confidence: Option<Decimal>,
}

/// Reads an answer. Unknown tokens are left out of it; a price that is null,
/// zero or negative, or that the service itself does not trust, is none.
///
/// # Errors
/// When the body is not an answer.
pub fn read_prices(body: &[u8]) -> Result<Vec<Quote>, String> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    let quotes = envelope.coins.into_iter().filter_map(|(key, raw)| {
        let coin: WireCoin = serde_json::from_str(raw.get()).ok()?;
        let trusted = coin
            .confidence
            .is_none_or(|confidence| confidence.at_least(LEAST_CONFIDENCE));
        Some(Quote {
            id: QuoteId::Text(key),
            change_24h_percent: None,
            price: match coin.price.filter(|price| price.is_positive()) {
                Some(price) if trusted => Ok(price),
                Some(_) => Err(RejectReason::LowConfidence),
                None => Err(RejectReason::NotPositive),
            },
            as_of: coin
                .timestamp
                .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
        })
    });
    Ok(quotes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<(String, String)> {
        let mut read: Vec<_> = read_prices(body.as_bytes())
            .unwrap()
            .into_iter()
            .map(|quote| match quote.price {
                Ok(price) => (quote.id.to_string(), price.to_string()),
                Err(refusal) => (quote.id.to_string(), format!("{refusal:?}")),
            })
            .collect();
        read.sort();
        read
    }

    #[test]
    fn reads_prices_and_refuses_guesses() {
        let body = r#"{"coins":{
            "base:0xA":{"decimals":18,"symbol":"A","price":1.5,"timestamp":1775055544,"confidence":0.99},
            "base:0xB":{"symbol":"B","price":20,"timestamp":1775055544,"confidence":1},
            "base:0xC":{"symbol":"C","price":3,"timestamp":1775055544,"confidence":0.2},
            "base:0xD":{"symbol":"D","price":0,"confidence":0.9},
            "base:0xE":{"symbol":"E","price":null},
            "base:0xF":{"price":7},
            "base:0x1":null}}"#;
        let expected = [
            ("base:0xA", "1.5"),
            ("base:0xB", "20"),
            ("base:0xC", "LowConfidence"),
            ("base:0xD", "NotPositive"),
            ("base:0xE", "NotPositive"),
            ("base:0xF", "7"),
        ];
        assert_eq!(
            read(body),
            expected.map(|(key, price)| (key.to_owned(), price.to_owned()))
        );
        assert_eq!(read(r#"{"coins":{}}"#), []);
    }

    #[test]
    fn refuses_what_is_no_answer() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"coins":null}"#,
            "Bad gateway",
            r#"{"coins":{"a":"#,
        ] {
            assert!(read_prices(body.as_bytes()).is_err(), "{body}");
        }
    }
}
