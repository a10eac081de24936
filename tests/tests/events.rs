//! The sample events in `events/`, through the functions that they are for.

use std::path::PathBuf;

use portfolio::domain::scope::Scope;
use portfolio_tests::{Answer, World, positions, sample};
use serde_json::Value;

fn event(name: &str) -> Value {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "events",
        &format!("{name}.json"),
    ]
    .iter()
    .collect();
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

async fn invoke(world: &World, name: &str) -> Answer {
    let scope = name
        .split('-')
        .next()
        .and_then(Scope::parse)
        .expect("a scope");
    world.invoke(scope, &event(name)).await
}

#[tokio::test]
async fn every_origin_gets_the_same_portfolio() {
    let world = World::new().await;
    for scope in ["defi", "wallet"] {
        let mut bodies = Vec::new();
        for origin in ["apigw-v2", "apigw-v1", "alb"] {
            bodies.push(invoke(&world, &format!("{scope}-{origin}")).await.ok());
        }
        assert_eq!(bodies[0]["scope"], scope);
        assert_eq!(bodies[0]["address"], bodies[1]["address"]);
        assert!(!positions(&bodies[0]).is_empty());
        assert_eq!(
            bodies[0]["totals"]["net_worth"],
            bodies[1]["totals"]["net_worth"]
        );
    }
}

#[tokio::test]
async fn parameters_and_headers_arrive_whatever_the_envelope() {
    let world = World::new().await;
    let v2 = invoke(&world, "aggregate-apigw-v2").await;
    assert_eq!(v2.header("content-encoding"), "gzip");
    assert_eq!(v2.envelope["isBase64Encoded"], true);
    assert_eq!(v2.ok()["address"], sample("farmer"));

    let v1 = invoke(&world, "aggregate-apigw-v1").await;
    assert_eq!(v1.ok()["currency"], "eur");
    assert!(
        v1.envelope["headers"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );
    assert!(v1.envelope["multiValueHeaders"]["etag"].is_array());

    let alb = invoke(&world, "aggregate-alb").await;
    assert_eq!(alb.envelope["statusDescription"], "200 OK");
    let body = alb.ok();
    assert!(
        positions(&body)
            .iter()
            .all(|one| one["chain"] == "ethereum" || one["chain"] == "base")
    );
    assert!(positions(&body).len() > 5);
}

#[tokio::test]
async fn the_request_id_is_the_gateways() {
    let world = World::new().await;
    for name in ["defi-apigw-v2", "defi-apigw-v1"] {
        let expected = event(name)["requestContext"]["requestId"].clone();
        assert_eq!(invoke(&world, name).await.header("x-request-id"), expected);
    }
    // A load balancer gives none: Lambda's own stands in.
    assert_eq!(
        invoke(&world, "defi-alb").await.header("x-request-id"),
        "invocation-1"
    );
}

#[tokio::test]
async fn other_events_are_refused() {
    let world = World::new().await;
    for other in [
        event("registry-schedule"),
        serde_json::json!({}),
        serde_json::json!([1, 2]),
        serde_json::json!("text"),
        serde_json::json!({"requestContext": 5, "httpMethod": "GET"}),
    ] {
        let refused = world.try_invoke(Scope::Defi, &other).await.unwrap_err();
        assert_eq!(refused.error_type, "unknown_event", "{other}");
    }
}

#[tokio::test]
async fn strange_requests_are_answered_not_crashed_on() {
    let world = World::new().await;
    for path in [
        "",
        "/",
        "//",
        "/v1/wallets/\u{1f600}/defi",
        "/v1/wallets/a b/defi",
        "/v1/wallets/%FF/defi",
        "/%",
        "http://x/",
    ] {
        for query in ["", "&&&", "limit", "=", "limit=%FF", "a=b=c", "\u{1f600}=1"] {
            let event =
                portfolio_tests::v2_event("GET", path, query, &[("accept-encoding", "\u{ff}")]);
            let answer = world.invoke(Scope::Defi, &event).await;
            assert!((400..500).contains(&answer.status), "{path} {query}");
        }
    }
}
