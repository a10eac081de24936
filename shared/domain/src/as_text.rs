//! How serde writes values of an answer that are texts in JSON.

use serde::{Serialize, Serializer};

use crate::{
    decimal::Decimal,
    holdings::PackedId,
    identifier::{AsText, Icon, Identifier},
    quantity::{AsDecimal, AsRaw, Quantity},
};

pub(super) fn quantity<S: Serializer>(
    value: &Option<&Quantity<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(AsDecimal).serialize(serializer)
}

pub(super) fn base_units<S: Serializer>(
    value: &Option<&Quantity<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(AsRaw).serialize(serializer)
}

pub(super) fn position_id<S: Serializer>(
    id: &PackedId<'_, '_>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) fn optional_text<S: Serializer>(
    value: &Option<&Identifier<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(AsText).serialize(serializer)
}

pub(super) fn icon<S: Serializer>(value: &Icon<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    AsText(value).serialize(serializer)
}

pub(super) fn text<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn maybe_text<S: Serializer>(
    value: &Option<Decimal>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
