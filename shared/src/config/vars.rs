//! Single variables: texts, numbers, choices, URLs.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use thiserror::Error;

use super::ca_bundle::CaBundle;
use crate::domain::provider::{FALLBACKS, Fallback, Provider};

/// Where variables come from; tests pass their own.
pub type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// A variable with a value that cannot be used.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong. Never holds the value of a secret.
    pub reason: String,
}

/// An upstream service that needs a key.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Where it is.
    pub base: Url,
    /// Its key; `SecretString` keeps it out of logs.
    pub key: SecretString,
}

/// What a function is given where Lambda does not say.
const USUAL_MEMORY_MB: u64 = 512;

/// Variables, read and checked.
pub(super) struct Vars<'l>(pub(super) Lookup<'l>);

impl Vars<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn table_name(&self) -> Result<String, ConfigError> {
        let name = "TABLE_NAME";
        let value = self
            .get(name)
            .unwrap_or_else(|| "portfolio-cache".to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if (3..=1024).contains(&value.len()) && value.bytes().all(allowed) {
            Ok(value)
        } else {
            Err(ConfigError {
                name,
                reason: format!("'{value}' is not a DynamoDB table's name or ARN"),
            })
        }
    }

    pub(super) fn ca_bundle(&self) -> Result<Option<CaBundle>, ConfigError> {
        let name = "AWS_CA_BUNDLE";
        let read = self.get(name).map(|path| CaBundle::read(&path));
        read.transpose()
            .map_err(|reason| ConfigError { name, reason })
    }

    /// The SDK's own variables: of one service, else of all.
    pub(super) fn endpoint(&self, service: &'static str) -> Result<Option<Url>, ConfigError> {
        [service, "AWS_ENDPOINT_URL"]
            .into_iter()
            .find(|name| self.get(name).is_some())
            .map(|name| self.url(name, ""))
            .transpose()
    }

    /// Reads an upstream that needs a key, which must not travel in the clear.
    pub(super) fn keyed(
        &self,
        base: &'static str,
        default: &str,
        key: &str,
        has_secret: bool,
    ) -> Result<UpstreamConfig, ConfigError> {
        let url = self.url(base, default)?;
        let key = self.get(key);
        if url.scheme() != "https" && (key.is_some() || has_secret) && !stays_here(&url) {
            return Err(ConfigError {
                name: base,
                reason: "is not an https URL, and its key would be sent in the clear".to_owned(),
            });
        }
        Ok(UpstreamConfig {
            base: url,
            key: key.unwrap_or_default().into(),
        })
    }

    pub(super) fn url(&self, name: &'static str, default: &str) -> Result<Url, ConfigError> {
        let value = self.get(name).unwrap_or_else(|| default.to_owned());
        match Url::parse(&value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            // The value may hold credentials: it is not repeated.
            _ => Err(ConfigError {
                name,
                reason: "is not an http or https URL".to_owned(),
            }),
        }
    }

    pub(super) fn number<T>(
        &self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| ConfigError {
                name,
                reason: format!(
                    "'{value}' is not a whole number from {} to {}",
                    range.start(),
                    range.end()
                ),
            })
    }

    pub(super) fn seconds(
        &self,
        name: &'static str,
        default: u64,
        least: u64,
    ) -> Result<Duration, ConfigError> {
        // Thirty days: beyond that, milliseconds since the epoch still fit.
        self.number(name, default, least..=2_592_000)
            .map(Duration::from_secs)
    }

    pub(super) fn millis(&self, name: &'static str, default: u64) -> Result<Duration, ConfigError> {
        self.number(name, default, 1..=900_000)
            .map(Duration::from_millis)
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.choice(name, &[("false", false), ("true", true)])
    }

    /// Returns the memory for copies of wallets and answers, in bytes.
    pub(super) fn memory_cache_bytes(&self) -> Result<u64, ConfigError> {
        let lambda = self.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        let memory = lambda.and_then(|text| text.parse().ok());
        let quarter = memory.unwrap_or(USUAL_MEMORY_MB) / 4;
        let megabytes = self.number("IN_PROCESS_CACHE_MB", quarter, 0..=10_240)?;
        Ok(megabytes << 20)
    }

    /// Returns the provider of what CoinMarketCap does not list, and its address.
    pub(super) fn price_fallback(&self) -> Result<Option<(Provider, Url)>, ConfigError> {
        let names = FALLBACKS.iter().map(|it| (it.provider.as_str(), Some(it)));
        let choices: Vec<_> = names.chain([("none", None)]).collect();
        let chosen = self.choice("PRICE_FALLBACK", &choices)?;
        let of = |it: &Fallback| Ok((it.provider, self.url(it.variable, it.address)?));
        chosen.map(of).transpose()
    }

    /// Reads one of several words; the first choice is the default.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(choices[0].1);
        };
        choices
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                ConfigError {
                    name,
                    reason: format!("'{value}' is not one of {}", words.join(", ")),
                }
            })
    }
}

/// Says whether requests to `url` do not leave this machine.
///
/// Besides loopback these are the unspecified addresses, which are what a local
/// server that listens everywhere gives as its own, and the name by which
/// containers reach the machine that they run on (SAM local does). That name is
/// made up by the container engine and ends in a domain that is reserved for
/// private use, so that no public name server can lead it elsewhere; the
/// bridge's own address would differ from machine to machine.
fn stays_here(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => matches!(host, "localhost" | "host.docker.internal"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(&|name| {
            let (_, value) = vars.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn a_key_does_not_travel_in_the_clear() {
        let keys = [
            ("ZERION_API_KEY", "zk_secret"),
            ("CMC_API_KEY", "hush"),
            ("UPSTREAM_SECRET_ARN", "arn:aws:secretsmanager:x"),
        ];
        for (base, key) in [
            ("ZERION_BASE_URL", keys[0]),
            ("CMC_BASE_URL", keys[1]),
            ("ZERION_BASE_URL", keys[2]),
            ("CMC_BASE_URL", keys[2]),
        ] {
            for url in [
                "http://example.com",
                "http://10.0.0.1:8001",
                "http://128.0.0.1",
                "http://[::2]",
                "http://localhost.example.com",
                "http://127.0.0.1.example.com",
                "http://docker.internal",
            ] {
                let error = read(&[(base, url), key]).unwrap_err();
                assert_eq!(error.name, base, "{url}");
                assert!(!error.to_string().contains("secret"), "{error}");
                // Without a key there is nothing to be read on the way.
                assert!(read(&[(base, url)]).is_ok(), "{url}");
            }
            for url in [
                "https://example.com",
                "http://127.0.0.1:8001",
                "http://127.9.8.7",
                "http://[::1]:8001",
                "http://0.0.0.0:8001",
                "http://localhost:8001",
                "http://LOCALHOST",
                "http://host.docker.internal:8001",
            ] {
                assert!(read(&[(base, url), key]).is_ok(), "{url}");
            }
        }
        // The one's key is not the other's.
        let other = read(&[("ZERION_BASE_URL", "http://example.com"), keys[1]]);
        assert!(other.is_ok());
    }
}
