//! The Lambda functions from event to envelope.

mod ports;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portfolio::{
    domain::scope::Scope,
    lambda::{
        Invocation, QueryFunction,
        event::{self, Event},
    },
};
use serde_json::{Value, value::RawValue};

/// What may be answered while nothing fails. A 500 would be a panic that was
/// caught.
const EXPECTED: [u64; 6] = [200, 204, 304, 400, 404, 405];

/// Any bytes as an event: no JSON, no event of a known trigger, or an HTTP
/// request that is answered.
pub fn event(bytes: &[u8]) {
    let Ok(event) = serde_json::from_slice::<&RawValue>(bytes) else {
        return;
    };
    answer(event);
}

/// Answers an event: a status for HTTP, what it is for the others, nothing for
/// one of no known trigger.
fn answer(event: &RawValue) -> Option<String> {
    let decoded = event::decode(event).ok();
    let path = match &decoded {
        Some(Event::Http(request, _)) => Some(request.path.as_str()),
        _ => None,
    };
    let head = matches!(&decoded, Some(Event::Http(request, _)) if request.method == "HEAD");
    let leaf = path.and_then(|path| path.trim_end_matches('/').rsplit('/').next());
    let scope = leaf.and_then(Scope::parse).unwrap_or(Scope::Aggregate);

    let function = QueryFunction::new(ports::handler(scope));
    let invocation = Invocation {
        id: "invocation".to_owned(),
        deadline: None,
        ..Invocation::default()
    };
    let reply = ports::block_on(function.handle(event, &invocation));
    let reply = match (decoded, reply) {
        (None, reply) => {
            assert_eq!(reply.expect_err("refused").error_type, "unknown_event");
            return None;
        }
        (Some(Event::Http(..)), reply) => reply.expect("HTTP is always answered"),
        (Some(Event::Queue(messages)), reply) => {
            let reply: Value = json(&reply.expect("a queue is always answered"));
            let back = reply["batchItemFailures"].as_array().expect("a list");
            assert!(back.len() <= messages.len());
            return Some("queue".to_owned());
        }
        (Some(other), reply) => {
            let refused = ["invalid_address", "invalid_parameter"];
            if let Err(error) = &reply {
                assert!(refused.contains(&error.error_type.as_str()), "{error:?}");
            }
            let kind = match other {
                Event::Direct(_) => "direct",
                _ => "notice",
            };
            return Some(kind.to_owned());
        }
    };
    let reply = json(&reply);
    let status = reply["statusCode"].as_u64().expect("a status");
    assert!(EXPECTED.contains(&status), "{reply}");
    let body = body(&reply);
    match status {
        _ if head => assert_eq!(body, Value::Null),
        204 | 304 => assert_eq!(body, Value::Null),
        200 => assert!(body["totals"].is_object(), "{body}"),
        _ => assert_eq!(body["status"], status, "{body}"),
    }
    Some(status.to_string())
}

fn json(reply: &RawValue) -> Value {
    serde_json::from_str(reply.get()).expect("JSON")
}

/// The body as a client reads it.
fn body(reply: &Value) -> Value {
    let Some(text) = reply["body"].as_str() else {
        return Value::Null;
    };
    let bytes = match reply["isBase64Encoded"] == true {
        true => STANDARD.decode(text).expect("base64"),
        false => text.as_bytes().to_vec(),
    };
    let plain = match encoding(reply) {
        Some("zstd") => zstd::stream::decode_all(&*bytes).expect("zstd"),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&*bytes);
            std::io::Read::read_to_end(&mut decoder, &mut plain).expect("gzip");
            plain
        }
        _ => bytes,
    };
    serde_json::from_slice(&plain).expect("a JSON body")
}

fn encoding(reply: &Value) -> Option<&str> {
    let name = "content-encoding";
    let single = reply["headers"][name].as_str();
    single.or_else(|| reply["multiValueHeaders"][name][0].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_are_answered_as_their_names_say() {
        let mut seen = Vec::new();
        for (name, bytes) in seeds::of("lambda_event") {
            event(&bytes);
            let raw: &RawValue = serde_json::from_slice(&bytes).expect("JSON");
            let status = answer(raw).unwrap_or("none".to_owned());
            assert!(
                name.starts_with(&status),
                "{name} is answered with {status}"
            );
            seen.push(status);
        }
        for status in [
            "200", "204", "400", "404", "405", "direct", "queue", "notice", "none",
        ] {
            assert!(seen.iter().any(|one| one == status), "{status}");
        }
    }

    /// What is too long for libFuzzer to come by.
    #[test]
    fn an_event_of_many_headers_is_answered() {
        let headers = (0..1000).map(|number| (format!("x-{number}"), Value::from("1")));
        let headers: serde_json::Map<String, Value> = headers.collect();
        let path = format!("/v1/wallets/{}/wallet", crate::ADDRESS);
        let event = serde_json::json!({
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "headers": headers,
            "requestContext": {"http": {"method": "GET"}, "timeEpoch": 1},
            "isBase64Encoded": false,
        });
        let event = to_raw_value(&event).expect("JSON");
        assert_eq!(answer(&event).as_deref(), Some("200"));
    }
}
