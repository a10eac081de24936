//! What a request may carry.

use utoipa::{
    PartialSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::Type,
    },
};

use crate::{
    domain::{
        amount::{MAX_WHOLE_DIGITS, SCALE},
        chain::Chain,
        currency::Currency,
        cursor,
        query::{DEFAULT_LIMIT, MAX_CHAIN_LENGTH, MAX_CHAINS, MAX_LIMIT},
        schema::{SAMPLE_EVM, SAMPLE_SOLANA, format, text},
    },
    lambda::page::{MAX_BODY, MAX_FOR_BALANCER},
    service::MIN_REVALIDATION_INTERVAL,
};

fn optional(name: &str, location: ParameterIn, description: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(location)
        .required(Required::False)
        .description(Some(description))
}

/// The wallet of the path.
pub(super) fn address() -> Parameter {
    ParameterBuilder::new()
        .name("address")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(
            "An EVM address (0x and 40 hexadecimal digits in any case; when upper and lower case \
             are mixed, the EIP-55 checksum must be right) or a Solana address (32 bytes in \
             base58, whose case counts).",
        ))
        .schema(Some(
            text()
                .format(format("wallet-address"))
                .pattern(Some("^(0[xX][0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$"))
                .examples([SAMPLE_EVM, SAMPLE_SOLANA]),
        ))
        .example(Some(SAMPLE_EVM.into()))
        .build()
}

/// A parameter of [`crate::domain::query::PARAMETERS`].
pub(super) fn query(name: &'static str) -> Parameter {
    let parameter = |description: &str| optional(name, ParameterIn::Query, description);
    let filled = match name {
        "currency" => parameter("What amounts are in. Taken in any case.")
            .schema(Some(Currency::schema()))
            .example(Some("eur".into())),
        "chains" => parameter(&format!(
            "Only these chains, separated by commas; totals follow. Taken are those that the \
             wallet holds something on, and: {}.",
            Chain::ids().collect::<Vec<_>>().join(", ")
        ))
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .schema(Some(
            ArrayBuilder::new()
                .items(text().pattern(Some(format!("^[a-z0-9-]{{1,{MAX_CHAIN_LENGTH}}}$"))))
                .min_items(Some(1))
                .max_items(Some(MAX_CHAINS)),
        ))
        .example(Some(serde_json::json!(["ethereum", "base"]))),
        "min_value" => parameter(
            "Positions of a smaller value, and those without one, are not listed. Totals still \
             count them.",
        )
        .schema(Some(text().format(format("decimal")).pattern(Some(
            format!(r"^[0-9]{{1,{MAX_WHOLE_DIGITS}}}(\.[0-9]{{1,{SCALE}}})?$"),
        ))))
        .example(Some("0.01".into())),
        "hidden" => parameter(
            "Whether to list as well what the provider would not display or takes for trash. \
             It is never counted in totals.",
        )
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::Boolean)
                .default(Some(false.into())),
        )),
        "limit" => parameter(&format!(
            "Positions per page; there are fewer where the body would pass {} MB, or what a \
             gateway takes ({} MB for a load balancer).",
            MAX_BODY / 1_000_000,
            MAX_FOR_BALANCER / 1_000_000
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(MAX_LIMIT))
                .default(Some(DEFAULT_LIMIT.into())),
        ))
        .example(Some(20.into())),
        // No example: each belongs to one selection.
        _ => parameter(
            "Where the page starts: `page.next` of the page before, together with the path and \
             the parameters (but for `limit`) that it was given for.",
        )
        .schema(Some(
            text()
                .format(format("cursor"))
                .pattern(Some("^[A-Za-z0-9_-]+$"))
                .max_length(Some(cursor::MAX_LENGTH)),
        )),
    };
    filled.build()
}

/// The request's headers that change an answer.
pub(super) fn headers() -> [Parameter; 2] {
    [
        optional(
            "If-None-Match",
            ParameterIn::Header,
            "The `ETag` of an answer that you have: a 304 without a body says that it is still \
             right.",
        )
        .schema(Some(text()))
        .example(Some(super::responses::ETAG.into()))
        .build(),
        optional(
            "Cache-Control",
            ParameterIn::Header,
            &format!(
                "`no-cache` has the holdings fetched again, with prices, unless they are younger \
                 than {} seconds. Anything else changes nothing.",
                MIN_REVALIDATION_INTERVAL.as_secs()
            ),
        )
        .schema(Some(text()))
        .example(Some("no-cache".into()))
        .build(),
    ]
}
