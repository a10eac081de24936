//! Every fault of a dependency × what is cached: what clients see, and what it
//! costs upstream.

use std::collections::BTreeSet;

use portfolio::domain::provider::Provider;
use portfolio_local::fakes::Fault;
use portfolio_tests::{Answer, TestApp, positions, sample, table::TableFault};

/// What is cached when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cached {
    Nothing,
    Everything,
    /// Holdings and prices have expired.
    Old,
    /// Prices have expired.
    OldPrices,
}

const ALL: [Cached; 4] = [
    Cached::Nothing,
    Cached::Everything,
    Cached::Old,
    Cached::OldPrices,
];

async fn prepare(app: &TestApp, cached: Cached) {
    let seconds = match cached {
        Cached::Nothing => return,
        Cached::Everything => 0,
        Cached::Old => 301,
        Cached::OldPrices => 61,
    };
    for scope in ["aggregate", "aggregate?currency=eur"] {
        app.get(sample("farmer"), scope).await.ok();
    }
    app.advance(seconds);
    app.fakes().reset_stats();
}

const ENDPOINTS: [&str; 3] = ["aggregate", "defi", "wallet"];

fn print(
    upstream: &str,
    fault: &str,
    (cached, endpoint): (Cached, &str),
    answer: &Answer,
    calls: u64,
) {
    let marks = match answer.status {
        200 => {
            let body = answer.json();
            format!(
                "holdings {}, prices {}",
                if body["structure"]["stale"] == true {
                    "stale"
                } else {
                    "fresh"
                },
                if body["prices"]["stale"] == true {
                    "stale"
                } else {
                    "fresh"
                }
            )
        }
        _ => answer.json()["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    };
    let cached = format!("{cached:?}");
    println!(
        "{upstream:<14} {fault:<28} {endpoint:<10} {cached:<11} {} {marks:<31} {calls}",
        answer.status
    );
}

fn timeouts() -> [(&'static str, &'static str); 2] {
    [("ZERION_TIMEOUT_MS", "2000"), ("PRICE_TIMEOUT_MS", "2000")]
}

fn body(status: u16, body: &str) -> Fault {
    Fault {
        body: Some(body.to_owned()),
        ..Fault::status(status)
    }
}

/// The fault that changes no answer: a right body is read with any content type.
const HARMLESS: &str = "another content type";

/// The cases of a table: what is cached × which endpoint is asked.
fn cases() -> impl Iterator<Item = (Cached, &'static str)> {
    let endpoints = |cached| {
        ENDPOINTS
            .into_iter()
            .map(move |endpoint| (cached, endpoint))
    };
    ALL.into_iter().flat_map(endpoints)
}

fn faults() -> Vec<(&'static str, Fault)> {
    let right = Fault::default();
    let wrong_type = Fault {
        headers: [("content-type".to_owned(), "text/html".to_owned())].into(),
        ..right.clone()
    };
    let limited = |seconds: &str| Fault {
        headers: [("retry-after".to_owned(), seconds.to_owned())].into(),
        ..Fault::status(429)
    };
    vec![
        (
            "no answer",
            Fault {
                delay_ms: Some(20_000),
                ..right.clone()
            },
        ),
        (
            "breaks off at once",
            Fault {
                cut_after: Some(0),
                ..right.clone()
            },
        ),
        (
            "breaks off half-way",
            Fault {
                cut_after: Some(700),
                ..right.clone()
            },
        ),
        (
            "stops half-way",
            Fault {
                stall_after: Some(700),
                ..right.clone()
            },
        ),
        (
            "80 MB",
            Fault {
                padding: Some(80_000_000),
                ..right.clone()
            },
        ),
        (HARMLESS, wrong_type),
        ("garbage", body(200, "<html>busy</html>")),
        ("truncated JSON", body(200, "{\"data\":[{\"id\":")),
        ("empty body", body(200, "")),
        ("empty object", body(200, "{}")),
        ("null data", body(200, "{\"data\":null}")),
        ("of another type", body(200, "{\"data\":7,\"coins\":7}")),
        ("401", Fault::status(401)),
        ("403", Fault::status(403)),
        ("404", Fault::status(404)),
        ("429", Fault::status(429)),
        ("429 with Retry-After", limited("5")),
        ("500", Fault::status(500)),
        ("502", Fault::status(502)),
        ("503", Fault::status(503)),
    ]
}

#[tokio::test]
async fn every_fault_of_zerion_has_its_answer() {
    for (name, fault) in faults() {
        for (cached, endpoint) in cases() {
            let app = TestApp::with(&timeouts()).await;
            prepare(&app, cached).await;
            app.fakes().set_fault(Provider::Zerion, Some(fault.clone()));
            let answer = app.get(sample("farmer"), endpoint).await;
            let stats = app.stats();
            print(
                "zerion",
                name,
                (cached, endpoint),
                &answer,
                stats.zerion.requests,
            );
            let case = format!("{name} {cached:?} {endpoint}");
            match cached {
                _ if name == HARMLESS => assert_eq!(answer.ok()["structure"]["stale"], false),
                Cached::Nothing => {
                    assert!((400..600).contains(&answer.status), "{case}");
                    assert_ne!(answer.json()["code"], "internal", "{case}");
                }
                Cached::Old => {
                    let body = answer.ok();
                    assert_eq!(body["structure"]["stale"], true, "{case}");
                    assert!(
                        answer.header("cache-control").contains("max-age=0"),
                        "{case}"
                    );
                    assert!(positions(&body).len() > 3, "{case}");
                }
                Cached::Everything | Cached::OldPrices => {
                    let body = answer.ok();
                    assert_eq!(body["structure"]["stale"], false, "{case}");
                    assert_eq!(body["prices"]["stale"], false, "{case}");
                    assert_eq!(stats.zerion.requests, 0, "{case}");
                }
            }
            assert!(stats.zerion.requests <= 2, "{case}");
            assert!(stats.coinmarketcap.requests <= 1, "{case}");
            // Nothing of it is kept: soon all is well again.
            app.fakes().set_fault(Provider::Zerion, None);
            app.advance(61);
            let well = app.get(sample("farmer"), endpoint).await.ok();
            assert_eq!(well["structure"]["stale"], false, "{case}");
            assert!(positions(&well).len() > 3, "{case}");
        }
    }
}

/// The budget of one request is the budget of many at once.
#[tokio::test]
async fn every_fault_of_zerion_under_a_stampede_has_its_answer() {
    for (name, fault) in faults() {
        for cached in [Cached::Nothing, Cached::Old] {
            let app = TestApp::with(&timeouts()).await;
            prepare(&app, cached).await;
            app.fakes().set_fault(Provider::Zerion, Some(fault.clone()));
            let requests = (0..15)
                .map(|number| app.get(sample("farmer"), ENDPOINTS[number % ENDPOINTS.len()]));
            let answers = futures::future::join_all(requests).await;
            let requests = app.stats().zerion.requests;
            let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
            println!("{name:<28} 15 at once, {cached:?}: {statuses:?} {requests}");
            let case = format!("{name} {cached:?}");
            // Two attempts for each of the parts that can be asked for alone.
            assert!(requests <= 4, "{case}: {requests}");
            for answer in answers {
                if cached == Cached::Old {
                    assert!(positions(&answer.ok()).len() > 3, "{case}");
                } else if name != HARMLESS {
                    assert!((400..600).contains(&answer.status), "{case}");
                    assert_ne!(answer.json()["code"], "internal", "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_fault_of_coinmarketcap_has_its_answer() {
    for (name, fault) in faults() {
        for (cached, endpoint) in cases() {
            let app = TestApp::with(&timeouts()).await;
            prepare(&app, cached).await;
            let fault = Some(fault.clone());
            app.fakes().set_fault(Provider::CoinMarketCap, fault);
            let answer = app.get(sample("farmer"), endpoint).await;
            let stats = app.stats();
            print(
                "coinmarketcap",
                name,
                (cached, endpoint),
                &answer,
                stats.coinmarketcap.requests,
            );
            let case = format!("{name} {cached:?} {endpoint}");
            let body = answer.ok();
            assert!(positions(&body).len() > 3, "{case}");
            assert_eq!(body["structure"]["stale"], false, "{case}");
            assert_eq!(
                body["prices"]["stale"],
                cached == Cached::OldPrices && name != HARMLESS,
                "{case}"
            );
            assert_ne!(body["totals"]["net_worth"], "0", "{case}");
            assert!(stats.coinmarketcap.requests <= 2, "{case}");
            app.fakes().set_fault(Provider::CoinMarketCap, None);
            app.advance(61);
            let well = app.get(sample("farmer"), endpoint).await.ok();
            assert_eq!(well["prices"]["stale"], false, "{case}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_defillama_has_its_answer() {
    for (name, fault) in faults() {
        let app = TestApp::with(&timeouts()).await;
        prepare(&app, Cached::OldPrices).await;
        app.fakes().set_fault(Provider::DefiLlama, Some(fault));
        let answer = app.get(sample("farmer"), "aggregate").await;
        let stats = app.stats();
        print(
            "defillama",
            name,
            (Cached::OldPrices, "aggregate"),
            &answer,
            stats.defillama.requests,
        );
        let body = answer.ok();
        assert_eq!(body["prices"]["stale"], false, "{name}");
        assert!(stats.defillama.requests <= 2, "{name}");
    }
}

#[tokio::test]
async fn every_fault_of_the_table_has_its_answer() {
    for (name, fault, operation) in [
        ("breaks off", TableFault::Broken, None),
        ("500", TableFault::Internal, None),
        ("throttled", TableFault::Throttled, None),
        ("missing", TableFault::Missing, None),
        ("no answer", TableFault::Slow(2000), None),
        (
            "500 on BatchGetItem",
            TableFault::Internal,
            Some("BatchGetItem"),
        ),
        ("unprocessed keys", TableFault::Unprocessed, None),
        ("chunks cannot be written", TableFault::NoChunks, None),
        (
            "throttled UpdateItem",
            TableFault::Throttled,
            Some("UpdateItem"),
        ),
        ("throttled PutItem", TableFault::Throttled, Some("PutItem")),
        ("500 on Query", TableFault::Internal, Some("Query")),
    ] {
        for (cached, endpoint) in cases() {
            let variables = [("DYNAMODB_TIMEOUT_MS", "500")];
            let (app, table) = TestApp::with_faulty_table(&variables).await;
            prepare(&app, cached).await;
            table.set(Some(fault), operation);
            let answer = app.get(sample("farmer"), endpoint).await;
            let stats = app.stats();
            let calls = stats.zerion.requests + stats.coinmarketcap.requests;
            print("dynamodb", name, (cached, endpoint), &answer, calls);
            let case = format!("{name} {cached:?} {endpoint}");
            let body = answer.ok();
            assert!(positions(&body).len() > 3, "{case}");
            assert_ne!(body["totals"]["net_worth"], "0", "{case}");
            // Marked by what is there, and not by what the marks say.
            let now = app.now().to_string();
            for level in ["structure", "prices"] {
                let until = body[level]["fresh_until"].as_str().expect("a time");
                let old = until <= now.as_str();
                assert_eq!(body[level]["stale"], old, "{case}");
            }
            assert!(stats.zerion.requests <= 1, "{case}");
            assert!(stats.coinmarketcap.requests <= 1, "{case}");
            // The cache is used again without a restart.
            table.set(None, None);
            app.advance(61);
            app.get(sample("farmer"), "aggregate").await.ok();
            app.fakes().reset_stats();
            let again = app.get(sample("farmer"), "aggregate").await;
            assert!(
                again
                    .header("cache-status")
                    .contains("structure; hit; ttl="),
                "{case}: {}",
                again.header("cache-status")
            );
            again.ok();
            assert_eq!(app.stats().zerion.requests, 0, "{case}");
        }
    }
}
