//! Stampedes, failures and invalidations, as seen by clients.

use std::time::Duration;

use portfolio::domain::scope::Scope;
use portfolio_local::fakes::{Fault, Upstream};
use portfolio_tests::{World, positions, rows, sample, table::TableFault};
use serde_json::json;

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

fn slow(delay_ms: u64) -> Option<Fault> {
    Some(Fault {
        delay_ms: Some(delay_ms),
        ..Fault::default()
    })
}

#[tokio::test]
async fn a_slow_fetch_is_waited_for_however_slow() {
    let world = World::new().await;
    world.fakes().set_fault(Upstream::Zerion, slow(4000));
    let requests = (0..12).map(|_| world.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert!(positions(&answer.ok()).len() > 10);
    }
    assert_eq!(world.stats().zerion.requests, 1);
}

#[tokio::test]
async fn all_who_wait_learn_of_a_failure_at_once() {
    let world = World::new().await;
    let fault = Fault {
        delay_ms: Some(300),
        ..Fault::status(401)
    };
    world.fakes().set_fault(Upstream::Zerion, Some(fault));
    let requests = (0..12).map(|_| world.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.status, 502);
    }
    assert_eq!(world.stats().zerion.requests, 1);
    // It is forgotten after a moment.
    world.fakes().set_fault(Upstream::Zerion, None);
    world.advance(3);
    world.get(sample("farmer"), "aggregate").await.ok();
}

#[tokio::test]
async fn an_untrackable_wallet_is_remembered_and_never_answered_from_old_data() {
    let world = World::new().await;
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.get(WALLET, "wallet").await.ok();
    let fault = Some(Fault::status(400));
    world.fakes().set_fault(Upstream::Zerion, fault);
    world.advance(301);
    for _ in 0..3 {
        let answer = world.get(WALLET, "wallet").await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["code"], "wallet_not_trackable");
    }
    assert_eq!(world.stats().zerion.requests, 2);
    world.fakes().set_fault(Upstream::Zerion, None);
    world.advance(31);
    world.get(WALLET, "wallet").await.ok();
}

