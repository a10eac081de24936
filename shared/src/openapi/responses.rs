//! What comes back: statuses, headers and bodies.

use std::time::Duration;

use lambda_http::http::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        AllOfBuilder, Content, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response,
        ResponseBuilder, example::ExampleBuilder, extensions::Extensions, header::Header,
        schema::Type,
    },
};

use crate::{
    domain::{
        address::AddressError,
        query::{InvalidParameter, MAX_LIMIT},
        schema::{text, words},
    },
    lambda::{
        http::PATHS,
        problem::{Allowed, Body, Code, Problem},
    },
    service::ServiceError,
    upstream::{Failure, Provider, Quota, UpstreamError},
};

/// A validator, as an example.
pub(super) const ETAG: &str = "W/\"2f0c3c1de5b6cf7a9b1d8a7a3c5e4f60\"";
const CONTENT_LENGTH: &str = "Content-Length";
const REQUEST_ID: &str = "dGhlIHJlcXVlc3Q=";

/// Every header that an answer may have, as components.
pub(super) fn headers() -> Vec<(&'static str, Header)> {
    let described = |name, description: &str, example: Value| {
        let header = HeaderBuilder::new()
            .schema(Some(text()))
            .description(Some(description))
            .example(Some(example))
            // The builder has no `required`; an extension is written as it is.
            .extensions(Some(Extensions::from_iter([("required", true)])));
        (name, header.build())
    };
    let mut headers = vec![
        described(
            "ETag",
            "A weak validator; send it back in `If-None-Match`.",
            ETAG.into(),
        ),
        described(
            "Cache-Control",
            "Of a portfolio: `max-age` is what is left until its holdings or prices expire, \
             `stale-if-error` for how long it may stand in for an error. Of anything else: \
             `no-store`.",
            "public, max-age=52, stale-if-error=900".into(),
        ),
        described(
            "Cache-Status",
            "How holdings (`structure`) and prices took part (RFC 9211).",
            "structure; hit; ttl=292, prices; hit; ttl=52".into(),
        ),
        described(
            "Server-Timing",
            "Milliseconds per phase.",
            "portfolio;dur=1.893, render;dur=0.210, total;dur=2.204".into(),
        ),
        described(
            "x-request-id",
            "Name it when you report a problem.",
            REQUEST_ID.into(),
        ),
        described(
            "Vary",
            "What of a request, besides its URL, the answer depends on.",
            "Accept-Encoding, Origin".into(),
        ),
        described(
            "Retry-After",
            "In how many seconds asking again makes sense.",
            5.into(),
        ),
        described(
            "Allow",
            "The methods that are allowed.",
            Allowed::GetHead.as_str().into(),
        ),
        described(
            "X-Content-Type-Options",
            "The body is what `Content-Type` says and nothing else.",
            "nosniff".into(),
        ),
        described(
            CONTENT_LENGTH,
            "How long the body of a GET would be, in bytes. A gateway may leave it out.",
            4211.into(),
        ),
    ];
    for (name, header) in &mut headers {
        if matches!(*name, "Retry-After" | CONTENT_LENGTH) {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            header.schema = Some(number.minimum(Some(1)).into());
        }
        // Gateways compute it anew.
        if *name == CONTENT_LENGTH {
            header.extensions = None;
        }
    }
    headers
}

fn with_headers(mut response: ResponseBuilder, names: &[&str]) -> ResponseBuilder {
    for name in names {
        let header = Ref::new(format!("#/components/headers/{name}"));
        response = response.header_ref(*name, header);
    }
    response
}

/// On everything that a function answers.
const ALWAYS: [&str; 5] = [
    "Cache-Control",
    "Server-Timing",
    "x-request-id",
    "Vary",
    "X-Content-Type-Options",
];

/// The portfolio.
pub(super) fn portfolio(body: Content) -> ResponseBuilder {
    let response = ResponseBuilder::new()
        .description("The portfolio, or a page of it.")
        .content("application/json", body);
    with_headers(with_headers(response, &ALWAYS), &["ETag", "Cache-Status"])
}

/// What is no problem and has no body, as components.
pub(super) fn bodiless() -> Vec<(&'static str, Response)> {
    let unchanged = ResponseBuilder::new()
        .description("What you have (`If-None-Match`) is still right. It has no body.");
    let forgotten = ResponseBuilder::new().description("It is forgotten. There is no body.");
    let headers = ResponseBuilder::new().description("The headers of the portfolio, no body.");
    let headers = with_headers(with_headers(headers, &ALWAYS), &["ETag", "Cache-Status"]);
    vec![
        (
            "Described",
            with_headers(headers, &[CONTENT_LENGTH]).build(),
        ),
        (
            "NotModified",
            with_headers(with_headers(unchanged, &ALWAYS), &["ETag", "Cache-Status"]).build(),
        ),
        ("Forgotten", with_headers(forgotten, &ALWAYS).build()),
    ]
}

