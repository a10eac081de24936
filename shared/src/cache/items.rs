//! Items and their attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use super::codec::FORMAT;
use crate::clock::Timestamp;

/// Time after which DynamoDB may delete an item, in epoch seconds.
pub(super) const EXPIRES_AT: &str = "expires_at";
/// Format version of the item's bytes.
pub(super) const VERSION: &str = "v";

/// An item of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Item(HashMap<String, AttributeValue>);

impl Item {
    pub(super) fn new(attributes: HashMap<String, AttributeValue>) -> Self {
        Self(attributes)
    }

    /// An item of the present format under these keys.
    pub(super) fn keyed(partition: String, sort: String) -> Self {
        Self::default()
            .with("pk", AttributeValue::S(partition))
            .with("sk", AttributeValue::S(sort))
            .with(VERSION, number(FORMAT))
    }

    pub(super) fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(super) fn into_inner(self) -> HashMap<String, AttributeValue> {
        self.0
    }

    /// Whether its bytes are of the present format.
    pub(super) fn is_current(&self) -> bool {
        self.number::<u8>(VERSION) == Some(FORMAT)
    }

    pub(super) fn sort_key(&self) -> &str {
        self.text("sk").unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        self.number(name).map(Timestamp::from_millis)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }

    /// What a refused write of this item costs: as much as one of its size.
    #[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
    pub(super) fn write_units(&self) -> f64 {
        let value = |value: &AttributeValue| match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::Ss(texts) => texts.iter().map(|text| text.len() + 1).sum::<usize>() + 3,
            _ => 1,
        };
        let sizes = self.0.iter().map(|(name, it)| name.len() + value(it));
        (sizes.sum::<usize>() as f64 / 1024.0).ceil().max(1.0)
    }

    /// A set of texts.
    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        self.0.get(name)?.as_ss().ok().map(Vec::as_slice)
    }

    /// The names of all attributes.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn hash(&self, name: &str) -> Option<u128> {
        Some(u128::from_be_bytes(self.bytes(name)?.try_into().ok()?))
    }
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn time(value: Timestamp) -> AttributeValue {
    number(value.as_millis())
}

/// For the TTL attribute: DynamoDB wants seconds.
pub(super) fn seconds(value: Timestamp) -> AttributeValue {
    number(value.as_secs())
}

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(super) fn hash(value: u128) -> AttributeValue {
    bytes(&value.to_be_bytes())
}
