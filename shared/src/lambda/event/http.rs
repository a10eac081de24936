//! HTTP requests in their envelopes.

use std::{collections::BTreeMap, panic::catch_unwind, sync::Arc};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};

use lambda_http::{
    aws_lambda_events::{
        alb::{AlbTargetGroupRequest, AlbTargetGroupResponse},
        apigw::{
            ApiGatewayProxyRequest, ApiGatewayProxyResponse, ApiGatewayV2httpRequest,
            ApiGatewayV2httpResponse,
        },
        query_map::QueryMap,
    },
    http::{HeaderMap, Method, StatusCode},
    request::LambdaRequest,
};
use reqwest::Url;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use serde_json::value::{RawValue, to_raw_value};

use super::unknown::UnknownEvent;

/// An HTTP request, from any kind of event.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// Its method.
    pub method: Method,
    /// Its path without the stage, percent-decoded.
    pub path: String,
    /// Its parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// The id that the gateway gave it.
    pub request_id: Option<String>,
}

/// The answer to an [`HttpRequest`].
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, perhaps compressed.
    pub body: ReplyBody,
}

/// A body as an envelope carries it: a string of JSON, which holds text, or bytes in
/// base64.
#[derive(Clone, Debug, Default)]
pub struct ReplyBody {
    json: Option<Arc<RawValue>>,
    is_base64: bool,
    length: usize,
}

impl ReplyBody {
    /// Returns a body of text.
    pub fn text(text: &str) -> Self {
        Self {
            // Strings always serialise.
            json: to_raw_value(text).ok().map(Arc::from),
            is_base64: false,
            length: text.len(),
        }
    }

    /// Returns a body of anything else.
    pub fn binary(bytes: &[u8]) -> Self {
        Self {
            json: to_raw_value(&Base64(bytes)).ok().map(Arc::from),
            is_base64: true,
            length: bytes.len(),
        }
    }

    /// Returns its length in bytes, as the client gets it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns how many bytes it takes in an envelope, without quotes.
    pub fn size(&self) -> usize {
        let json = self.json.as_ref();
        json.map_or(0, |json| json.get().len().saturating_sub(2))
    }
}

/// Bytes that are written in base64.
struct Base64<'b>(&'b [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// An envelope with its body. The body is written as it stands: to look for what
/// must be escaped in it takes longer than all the rest.
#[derive(Serialize)]
struct WithBody<'b, E> {
    #[serde(flatten)]
    envelope: E,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'b RawValue>,
}

/// Which envelope an answer goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// API Gateway HTTP API and function URLs.
    ApiGatewayV2,
    /// API Gateway REST API.
    ApiGatewayV1,
    /// Application Load Balancer.
    LoadBalancer,
}

/// Decodes an HTTP event of any origin.
///
/// # Errors
/// When it is no HTTP event.
pub(super) fn decode(
    event: &RawValue,
    context: &Context,
) -> Result<(HttpRequest, Origin), UnknownEvent> {
    // A header map panics on more than 24,576 names.
    let read = catch_unwind(|| read(event, context));
    let request = read
        .map_err(|_| UnknownEvent::new("more headers than can be read".to_owned()))?
        .map_err(|error| UnknownEvent::new(error.to_string()))?;
    match request {
        LambdaRequest::ApiGatewayV2(request) => Ok((from_v2(request), Origin::ApiGatewayV2)),
        LambdaRequest::ApiGatewayV1(request) => Ok((from_v1(request), Origin::ApiGatewayV1)),
        LambdaRequest::Alb(request) => Ok((from_alb(request), Origin::LoadBalancer)),
        _ => Err(UnknownEvent::new(
            "an HTTP event of another service".to_owned(),
        )),
    }
}

/// What tells an event of an HTTP API or a function URL from others.
#[derive(Deserialize)]
pub(super) struct Context {
    http: Option<IgnoredAny>,
}

