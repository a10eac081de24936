//! Zerion's JSON, and what is read out of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    domain::{
        decimal::Decimal,
        holdings_builder::HoldingsBuilder,
        provider_position::{Implementation, ProviderPosition, ProviderProtocol},
        quantity::Quantity,
        scope::Part,
    },
    upstream::lenient::{describe, lenient, lenient_list, number, text},
};

/// What a page held besides its rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PageSummary {
    /// `links.next`.
    pub next: Option<String>,
    /// Rows that are no objects.
    pub unreadable: usize,
}

/// Reads one answer's rows into `draft` as they are parsed. `only` is the part
/// that was asked for, if not everything.
///
/// # Errors
/// When the body is not the documented envelope to its very end: a missing or
/// null `data` is never taken for an empty wallet.
pub fn read_page(
    body: &[u8],
    only: Option<Part>,
    draft: &mut HoldingsBuilder,
) -> Result<PageSummary, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let summary = Envelope { only, draft }
        .deserialize(&mut deserializer)
        .map_err(|error| describe(&error))?;
    deserializer.end().map_err(|error| describe(&error))?;
    Ok(summary)
}

struct Envelope<'d> {
    only: Option<Part>,
    draft: &'d mut HoldingsBuilder,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = PageSummary;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PageSummary, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = PageSummary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with data")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<PageSummary, A::Error> {
        let mut summary = PageSummary::default();
        let mut seen = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "data" => {
                    seen = true;
                    summary.unreadable += map.next_value_seed(Rows(&mut self))?;
                }
                "links" => {
                    let links: Option<Links> =
                        serde_json::from_str(map.next_value::<&RawValue>()?.get()).ok();
                    summary.next = links.and_then(|links| links.next);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !seen {
            return Err(A::Error::missing_field("data"));
        }
        Ok(summary)
    }
}

struct Rows<'e, 'd>(&'e mut Envelope<'d>);

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of positions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut unreadable = 0;
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            match serde_json::from_str::<WireRow>(raw.get()) {
                // Without attributes a row says nothing.
                Ok(row) if row.attributes.is_some() => {
                    self.0.draft.push(row.into_row(), self.0.only);
                }
                _ => unreadable += 1,
            }
        }
        Ok(unreadable)
    }
}

