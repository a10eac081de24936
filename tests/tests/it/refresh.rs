//! Wallets that are fetched before they are requested.

use std::time::Duration;

use portfolio::{
    app::App,
    clock::{Clock, SystemClock},
    domain::provider::Provider,
    lambda::{Invocation, refresh::RefreshFunction},
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, event, rows};
use serde_json::{Value, json, value::to_raw_value};

use crate::refresh_ahead::with_queue;

pub(crate) fn address(number: usize) -> String {
    format!("0x{number:040}")
}

pub(crate) fn function(app: &TestApp) -> RefreshFunction {
    App::with_clock(app.config(), app.clock.clone())
        .refresh_function()
        .expect("a function")
}

pub(crate) async fn ask(function: &RefreshFunction, event: &Value) -> Result<Value, String> {
    let event = to_raw_value(event).expect("JSON");
    let invocation = Invocation {
        id: "invocation-1".to_owned(),
        deadline: None,
        ..Invocation::default()
    };
    let answer = function.handle(&event, &invocation).await;
    let answer = answer.map_err(|error| error.error_type)?;
    Ok(serde_json::from_str(answer.get()).expect("JSON"))
}

/// Watches wallets `0..count`, each with a token of its own.
async fn watch(app: &TestApp, function: &RefreshFunction, count: usize) {
    for number in 0..count {
        let token = u32::try_from(number).expect("a number") + 1;
        let held = vec![rows::token(token)];
        app.fakes().set_wallet(&address(number), held);
    }
    let addresses: Vec<String> = (0..count).map(address).collect();
    let command = json!({"action": "watch", "addresses": addresses});
    let answer = ask(function, &command).await;
    assert_eq!(answer, Ok(json!({"wallets": count})));
}

#[tokio::test]
async fn the_list_is_managed_by_direct_invocations() {
    let app = TestApp::new().await;
    let function = function(&app);
    let list = async || {
        ask(&function, &event("refresh-list"))
            .await
            .expect("a list")
    };
    assert_eq!(list().await, json!({"wallets": []}));
    let watched = ask(&function, &event("refresh-watch")).await;
    assert_eq!(watched, Ok(json!({"wallets": 2})));
    let addresses = event("refresh-watch")["addresses"].clone();
    let wallet =
        |at: usize, currency: &str| json!({"address": addresses[at], "currency": currency});
    assert_eq!(
        list().await,
        json!({"wallets": [wallet(1, "usd"), wallet(0, "usd")]})
    );
    // Watched again: in another currency, not twice.
    let again = json!({"action": "watch", "address": addresses[0], "currency": "eur"});
    ask(&function, &again).await.expect("watched");
    assert_eq!(
        list().await,
        json!({"wallets": [wallet(1, "usd"), wallet(0, "eur")]})
    );
    ask(&function, &event("refresh-unwatch"))
        .await
        .expect("done");
    ask(&function, &event("refresh-unwatch"))
        .await
        .expect("done");
    assert_eq!(list().await, json!({"wallets": [wallet(0, "eur")]}));
}

#[tokio::test]
async fn bad_commands_are_refused() {
    let app = TestApp::new().await;
    let function = function(&app);
    for (command, code) in [
        (json!({"action": "watch"}), "invalid_parameter"),
        (
            json!({"action": "watch", "address": "0x1"}),
            "invalid_address",
        ),
        (
            json!({"action": "watch", "address": address(1), "currency": "xxx"}),
            "invalid_parameter",
        ),
        (
            json!({"action": "watch", "adress": address(1)}),
            "invalid_parameter",
        ),
        (
            json!({"action": "list", "address": address(1)}),
            "invalid_parameter",
        ),
        (json!({"action": "erase"}), "invalid_parameter"),
        (json!({"action": 7}), "invalid_parameter"),
        (json!({}), "unknown_event"),
        (json!([]), "unknown_event"),
        (json!({"address": address(1)}), "unknown_event"),
        (
            portfolio_tests::v2_event("GET", "/", "", &[]),
            "unknown_event",
        ),
    ] {
        assert_eq!(
            ask(&function, &command).await,
            Err(code.to_owned()),
            "{command}"
        );
    }
}