/// Reads an event. The most frequent kind is read at once, the others by trying one
/// kind after the other.
fn read(event: &RawValue, context: &Context) -> serde_json::Result<LambdaRequest> {
    if context.http.is_some()
        && let Ok(request) = serde_json::from_str(event.get())
    {
        return Ok(LambdaRequest::ApiGatewayV2(request));
    }
    serde_json::from_str(event.get())
}

fn from_v2(request: ApiGatewayV2httpRequest) -> HttpRequest {
    let context = request.request_context;
    let path = request.raw_path.unwrap_or_default();
    let query = match request.raw_query_string {
        Some(raw) => form_decode(&raw),
        None => pairs(&request.query_string_parameters),
    };
    HttpRequest {
        method: context.http.method,
        path: without_stage(&decode_path(&path), context.stage.as_deref()),
        query,
        headers: request.headers,
        request_id: context.request_id,
    }
}

fn from_v1(request: ApiGatewayProxyRequest) -> HttpRequest {
    let context = request.request_context;
    let path = request.path.unwrap_or_default();
    HttpRequest {
        method: request.http_method,
        path: without_stage(&decode_path(&path), context.stage.as_deref()),
        query: pairs(prefer(
            &request.multi_value_query_string_parameters,
            &request.query_string_parameters,
        )),
        headers: merged(request.multi_value_headers, request.headers),
        request_id: context.request_id,
    }
}

/// A load balancer hands parameters over as they stood in the URL.
fn from_alb(request: AlbTargetGroupRequest) -> HttpRequest {
    let encoded = pairs(prefer(
        &request.multi_value_query_string_parameters,
        &request.query_string_parameters,
    ));
    let raw: Vec<String> = encoded
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    HttpRequest {
        method: request.http_method,
        path: decode_path(&request.path.unwrap_or_default()),
        query: form_decode(&raw.join("&")),
        request_id: None,
        headers: merged(request.multi_value_headers, request.headers),
    }
}

/// Multi-valued parameters and headers hold all that the single-valued ones do.
fn prefer<'q>(multi: &'q QueryMap, single: &'q QueryMap) -> &'q QueryMap {
    if multi.is_empty() { single } else { multi }
}

fn merged(multi: HeaderMap, single: HeaderMap) -> HeaderMap {
    if multi.is_empty() { single } else { multi }
}

/// Ordered by name. Read through JSON: the map's own iterator panics on a
/// parameter without values.
fn pairs(query: &QueryMap) -> Vec<(String, String)> {
    let read = serde_json::to_value(query).and_then(serde_json::from_value);
    let parameters: BTreeMap<String, Vec<String>> = read.unwrap_or_default();
    let pair = |(name, values): (String, Vec<String>)| {
        values.into_iter().map(move |value| (name.clone(), value))
    };
    parameters.into_iter().flat_map(pair).collect()
}

fn form_decode(raw: &str) -> Vec<(String, String)> {
    let Ok(mut url) = Url::parse("http://query/") else {
        return Vec::new();
    };
    url.set_query(Some(raw));
    url.query_pairs().into_owned().collect()
}

/// Percent-decodes a path; what does not decode stays as it is.
fn decode_path(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    // A plus sign in a path is a plus sign.
    let raw = format!("p={}", path.replace('+', "%2B").replace('&', "%26"));
    form_decode(&raw)
        .into_iter()
        .next()
        .map_or_else(|| path.to_owned(), |(_, decoded)| decoded)
}

/// REST APIs, and HTTP APIs with a named stage, may put the stage in front of
/// the path.
fn without_stage(path: &str, stage: Option<&str>) -> String {
    let Some(stage) = stage.filter(|stage| *stage != "$default" && !stage.is_empty()) else {
        return path.to_owned();
    };
    match path
        .strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(stage))
    {
        // A stage may be called like the first segment of the path itself.
        Some(rest) if rest.starts_with("/v1/") => rest.to_owned(),
        _ => path.to_owned(),
    }
}

