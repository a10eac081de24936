//! The description of the HTTP API (OpenAPI 3.1), made from the types that are
//! serialised and the constants that requests are checked against.
//!
//! `docs/openapi.json` is what [`json`] gives; a test compares them.

mod operations;
mod parameters;
mod responses;

use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
        server::{ServerBuilder, ServerVariableBuilder},
        tag::TagBuilder,
    },
};

use crate::{
    domain::{query::PARAMETERS, response::Answer, scope::Scope},
    lambda::problem::Body,
};

/// The description as it is committed: indented JSON and a line's end.
///
/// # Errors
/// If it could not be written as JSON.
pub fn json() -> serde_json::Result<String> {
    Ok(description().to_pretty_json()? + "\n")
}

/// The description.
pub fn description() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Portfolio")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(include_str!("about.md")))
                .license(Some(
                    LicenseBuilder::new()
                        .name("MIT OR Apache-2.0")
                        .identifier(Some("MIT OR Apache-2.0"))
                        .build(),
                ))
                .build(),
        )
        .servers(Some([
            ServerBuilder::new()
                .url("http://127.0.0.1:3000")
                .description(Some("`cargo run`"))
                .build(),
            ServerBuilder::new()
                .url("https://{api}.execute-api.{region}.amazonaws.com")
                .description(Some("A deployment"))
                .parameter("api", variable("abcde12345", "The id of its HTTP API"))
                .parameter("region", variable("us-east-1", "Where it is"))
                .build(),
        ]))
        .tags(Some([
            TagBuilder::new()
                .name("Portfolios")
                .description(Some("What a wallet holds and what that is worth"))
                .build(),
            TagBuilder::new()
                .name("Cache")
                .description(Some("For operators"))
                .build(),
        ]))
        .paths(operations::paths())
        .components(Some(components().build()))
        .build()
}

fn variable(default: &str, description: &str) -> ServerVariableBuilder {
    ServerVariableBuilder::new()
        .default_value(default)
        .description(Some(description))
}

fn components() -> ComponentsBuilder {
    let mut components = ComponentsBuilder::new()
        .schemas_from_iter(schemas::<Answer<'static>>())
        .schemas_from_iter(schemas::<Body<'static>>())
        .security_scheme(
            "sigv4",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "Authorization",
                "An AWS signature, version 4, for the service `execute-api`.",
            ))),
        )
        .security_scheme(
            "token",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format("JWT")
                    .description(Some("Where a deployment asks for tokens."))
                    .build(),
            ),
        );
    for name in PARAMETERS {
        components = components.parameter(name, parameters::query(name));
    }
    for header in parameters::headers() {
        components = components.parameter(header.name.clone(), header);
    }
    for (name, header) in responses::headers() {
        components = components.header(name, header);
    }
    for (name, response) in responses::bodiless() {
        components = components.response(name, response);
    }
    for (name, _, response) in responses::problems() {
        components = components.response(name, response);
    }
    for (name, response) in responses::refusals() {
        components = components.response(name, response);
    }
    components
}

/// A type's schema and those that it refers to, by name.
fn schemas<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

/// Answers to show for a path, as the local gateway gives them: a name, the
/// request, and the body.
fn samples(scope: Scope) -> Vec<(&'static str, &'static str, Value)> {
    let texts = match scope {
        Scope::Defi => vec![(
            "first_page",
            "?chains=arbitrum&limit=1, of 5 positions the first",
            include_str!("samples/defi.json"),
        )],
        Scope::Wallet => vec![(
            "one_chain",
            "?chains=polygon",
            include_str!("samples/wallet.json"),
        )],
        Scope::Aggregate => vec![
            (
                "first_page",
                "?chains=base&limit=2, of 6 positions the first two",
                include_str!("samples/aggregate.json"),
            ),
            (
                "empty",
                "A wallet that holds nothing",
                include_str!("samples/empty.json"),
            ),
        ],
    };
    texts
        .into_iter()
        .map(|(name, request, text)| {
            (
                name,
                request,
                serde_json::from_str(text).unwrap_or_default(),
            )
        })
        .collect()
}
