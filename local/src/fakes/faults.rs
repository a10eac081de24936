//! Faults on demand: wrong statuses, broken bodies and slow answers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::coinmarketcap::status::error_body;
use portfolio::domain::provider::Provider;

/// What padding is made of.
static PADDING: [u8; 65_536] = [b' '; 65_536];
/// For how long a body stalls.
const STALL: Duration = Duration::from_secs(60);

/// What goes wrong with the answers of one service. With neither `status` nor `body` the
/// answer is the right one, late and with the extra headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The status of the answer; 200 for a fault with a body alone.
    #[serde(default)]
    pub status: Option<u16>,
    /// How long the answer waits.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// How many requests it meets; without it every request until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// It meets requests alone whose path contains this.
    #[serde(default)]
    pub path: Option<String>,
    /// It meets every n-th request alone; without it all of them.
    #[serde(default)]
    pub every: Option<u32>,
    /// Headers to add to the answer, or to replace in it.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; without it the one the service documents for the status.
    #[serde(default)]
    pub body: Option<String>,
    /// After how many bytes of the body nothing more comes, for a minute.
    #[serde(default)]
    pub stall_after: Option<usize>,
    /// How many spaces come before the body.
    #[serde(default)]
    pub padding: Option<usize>,
    /// After how many bytes of the body the connection breaks off.
    #[serde(default)]
    pub cut_after: Option<usize>,
}

impl Fault {
    /// A fault that answers with this status.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// What is wrong with the fault itself, in words.
    fn problem(&self) -> Option<String> {
        if let Some(status) = self.status
            && !(200..=599).contains(&status)
        {
            return Some(format!("status must be from 200 to 599, not {status}"));
        }
        for (name, count) in [("times", self.times), ("every", self.every)] {
            if count == Some(0) {
                return Some(format!("{name} must be at least 1"));
            }
        }
        self.headers.iter().find_map(|(name, value)| {
            let valid =
                HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value.as_str()).is_ok();
            (!valid).then(|| format!("{name:?} with {value:?} is not a valid header"))
        })
    }

    /// How long the answer waits.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or(0))
    }

    /// The response that replaces the right one; `None` if the right one is to be sent.
    pub fn canned_response(&self, upstream: Provider) -> Option<Response> {
        if self.status.is_none() && self.body.is_none() {
            return None;
        }
        let status = self
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::OK);
        let body = self
            .body
            .clone()
            .unwrap_or_else(|| documented_body(upstream, status));
        let kind = if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok() {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        let mut response = (status, [(CONTENT_TYPE, kind)], body).into_response();
        if upstream == Provider::Zerion && status == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from_static("10");
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        Some(response)
    }

    /// Makes the answer's body too long, or stop, or its connection break off,
    /// if that is the fault.
    pub async fn corrupt(&self, response: Response) -> Response {
        let ends = self.cut_after.or(self.stall_after);
        if ends.is_none() && self.padding.is_none() {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let kept = body.slice(..ends.unwrap_or(body.len()).min(body.len()));
        let padding = self.padding.unwrap_or(0).div_ceil(PADDING.len());
        let padding = stream::repeat(Bytes::from_static(&PADDING)).take(padding);
        let stalls = self.stall_after.is_some();
        let end = stream::once(async move {
            if stalls {
                tokio::time::sleep(STALL).await;
            }
            Err(std::io::Error::other("broken off"))
        });
        let end = end.take(usize::from(ends.is_some()));
        let pieces = padding.chain(stream::iter([kept])).map(Ok).chain(end);
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, Body::from_stream(pieces))
    }

    /// Sets the headers of the fault.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(name),
                HeaderValue::try_from(value.as_str()),
            ) {
                headers.insert(name, value);
            }
        }
    }
}

/// The faults in force.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    set: HashMap<Provider, Fault>,
    requests: HashMap<Provider, u32>,
}

