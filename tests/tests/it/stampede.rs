//! What arrives together for one wallet costs at most two requests to the
//! provider of holdings, and what was fetched is stored.

use std::time::{Duration, Instant};

use futures::future::join_all;
use portfolio::{
    app::App, domain::provider::Provider, domain::scope::Scope, lambda::QueryFunction,
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{Answer, TestApp, ask, get, positions, random::Random, rows};
use serde_json::Value;

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
const ENDPOINTS: [&str; 3] = ["aggregate", "defi", "wallet"];

fn slow(delay_ms: u64) -> Option<Fault> {
    Some(Fault {
        delay_ms: Some(delay_ms),
        ..Fault::default()
    })
}

/// Plain balances of tokens 1 to 5, and tokens 6 to 8 staked.
fn holdings() -> Vec<Value> {
    let mut held: Vec<Value> = (1..=5).map(rows::token).collect();
    held.extend((6..=8).map(rows::staked));
    held
}

/// How many positions each endpoint has of [`holdings`].
fn expected(endpoint: &str) -> usize {
    match endpoint {
        "wallet" => 5,
        "defi" => 3,
        _ => 8,
    }
}

async fn app() -> TestApp {
    let app = TestApp::listing(1..=8, &[]).await;
    app.fakes().set_wallet(WALLET, holdings());
    app
}

/// Eight processes: three of each function, two of the one of `aggregate`.
fn processes(app: &TestApp) -> Vec<(&'static str, QueryFunction)> {
    let names = ENDPOINTS.into_iter().cycle().skip(1).take(8);
    let scope = |name| Scope::parse(name).expect("a scope");
    names.map(|name| (name, app.process(scope(name)))).collect()
}

/// Twelve requests within 60 ms, four for each endpoint, spread over the
/// processes; `turn` tells which endpoint comes first, and `query` gets the
/// number of each.
async fn twelve(
    processes: &[(&'static str, QueryFunction)],
    turn: usize,
    query: impl Fn(usize) -> &'static str,
) -> Vec<(&'static str, Answer)> {
    let request = |number: usize| {
        let endpoint = ENDPOINTS[(number + turn) % 3];
        let serving: Vec<_> = processes.iter().filter(|it| it.0 == endpoint).collect();
        let process = &serving[number / 3 % serving.len()].1;
        let rest = format!("{endpoint}{}", query(number));
        async move {
            tokio::time::sleep(Duration::from_millis(5 * number as u64)).await;
            (endpoint, get(process, WALLET, &rest).await)
        }
    };
    join_all((0..12).map(request)).await
}

fn assert_whole(endpoint: &str, answer: &Answer) {
    let body = answer.ok();
    assert_eq!(positions(&body).len(), expected(endpoint), "{endpoint}");
    assert_ne!(body["totals"]["net_worth"], "0", "{endpoint}");
    assert_eq!(body["prices"]["unpriced"], 0, "{endpoint}");
}

/// Asserts that every endpoint is answered from what is stored.
async fn assert_stored(app: &TestApp, query: &str) {
    let before = app.stats().zerion.requests;
    for endpoint in ENDPOINTS {
        let answer = app.get(WALLET, &format!("{endpoint}{query}")).await;
        assert_whole(endpoint, &answer);
    }
    let later = app.stats().zerion.requests - before;
    assert_eq!(later, 0, "what was fetched is not stored");
}

/// One endpoint's request is under way when eight for everything arrive.
async fn first_one_part_then_all(first: &'static str) {
    let app = app().await;
    app.fakes().set_fault(Provider::Zerion, slow(1000));
    let later = (0..8).map(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.get(WALLET, "aggregate").await
    });
    let (one, all) = futures::join!(app.get(WALLET, first), join_all(later));
    let requests = app.stats().zerion.requests;
    assert_whole(first, &one);
    for answer in &all {
        assert_whole("aggregate", answer);
    }
    println!("{first}, then 8 × aggregate: {requests} requests");
    assert!(requests <= 2, "{requests} requests");
    assert_stored(&app, "").await;
}

#[tokio::test]
async fn eight_aggregates_during_a_wallet_fetch_cost_two_requests() {
    first_one_part_then_all("wallet").await;
}

#[tokio::test]
async fn eight_aggregates_during_a_defi_fetch_cost_two_requests() {
    first_one_part_then_all("defi").await;
}

#[tokio::test]
async fn twelve_cold_requests_over_eight_processes_cost_two_requests() {
    for (turn, first) in ENDPOINTS.into_iter().enumerate() {
        let app = app().await;
        let processes = processes(&app);
        app.fakes().set_fault(Provider::Zerion, slow(1000));
        let answers = twelve(&processes, turn, |_| "").await;
        let requests = app.stats().zerion.requests;
        for (endpoint, answer) in &answers {
            assert_whole(endpoint, answer);
        }
        println!("12 at once, {first} first: {requests} requests");
        assert!(requests <= 2, "{first} first: {requests} requests");
        assert_stored(&app, "").await;
    }
}

#[tokio::test]
async fn a_deletion_in_the_middle_costs_two_more_requests() {
    for (turn, millis) in [(0, 300), (1, 400), (2, 500)] {
        let app = app().await;
        let processes = processes(&app);
        app.fakes().set_fault(Provider::Zerion, slow(1000));
        let path = format!("/v1/wallets/{WALLET}/cache");
        let forget = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            app.request("DELETE", &path, &[]).await.status
        };
        let (answers, status) = futures::join!(twelve(&processes, turn, |_| ""), forget);
        let requests = app.stats().zerion.requests;
        assert_eq!(status, 204);
        for (endpoint, answer) in &answers {
            assert_whole(endpoint, answer);
        }
        println!("12 at once, DELETE after {millis} ms: {requests} requests");
        assert!(
            requests <= 4,
            "DELETE after {millis} ms: {requests} requests"
        );
        assert_stored(&app, "").await;
    }
}

#[tokio::test]
async fn two_currencies_at_once_cost_two_requests() {
    for (turn, first) in ENDPOINTS.into_iter().enumerate() {
        let app = app().await;
        let processes = processes(&app);
        app.fakes().set_fault(Provider::Zerion, slow(1000));
        let query = |number: usize| match number % 2 {
            0 => "?currency=usd",
            _ => "?currency=eur",
        };
        let answers = twelve(&processes, turn, query).await;
        let requests = app.stats().zerion.requests;
        for (endpoint, answer) in &answers {
            assert_whole(endpoint, answer);
        }
        println!("12 at once, two currencies, {first} first: {requests} requests");
        assert!(requests <= 2, "{first} first: {requests} requests");
        for query in ["?currency=usd", "?currency=eur"] {
            assert_stored(&app, query).await;
        }
    }
}

/// A wallet that no cache keeps: 20,000 rows with texts that do not compress,
/// together more than four megabytes.
fn huge() -> Fault {
    let mut random = Random::new(7);
    let mut body = String::from("{\"links\":{},\"data\":[");
    for number in 1..=20_000 {
        if number > 1 {
            body.push(',');
        }
        let mut name = String::new();
        random.text(330, &mut name);
        body.push_str(&rows::slim(number, &name));
    }
    body.push_str("]}");
    Fault {
        body: Some(body),
        ..Fault::status(200)
    }
}

/// A wallet that its header says is too large has nothing to wait for, in any
/// process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wallets_too_large_to_store_are_fetched_concurrently() {
    const AT_ONCE: usize = 3;
    // As much time as a debug build takes for 24 MB of rows, several times.
    let variables = [
        ("PRICE_FALLBACK", "none"),
        ("REQUEST_DEADLINE_MS", "120000"),
        ("ZERION_TIMEOUT_MS", "120000"),
    ];
    let app = TestApp::with(&variables).await;
    let mut fault = huge();
    app.fakes().set_fault(Provider::Zerion, Some(fault.clone()));
    // The first one finds out.
    let first = app.get(WALLET, "aggregate?limit=1").await;
    assert_eq!(first.ok()["page"]["total"], 20_000);
    assert!(first.header("cache-status").contains("detail=uncached"));
    app.fakes().reset_stats();
    fault.delay_ms = Some(4000);
    app.fakes().set_fault(Provider::Zerion, Some(fault));
    let others: Vec<_> = (0..AT_ONCE)
        .map(|_| app.process(Scope::Aggregate))
        .collect();
    let asked = others.iter().map(|it| get(it, WALLET, "aggregate?limit=1"));
    let requests = join_all(asked);
    let under_way = async {
        tokio::time::sleep(Duration::from_millis(3000)).await;
        app.stats().zerion.requests
    };
    let (answers, under_way) = futures::join!(requests, under_way);
    println!("{AT_ONCE} at once for a huge wallet: {under_way} requests under way");
    assert_eq!(
        under_way, AT_ONCE as u64,
        "they went out one after the other"
    );
    for answer in answers {
        assert_eq!(answer.ok()["page"]["total"], 20_000);
    }
}

