//! DynamoDB's JSON, as far as reads need it.

use std::{borrow::Cow, collections::HashMap, fmt};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use aws_smithy_types::base64;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::client::{Attributes, Consumed, Key, QueryCall, QueryPage};

/// What answers say of the capacity that they consumed.
const CAPACITY: &str = "TOTAL";

/// The body of a `GetItem`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetItem<'a> {
    table_name: &'a str,
    key: WireKey<'a>,
    consistent_read: bool,
    return_consumed_capacity: &'static str,
}

#[derive(Serialize)]
struct WireKey<'a> {
    pk: Text<'a>,
    sk: Text<'a>,
}

/// A value of the type `S`.
#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "S")]
    text: &'a str,
}

impl<'a> GetItem<'a> {
    /// Returns the body of a read of one item.
    pub fn new(table: &'a str, key: &'a Key, consistent: bool) -> Self {
        Self {
            table_name: table,
            key: WireKey {
                pk: Text {
                    text: &key.partition,
                },
                sk: Text { text: &key.sort },
            },
            consistent_read: consistent,
            return_consumed_capacity: CAPACITY,
        }
    }
}

/// The body of a `Query` of one partition, read backwards.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Query<'a> {
    table_name: &'a str,
    key_condition_expression: &'static str,
    expression_attribute_values: QueryValues<'a>,
    scan_index_forward: bool,
    consistent_read: bool,
    return_consumed_capacity: &'static str,
}

#[derive(Serialize)]
struct QueryValues<'a> {
    #[serde(rename = ":pk")]
    partition: Text<'a>,
    #[serde(rename = ":first", skip_serializing_if = "Option::is_none")]
    first: Option<Text<'a>>,
    #[serde(rename = ":last", skip_serializing_if = "Option::is_none")]
    last: Option<Text<'a>>,
}

impl<'a> Query<'a> {
    /// Returns the body of a query's first page.
    pub fn new(table: &'a str, call: &'a QueryCall) -> Self {
        let text = |text| Text { text };
        let range = call.range.as_ref();
        Self {
            table_name: table,
            key_condition_expression: key_condition(call),
            expression_attribute_values: QueryValues {
                partition: text(&call.partition),
                first: range.map(|(first, _)| text(first)),
                last: range.map(|(_, last)| text(last)),
            },
            scan_index_forward: false,
            consistent_read: call.consistent,
            return_consumed_capacity: CAPACITY,
        }
    }
}

/// Returns the key condition of a query, with the values `:pk`, `:first` and `:last`.
pub(super) fn key_condition(call: &QueryCall) -> &'static str {
    match call.range {
        None => "pk = :pk",
        Some(_) => "pk = :pk AND sk BETWEEN :first AND :last",
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    #[serde(default)]
    capacity_units: f64,
}

/// The answer to a `GetItem`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetItemOutput {
    item: Option<WireItem>,
    #[serde(default)]
    consumed_capacity: Capacity,
}

impl From<GetItemOutput> for Consumed<Option<Attributes>> {
    fn from(output: GetItemOutput) -> Self {
        Self {
            value: output.item.map(|WireItem(item)| item),
            units: output.consumed_capacity.capacity_units,
        }
    }
}

/// The answer to a `Query`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueryOutput {
    items: Vec<WireItem>,
    last_evaluated_key: Option<WireItem>,
    #[serde(default)]
    consumed_capacity: Capacity,
}

impl From<QueryOutput> for Consumed<QueryPage> {
    fn from(output: QueryOutput) -> Self {
        let items = output.items.into_iter();
        Self {
            value: QueryPage {
                items: items.map(|WireItem(item)| item).collect(),
                next: output.last_evaluated_key.map(|WireItem(key)| key),
            },
            units: output.consumed_capacity.capacity_units,
        }
    }
}

/// An item's attributes.
struct WireItem(Attributes);

impl<'de> Deserialize<'de> for WireItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: HashMap<String, WireValue> = HashMap::deserialize(deserializer)?;
        let values = values.into_iter();
        Ok(Self(
            values
                .map(|(name, WireValue(value))| (name, value))
                .collect(),
        ))
    }
}

/// An attribute's value: an object whose only member is named by its type.
struct WireValue(AttributeValue);

impl<'de> Deserialize<'de> for WireValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor)
    }
}

struct ValueVisitor;

/// Text that is not copied unless it is escaped.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = WireValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<WireValue, M::Error> {
        let blob = |Borrowed(text): Borrowed<'_>| {
            let bytes = base64::decode(text).map_err(M::Error::custom)?;
            Ok(Blob::new(bytes))
        };
        let Some(Borrowed(kind)) = map.next_key()? else {
            return Err(M::Error::custom("an attribute value without a type"));
        };
        let value = match &*kind {
            "S" => AttributeValue::S(map.next_value()?),
            "N" => AttributeValue::N(map.next_value()?),
            "B" => AttributeValue::B(blob(map.next_value()?)?),
            "BOOL" => AttributeValue::Bool(map.next_value()?),
            "NULL" => AttributeValue::Null(map.next_value()?),
            "SS" => AttributeValue::Ss(map.next_value()?),
            "NS" => AttributeValue::Ns(map.next_value()?),
            "BS" => {
                let texts: Vec<Borrowed<'_>> = map.next_value()?;
                let blobs = texts.into_iter().map(blob);
                AttributeValue::Bs(blobs.collect::<Result<_, _>>()?)
            }
            "L" => {
                let values: Vec<WireValue> = map.next_value()?;
                let values = values.into_iter().map(|WireValue(value)| value);
                AttributeValue::L(values.collect())
            }
            "M" => {
                let WireItem(values) = map.next_value()?;
                AttributeValue::M(values)
            }
            other => {
                let message = format!("an attribute value of the type {other}");
                return Err(M::Error::custom(message));
            }
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(WireValue(value)),
            Some(_) => Err(M::Error::custom("an attribute value of two types")),
        }
    }
}
