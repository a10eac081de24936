//! Stampedes, failures and invalidations, as seen by clients.

use std::time::Duration;

use portfolio::domain::provider::Provider;
use portfolio::domain::scope::Scope;
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, positions, rows, sample, table::TableFault};
use serde_json::json;

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

fn slow(delay_ms: u64) -> Option<Fault> {
    Some(Fault {
        delay_ms: Some(delay_ms),
        ..Fault::default()
    })
}

#[tokio::test]
async fn waiters_wait_for_a_slow_fetch_until_it_ends() {
    let app = TestApp::new().await;
    app.fakes().set_fault(Provider::Zerion, slow(4000));
    let requests = (0..12).map(|_| app.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert!(positions(&answer.ok()).len() > 10);
    }
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn all_waiters_get_a_failure_at_once() {
    let app = TestApp::new().await;
    let fault = Fault {
        delay_ms: Some(300),
        ..Fault::status(401)
    };
    app.fakes().set_fault(Provider::Zerion, Some(fault));
    let requests = (0..12).map(|_| app.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.status, 502);
    }
    assert_eq!(app.stats().zerion.requests, 1);
    // It is forgotten after a moment.
    app.fakes().set_fault(Provider::Zerion, None);
    app.advance(3);
    app.get(sample("farmer"), "aggregate").await.ok();
}

#[tokio::test]
async fn an_untrackable_wallet_is_remembered_and_never_answered_from_old_data() {
    let app = TestApp::new().await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "wallet").await.ok();
    let fault = Some(Fault::status(400));
    app.fakes().set_fault(Provider::Zerion, fault);
    app.advance(301);
    for _ in 0..3 {
        let answer = app.get(WALLET, "wallet").await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["code"], "wallet_not_trackable");
    }
    assert_eq!(app.stats().zerion.requests, 2);
    app.fakes().set_fault(Provider::Zerion, None);
    app.advance(31);
    app.get(WALLET, "wallet").await.ok();
}

#[tokio::test]
async fn a_hanging_provider_is_not_waited_for_when_old_data_may_be_used() {
    let app = TestApp::new().await;
    let before = app.get(sample("small"), "wallet").await.ok();
    app.fakes().set_fault(Provider::Zerion, slow(60_000));
    app.advance(301);
    let started = std::time::Instant::now();
    let answer = app.get(sample("small"), "wallet").await;
    // A limit far below the provider's, not a measure of speed.
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(
        answer
            .header("cache-status")
            .contains("structure; hit; ttl=-1;")
    );
    let after = answer.ok();
    assert_eq!(after["structure"]["stale"], true);
    assert_eq!(after["structure"]["as_of"], before["structure"]["as_of"]);
    assert_eq!(after["page"]["total"], before["page"]["total"]);
}

