//! Reading JSON in which any field may be null, absent or of another type.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::domain::decimal::Decimal;

/// The field's value, or `None` whenever it is not what was expected: one odd
/// field must not cost the whole answer.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// The list's elements that are what was expected; empty for anything else.
pub(super) fn lenient_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    Ok(elements
        .into_iter()
        .filter_map(|element| serde_json::from_str(element.get()).ok())
        .collect())
}

/// A number, or a string that holds one, digit for digit.
pub(super) fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Decimal>, D::Error> {
    Ok(text(deserializer)?.as_deref().and_then(Decimal::parse))
}

/// A string, or a number as it is written.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    Ok(match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).ok(),
        Some(b'-' | b'0'..=b'9') => Some(raw.to_owned()),
        _ => None,
    })
}

/// Likewise, empty for anything else.
pub(super) fn text_or_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    Ok(text(deserializer)?.unwrap_or_default())
}

/// The kind and place of a JSON error; its text could repeat parts of a body.
pub(super) fn describe(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}