#[tokio::test]
async fn a_run_fetches_only_what_is_due() {
    let app = TestApp::new().await;
    let function = function(&app);
    watch(&app, &function, 20).await;
    // Two of them were just asked for.
    for number in 0..2 {
        app.get(&address(number), "aggregate").await.ok();
    }
    // One has no answer.
    let fault = Fault {
        path: Some(address(7)),
        ..Fault::status(500)
    };
    app.fakes().set_fault(Provider::Zerion, Some(fault));
    app.fakes().reset_stats();
    let run = async || {
        ask(&function, &event("refresh-schedule"))
            .await
            .expect("a summary")
    };
    let counts = |summary: &Value| {
        [
            "watched",
            "refreshed",
            "unchanged",
            "fresh",
            "failed",
            "left",
            "upstream_requests",
        ]
        .map(|name| summary[name].as_u64().expect("a count"))
    };
    assert_eq!(counts(&run().await), [20, 17, 0, 2, 1, 0, 18]);
    assert_eq!(app.stats().zerion.requests, 18);
    app.fakes().set_fault(Provider::Zerion, None);
    // The one that failed is not due again yet, the others are fresh.
    app.advance(3);
    assert_eq!(counts(&run().await), [20, 1, 0, 19, 0, 0, 1]);
    // Nothing has changed since.
    app.advance(200);
    assert_eq!(counts(&run().await), [20, 0, 20, 0, 0, 0, 20]);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
    for number in 0..20 {
        let answer = app.get(&address(number), "wallet").await;
        assert!(
            answer
                .header("cache-status")
                .contains("structure; hit; ttl=300")
        );
    }
}