#[tokio::test]
async fn a_cached_wallet_can_be_deleted() {
    let app = TestApp::new().await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "aggregate").await.ok();
    app.get(WALLET, "aggregate?currency=eur").await.ok();
    let path = format!("/v1/wallets/{WALLET}/cache");
    let forgotten = app.request("DELETE", &path, &[]).await;
    assert_eq!((forgotten.status, forgotten.bytes.len()), (204, 0));
    app.fakes()
        .set_wallet(WALLET, vec![rows::token(2), rows::token(3)]);
    let body = app.get(WALLET, "aggregate").await.ok();
    assert_eq!(positions(&body).len(), 2);
    assert_eq!(app.stats().zerion.requests, 2);
    // Forgetting what is not there is as good.
    for _ in 0..2 {
        assert_eq!(app.request("DELETE", &path, &[]).await.status, 204);
    }

    for (method, path, status, code) in [
        ("GET", path.clone(), 405, "method_not_allowed"),
        (
            "DELETE",
            "/v1/wallets/0x12/cache".to_owned(),
            400,
            "invalid_address",
        ),
        (
            "DELETE",
            format!("{path}?force=1"),
            400,
            "invalid_parameter",
        ),
        (
            "DELETE",
            format!("/v1/wallets/{WALLET}/defi"),
            405,
            "method_not_allowed",
        ),
    ] {
        let answer = app.request(method, &path, &[]).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code))
        );
        let allowed = match (status, path.ends_with("cache")) {
            (405, true) => "DELETE",
            (405, false) => "GET, HEAD",
            _ => "",
        };
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[tokio::test]
async fn a_wallet_deleted_during_its_fetch_does_not_come_back() {
    let app = TestApp::new().await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.fakes().set_fault(Provider::Zerion, slow(1500));
    let path = format!("/v1/wallets/{WALLET}/cache");
    let forget = async {
        while app.stats().zerion.requests == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        app.request("DELETE", &path, &[]).await
    };
    let (answer, forgotten) = futures::join!(app.get(WALLET, "aggregate"), forget);
    assert_eq!(forgotten.status, 204);
    assert!(answer.header("cache-status").contains("detail=uncached"));
    answer.ok();
    app.fakes().set_fault(Provider::Zerion, None);
    app.fakes()
        .set_wallet(WALLET, vec![rows::token(2), rows::token(3)]);
    let body = app.get(WALLET, "aggregate").await.ok();
    assert_eq!(positions(&body).len(), 2);
}

#[tokio::test]
async fn no_cache_fetches_newer_holdings_once_in_a_while() {
    let app = TestApp::new().await;
    let path = format!("/v1/wallets/{WALLET}/aggregate");
    let no_cache = [("cache-control", "max-age=0, no-cache")];
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "aggregate").await.ok();
    app.fakes()
        .set_wallet(WALLET, vec![rows::token(1), rows::token(2)]);
    for (seconds, count, requests) in [(29, 1, 1), (2, 2, 2), (0, 2, 2), (29, 2, 2), (2, 2, 3)] {
        app.advance(seconds);
        let body = app.request("GET", &path, &no_cache).await.ok();
        assert_eq!(positions(&body).len(), count);
        assert_eq!(app.stats().zerion.requests, requests);
    }
}

#[tokio::test]
async fn no_cache_is_throttled_while_the_provider_fails() {
    let app = TestApp::new().await;
    let path = format!("/v1/wallets/{WALLET}/aggregate");
    let no_cache = [("cache-control", "no-cache")];
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "aggregate").await.ok();
    app.advance(40);
    app.fakes().reset_stats();
    let garbage = Fault {
        body: Some("{".to_owned()),
        ..Fault::status(200)
    };
    app.fakes().set_fault(Provider::Zerion, Some(garbage));
    for (seconds, requests) in [(0, 1), (0, 1), (10, 1), (10, 1), (11, 2), (10, 2)] {
        app.advance(seconds);
        let body = app.request("GET", &path, &no_cache).await.ok();
        assert_eq!(body["structure"]["stale"], false);
        assert_eq!(app.stats().zerion.requests, requests);
    }
    // Holdings that have expired are asked for whenever they are wanted.
    app.advance(220);
    app.fakes().set_fault(Provider::Zerion, None);
    app.request("GET", &path, &no_cache).await.ok();
    assert_eq!(app.stats().zerion.requests, 3);
}

