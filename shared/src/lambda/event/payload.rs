//! Direct payloads: `{"address": "…"}` and the parameters of the query, under
//! the names that they have there.

use serde_json::{Map, Value};

use crate::{
    domain::{
        address::Address,
        query::{InvalidParameter, Query},
        scope::Scope,
    },
    lambda::problem::Problem,
};

/// Envelopes that a payload may be in: an EventBridge event in an SNS
/// notification in an SQS message.
const MAX_ENVELOPES: usize = 3;

/// Reads the payload in a message: the payload itself, or the SNS notification
/// or EventBridge event that it came to a queue in.
///
/// # Errors
/// When it is none, or has a bad value.
pub fn read_message(scope: Scope, message: &str) -> Result<Query, Problem> {
    let mut payload: Value = serde_json::from_str(message).map_err(|_| no_object())?;
    for _ in 0..MAX_ENVELOPES {
        payload = match &mut payload {
            Value::Object(fields) if fields.contains_key("detail-type") => {
                fields.remove("detail").unwrap_or_default()
            }
            Value::Object(fields) if is_notification(fields) => {
                let inner = fields.get("Message").and_then(Value::as_str);
                serde_json::from_str(inner.unwrap_or_default()).map_err(|_| no_object())?
            }
            _ => break,
        };
    }
    read(scope, &payload)
}

fn is_notification(fields: &Map<String, Value>) -> bool {
    fields.get("Type").and_then(Value::as_str) == Some("Notification")
}

/// Reads a payload. Values may be texts, numbers, booleans, or lists of texts
/// (`chains`); `null` counts as absent.
///
/// # Errors
/// When it is none, or has a bad value.
pub fn read(scope: Scope, payload: &Value) -> Result<Query, Problem> {
    let Value::Object(fields) = payload else {
        return Err(no_object());
    };
    let missing = || InvalidParameter::new("address", "is missing");
    let mut address = None;
    let mut parameters = Vec::new();
    for (name, value) in fields {
        if value.is_null() {
            continue;
        }
        let text = text(value)
            .ok_or_else(|| InvalidParameter::new(name, "is neither a text nor a number"))?;
        match name.as_str() {
            "address" => address = Some(text),
            _ => parameters.push((name.as_str(), text)),
        }
    }
    let address = Address::parse(&address.ok_or_else(missing)?)?;
    let parameters = parameters.iter().map(|(name, text)| (*name, text.as_str()));
    Ok(Query::parse(address, scope, parameters)?)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Some(texts?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn no_object() -> Problem {
    InvalidParameter::new("payload", "is not a JSON object with an address").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lambda::problem::Code;

    const ADDRESS: &str = "0x00000000219ab540356cbb839cbe05303d7705fa";

    fn message(payload: &Value) -> Result<Query, Code> {
        read_message(Scope::Aggregate, &payload.to_string()).map_err(|problem| problem.code)
    }

    #[test]
    fn payloads_have_the_names_of_the_query() {
        let payload = json!({
            "address": ADDRESS, "currency": "eur", "chains": ["base", "ethereum"],
            "limit": 5, "hidden": true, "min_value": 0.5, "cursor": null,
        });
        let read = message(&payload).unwrap();
        let expected = [
            ("currency", "eur"),
            ("chains", "base,ethereum"),
            ("limit", "5"),
            ("hidden", "true"),
            ("min_value", "0.5"),
        ];
        let address = Address::parse(ADDRESS).unwrap();
        let expected = Query::parse(address, Scope::Aggregate, expected).unwrap();
        assert_eq!(read, expected);
    }

    #[test]
    fn payloads_are_found_in_their_envelopes() {
        let payload = json!({"address": ADDRESS});
        let direct = message(&payload);
        assert!(direct.is_ok());
        let event = json!({"detail-type": "x", "source": "mine", "detail": payload});
        assert_eq!(message(&event), direct);
        let notification = json!({"Type": "Notification", "Message": event.to_string()});
        assert_eq!(message(&notification), direct);
    }

    #[test]
    fn bad_payloads_are_refused() {
        for (payload, code) in [
            (json!({}), Code::InvalidParameter),
            (json!([ADDRESS]), Code::InvalidParameter),
            (json!(ADDRESS), Code::InvalidParameter),
            (json!({"address": "0x12"}), Code::InvalidAddress),
            (json!({"address": 7}), Code::InvalidAddress),
            (json!({"address": {}}), Code::InvalidParameter),
            (
                json!({"address": ADDRESS, "curency": "usd"}),
                Code::InvalidParameter,
            ),
            (
                json!({"address": ADDRESS, "limit": 0}),
                Code::InvalidParameter,
            ),
            (
                json!({"address": ADDRESS, "chains": [1]}),
                Code::InvalidParameter,
            ),
            (
                json!({"Type": "Notification", "Message": "hello"}),
                Code::InvalidParameter,
            ),
        ] {
            assert_eq!(message(&payload), Err(code), "{payload}");
        }
        assert!(read_message(Scope::Defi, "not json").is_err());
    }
}
