//! Configuration from environment variables; a bad value stops the start.

mod ca_bundle;
mod vars;

use std::time::Duration;

use reqwest::Url;

use self::vars::Vars;
pub use self::{
    ca_bundle::CaBundle,
    vars::{ConfigError, Lookup, UpstreamConfig},
};
use crate::domain::provider::Provider;

/// Which of CoinMarketCap's price endpoints is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmcPriceApi {
    /// `/v3/cryptocurrency/quotes/latest`, the current one.
    QuotesV3,
    /// `/v2/cryptocurrency/quotes/latest`, deprecated but still served.
    QuotesV2,
    /// `/v2/simple/price`: 1 credit per 250 ids instead of 100.
    SimplePriceV2,
}

/// Whether shared HTTP caches may keep answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCache {
    /// `Cache-Control: public`.
    Public,
    /// `Cache-Control: private`.
    Private,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// TABLE_NAME.
    pub table: String,
    /// AWS_ENDPOINT_URL_DYNAMODB, else AWS_ENDPOINT_URL, else AWS itself.
    pub dynamodb_endpoint: Option<Url>,
    /// AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1.
    pub region: String,
    /// AWS_CA_BUNDLE: a file of certificates that AWS's endpoints are checked
    /// with, instead of the usual ones.
    pub ca_bundle: Option<CaBundle>,
    /// UPSTREAM_SECRET_ARN: where the keys are, instead of the variables.
    pub secret_arn: Option<String>,
    /// AWS_ENDPOINT_URL_SECRETS_MANAGER, else AWS_ENDPOINT_URL, else AWS itself.
    pub secrets_endpoint: Option<Url>,
    /// ZERION_BASE_URL and ZERION_API_KEY.
    pub zerion: UpstreamConfig,
    /// CMC_BASE_URL and CMC_API_KEY.
    pub coinmarketcap: UpstreamConfig,
    /// PRICE_FALLBACK: who is asked for tokens that CoinMarketCap does not list,
    /// and at which address.
    pub price_fallback: Option<(Provider, Url)>,
    /// STRUCTURE_TTL_SECONDS and STRUCTURE_STALE_SECONDS.
    pub structure: Lifetime,
    /// PRICE_TTL_SECONDS and PRICE_STALE_SECONDS.
    pub prices: Lifetime,
    /// REQUEST_DEADLINE_MS.
    pub request_deadline: Duration,
    /// ZERION_TIMEOUT_MS, of one attempt.
    pub zerion_timeout: Duration,
    /// PRICE_TIMEOUT_MS, of one attempt.
    pub price_timeout: Duration,
    /// DYNAMODB_TIMEOUT_MS, of one operation with its attempts.
    pub dynamodb_timeout: Duration,
    /// CMC_PRICE_API.
    pub cmc_price_api: CmcPriceApi,
    /// CMC_MAX_IDS.
    pub cmc_max_ids: usize,
    /// UPSTREAM_CONCURRENCY, per upstream and process.
    pub upstream_concurrency: usize,
    /// RESPONSE_CACHE.
    pub response_cache: ResponseCache,
    /// REST_API_BINARY: whether the REST API in front, if any, has binary media
    /// types and so decodes what is compressed.
    pub rest_api_binary: bool,
    /// LOG_ADDRESSES: whether logs name wallets by their addresses instead of by
    /// fingerprints.
    pub log_addresses: bool,
    /// IN_PROCESS_CACHE_MB: memory for copies of wallets and answers; by default a
    /// quarter of AWS_LAMBDA_FUNCTION_MEMORY_SIZE, where Lambda sets it.
    pub memory_cache_bytes: u64,
    /// How watched wallets are kept fresh.
    pub refresh: RefreshConfig,
}

