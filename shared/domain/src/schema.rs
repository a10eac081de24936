//! Schemas of what is serialised by hand: texts that are more than a text.

use utoipa::openapi::{ObjectBuilder, SchemaFormat, schema::Type};

use crate::{
    address::Address,
    amount::Amount,
    currency::Currency,
    scope::{Part, Scope},
    timestamp::Timestamp,
};

/// A sample wallet that the local fakes know.
pub const SAMPLE_EVM: &str = "0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002";
/// The same on Solana.
pub const SAMPLE_SOLANA: &str = "SampLe3So1anaWa11etkQ8vTn5rXc2ydBfGj7mPzUh3";

/// A text schema to be filled in.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text of one of these words.
pub fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// A format that is not one of JSON Schema's own.
pub fn format(name: &str) -> Option<SchemaFormat> {
    Some(SchemaFormat::Custom(name.to_owned()))
}

/// Gives a type a named schema.
#[macro_export]
macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($name)
            }
        }

        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $schema.build().into()
            }
        }
    };
}

/// A decimal number of at least zero.
pub struct DecimalText;

/// A decimal number.
pub struct SignedDecimalText;

/// A whole number of at least zero.
pub struct DigitText;

/// What may be missing from an answer.
pub struct Gap;

schema!(
    Amount,
    "Amount",
    text()
        .format(format("decimal"))
        .pattern(Some(r"^-?[0-9]+(\.[0-9]{1,18})?$"))
        .description(Some(
            "An amount of the answer's currency, exact to 18 decimal places, without trailing \
             zeros. Parse it with a decimal type: a double would round it.",
        ))
        .examples(["19538.118824626819", "0", "-12.5"])
);

schema!(
    DecimalText,
    "Decimal",
    text()
        .format(format("decimal"))
        .pattern(Some(r"^[0-9]+(\.[0-9]+)?$"))
        .description(Some(
            "A number of at least zero with any number of digits, never with an exponent. \
             Parse it with a decimal type.",
        ))
        .examples(["12500.000000", "0.00000006315931"])
);

schema!(
    SignedDecimalText,
    "SignedDecimal",
    text()
        .format(format("decimal"))
        .pattern(Some(r"^-?[0-9]+(\.[0-9]+)?$"))
        .description(Some(
            "A number with any number of digits, never with an exponent. Parse it with a \
             decimal type.",
        ))
        .examples(["1.892917", "-3.03610139"])
);

schema!(
    DigitText,
    "Digits",
    text()
        .pattern(Some("^[0-9]+$"))
        .description(Some(
            "A whole number of at least zero, often beyond 64 bits. Parse it with an integer \
             type without bounds.",
        ))
        .examples(["12500000000"])
);

schema!(
    Gap,
    "Gap",
    words(
        Part::ALL
            .iter()
            .rev()
            .map(|part| part.as_str())
            .chain(["price"])
    )
);

schema!(
    Timestamp,
    "Timestamp",
    text()
        .format(format("date-time"))
        .description(Some("RFC 3339, in UTC, with milliseconds."))
        .examples(["2026-11-21T10:41:19.788Z"])
);

schema!(
    Address,
    "Address",
    text()
        .pattern(Some("^(0x[0-9a-f]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$"))
        .description(Some(
            "An EVM address in lower case, or a Solana address in base58.",
        ))
        .examples([SAMPLE_EVM, SAMPLE_SOLANA])
);

schema!(
    Currency,
    "Currency",
    words(Currency::all().map(Currency::as_str))
        .default(Some(Currency::default().as_str().into()))
        .description(Some("A currency by its code."))
);

schema!(
    Scope,
    "Scope",
    words(Scope::ALL.map(Scope::as_str)).description(Some("What was asked for: the path's end."))
);
