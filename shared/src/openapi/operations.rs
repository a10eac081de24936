//! The API's operations.

use lambda_http::http::StatusCode;
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, Ref,
        example::ExampleBuilder,
        link::LinkBuilder,
        path::{HttpMethod, Operation, OperationBuilder, PathItem, Paths, PathsBuilder},
        response::{Response, ResponsesBuilder},
        security::SecurityRequirement,
    },
};

use super::{parameters, responses};
use crate::domain::{query::PARAMETERS, response::Answer, scope::Scope};

/// A name for an operation on `scope`'s path.
fn operation_id(scope: Scope) -> &'static str {
    match scope {
        Scope::Defi => "getDefi",
        Scope::Wallet => "getWallet",
        Scope::Aggregate => "getAggregate",
    }
}

/// A name for HEAD on `scope`'s path.
fn head_id(scope: Scope) -> &'static str {
    match scope {
        Scope::Defi => "headDefi",
        Scope::Wallet => "headWallet",
        Scope::Aggregate => "headAggregate",
    }
}

fn summary(scope: Scope) -> &'static str {
    match scope {
        Scope::Defi => "A wallet's positions in protocols",
        Scope::Wallet => "A wallet's plain token balances",
        Scope::Aggregate => "Everything a wallet has: plain balances and positions in protocols",
    }
}

const EVERY_GET: &str = "Holdings are up to five minutes old, prices up to one, unless \
    `structure.stale` or `prices.stale` is true. Filters select from the cached portfolio: they \
    never cost an upstream request. An unknown parameter, or one that is given twice, is a 400.";

/// All paths.
pub(super) fn paths() -> Paths {
    let mut paths = PathsBuilder::new();
    for scope in Scope::ALL {
        let mut item = PathItem::new(HttpMethod::Get, get(scope));
        item.head = Some(head(scope));
        paths = paths.path(format!("/v1/wallets/{{address}}/{scope}"), item);
    }
    paths
        .path(
            "/v1/wallets/{address}/cache",
            PathItem::new(HttpMethod::Delete, delete()),
        )
        .build()
}

/// What GET and HEAD of a portfolio have in common.
fn reading() -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .tag("Portfolios")
        .parameter(parameters::address())
        .security(SecurityRequirement::default())
        .security(SecurityRequirement::new("token", [""; 0]));
    for name in PARAMETERS {
        operation = operation.parameter_ref(component("parameters", name));
    }
    for header in parameters::headers() {
        operation = operation.parameter_ref(component("parameters", &header.name));
    }
    operation
}

/// Status and headers of GET, each answer without its body.
fn head(scope: Scope) -> Operation {
    let mut answers = ResponsesBuilder::new()
        .response("200", component("responses", "Described"))
        .response("304", component("responses", "NotModified"))
        .response("401", responses::refused_head());
    for (_, status, problem) in responses::problems() {
        answers = answers.response(status.as_str(), responses::of_head(problem));
    }
    reading()
        .operation_id(Some(head_id(scope)))
        .summary(Some(format!("{}: headers alone", summary(scope))))
        .description(Some(
            "Answers as GET does, without the body. It costs as much, for the body is made to \
             tell its length.",
        ))
        .responses(answers.build())
        .build()
}

fn get(scope: Scope) -> Operation {
    let mut answers = ResponsesBuilder::new()
        .response("200", portfolio(scope))
        .response("304", component("responses", "NotModified"))
        .response("401", component("responses", "Unauthorized"));
    for (name, status, _) in responses::problems() {
        answers = answers.response(status.as_str(), component("responses", name));
    }
    reading()
        .operation_id(Some(operation_id(scope)))
        .summary(Some(summary(scope)))
        .description(Some(EVERY_GET))
        .responses(answers.build())
        .build()
}

fn portfolio(scope: Scope) -> Response {
    let shown = super::samples(scope)
        .into_iter()
        .map(|(name, summary, body)| {
            let example = ExampleBuilder::new().summary(summary).value(Some(body));
            (name, example.build())
        });
    let body = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Answer::name())))
        .examples_from_iter(shown)
        .build();
    let next = LinkBuilder::new()
        .operation_id(operation_id(scope))
        .parameter("path.address", "$request.path.address")
        .parameter("query.cursor", "$response.body#/page/next")
        .description(
            "The next page, with all other parameters as they were. There is none when \
             `page.next` is null.",
        );
    responses::portfolio(body)
        .link("next", next.build())
        .build()
}

fn delete() -> Operation {
    let mut answers = ResponsesBuilder::new()
        .response("204", component("responses", "Forgotten"))
        .response("403", component("responses", "Forbidden"));
    let possible = [400, 404, 405, 429, 500, 503, 504];
    for (name, status, _) in responses::problems() {
        if possible.contains(&StatusCode::as_u16(&status)) {
            answers = answers.response(status.as_str(), component("responses", name));
        }
    }
    OperationBuilder::new()
        .tag("Cache")
        .operation_id(Some("forgetWallet"))
        .summary(Some("Forget what is cached of a wallet"))
        .description(Some(
            "Holdings and prices, also what is being fetched at the moment. The next request \
             fetches them anew. A deployment asks for AWS signatures (SigV4, service \
             `execute-api`) here; a server on your own machine asks for none. There are no \
             parameters.",
        ))
        .parameter(parameters::address())
        .responses(answers.build())
        .security(SecurityRequirement::new("sigv4", [""; 0]))
        .build()
}

fn component(kind: &str, name: &str) -> Ref {
    Ref::new(format!("#/components/{kind}/{name}"))
}
