//! Answers as clients get them, and what stands in them.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// An answer as a client gets it, decompressed.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, by lower-case name.
    pub headers: HashMap<String, String>,
    /// The body's bytes.
    pub bytes: Vec<u8>,
    /// The envelope, as the function returns it.
    pub envelope: Value,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a JSON body")
    }

    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Expects a 200 and gives its body.
    ///
    /// # Panics
    /// On any other status.
    pub fn ok(&self) -> Value {
        let body = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status, 200, "{body}");
        self.json()
    }

    /// Reads an API Gateway or load balancer envelope.
    ///
    /// # Panics
    /// When it is malformed.
    pub fn from_envelope(envelope: Value) -> Self {
        let mut headers = HashMap::new();
        let fields = envelope["headers"].as_object().into_iter().flatten();
        for (name, value) in fields {
            headers.insert(
                name.to_lowercase(),
                value.as_str().unwrap_or_default().to_owned(),
            );
        }
        let fields = envelope["multiValueHeaders"]
            .as_object()
            .into_iter()
            .flatten();
        for (name, values) in fields {
            let values: Vec<_> = values
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            headers.insert(name.to_lowercase(), values.join(", "));
        }
        let body = envelope["body"].as_str().unwrap_or_default();
        let raw = if envelope["isBase64Encoded"] == true {
            STANDARD.decode(body).expect("base64")
        } else {
            body.as_bytes().to_vec()
        };
        let bytes = match headers.get("content-encoding").map(String::as_str) {
            // HEAD has the headers of the body that it leaves out.
            _ if raw.is_empty() => raw,
            Some("zstd") => zstd::decode_all(&*raw).expect("zstd"),
            Some("gzip") => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*raw), &mut bytes)
                    .expect("gzip");
                bytes
            }
            _ => raw,
        };
        Self {
            status: u16::try_from(envelope["statusCode"].as_u64().expect("a status"))
                .expect("a status"),
            headers,
            bytes,
            envelope,
        }
    }
}

/// The seconds of an answer's `max-age`.
///
/// # Panics
/// When there is none.
pub fn max_age(answer: &Answer) -> u64 {
    let directives = answer.header("cache-control").split(',');
    let mut found = directives.filter_map(|it| it.trim().strip_prefix("max-age="));
    let seconds = found.next().expect("a max-age");
    seconds.parse().expect("seconds")
}

/// All positions of a body, wallet and DeFi.
pub fn positions(body: &Value) -> Vec<&Value> {
    let wallet = body["wallet"]["positions"].as_array().into_iter().flatten();
    let protocols = body["defi"]["protocols"].as_array().into_iter().flatten();
    let groups = protocols.flat_map(|protocol| protocol["groups"].as_array().into_iter().flatten());
    let defi = groups.flat_map(|group| group["positions"].as_array().into_iter().flatten());
    wallet.chain(defi).collect()
}

/// The positions of a body by id.
pub fn by_id(body: &Value) -> BTreeMap<String, Value> {
    let entry = |one: &Value| {
        (
            one["id"].as_str().unwrap_or_default().to_owned(),
            one.clone(),
        )
    };
    positions(body).into_iter().map(entry).collect()
}

/// A decimal string as an integer count of 10^-18.
///
/// # Panics
/// When it is no decimal string.
pub fn units(value: &Value) -> i128 {
    let text = value.as_str().expect("a decimal string");
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<18}");
    sign * digits.parse::<i128>().expect("digits")
}

/// The sum of the values of `list`, as [`units`].
///
/// # Panics
/// When it is no list of objects with values.
pub fn sum(list: &Value) -> i128 {
    let list = list.as_array().expect("a list");
    list.iter().map(|entry| units(&entry["value"])).sum()
}
