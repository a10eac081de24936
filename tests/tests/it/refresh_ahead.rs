//! Wallets that are queued, or watched, because they are requested near the end of
//! their life.

use portfolio_tests::{TestApp, event, queue::FakeQueue};
use serde_json::{Value, json};

use crate::refresh::{address, ask, function};

/// An app whose functions send wallets to a queue.
pub(crate) async fn with_queue() -> (TestApp, FakeQueue) {
    let mut app = TestApp::new().await;
    let queue = FakeQueue::start(app.clock.clone()).await;
    let url: reqwest::Url = queue.url.parse().expect("a URL");
    app.services.config.refresh.queue_endpoint = Some(url.clone());
    app.services.config.refresh.queue_url = Some(url);
    app.restart();
    (app, queue)
}

#[tokio::test]
async fn a_wallet_requested_near_its_expiry_is_fetched_ahead() {
    let (app, queue) = with_queue().await;
    let function = function(&app);
    app.get(&address(1), "aggregate").await.ok();
    app.advance(230);
    app.get(&address(1), "aggregate").await.ok();
    assert!(queue.is_empty());
    // Four fifths of its life are over: one message, however many ask.
    app.advance(10);
    for path in ["aggregate", "defi", "wallet", "aggregate?currency=eur"] {
        let answer = app.get(&address(1), path).await;
        assert!(answer.header("cache-status").starts_with("structure; hit"));
        assert_eq!(queue.len(), 1);
    }
    let batch = queue.deliver(app.now()).expect("a batch");
    let done = ask(&function, &batch).await;
    assert_eq!(done, Ok(json!({"batchItemFailures": []})));
    assert_eq!(app.stats().zerion.requests, 2);
    app.advance(100);
    let answer = app.get(&address(1), "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .starts_with("structure; hit; ttl=200")
    );
    // The next life has a message of its own.
    app.advance(150);
    app.get(&address(1), "aggregate").await.ok();
    assert_eq!(queue.len(), 1);
}

#[tokio::test]
async fn a_failing_queue_delays_no_answer() {
    let mut app = TestApp::new().await;
    let nowhere: reqwest::Url = "http://127.0.0.1:9/q".parse().expect("a URL");
    app.services.config.refresh.queue_endpoint = Some(nowhere.clone());
    app.services.config.refresh.queue_url = Some(nowhere);
    app.restart();
    app.get(&address(1), "aggregate").await.ok();
    app.advance(250);
    let answer = app.get(&address(1), "aggregate").await;
    assert!(answer.header("cache-status").starts_with("structure; hit"));
    answer.ok();
}

#[tokio::test]
async fn often_requested_wallets_are_watched_for_a_while() {
    let (mut app, queue) = with_queue().await;
    app.services.config.refresh.often_asked = true;
    app.restart();
    let function = function(&app);
    let by_hand = json!({"action": "watch", "address": address(2)});
    ask(&function, &by_hand).await.expect("watched");
    let watched = async || {
        let list = ask(&function, &event("refresh-list"))
            .await
            .expect("a list");
        let wallets = list["wallets"].as_array().expect("a list").iter();
        let until = |wallet: &Value| wallet["until"].is_string();
        wallets.map(until).collect::<Vec<_>>()
    };
    for life in 0..3 {
        for number in [1, 2] {
            app.get(&address(number), "aggregate").await.ok();
        }
        assert_eq!(watched().await, [false], "{life}");
        app.advance(250);
        for number in [1, 2] {
            app.get(&address(number), "aggregate").await.ok();
        }
        while let Some(batch) = queue.deliver(app.now()) {
            ask(&function, &batch).await.expect("an answer");
        }
    }
    // The one that was watched by an invocation stays watched.
    assert_eq!(watched().await, [true, false]);
    app.advance(1801);
    assert_eq!(watched().await, [false]);
}