/// How watched wallets are kept fresh.
#[derive(Clone, Debug)]
pub struct RefreshConfig {
    /// REFRESH_QUEUE_URL: the SQS queue that they are sent through.
    pub queue_url: Option<Url>,
    /// AWS_ENDPOINT_URL_SQS, else AWS_ENDPOINT_URL, else AWS itself.
    pub queue_endpoint: Option<Url>,
    /// REFRESH_PERIOD_MINUTES: the time from one run to the next.
    pub period: Duration,
    /// REFRESH_OFTEN_ASKED: whether wallets that are asked for often are
    /// watched for a while.
    pub often_asked: bool,
    /// REFRESH_BUDGET: requests to Zerion that one run may cause.
    pub budget: usize,
}

/// How long data of one level may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Fresh for this long.
    pub ttl: Duration,
    /// And this much longer while the source fails; zero for never.
    pub stale: Duration,
}

impl Lifetime {
    /// After this, data is of no use at all.
    pub fn max_usable_age(self) -> Duration {
        self.ttl + self.stale
    }
}

impl Config {
    /// Reads the process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads configuration"
    )]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`; empty values count as unset.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let vars = Vars(lookup);
        let secret_arn = vars.get("UPSTREAM_SECRET_ARN");
        let has_secret = secret_arn.is_some();
        let keyed = |base, default, key| vars.keyed(base, default, key, has_secret);
        let request_deadline = vars.millis("REQUEST_DEADLINE_MS", 25_000)?;
        Ok(Self {
            table: vars.table_name()?,
            dynamodb_endpoint: vars.endpoint("AWS_ENDPOINT_URL_DYNAMODB")?,
            ca_bundle: vars.ca_bundle()?,
            secrets_endpoint: vars.endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
            secret_arn,
            region: vars
                .get("AWS_REGION")
                .or_else(|| vars.get("AWS_DEFAULT_REGION"))
                .unwrap_or_else(|| "us-east-1".to_owned()),
            zerion: keyed("ZERION_BASE_URL", "https://api.zerion.io", "ZERION_API_KEY")?,
            coinmarketcap: keyed(
                "CMC_BASE_URL",
                "https://pro-api.coinmarketcap.com",
                "CMC_API_KEY",
            )?,
            price_fallback: vars.price_fallback()?,
            structure: Lifetime {
                ttl: vars.seconds("STRUCTURE_TTL_SECONDS", 300, 1)?,
                stale: vars.seconds("STRUCTURE_STALE_SECONDS", 86_400, 0)?,
            },
            prices: Lifetime {
                ttl: vars.seconds("PRICE_TTL_SECONDS", 60, 1)?,
                stale: vars.seconds("PRICE_STALE_SECONDS", 900, 0)?,
            },
            request_deadline,
            // No attempt takes longer than a request may.
            zerion_timeout: vars
                .millis("ZERION_TIMEOUT_MS", 20_000)?
                .min(request_deadline),
            price_timeout: vars
                .millis("PRICE_TIMEOUT_MS", 5_000)?
                .min(request_deadline),
            dynamodb_timeout: vars.millis("DYNAMODB_TIMEOUT_MS", 1_000)?,
            cmc_price_api: vars.choice(
                "CMC_PRICE_API",
                &[
                    ("quotes-v3", CmcPriceApi::QuotesV3),
                    ("quotes-v2", CmcPriceApi::QuotesV2),
                    ("simple-price-v2", CmcPriceApi::SimplePriceV2),
                ],
            )?,
            cmc_max_ids: vars.number("CMC_MAX_IDS", 1000, 1..=5000)?,
            upstream_concurrency: vars.number("UPSTREAM_CONCURRENCY", 10, 1..=1000)?,
            response_cache: vars.choice(
                "RESPONSE_CACHE",
                &[
                    ("public", ResponseCache::Public),
                    ("private", ResponseCache::Private),
                ],
            )?,
            rest_api_binary: vars.flag("REST_API_BINARY")?,
            log_addresses: vars.flag("LOG_ADDRESSES")?,
            memory_cache_bytes: vars.memory_cache_bytes()?,
            refresh: RefreshConfig {
                queue_url: match vars.get("REFRESH_QUEUE_URL") {
                    Some(_) => Some(vars.url("REFRESH_QUEUE_URL", "")?),
                    None => None,
                },
                queue_endpoint: vars.endpoint("AWS_ENDPOINT_URL_SQS")?,
                // A message is delayed by fifteen minutes at most.
                period: Duration::from_secs(60 * vars.number("REFRESH_PERIOD_MINUTES", 5, 1..=14)?),
                often_asked: vars.flag("REFRESH_OFTEN_ASKED")?,
                budget: vars.number("REFRESH_BUDGET", 2000, 1..=1_000_000)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(&|name| {
            let (_, value) = vars.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn has_the_documented_defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.table, "portfolio-cache");
        assert_eq!(config.structure.ttl, Duration::from_secs(300));
        assert_eq!(config.structure.stale, Duration::from_secs(86_400));
        assert_eq!(config.prices.ttl, Duration::from_secs(60));
        assert_eq!(config.prices.stale, Duration::from_secs(900));
        assert_eq!(config.request_deadline, Duration::from_secs(25));
        assert_eq!(config.zerion_timeout, Duration::from_secs(20));
        assert_eq!(config.price_timeout, Duration::from_secs(5));
        assert_eq!(config.cmc_price_api, CmcPriceApi::QuotesV3);
        assert_eq!(config.cmc_max_ids, 1000);
        assert_eq!(config.upstream_concurrency, 10);
        assert!(config.dynamodb_endpoint.is_none());
        assert!(!config.log_addresses);
        assert_eq!(config.memory_cache_bytes, 128 << 20);
    }

    #[test]
    fn the_memory_cache_takes_a_quarter_of_what_lambda_gives() {
        let lambda = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024");
        let bytes = |vars: &[(&str, &str)]| read(vars).unwrap().memory_cache_bytes;
        assert_eq!(bytes(&[lambda]), 256 << 20);
        assert_eq!(bytes(&[lambda, ("IN_PROCESS_CACHE_MB", "0")]), 0);
        assert_eq!(
            bytes(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "?")]),
            128 << 20
        );
    }

    #[test]
    fn names_the_variable_of_a_bad_value() {
        for (name, value) in [
            ("TABLE_NAME", "a b"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000"),
            ("ZERION_BASE_URL", "ftp://x"),
            ("CMC_BASE_URL", "nonsense"),
            ("PRICE_FALLBACK", "coingecko"),
            ("STRUCTURE_TTL_SECONDS", "0"),
            ("PRICE_TTL_SECONDS", "-1"),
            ("PRICE_STALE_SECONDS", "1.5"),
            ("REQUEST_DEADLINE_MS", "0"),
            ("ZERION_TIMEOUT_MS", "soon"),
            ("PRICE_TIMEOUT_MS", "99999999999"),
            ("DYNAMODB_TIMEOUT_MS", "-5"),
            ("REFRESH_QUEUE_URL", "portfolio-refresh"),
            ("REFRESH_PERIOD_MINUTES", "15"),
            ("REFRESH_BUDGET", "0"),
            ("CMC_PRICE_API", "v3"),
            ("CMC_MAX_IDS", "0"),
            ("UPSTREAM_CONCURRENCY", "0"),
            ("IN_PROCESS_CACHE_MB", "-1"),
            ("RESPONSE_CACHE", "none"),
            ("REST_API_BINARY", "1"),
            ("LOG_ADDRESSES", "yes"),
            ("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
            ("AWS_CA_BUNDLE", file!()),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(error.to_string().starts_with(name));
        }
    }

    #[test]
    fn never_prints_a_key() {
        let config = read(&[("ZERION_API_KEY", "zk_secret"), ("CMC_API_KEY", "hush")]).unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("zk_secret") && !printed.contains("hush"));
    }
}
