//! A table that throttles: what is known still answers, and the provider is
//! not flooded.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use portfolio::domain::provider::Provider;
use portfolio::domain::scope::Scope;
use portfolio_local::fakes::Fault;
use portfolio_tests::{
    Answer, TestApp, get, positions, rows,
    table::{FaultyTable, TableFault},
};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
const READS: [&str; 3] = ["Query", "GetItem", "BatchGetItem"];

/// An app whose table answers within half a second or not at all.
async fn app() -> (TestApp, FaultyTable) {
    let variables = [("DYNAMODB_TIMEOUT_MS", "500")];
    let (app, table) = TestApp::with_faulty_table(&variables).await;
    let held = (1..=3).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    (app, table)
}

/// Whether an answer says that it is not what the cache has now.
fn is_marked(answer: &Answer) -> bool {
    let status = answer.header("cache-status");
    let structure = status.split(',').next().unwrap_or_default();
    structure.contains("detail=") || answer.json()["structure"]["stale"] == true
}

#[tokio::test]
async fn throttled_reads_are_answered_from_the_copy_of_the_process() {
    let (app, table) = app().await;
    let process = app.process(Scope::Aggregate);
    for _ in 0..2 {
        get(&process, WALLET, "aggregate").await.ok();
    }
    app.fakes().reset_stats();
    table.set_for(TableFault::Throttled, &READS);
    let mut marked = 0;
    for _ in 0..10 {
        let answer = get(&process, WALLET, "aggregate").await;
        assert_eq!(positions(&answer.ok()).len(), 3);
        marked += usize::from(is_marked(&answer));
    }
    let requests = app.stats().zerion.requests;
    println!("reads throttled, 10 requests: {requests} to Zerion, {marked} marked");
    assert_eq!((requests, marked), (0, 10));
    // The cache is used again as soon as it can be.
    table.set(None, None);
    let answer = get(&process, WALLET, "aggregate").await;
    assert!(answer.header("cache-status").starts_with("structure; hit"));
    assert!(!is_marked(&answer));
    assert_eq!(app.stats().zerion.requests, 0);
}

/// Another process may have forgotten the wallet or fetched it anew: a copy
/// that has expired is not passed off as fresh.
#[tokio::test]
async fn an_expired_copy_of_the_process_is_marked_stale() {
    let (app, table) = app().await;
    let process = app.process(Scope::Aggregate);
    for _ in 0..2 {
        get(&process, WALLET, "aggregate").await.ok();
    }
    app.fakes().reset_stats();
    app.advance(301);
    table.set(Some(TableFault::Throttled), None);
    let down = Some(Fault::status(500));
    app.fakes().set_fault(Provider::Zerion, down);
    let body = get(&process, WALLET, "aggregate").await.ok();
    assert_eq!(body["structure"]["stale"], true);
    assert_eq!(positions(&body).len(), 3);
}

#[tokio::test]
async fn a_short_throttling_of_reads_costs_no_fetch() {
    let (app, table) = app().await;
    let known = app.process(Scope::Aggregate);
    get(&known, WALLET, "aggregate").await.ok();
    app.fakes().reset_stats();
    let unknown = app.process(Scope::Aggregate);
    table.set_for(TableFault::Throttled, &READS);
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        table.set(None, None);
    };
    let (answer, ()) = futures::join!(get(&unknown, WALLET, "aggregate"), end);
    assert_eq!(positions(&answer.ok()).len(), 3);
    let requests = app.stats().zerion.requests;
    println!("reads throttled for a second: {requests} requests to Zerion");
    assert_eq!(requests, 0);
}

#[tokio::test]
async fn requests_of_a_process_are_bounded_while_the_table_fails() {
    let mut wrong = Vec::new();
    for (name, fault) in [
        ("throttled", TableFault::Throttled),
        ("500", TableFault::Internal),
        ("broken off", TableFault::Broken),
        ("missing", TableFault::Missing),
        ("no answer", TableFault::Slow(2000)),
    ] {
        let (app, table) = app().await;
        let address = |number: u32| format!("0x{number:040}");
        for number in 0..50 {
            let held = (1..=3).map(rows::token).collect();
            app.fakes().set_wallet(&address(number), held);
        }
        let slow = Fault {
            delay_ms: Some(200),
            ..Fault::default()
        };
        app.fakes().set_fault(Provider::Zerion, Some(slow));
        table.set(Some(fault), None);
        let process = app.process(Scope::Aggregate);
        let addresses: Vec<String> = (0..50).map(address).collect();
        let asked = addresses.iter().map(|it| get(&process, it, "aggregate"));
        let answers = join_all(asked).await;
        let requests = app.stats().zerion.requests;
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for answer in &answers {
            *statuses.entry(answer.status).or_default() += 1;
            if answer.status == 200 {
                // Never an empty wallet.
                assert_eq!(positions(&answer.ok()).len(), 3, "{name}");
            } else {
                assert_eq!(answer.status, 503, "{name}");
                assert!(!answer.header("retry-after").is_empty(), "{name}");
            }
        }
        println!("{name:<12} 50 wallets at once: {requests} requests to Zerion, {statuses:?}");
        if requests > 20 || !statuses.contains_key(&200) {
            wrong.push(format!("{name}: {requests} requests, {statuses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