impl HttpReply {
    /// The answer in the envelope that `origin` expects.
    ///
    /// # Errors
    /// Never in practice: the envelopes always serialise.
    pub fn into_envelope(self, origin: Origin) -> Result<Box<RawValue>, serde_json::Error> {
        let body = self.body.json.as_deref().filter(|_| !self.body.is_empty());
        let is_base64_encoded = body.is_some() && self.body.is_base64;
        let status_code = i64::from(self.status.as_u16());
        match origin {
            Origin::ApiGatewayV2 => {
                let mut reply = ApiGatewayV2httpResponse::default();
                reply.status_code = status_code;
                reply.headers = self.headers;
                reply.is_base64_encoded = is_base64_encoded;
                to_raw_value(&WithBody {
                    envelope: reply,
                    body,
                })
            }
            Origin::ApiGatewayV1 => {
                let mut reply = ApiGatewayProxyResponse::default();
                reply.status_code = status_code;
                // Only one of the two, or each header would go out twice.
                reply.multi_value_headers = self.headers;
                reply.is_base64_encoded = is_base64_encoded;
                to_raw_value(&WithBody {
                    envelope: reply,
                    body,
                })
            }
            Origin::LoadBalancer => {
                let mut reply = AlbTargetGroupResponse::default();
                reply.status_code = status_code;
                reply.status_description = Some(self.status.to_string());
                // Which of the two counts is a setting of the target group.
                reply.headers = self.headers.clone();
                reply.multi_value_headers = self.headers;
                reply.is_base64_encoded = is_base64_encoded;
                to_raw_value(&WithBody {
                    envelope: reply,
                    body,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: Context = Context { http: None };

    #[test]
    fn takes_the_stage_off() {
        for (path, stage, expected) in [
            ("/v1/wallets/x/defi", Some("$default"), "/v1/wallets/x/defi"),
            (
                "/prod/v1/wallets/x/defi",
                Some("prod"),
                "/v1/wallets/x/defi",
            ),
            ("/v1/wallets/x/defi", Some("prod"), "/v1/wallets/x/defi"),
            ("/v1/v1/wallets/x/defi", Some("v1"), "/v1/wallets/x/defi"),
            ("/v1/wallets/x/defi", Some("v1"), "/v1/wallets/x/defi"),
            ("/other/v1/wallets/x/defi", None, "/other/v1/wallets/x/defi"),
        ] {
            assert_eq!(without_stage(path, stage), expected);
        }
    }

    #[test]
    fn an_event_of_too_many_headers_is_refused() {
        let headers = (0..24_577).map(|number| (format!("x-{number}"), "1".into()));
        let headers: serde_json::Map<String, serde_json::Value> = headers.collect();
        let event = serde_json::json!({
            "httpMethod": "GET", "requestContext": {"elb": {}}, "headers": headers,
        });
        assert!(decode(&to_raw_value(&event).unwrap(), &BALANCER).is_err());
    }

    #[test]
    fn parameters_without_values_are_left_out() {
        for name in ["queryStringParameters", "multiValueQueryStringParameters"] {
            let event = serde_json::json!({
                "httpMethod": "GET", "requestContext": {"elb": {}},
                name: {"currency": [], "limit": ["1", "2"]},
            });
            let (request, _) = decode(&to_raw_value(&event).unwrap(), &BALANCER).unwrap();
            let twice = ["1", "2"].map(|value| ("limit".to_owned(), value.to_owned()));
            assert_eq!(request.query, twice);
        }
    }

    #[test]
    fn decodes_paths_and_parameters() {
        assert_eq!(
            decode_path("/v1/wallets/a%20b+c%26/defi"),
            "/v1/wallets/a b+c&/defi"
        );
        assert_eq!(decode_path("/%zz/"), "/%zz/");
        assert_eq!(
            form_decode("chains=base%2Cethereum&limit=5&chains="),
            [("chains", "base,ethereum"), ("limit", "5"), ("chains", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
