//! Answers from the process's copies of wallets: what they cost, and that what other
//! processes do is seen at once.

use std::time::Duration;

use portfolio::{domain::scope::Scope, lambda::QueryFunction};
use portfolio_tests::{Answer, TestApp, rows};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

/// An app with a wallet of so many listed tokens.
async fn warm(tokens: u32) -> TestApp {
    let app = TestApp::listing(1..=tokens, &[]).await;
    app.fakes()
        .set_wallet(WALLET, (1..=tokens).map(rows::token).collect());
    app
}

async fn get(app: &TestApp, process: &QueryFunction) -> Answer {
    let answer = app.get_from(process, WALLET).await;
    answer.ok();
    answer
}

/// Two processes that have read the wallet and answered from their copies.
async fn two_processes(app: &TestApp) -> (QueryFunction, QueryFunction) {
    let (one, other) = (app.process(Scope::Aggregate), app.process(Scope::Aggregate));
    for process in [&one, &other, &one, &other] {
        get(app, process).await;
    }
    (one, other)
}

fn total(answer: &Answer) -> u64 {
    answer.json()["page"]["total"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_deletion_by_another_process_is_seen_at_once() {
    let app = warm(3).await;
    let (one, other) = two_processes(&app).await;
    app.fakes()
        .set_wallet(WALLET, (1..=5).map(rows::token).collect());
    app.fakes().reset_stats();
    assert_eq!(total(&get(&app, &one).await), 3);
    app.request("DELETE", &format!("/v1/wallets/{WALLET}/cache"), &[])
        .await;
    assert_eq!(total(&get(&app, &other).await), 5);
    assert_eq!(total(&get(&app, &one).await), 5);
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn a_fetch_by_another_process_is_seen_at_once() {
    let app = warm(3).await;
    let (one, other) = two_processes(&app).await;
    app.clock.advance(Duration::from_secs(301));
    app.fakes()
        .set_wallet(WALLET, (1..=5).map(rows::token).collect());
    app.fakes().reset_stats();
    assert_eq!(total(&get(&app, &other).await), 5);
    let seen = get(&app, &one).await;
    assert_eq!(total(&seen), 5);
    assert!(
        seen.header("cache-status")
            .starts_with("structure; hit; ttl=300, prices; hit")
    );
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn prices_that_another_process_refreshed_are_seen_when_the_copys_expire() {
    let app = warm(3).await;
    let (one, other) = two_processes(&app).await;
    app.clock.advance(Duration::from_secs(61));
    app.fakes().reset_stats();
    let refreshed = get(&app, &other).await;
    let seen = get(&app, &one).await;
    let (refreshed, seen) = (refreshed.json(), seen.json());
    assert_eq!(seen["prices"], refreshed["prices"]);
    assert_eq!(seen["totals"], refreshed["totals"]);
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}

#[tokio::test]
async fn the_same_query_is_answered_with_the_same_bytes_and_headers() {
    let app = warm(30).await;
    let process = app.process(Scope::Aggregate);
    let first = get(&app, &process).await;
    let read = get(&app, &process).await;
    let copy = get(&app, &process).await;
    for other in [&read, &copy] {
        assert_eq!(other.json(), first.json());
        assert_eq!(other.header("etag"), first.header("etag"));
    }
    app.clock.advance(Duration::from_secs(20));
    let later = get(&app, &process).await;
    assert_eq!(later.header("etag"), first.header("etag"));
    assert!(later.header("cache-control").contains("max-age=40,"));
    assert!(
        later
            .header("cache-status")
            .contains("structure; hit; ttl=280, prices; hit; ttl=40")
    );
}