#[tokio::test]
async fn a_hanging_provider_is_not_waited_for_where_old_data_may_stand_in() {
    let world = World::new().await;
    let before = world.get(sample("small"), "wallet").await.ok();
    world.fakes().set_fault(Upstream::Zerion, slow(60_000));
    world.advance(301);
    let started = std::time::Instant::now();
    let answer = world.get(sample("small"), "wallet").await;
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
async fn a_cached_wallet_can_be_forgotten() {
    let world = World::new().await;
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.get(WALLET, "aggregate").await.ok();
    world.get(WALLET, "aggregate?currency=eur").await.ok();
    let path = format!("/v1/wallets/{WALLET}/cache");
    let forgotten = world.request("DELETE", &path, &[]).await;
    assert_eq!((forgotten.status, forgotten.bytes.len()), (204, 0));
    world
        .fakes()
        .set_wallet(WALLET, vec![rows::token(2), rows::token(3)]);
    let body = world.get(WALLET, "aggregate").await.ok();
    assert_eq!(positions(&body).len(), 2);
    assert_eq!(world.stats().zerion.requests, 2);
    // Forgetting what is not there is as good.
    for _ in 0..2 {
        assert_eq!(world.request("DELETE", &path, &[]).await.status, 204);
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
        let answer = world.request(method, &path, &[]).await;
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
async fn what_was_forgotten_meanwhile_does_not_come_back() {
    let world = World::new().await;
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.fakes().set_fault(Upstream::Zerion, slow(1500));
    let path = format!("/v1/wallets/{WALLET}/cache");
    let forget = async {
        while world.stats().zerion.requests == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.request("DELETE", &path, &[]).await
    };
    let (answer, forgotten) = futures::join!(world.get(WALLET, "aggregate"), forget);
    assert_eq!(forgotten.status, 204);
    assert!(answer.header("cache-status").contains("detail=uncached"));
    answer.ok();
    world.fakes().set_fault(Upstream::Zerion, None);
    world
        .fakes()
        .set_wallet(WALLET, vec![rows::token(2), rows::token(3)]);
    let body = world.get(WALLET, "aggregate").await.ok();
    assert_eq!(positions(&body).len(), 2);
}

#[tokio::test]
async fn clients_can_ask_for_newer_holdings_but_not_all_the_time() {
    let world = World::new().await;
    let path = format!("/v1/wallets/{WALLET}/aggregate");
    let no_cache = [("cache-control", "max-age=0, no-cache")];
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.get(WALLET, "aggregate").await.ok();
    world
        .fakes()
        .set_wallet(WALLET, vec![rows::token(1), rows::token(2)]);
    for (seconds, count, requests) in [(29, 1, 1), (2, 2, 2), (0, 2, 2), (29, 2, 2), (2, 2, 3)] {
        world.advance(seconds);
        let body = world.request("GET", &path, &no_cache).await.ok();
        assert_eq!(positions(&body).len(), count);
        assert_eq!(world.stats().zerion.requests, requests);
    }
}

#[tokio::test]
async fn whoever_asks_for_newer_holdings_while_the_provider_fails_asks_seldom() {
    let world = World::new().await;
    let path = format!("/v1/wallets/{WALLET}/aggregate");
    let no_cache = [("cache-control", "no-cache")];
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.get(WALLET, "aggregate").await.ok();
    world.advance(40);
    world.fakes().reset_stats();
    let garbage = Fault {
        body: Some("{".to_owned()),
        ..Fault::status(200)
    };
    world.fakes().set_fault(Upstream::Zerion, Some(garbage));
    for (seconds, requests) in [(0, 1), (0, 1), (10, 1), (10, 1), (11, 2), (10, 2)] {
        world.advance(seconds);
        let body = world.request("GET", &path, &no_cache).await.ok();
        assert_eq!(body["structure"]["stale"], false);
        assert_eq!(world.stats().zerion.requests, requests);
    }
    // Holdings that have expired are asked for whenever they are wanted.
    world.advance(220);
    world.fakes().set_fault(Upstream::Zerion, None);
    world.request("GET", &path, &no_cache).await.ok();
    assert_eq!(world.stats().zerion.requests, 3);
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_left_alone() {
    let world = World::new().await;
    let down = Some(Fault::status(500));
    world.fakes().set_fault(Upstream::Zerion, down);
    let address = |number: u32| format!("0x{number:040}");
    for number in 0..200 {
        let answer = world.get(&address(number), "aggregate").await;
        assert_eq!(answer.status, 503);
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(world.stats().zerion.requests, 10);
    world.fakes().set_fault(Upstream::Zerion, None);
    world.advance(31);
    for number in 0..20 {
        world.get(&address(number), "aggregate").await.ok();
    }
    assert_eq!(world.stats().zerion.requests, 30);
}

#[tokio::test]
async fn when_time_is_over_upstream_requests_are_cancelled() {
    let world = World::with(&[("REQUEST_DEADLINE_MS", "1500")]).await;
    world.fakes().set_fault(Upstream::Zerion, slow(60_000));
    let requests = (0..5).map(|_| world.get(sample("farmer"), "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.status, 504);
        assert_eq!(answer.json()["code"], "deadline_exceeded");
    }
    // The fake hears of it with the closing of the connection.
    let mut left = 0;
    for _ in 0..100 {
        left = world.stats().zerion.disconnects;
        if left == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((left, world.stats().zerion.requests), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_fetched_one_after_the_other() {
    let world = World::new().await;
    let mut odd = rows::token(2);
    odd["attributes"] = json!("oops");
    let body = json!({"links": {}, "data": [rows::token(1), odd]}).to_string();
    let incomplete = Fault {
        body: Some(body),
        delay_ms: Some(700),
        ..Fault::status(200)
    };
    world.fakes().set_fault(Upstream::Zerion, Some(incomplete));
    let started = std::time::Instant::now();
    let requests = (0..9).map(|_| world.get(WALLET, "aggregate"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.ok()["coverage"]["complete"], false);
    }
    // One waits, the others go together; in turn they would take twice as long.
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// One that could not store what it fetched has another one try, not all.
#[tokio::test]
async fn holdings_that_are_not_whole_are_fetched_again_by_one() {
    let (world, table) = World::with_faulty_table(&[]).await;
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.fakes().set_fault(Upstream::Zerion, slow(500));
    table.set(Some(TableFault::NoChunks), None);
    let requests = futures::future::join_all((0..9).map(|_| world.get(WALLET, "aggregate")));
    let mend = async {
        while world.stats().zerion.requests < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        table.set(None, None);
    };
    let (answers, ()) = futures::join!(requests, mend);
    for answer in answers {
        assert_eq!(positions(&answer.ok()).len(), 1);
    }
    assert_eq!(world.stats().zerion.requests, 2);
}

#[tokio::test]
async fn a_fetch_after_forgetting_writes_everything_again() {
    let world = World::new().await;
    world.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    world.get(WALLET, "aggregate").await.ok();
    let path = format!("/v1/wallets/{WALLET}/cache");
    world.request("DELETE", &path, &[]).await;
    // The same holdings: their chunks are gone, although nothing has changed.
    world.get(WALLET, "aggregate").await.ok();
    let again = world.get(WALLET, "aggregate").await;
    assert!(
        again
            .header("cache-status")
            .contains("structure; hit; ttl=300")
    );
    assert_eq!(world.stats().zerion.requests, 2);
}

#[tokio::test]
async fn one_probe_finds_out_that_a_provider_is_back() {
    let world = World::new().await;
    let processes: Vec<_> = (0..8).map(|_| world.process(Scope::Aggregate)).collect();
    let down = Some(Fault::status(500));
    world.fakes().set_fault(Upstream::Zerion, down);
    let address = |number: usize| format!("0x{number:040}");
    for number in 0..1000 {
        let answer = world
            .get_from(&processes[number % 8], &address(number))
            .await;
        assert_eq!(answer.status, 503);
    }
    println!(
        "1,000 wallets, 8 processes: {} attempts",
        world.stats().zerion.requests
    );
    assert_eq!(world.stats().zerion.requests, 80);
    // Still down: one probe of each process.
    world.advance(31);
    for number in 0..100 {
        world
            .get_from(&processes[number % 8], &address(number))
            .await;
    }
    assert_eq!(world.stats().zerion.requests, 88);
    world.fakes().set_fault(Upstream::Zerion, None);
    world.advance(31);
    for number in 0..100 {
        world
            .get_from(&processes[number % 8], &address(number))
            .await
            .ok();
    }
    assert_eq!(world.stats().zerion.requests, 188);
}