#[derive(Deserialize)]
struct Links {
    #[serde(default, deserialize_with = "lenient")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct WireRow {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    attributes: Option<Attributes>,
    #[serde(default, deserialize_with = "lenient")]
    relationships: Option<Relationships>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    #[serde(deserialize_with = "lenient")]
    quantity: Option<WireQuantity>,
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    position_type: Option<String>,
    #[serde(deserialize_with = "number")]
    value: Option<Decimal>,
    #[serde(deserialize_with = "number")]
    price: Option<Decimal>,
    #[serde(deserialize_with = "lenient")]
    changes: Option<Changes>,
    #[serde(deserialize_with = "lenient")]
    protocol: Option<String>,
    #[serde(deserialize_with = "lenient")]
    group_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    fungible_info: Option<FungibleInfo>,
    #[serde(deserialize_with = "lenient")]
    flags: Option<Flags>,
    #[serde(deserialize_with = "lenient")]
    application_metadata: Option<Application>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireQuantity {
    #[serde(deserialize_with = "text")]
    int: Option<String>,
    #[serde(deserialize_with = "lenient")]
    decimals: Option<u16>,
    #[serde(deserialize_with = "text")]
    numeric: Option<String>,
    #[serde(deserialize_with = "number")]
    float: Option<Decimal>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Changes {
    #[serde(deserialize_with = "number")]
    percent_1d: Option<Decimal>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FungibleInfo {
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    symbol: Option<String>,
    #[serde(deserialize_with = "lenient")]
    icon: Option<Picture>,
    #[serde(deserialize_with = "lenient")]
    flags: Option<FungibleFlags>,
    #[serde(deserialize_with = "lenient_list")]
    implementations: Vec<WireImplementation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireImplementation {
    #[serde(deserialize_with = "lenient")]
    chain_id: Option<String>,
    /// Null and empty stand for the native coin; anything else that is no text
    /// says nothing.
    #[serde(deserialize_with = "lenient")]
    address: Option<Option<String>>,
    #[serde(deserialize_with = "lenient")]
    decimals: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Picture {
    #[serde(deserialize_with = "lenient")]
    url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FungibleFlags {
    #[serde(deserialize_with = "lenient")]
    verified: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    #[serde(deserialize_with = "lenient")]
    displayable: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    is_trash: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Application {
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    icon: Option<Picture>,
    #[serde(deserialize_with = "lenient")]
    url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Relationships {
    #[serde(deserialize_with = "lenient")]
    chain: Option<Relation>,
    #[serde(deserialize_with = "lenient")]
    fungible: Option<Relation>,
    #[serde(deserialize_with = "lenient")]
    dapp: Option<Relation>,
}

#[derive(Deserialize)]
struct Relation {
    data: Option<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    id: String,
}

fn related(relation: Option<Relation>) -> Option<String> {
    Some(relation?.data?.id).filter(|id| !id.is_empty())
}

impl WireRow {
    fn into_row(self) -> ProviderPosition {
        let attributes = self.attributes.unwrap_or_default();
        let relationships = self.relationships.unwrap_or_default();
        let token = attributes.fungible_info.unwrap_or_default();
        let flags = attributes.flags.unwrap_or_default();
        let amounts = attributes.quantity.unwrap_or_default();
        let quantity = quantity(&amounts);
        let mut row = ProviderPosition {
            id: self.id.unwrap_or_default(),
            kind: attributes.position_type,
            name: attributes.name.unwrap_or_default(),
            chain: related(relationships.chain).unwrap_or_else(|| "unknown".to_owned()),
            fungible: related(relationships.fungible),
            symbol: token.symbol.unwrap_or_default(),
            token_name: token.name.unwrap_or_default(),
            icon: token.icon.and_then(|icon| icon.url),
            verified: token
                .flags
                .and_then(|flags| flags.verified)
                .unwrap_or(false),
            implementations: implementations(token.implementations),
            quantity,
            decimals: amounts.decimals,
            protocol: protocol(
                related(relationships.dapp),
                attributes.protocol,
                attributes.application_metadata,
            ),
            group: attributes.group_id.filter(|id| !id.is_empty()),
            // Rows without flags are sparse, not hidden.
            displayable: flags.displayable.unwrap_or(true),
            trash: flags.is_trash.unwrap_or(false),
            // Zero and null both mean that there is no price.
            price: attributes.price.filter(|price| price.is_positive()),
            value: attributes.value,
            change_24h_percent: attributes
                .changes
                .and_then(|changes| changes.percent_1d)
                .map(|percent| percent.rounded(6)),
        };
        if row.id.is_empty() {
            row.id = made_up_id(&row);
        }
        row
    }
}

/// Names a row without an id by what stays the same from answer to answer.
fn made_up_id(row: &ProviderPosition) -> String {
    let protocol = row.protocol.as_ref().map(|protocol| protocol.id.as_str());
    let words = [
        Some(row.chain.as_str()),
        row.kind.as_deref(),
        Some(&row.name),
        row.fungible.as_deref(),
        Some(&row.symbol),
        Some(&row.token_name),
        protocol,
        row.group.as_deref(),
    ];
    let here = row.implementations.iter();
    let mut here: Vec<_> = here
        .filter(|place| place.chain == row.chain)
        .map(|place| place.address.as_deref())
        .collect();
    here.sort_unstable();
    // Quoted, so that no separator inside of a text counts as one.
    let text = format!("{words:?}{here:?}");
    format!("row-{:016x}", xxh3_64(text.as_bytes()))
}

fn implementations(found: Vec<WireImplementation>) -> Vec<Implementation> {
    found
        .into_iter()
        .filter_map(|one| {
            Some(Implementation {
                chain: one.chain_id?,
                address: one.address?.filter(|address| !address.is_empty()),
                decimals: one.decimals,
            })
        })
        .collect()
}

fn quantity(amounts: &WireQuantity) -> Option<Quantity<'static>> {
    let (int, numeric) = (amounts.int.as_deref(), amounts.numeric.as_deref());
    let exact = Quantity::parse(int, amounts.decimals, numeric).map(Quantity::into_owned);
    // A rounded amount is better than none.
    exact.or_else(|| {
        let float = amounts.float?.to_string();
        Quantity::parse(None, None, Some(&float)).map(Quantity::into_owned)
    })
}

fn protocol(
    dapp: Option<String>,
    display: Option<String>,
    application: Option<Application>,
) -> Option<ProviderProtocol> {
    let application = application.unwrap_or_default();
    let name = display.or(application.name);
    let id = dapp.or_else(|| name.as_deref().map(slug))?;
    Some(ProviderProtocol {
        name: name.unwrap_or_else(|| id.clone()),
        url: application.url,
        icon: application.icon.and_then(|icon| icon.url),
        id,
    })
}

/// `Aave V3` → `aave-v3`, the form of the provider's own ids.
fn slug(name: &str) -> String {
    name.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests;