#[tokio::test]
async fn a_run_respects_its_budget_and_the_providers_limits() {
    let app = TestApp::with(&[("REFRESH_BUDGET", "5")]).await;
    let function = function(&app);
    watch(&app, &function, 12).await;
    for (refreshed, left) in [(5, 7), (5, 2), (2, 0)] {
        let summary = ask(&function, &json!({"action": "run"}))
            .await
            .expect("a summary");
        assert_eq!(summary["refreshed"], refreshed);
        assert_eq!(summary["left"], left);
    }
    assert_eq!(app.stats().zerion.requests, 12);
    app.advance(301);
    app.fakes().reset_stats();
    let limited = Fault {
        headers: [("retry-after".to_owned(), "60".to_owned())].into(),
        ..Fault::status(429)
    };
    app.fakes().set_fault(Provider::Zerion, Some(limited));
    ask(&function, &json!({"action": "run"}))
        .await
        .expect("a summary");
    // No more than were under way when the first was refused.
    assert!(app.stats().zerion.requests <= 5);
    let summary = ask(&function, &json!({"action": "run"}))
        .await
        .expect("a summary");
    assert_eq!(summary["left"], 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wallets_are_refreshed_despite_killed_and_overlapping_runs() {
    let app = TestApp::new().await;
    let first = function(&app);
    watch(&app, &first, 1000).await;
    let slow = Fault {
        delay_ms: Some(20),
        ..Fault::default()
    };
    app.fakes().set_fault(Provider::Zerion, Some(slow));
    // Killed half-way: the future is dropped, the lease is not ended.
    let run = json!({"action": "run"});
    let killed = ask(&first, &run);
    let half = async {
        while app.stats().zerion.requests < 400 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    futures::future::select(Box::pin(killed), Box::pin(half)).await;
    let before = app.stats().zerion.requests;
    assert!(before < 1000);
    let second = function(&app);
    let early = ask(&second, &run).await.expect("a summary");
    assert_eq!(early["overlapping"], true);
    app.advance(11);
    // Two at once: one of them does it.
    let (one, other) = futures::join!(ask(&second, &run), ask(&first, &run));
    let (one, other) = (one.expect("a summary"), other.expect("a summary"));
    assert!(one["overlapping"] != other["overlapping"]);
    let done = if one["overlapping"] == true {
        other
    } else {
        one
    };
    println!("{done}");
    assert_eq!(done["failed"], 0);
    assert_eq!(done["left"], 0);
    // Those that were under way when the first was killed are fetched again.
    let requests = app.stats().zerion.requests;
    assert!((1000..=1010).contains(&requests), "{requests}");
    for number in (0..1000).step_by(50) {
        let answer = app.get(&address(number), "aggregate").await;
        assert!(answer.header("cache-status").starts_with("structure; hit"));
    }
}

#[tokio::test]
async fn a_run_ends_before_lambda_ends_it() {
    let app = TestApp::with(&[("UPSTREAM_CONCURRENCY", "2")]).await;
    let function = App::new(app.config()).refresh_function();
    let function = function.expect("a function");
    watch(&app, &function, 40).await;
    let slow = Fault {
        delay_ms: Some(300),
        ..Fault::default()
    };
    app.fakes().set_fault(Provider::Zerion, Some(slow));
    let invocation = Invocation {
        id: "invocation-1".to_owned(),
        deadline: Some(SystemClock.now().plus(Duration::from_millis(4000))),
        ..Invocation::default()
    };
    let run = to_raw_value(&json!({"action": "run"})).expect("JSON");
    let answer = function.handle(&run, &invocation).await.expect("a summary");
    assert!(SystemClock.now() < invocation.deadline.expect("a deadline"));
    let summary: Value = serde_json::from_str(answer.get()).expect("JSON");
    assert_eq!(summary["failed"], 0, "{summary}");
    assert!(summary["refreshed"].as_u64() > Some(0), "{summary}");
    assert!(summary["left"].as_u64() > Some(0), "{summary}");
}

/// A run every five minutes, holdings that last as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_wallet_never_expires() {
    const WALLETS: usize = 20;
    let (app, queue) = with_queue().await;
    let function = function(&app);
    watch(&app, &function, WALLETS).await;
    let (mut misses, mut asked) = (0, 0);
    for step in 0..370 {
        // Schedules are punctual to the minute.
        let second = step * 10;
        let lateness = (step / 30) * 7 % 60;
        if second % 300 == lateness / 10 * 10 {
            let summary = ask(&function, &event("refresh-schedule"))
                .await
                .expect("a summary");
            assert_eq!(
                (&summary["failed"], &summary["left"]),
                (&json!(0), &json!(0))
            );
        }
        while let Some(batch) = queue.deliver(app.now()) {
            let answer = ask(&function, &batch).await.expect("an answer");
            assert_eq!(answer, json!({"batchItemFailures": []}));
        }
        for number in (step % 4..WALLETS).step_by(4) {
            let answer = app.get(&address(number), "aggregate").await;
            let status = answer.header("cache-status");
            misses += usize::from(!status.starts_with("structure; hit; ttl="));
            assert!(!status.contains("ttl=-"), "{status}");
            asked += 1;
        }
        app.advance(10);
    }
    let requests = app.stats().zerion.requests;
    println!(
        "{WALLETS} wallets, {asked} requests in an hour: {requests} to Zerion, {misses} misses"
    );
    assert_eq!(misses, 0);
    // Once in four minutes each, and a few twice.
    assert!(requests <= 20 * 17, "{requests}");
}

#[tokio::test]
async fn queue_messages_are_processed_or_returned() {
    let app = TestApp::new().await;
    let function = function(&app);
    let batch = event("refresh-sqs");
    let malformed = batch["Records"][1]["messageId"].clone();
    let expected = json!({"batchItemFailures": [{"itemIdentifier": malformed}]});
    assert_eq!(ask(&function, &batch).await, Ok(expected.clone()));
    assert_eq!(app.stats().zerion.requests, 2);
    // Delivered again: nothing is fetched that is young.
    app.advance(120);
    assert_eq!(ask(&function, &batch).await, Ok(expected));
    assert_eq!(app.stats().zerion.requests, 2);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
}