impl Faults {
    /// Sets or clears the fault of a service.
    pub fn set(&mut self, upstream: Provider, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.set.insert(upstream, fault),
            None => self.set.remove(&upstream),
        };
    }

    /// The fault for the next request to this path, counted down; `None` for no fault.
    pub fn next(&mut self, upstream: Provider, path: &str) -> Option<Fault> {
        let fault = self.set.get_mut(&upstream)?;
        let elsewhere = |part: &String| !path.contains(part);
        if fault.path.as_ref().is_some_and(elsewhere) {
            return None;
        }
        let number = self.requests.entry(upstream).or_default();
        *number = number.wrapping_add(1);
        if fault
            .every
            .is_some_and(|every| !number.is_multiple_of(every))
        {
            return None;
        }
        let taken = fault.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.set.remove(&upstream);
            }
        }
        Some(taken)
    }
}

/// Reads `{"zerion": {…}, "coinmarketcap": null}`; a service that is not named stays as it is.
pub fn parse(body: &[u8]) -> Result<Vec<(Provider, Option<Fault>)>, String> {
    let services: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("not a JSON object: {error}"))?;
    services
        .into_iter()
        .map(|(name, value)| {
            let upstream = Provider::by_name(&name).ok_or_else(|| {
                format!("unknown service {name:?}, known are zerion, coinmarketcap and defillama")
            })?;
            let fault: Option<Fault> =
                serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
            match fault.as_ref().and_then(Fault::problem) {
                Some(problem) => Err(format!("{name}: {problem}")),
                None => Ok((upstream, fault)),
            }
        })
        .collect()
}

/// The body the service documents for a status.
fn documented_body(upstream: Provider, status: StatusCode) -> String {
    let code = status.as_u16();
    match upstream {
        Provider::Zerion => {
            let (title, detail) = match code {
                202 => return json!({"links": {"self": ""}, "data": []}).to_string(),
                401 => (
                    "Unauthorized Error",
                    "The API key is invalid, please, make sure that you are using a valid key",
                ),
                402 => ("Payment Required", "Payment is required for this request"),
                429 => ("Too many requests", "Your request had been throttled"),
                503 => (
                    "Service is temporarily unavailable",
                    "Please, retry later (check the Retry-After header)",
                ),
                _ => ("Error", status.canonical_reason().unwrap_or("Unknown")),
            };
            json!({"errors": [{"title": title, "detail": detail}]}).to_string()
        }
        Provider::CoinMarketCap => {
            let (error_code, message) = match code {
                401 => (1001, "This API Key is invalid."),
                402 => (1003, "Your API Key must be activated."),
                403 => (
                    1006,
                    "Your API Key subscription plan doesn't support this endpoint.",
                ),
                429 => (
                    1008,
                    "You've exceeded your API Key's HTTP request rate limit. Rate limits reset every minute.",
                ),
                500 => (500, "An internal server error occurred."),
                _ => (
                    i64::from(code),
                    status.canonical_reason().unwrap_or("Unknown"),
                ),
            };
            error_body(error_code.into(), message).to_string()
        }
        Provider::DefiLlama => status.canonical_reason().unwrap_or("Unknown").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends() {
        let mut faults = Faults::default();
        let twice = Fault {
            times: Some(2),
            ..Fault::status(503)
        };
        faults.set(Provider::Zerion, Some(twice));
        assert!(faults.next(Provider::Zerion, "/").is_some());
        assert!(faults.next(Provider::DefiLlama, "/").is_none());
        assert!(faults.next(Provider::Zerion, "/").is_some());
        assert!(faults.next(Provider::Zerion, "/").is_none());
    }

    #[test]
    fn faults_are_read_strictly() {
        let read = parse(br#"{"zerion": {"status": 503, "times": 3}, "coinmarketcap": null}"#);
        assert_eq!(read.map(|faults| faults.len()), Ok(2));
        for (body, part) in [
            (&br#"{"zerion": {"statu": 503}}"#[..], "unknown field"),
            (br#"{"opensea": null}"#, "unknown service"),
            (br#"{"zerion": {"status": 42}}"#, "200 to 599"),
            (br#"{"zerion": {"times": 0}}"#, "at least 1"),
            (br#"{"zerion": {"headers": {"a b": "c"}}}"#, "valid header"),
            (b"[]", "not a JSON object"),
        ] {
            let problem = parse(body).expect_err("refused");
            assert!(problem.contains(part), "{problem}");
        }
    }
}