/// Problems by status, as components: name, status, description, examples.
pub(super) fn problems() -> Vec<(&'static str, StatusCode, Response)> {
    let waiting = Some(Duration::from_secs(30));
    let failed = |failure| {
        Problem::from(ServiceError::from(UpstreamError {
            upstream: Provider::Zerion,
            failure,
        }))
    };
    vec![
        problem(
            "BadRequest",
            "The address or a parameter is not valid; the detail names it. Mend the request.",
            &[
                Problem::from(AddressError::Length(2)),
                Problem::from(InvalidParameter::new(
                    "limit",
                    format!("is not a number from 1 to {MAX_LIMIT}"),
                )),
            ],
        ),
        problem(
            "NotFound",
            "There is no such path. A wallet that holds nothing is no 404, but a 200 with zero \
             totals.",
            &[Problem::new(Code::NotFound, PATHS)],
        ),
        problem(
            "MethodNotAllowed",
            "The path takes other methods, which `Allow` names.",
            &[Problem::not_allowed(&Method::POST, Allowed::GetHead)],
        ),
        problem(
            "NotTrackable",
            "The data provider does not track this wallet: contracts, burn addresses, exchanges. \
             Do not ask again soon.",
            &[failed(Failure::NotTrackable)],
        ),
        problem(
            "RateLimited",
            "The data provider takes no more requests, and nothing older may stand in; or a \
             gateway in front takes no more from you.",
            &[failed(Failure::RateLimited {
                retry_after: waiting,
                quota: Quota::Requests,
            })],
        ),
        problem(
            "Internal",
            "Our fault. Report it with its `request_id`.",
            &[Problem::from(ServiceError::Internal(String::new()))],
        ),
        problem(
            "UpstreamError",
            "The data provider refused or answered nonsense.",
            &[failed(Failure::Malformed(String::new()))],
        ),
        problem(
            "Unavailable",
            "The data provider has trouble or is still gathering what the wallet holds, and \
             nothing older may stand in; or there is no price at all to value holdings by.",
            &[
                failed(Failure::Unavailable(String::new())),
                failed(Failure::Preparing {
                    retry_after: waiting,
                }),
            ],
        ),
        problem(
            "DeadlineExceeded",
            "There was no answer in time. Ask again.",
            &[Problem::from(ServiceError::Deadline)],
        ),
    ]
}

/// Returns an answer to GET as HEAD gets it: without a body.
pub(super) fn of_head(mut answer: Response) -> Response {
    answer.content.clear();
    let length = Ref::new("#/components/headers/Content-Length");
    let length = (CONTENT_LENGTH.to_owned(), RefOr::Ref(length));
    answer.headers.extend([length]);
    answer
}

/// Returns a gateway's refusal of HEAD.
pub(super) fn refused_head() -> Response {
    ResponseBuilder::new()
        .description("From API Gateway, where a deployment asks for tokens. There is no body.")
        .build()
}

/// One response for all problems of the examples' status.
fn problem(
    name: &'static str,
    description: &str,
    examples: &[Problem],
) -> (&'static str, StatusCode, Response) {
    let status = examples
        .first()
        .map_or(StatusCode::INTERNAL_SERVER_ERROR, Problem::status);
    let codes = Code::ALL.into_iter().filter(|code| code.status() == status);
    let narrowed = AllOfBuilder::new()
        .item(Ref::from_schema_name(Body::name()))
        .item(
            ObjectBuilder::new()
                .property("code", words(codes.map(Code::as_str)))
                .property(
                    "status",
                    ObjectBuilder::new()
                        .schema_type(Type::Integer)
                        .enum_values(Some([status.as_u16()])),
                ),
        );
    let shown = examples.iter().map(|problem| {
        let body: Value = serde_json::from_str(&problem.body(REQUEST_ID)).unwrap_or_default();
        let example = ExampleBuilder::new().value(Some(body)).build();
        (problem.code.as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(narrowed))
        .examples_from_iter(shown)
        .build();
    let mut response = with_headers(
        ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content),
        &ALWAYS,
    );
    if examples.iter().any(|problem| problem.retry_after.is_some()) {
        response = with_headers(response, &["Retry-After"]);
    }
    if examples.iter().any(|problem| problem.allowed.is_some()) {
        response = with_headers(response, &["Allow"]);
    }
    (name, status, response.build())
}

/// What a gateway answers before any function is asked, as components.
pub(super) fn refusals() -> [(&'static str, Response); 2] {
    let refusal = |description: &str, message: &str| {
        let body = ObjectBuilder::new()
            .property("message", text())
            .required("message");
        let content = ContentBuilder::new()
            .schema(Some(body))
            .example(Some(json!({ "message": message })));
        ResponseBuilder::new()
            .description(description)
            .content("application/json", content.build())
            .build()
    };
    [
        (
            "Unauthorized",
            refusal(
                "From API Gateway, where a deployment asks for tokens: there is none, or it is \
                 not valid.",
                "Unauthorized",
            ),
        ),
        (
            "Forbidden",
            refusal(
                "From API Gateway: the request is not signed, or its signer may not do \
                 this.",
                "Forbidden",
            ),
        ),
    ]
}