/// A holder that dies leaves its lease behind: one of the waiting processes fetches.
#[tokio::test]
async fn one_process_fetches_after_a_lease_holder_dies() {
    let app = app().await;
    let function = || App::new(app.config()).query_function(Scope::Aggregate);
    let (dying, living) = (
        function().expect("a process"),
        function().expect("a process"),
    );
    app.fakes().set_fault(Provider::Zerion, slow(1000));
    let path = format!("/v1/wallets/{WALLET}/aggregate");
    let died = ask(&dying, "GET", &path, &[]);
    // Dropped in the middle of its request, as a killed process.
    let died = tokio::time::timeout(Duration::from_millis(400), died).await;
    assert!(died.is_err());
    let started = Instant::now();
    let answers = join_all((0..9).map(|_| get(&living, WALLET, "aggregate"))).await;
    let requests = app.stats().zerion.requests;
    println!(
        "a dead holder, then 9 at once: {requests} requests, {:?}",
        started.elapsed()
    );
    for answer in &answers {
        assert_whole("aggregate", answer);
    }
    assert!(requests <= 3, "{requests} requests");
    let zerion = app.stats().zerion.requests;
    assert_whole("aggregate", &get(&living, WALLET, "aggregate").await);
    assert_eq!(app.stats().zerion.requests, zerion);
}
