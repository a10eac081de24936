//! The sample events in `events/`, through the functions that they are for.

use std::time::Duration;

use portfolio::{
    clock::{Clock, SystemClock},
    domain::{provider::Provider, scope::Scope},
    lambda::Invocation,
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{Answer, TestApp, event, positions, sample};
use serde_json::{Value, json, value::to_raw_value};

async fn invoke(app: &TestApp, name: &str) -> Answer {
    let scope = name
        .split('-')
        .next()
        .and_then(Scope::parse)
        .expect("a scope");
    app.invoke(scope, &event(name)).await
}

#[tokio::test]
async fn every_origin_gets_the_same_portfolio() {
    let app = TestApp::new().await;
    for scope in ["defi", "wallet"] {
        let mut bodies = Vec::new();
        for origin in ["apigw-v2", "apigw-v1", "alb", "function-url"] {
            bodies.push(invoke(&app, &format!("{scope}-{origin}")).await.ok());
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
async fn parameters_and_headers_arrive_in_every_envelope() {
    let app = TestApp::new().await;
    let v2 = invoke(&app, "aggregate-apigw-v2").await;
    assert_eq!(v2.header("content-encoding"), "gzip");
    assert_eq!(v2.envelope["isBase64Encoded"], true);
    assert_eq!(v2.ok()["address"], sample("farmer"));

    let v1 = invoke(&app, "aggregate-apigw-v1").await;
    assert_eq!(v1.ok()["currency"], "eur");
    assert!(
        v1.envelope["headers"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );
    assert!(v1.envelope["multiValueHeaders"]["etag"].is_array());

    let alb = invoke(&app, "aggregate-alb").await;
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
    let app = TestApp::new().await;
    for name in ["defi-apigw-v2", "defi-apigw-v1"] {
        let expected = event(name)["requestContext"]["requestId"].clone();
        assert_eq!(invoke(&app, name).await.header("x-request-id"), expected);
    }
    // A load balancer gives none: Lambda's own stands in.
    assert_eq!(
        invoke(&app, "defi-alb").await.header("x-request-id"),
        "invocation-1"
    );
}

#[tokio::test]
async fn other_events_are_refused() {
    let app = TestApp::new().await;
    for other in [
        json!({}),
        json!([1, 2]),
        json!("text"),
        json!({"requestContext": 5, "httpMethod": "GET"}),
        json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
    ] {
        let refused = app.try_invoke(Scope::Defi, &other).await.unwrap_err();
        assert_eq!(refused.error_type, "unknown_event", "{other}");
    }
}

#[tokio::test]
async fn strange_requests_are_answered_without_a_panic() {
    let app = TestApp::new().await;
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
            let answer = app.invoke(Scope::Defi, &event).await;
            assert!((400..500).contains(&answer.status), "{path} {query}");
        }
    }
}

/// What each kind of event gets, for the three functions alike.
#[tokio::test]
async fn events_without_http_are_answered_in_the_format_of_their_source() {
    for scope in Scope::ALL {
        let app = TestApp::new().await;
        let invoke = async |kind: &str| {
            let event = event(&format!("{}-{kind}", scope.as_str()));
            app.try_invoke(scope, &event).await.expect("an answer")
        };
        // A direct invocation gets the body.
        let body = invoke("direct").await;
        assert_eq!(body["scope"], scope.as_str());
        assert_eq!(body["address"], sample("farmer"));
        assert!(!positions(&body).is_empty());
        // The others have the wallet warmed.
        for kind in ["sns", "eventbridge", "schedule"] {
            app.advance(301);
            app.fakes().reset_stats();
            let summary = invoke(kind).await;
            let expected = json!({
                "payloads": 1, "fetched": 1, "fresh": 0, "failed": 0, "upstream_calls": 1,
            });
            assert_eq!(summary, expected, "{kind}");
            assert_eq!(invoke(kind).await["fresh"], 1);
            assert_eq!(app.stats().zerion.requests, 1);
        }
        let malformed = event(&format!("{}-sqs", scope.as_str()))["Records"][1].clone();
        let answer = invoke("sqs").await;
        let expected = json!({
            "batchItemFailures": [{"itemIdentifier": malformed["messageId"]}],
        });
        assert_eq!(answer, expected);
        // The other wallet of the batch.
        assert_eq!(app.stats().zerion.requests, 2);
    }
}

#[tokio::test]
async fn a_direct_invocation_fails_with_the_problems_code() {
    let app = TestApp::new().await;
    let invoke = async |payload: Value| app.try_invoke(Scope::Aggregate, &payload).await;
    for (payload, code) in [
        (json!({"address": "0x12"}), "invalid_address"),
        (
            json!({"address": sample("farmer"), "limit": 0}),
            "invalid_parameter",
        ),
        (
            json!({"address": sample("farmer"), "limits": 1}),
            "invalid_parameter",
        ),
        (event("registry-schedule"), "invalid_parameter"),
    ] {
        let refused = invoke(payload.clone()).await.expect_err("refused");
        assert_eq!(refused.error_type, code, "{payload}");
    }
    app.fakes()
        .set_fault(Provider::Zerion, Some(Fault::status(500)));
    for event in [
        json!({"address": sample("farmer")}),
        event("aggregate-eventbridge"),
        event("aggregate-sns"),
    ] {
        let failed = invoke(event).await.expect_err("failed");
        assert_eq!(failed.error_type, "upstream_unavailable");
    }
}

fn batch(bodies: &[String]) -> Value {
    let records = bodies.iter().enumerate().map(
        |(at, body)| json!({"messageId": format!("m{at}"), "body": body, "eventSource": "aws:sqs"}),
    );
    json!({"Records": records.collect::<Vec<_>>()})
}

fn payload(wallet: u32) -> String {
    json!({"address": format!("0x{wallet:040}")}).to_string()
}

#[tokio::test]
async fn a_batch_returns_the_messages_to_be_retried() {
    let app = TestApp::new().await;
    let broken = format!("{:040}", 3);
    let fault = Fault {
        path: Some(broken),
        ..Fault::status(500)
    };
    app.fakes().set_fault(Provider::Zerion, Some(fault));
    // Eight wallets: one of them twice, one that fails; and what is no payload.
    let mut bodies: Vec<String> = (0..8).map(payload).collect();
    bodies.insert(4, "{".to_owned());
    bodies.push(payload(6));
    let answer = app.try_invoke(Scope::Aggregate, &batch(&bodies)).await;
    let expected = json!({"batchItemFailures": [
        {"itemIdentifier": "m3"}, {"itemIdentifier": "m4"},
    ]});
    assert_eq!(answer.expect("an answer"), expected);
    assert_eq!(app.stats().zerion.requests, 8);
    for wallet in [0, 1, 2, 4, 5, 6, 7] {
        let answer = app.get(&format!("0x{wallet:040}"), "aggregate").await;
        assert!(answer.header("cache-status").starts_with("structure; hit"));
    }
    assert_eq!(app.stats().zerion.requests, 8);
}

#[tokio::test]
async fn permanent_failures_are_not_retried() {
    let app = TestApp::new().await;
    let fault = Some(Fault::status(400));
    app.fakes().set_fault(Provider::Zerion, fault);
    let answer = app.try_invoke(Scope::Wallet, &batch(&[payload(1)])).await;
    let none = json!({"batchItemFailures": []});
    assert_eq!(answer.expect("an answer"), none);
}

#[tokio::test]
async fn a_message_answered_with_old_holdings_is_retried() {
    let app = TestApp::new().await;
    app.get(&format!("0x{:040}", 1), "aggregate").await.ok();
    app.advance(400);
    let fault = Some(Fault::status(503));
    app.fakes().set_fault(Provider::Zerion, fault);
    let answer = app
        .try_invoke(Scope::Aggregate, &batch(&[payload(1)]))
        .await;
    let expected = json!({"batchItemFailures": [{"itemIdentifier": "m0"}]});
    assert_eq!(answer.expect("an answer"), expected);
}

#[tokio::test]
async fn a_batch_ends_before_lambda_ends_it() {
    let app = TestApp::with(&[("UPSTREAM_CONCURRENCY", "2")]).await;
    let slow = Fault {
        delay_ms: Some(400),
        ..Fault::default()
    };
    app.fakes().set_fault(Provider::Zerion, Some(slow));
    let bodies: Vec<String> = (0..10).map(payload).collect();
    let function = app.real_process(Scope::Aggregate);
    let invocation = Invocation {
        id: "invocation-1".to_owned(),
        deadline: Some(SystemClock.now().plus(Duration::from_millis(2000))),
        ..Invocation::default()
    };
    let event = to_raw_value(&batch(&bodies)).expect("JSON");
    let answer = function
        .handle(&event, &invocation)
        .await
        .expect("an answer");
    assert!(SystemClock.now() < invocation.deadline.expect("a deadline"));
    let answer: Value = serde_json::from_str(answer.get()).expect("JSON");
    let failures = answer["batchItemFailures"]
        .as_array()
        .expect("a list")
        .len();
    assert!((1..10).contains(&failures), "{failures}");
    // What comes back is done the next time.
    let answer = app.try_invoke(Scope::Aggregate, &batch(&bodies)).await;
    assert_eq!(answer.expect("an answer"), json!({"batchItemFailures": []}));
}