#[tokio::test]
async fn requests_to_a_failing_provider_are_paused() {
    let app = TestApp::new().await;
    let down = Some(Fault::status(500));
    app.fakes().set_fault(Provider::Zerion, down);
    let address = |number: u32| format!("0x{number:040}");
    for number in 0..200 {
        let answer = app.get(&address(number), "aggregate").await;
        assert_eq!(answer.status, 503);
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(app.stats().zerion.requests, 10);
    app.fakes().set_fault(Provider::Zerion, None);
    app.advance(31);
    for number in 0..20 {
        app.get(&address(number), "aggregate").await.ok();
    }
    assert_eq!(app.stats().zerion.requests, 30);
}

#[tokio::test]
async fn deadline_cancels_upstream_requests() {
    let app = TestApp::with(&[("REQUEST_DEADLINE_MS", "1500")]).await;
    app.fakes().set_fault(Provider::Zerion, slow(60_000));
    let requests = (0..5).map(|_| app.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.status, 504);
        assert_eq!(answer.json()["code"], "deadline_exceeded");
    }
    // The fake hears of it with the closing of the connection.
    let mut left = 0;
    for _ in 0..100 {
        left = app.stats().zerion.disconnects;
        if left == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((left, app.stats().zerion.requests), (1, 1));
}

#[tokio::test]
async fn uncacheable_wallets_are_fetched_concurrently() {
    let app = TestApp::new().await;
    let mut odd = rows::token(2);
    odd["attributes"] = json!("oops");
    let body = json!({"links": {}, "data": [rows::token(1), odd]}).to_string();
    let incomplete = Fault {
        body: Some(body),
        delay_ms: Some(700),
        ..Fault::status(200)
    };
    app.fakes().set_fault(Provider::Zerion, Some(incomplete));
    let started = std::time::Instant::now();
    let requests = (0..9).map(|_| app.get(WALLET, "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.ok()["coverage"]["complete"], false);
    }
    // One waits, the others go together; in turn they would take twice as long.
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// One that could not store what it fetched has another one try, not all.
#[tokio::test]
async fn incomplete_holdings_are_fetched_again_by_one_request() {
    let (app, table) = TestApp::with_faulty_table(&[]).await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.fakes().set_fault(Provider::Zerion, slow(500));
    table.set(Some(TableFault::NoChunks), None);
    let requests = futures::future::join_all((0..9).map(|_| app.get(WALLET, "aggregate")));
    let mend = async {
        while app.stats().zerion.requests < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        table.set(None, None);
    };
    let (answers, ()) = futures::join!(requests, mend);
    for answer in answers {
        assert_eq!(positions(&answer.ok()).len(), 1);
    }
    assert_eq!(app.stats().zerion.requests, 2);
}

#[tokio::test]
async fn a_fetch_after_a_deletion_writes_everything_again() {
    let app = TestApp::new().await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "aggregate").await.ok();
    let path = format!("/v1/wallets/{WALLET}/cache");
    app.request("DELETE", &path, &[]).await;
    // The same holdings: their chunks are gone, although nothing has changed.
    app.get(WALLET, "aggregate").await.ok();
    let again = app.get(WALLET, "aggregate").await;
    assert!(
        again
            .header("cache-status")
            .contains("structure; hit; ttl=300")
    );
    assert_eq!(app.stats().zerion.requests, 2);
}

#[tokio::test]
async fn one_probe_detects_that_a_provider_recovered() {
    let app = TestApp::new().await;
    let processes: Vec<_> = (0..8).map(|_| app.process(Scope::Aggregate)).collect();
    let down = Some(Fault::status(500));
    app.fakes().set_fault(Provider::Zerion, down);
    let address = |number: usize| format!("0x{number:040}");
    for number in 0..1000 {
        let answer = app.get_from(&processes[number % 8], &address(number)).await;
        assert_eq!(answer.status, 503);
    }
    println!(
        "1,000 wallets, 8 processes: {} attempts",
        app.stats().zerion.requests
    );
    assert_eq!(app.stats().zerion.requests, 80);
    // Still down: one probe of each process.
    app.advance(31);
    for number in 0..100 {
        app.get_from(&processes[number % 8], &address(number)).await;
    }
    assert_eq!(app.stats().zerion.requests, 88);
    app.fakes().set_fault(Provider::Zerion, None);
    app.advance(31);
    for number in 0..100 {
        app.get_from(&processes[number % 8], &address(number))
            .await
            .ok();
    }
    assert_eq!(app.stats().zerion.requests, 188);
}
