//! Events as Lambda delivers them, decoded by their shape.

pub mod http;
pub mod payload;
mod unknown;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use self::http::{HttpRequest, Origin};
pub use self::unknown::UnknownEvent;

/// What started an invocation.
#[derive(Debug)]
pub enum Event<'e> {
    /// An HTTP request.
    Http(Box<HttpRequest>, Origin),
    /// A payload of a caller that invokes the function itself: an SDK,
    /// Step Functions, a schedule with an input of its own.
    Direct(&'e RawValue),
    /// Messages of a queue, each to be done or to come back.
    Queue(Vec<Message>),
    /// Notifications: payloads whose wallets are to be warmed.
    Notifications(Vec<String>),
}

/// A message of an SQS queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, by which it is returned to the queue.
    pub id: String,
    /// Its body, meant to be a payload.
    pub body: String,
}

/// What tells one shape from another.
#[derive(Deserialize)]
struct Shape<'e> {
    #[serde(rename = "requestContext")]
    request_context: Option<http::Context>,
    #[serde(rename = "Records", borrow)]
    records: Option<Vec<&'e RawValue>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<IgnoredAny>,
    #[serde(borrow)]
    detail: Option<&'e RawValue>,
    address: Option<IgnoredAny>,
}

/// A record of SQS (`eventSource`) or SNS (`EventSource`).
#[derive(Deserialize)]
struct AccessLog {
    #[serde(rename = "eventSource", alias = "EventSource")]
    source: String,
    #[serde(rename = "messageId")]
    id: Option<String>,
    body: Option<String>,
    #[serde(rename = "Sns")]
    notification: Option<Notification>,
}

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Message")]
    message: String,
}

/// Decodes an event by its shape.
///
/// # Errors
/// When no trigger of these functions sends such an event.
pub fn decode(event: &RawValue) -> Result<Event<'_>, UnknownEvent> {
    let shape: Shape<'_> =
        serde_json::from_str(event.get()).map_err(|error| UnknownEvent::new(error.to_string()))?;
    if let Some(context) = &shape.request_context {
        let (request, origin) = http::decode(event, context)?;
        return Ok(Event::Http(Box::new(request), origin));
    }
    if let Some(records) = shape.records {
        return decode_records(&records);
    }
    match (shape.detail_type, shape.detail, shape.address) {
        (Some(_), Some(detail), _) => Ok(Event::Notifications(vec![detail.get().to_owned()])),
        (None, _, Some(_)) => Ok(Event::Direct(event)),
        _ => Err(UnknownEvent::new(
            "neither an HTTP request nor a payload with an address, nor records of SQS or SNS, \
             nor an EventBridge event with a detail"
                .to_owned(),
        )),
    }
}

fn decode_records<'e>(records: &[&'e RawValue]) -> Result<Event<'e>, UnknownEvent> {
    let records: Vec<AccessLog> = records
        .iter()
        .map(|record| serde_json::from_str(record.get()))
        .collect::<Result<_, _>>()
        .map_err(|error| UnknownEvent::new(format!("a record cannot be read: {error}")))?;
    let sources = || records.iter().map(|record| record.source.as_str());
    if !records.is_empty() && sources().all(|source| source == "aws:sqs") {
        // Without an id a record could not be returned.
        let message = |record: AccessLog| {
            Some(Message {
                id: record.id?,
                body: record.body.unwrap_or_default(),
            })
        };
        let messages: Option<Vec<_>> = records.into_iter().map(message).collect();
        let unnamed = || UnknownEvent::new("a record of SQS has no messageId".to_owned());
        return messages.map(Event::Queue).ok_or_else(unnamed);
    }
    if !records.is_empty() && sources().all(|source| source == "aws:sns") {
        let message = |record: AccessLog| Some(record.notification?.message);
        let messages: Option<Vec<_>> = records.into_iter().map(message).collect();
        let empty = || UnknownEvent::new("a record of SNS has no message".to_owned());
        return messages.map(Event::Notifications).ok_or_else(empty);
    }
    let source = sources().find(|source| !matches!(*source, "aws:sqs" | "aws:sns"));
    let source: String = source.unwrap_or("none or several services").to_owned();
    let source = source.chars().take(60).collect::<String>();
    Err(UnknownEvent::new(format!("records of {source}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn shape(event: &Value) -> String {
        let event = to_raw_value(event).unwrap();
        match decode(&event) {
            Ok(Event::Http(request, origin)) => format!("{origin:?} {}", request.path),
            Ok(Event::Direct(payload)) => format!("direct {payload}"),
            Ok(Event::Queue(messages)) => {
                let messages = messages.iter().map(|it| format!(" {}={}", it.id, it.body));
                format!("queue{}", messages.collect::<String>())
            }
            Ok(Event::Notifications(payloads)) => format!("notifications {}", payloads.join(" ")),
            Err(error) => format!("unknown: {error}"),
        }
    }

    #[test]
    fn events_are_told_apart() {
        let sqs = |id: &str| json!({"messageId": id, "body": "b", "eventSource": "aws:sqs"});
        let sns = json!({"EventSource": "aws:sns", "Sns": {"Message": "m"}});
        for (event, expected) in [
            (json!({"address": "a"}), r#"direct {"address":"a"}"#),
            (json!({"Records": [sqs("1"), sqs("2")]}), "queue 1=b 2=b"),
            (json!({"Records": [sns.clone()]}), "notifications m"),
            (
                json!({"source": "mine", "detail-type": "x", "detail": {"address": "a"}}),
                r#"notifications {"address":"a"}"#,
            ),
        ] {
            assert_eq!(shape(&event), expected);
        }
        for event in [
            json!({}),
            json!([]),
            json!("address"),
            json!({"adress": "a"}),
            json!({"detail-type": "x"}),
            json!({"Records": []}),
            json!({"Records": [sqs("1"), sns]}),
            json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
            json!({"Records": [{"eventSource": "aws:sqs", "body": "b"}]}),
            json!({"Records": [{"EventSource": "aws:sns"}]}),
            json!({"Records": [1]}),
            json!({"requestContext": {}}),
        ] {
            assert!(shape(&event).starts_with("unknown: "), "{event}");
        }
    }
}
