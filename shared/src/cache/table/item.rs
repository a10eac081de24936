//! Items and their attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use crate::{cache::codec::FORMAT, clock::Timestamp};

/// Time after which DynamoDB may delete an item, in epoch seconds.
pub(in crate::cache) const EXPIRES_AT: &str = "expires_at";
/// Format version of the item's bytes.
pub(in crate::cache) const VERSION: &str = "v";

/// An item of the table.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct Item(HashMap<String, AttributeValue>);

impl Item {
    pub(in crate::cache) fn new(attributes: HashMap<String, AttributeValue>) -> Self {
        Self(attributes)
    }

    /// An item of the present format under these keys.
    pub(in crate::cache) fn keyed(partition: String, sort: String) -> Self {
        Self::default()
            .with("pk", AttributeValue::S(partition))
            .with("sk", AttributeValue::S(sort))
            .with(VERSION, number(FORMAT))
    }

    pub(in crate::cache) fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(in crate::cache) fn into_inner(self) -> HashMap<String, AttributeValue> {
        self.0
    }

    /// Whether its bytes are of the present format.
    pub(in crate::cache) fn is_current(&self) -> bool {
        self.number::<u8>(VERSION) == Some(FORMAT)
    }

    pub(in crate::cache) fn sort_key(&self) -> &str {
        self.text("sk").unwrap_or_default()
    }

    pub(in crate::cache) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(in crate::cache) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    pub(in crate::cache) fn time(&self, name: &str) -> Option<Timestamp> {
        self.number(name).map(Timestamp::from_millis)
    }

    pub(in crate::cache) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }

    /// What a refused write of this item costs: as much as one of its size.
    #[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
    pub(in crate::cache) fn write_units(&self) -> f64 {
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

    /// The names of all attributes.
    pub(in crate::cache) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(in crate::cache) fn hash(&self, name: &str) -> Option<u128> {
        Some(u128::from_be_bytes(self.bytes(name)?.try_into().ok()?))
    }
}

pub(in crate::cache) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(in crate::cache) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(in crate::cache) fn time(value: Timestamp) -> AttributeValue {
    number(value.as_millis())
}

/// For the TTL attribute: DynamoDB wants seconds.
pub(in crate::cache) fn seconds(value: Timestamp) -> AttributeValue {
    number(value.as_secs())
}

pub(in crate::cache) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(in crate::cache) fn hash(value: u128) -> AttributeValue {
    bytes(&value.to_be_bytes())
}
