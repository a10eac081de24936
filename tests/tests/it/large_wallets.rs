//! Wallets of tens of thousands of positions, each with a contract of its own.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use portfolio::domain::provider::Provider;
use portfolio::domain::scope::Scope;
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, get, positions, random::Random, rows, units};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// The provider's answers end here.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// An app in which Zerion answers `body`; no other source knows the tokens.
async fn app(body: String) -> TestApp {
    assert!(body.len() < MAX_BODY, "{} bytes", body.len());
    let variables = [
        ("PRICE_FALLBACK", "none"),
        ("REQUEST_DEADLINE_MS", "120000"),
    ];
    let app = TestApp::with(&variables).await;
    let fault = Fault {
        body: Some(body),
        ..Fault::status(200)
    };
    app.fakes().set_fault(Provider::Zerion, Some(fault));
    app
}

/// Pages through a wallet of `count` positions, every page from another
/// process than the one before.
async fn page_through(count: usize) {
    let rows = u32::try_from(count).expect("a count");
    let app = app(rows::body(rows)).await;
    let processes = [app.process(Scope::Aggregate), app.process(Scope::Aggregate)];
    let (mut seen, mut cursor) = (HashSet::new(), String::new());
    let (mut sum, mut pages) = (0, 0);
    let (mut totals, mut times) = (None, Vec::new());
    loop {
        let rest = format!("aggregate?limit=5000{cursor}");
        let started = Instant::now();
        let answer = get(&processes[pages % 2], WALLET, &rest).await;
        times.push(started.elapsed());
        pages += 1;
        let body = answer.ok();
        let requests = app.stats().zerion.requests;
        assert_eq!(requests, 1, "page {pages} fetched again");
        assert_eq!(body["prices"]["unpriced"], 0, "page {pages}");
        assert!(answer.bytes.len() <= 5_000_000);
        assert_eq!(body["page"]["total"], count);
        for one in positions(&body) {
            let id = one["id"].as_str().expect("an id").to_owned();
            assert!(seen.insert(id), "{} twice", one["id"]);
            sum += units(&one["value"]);
        }
        let first = totals.get_or_insert_with(|| body["totals"].clone());
        assert_eq!(*first, body["totals"], "page {pages}");
        match body["page"]["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let (first, later) = times.split_first().expect("pages");
    let slowest = later.iter().max().copied().unwrap_or(Duration::ZERO);
    let mean = later.iter().sum::<Duration>() / u32::try_from(later.len()).unwrap_or(1).max(1);
    println!(
        "{count} positions, {pages} pages: the first {first:.1?} with the fetch, the others \
         {mean:.1?} on average, {slowest:.1?} at most"
    );
    assert_eq!(seen.len(), count);
    assert_eq!(units(&totals.expect("totals")["net_worth"]), sum);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_of_18000_positions_is_kept() {
    page_through(18_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_of_60000_positions_is_kept() {
    page_through(60_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_beyond_four_megabytes_is_answered_uncached() {
    const COUNT: u32 = 20_000;
    let mut random = Random::new(11);
    let mut row = |number| {
        let mut name = String::new();
        random.text(330, &mut name);
        rows::slim(number, &name)
    };
    let rows: Vec<String> = (1..=COUNT).map(&mut row).collect();
    let app = app(format!("{{\"links\":{{}},\"data\":[{}]}}", rows.join(","))).await;
    for requests in [1, 2] {
        let answer = app.get(WALLET, "aggregate?limit=3").await;
        let body = answer.ok();
        let status = answer.header("cache-status");
        assert!(status.contains("detail=uncached"), "{status}");
        assert_eq!(body["page"]["total"], COUNT);
        assert_eq!(positions(&body).len(), 3);
        assert!(!body["page"]["next"].is_null());
        assert_eq!(app.stats().zerion.requests, requests);
    }
}
