//! CoinMarketCap that limits requests, or answers less than was asked for.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::domain::provider::Provider;
use portfolio_local::fakes::{Coin, Fault};
use portfolio_tests::{Answer, TestApp, positions, sample};
use serde_json::{Value, json};

const SMALL: &str = "small";
const ETHER: u32 = 1027;

fn limited(http: u16, code: i64, retry_after: Option<&str>) -> Fault {
    let body = json!({"status": {"error_code": code, "error_message": "limit", "credit_count": 0}});
    let headers = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_owned()));
    Fault {
        body: Some(body.to_string()),
        headers: headers.into_iter().collect(),
        ..Fault::status(http)
    }
}

fn requests(app: &TestApp) -> u64 {
    app.stats().coinmarketcap.requests
}

fn price<'b>(body: &'b Value, symbol: &str) -> &'b Value {
    let all = positions(body);
    let found = all.iter().find(|one| one["token"]["symbol"] == symbol);
    &found.unwrap_or_else(|| panic!("no {symbol}"))["price"]
}

fn assert_stale(answer: &Answer, before: &Value) {
    let status = answer.header("cache-status");
    assert!(status.contains("detail=rate-limited"), "{status}");
    let body = answer.ok();
    assert_eq!(body["prices"]["stale"], true);
    assert_eq!(body["totals"], before["totals"]);
    assert!(answer.header("cache-control").contains("max-age=0,"));
}

#[tokio::test]
async fn all_processes_respect_a_rate_limit_until_it_ends() {
    // What it answers, and for how many seconds no process may ask again; the
    // plan's limits end with the day.
    for (http, code, retry_after, seconds) in [
        (429, 1008, None, 60),
        (429, 1008, Some("7"), 7),
        (200, 1008, None, 60),
        (429, 1011, None, 60),
        (429, 1009, None, u64::MAX),
        (429, 1010, None, u64::MAX),
        (429, 1009, Some("120"), 120),
        (429, 0, None, 60),
    ] {
        let case = format!("{http} {code} {retry_after:?}");
        let lifetimes = [
            ("PRICE_STALE_SECONDS", "200000"),
            ("STRUCTURE_TTL_SECONDS", "200000"),
        ];
        let mut app = TestApp::with(&lifetimes).await;
        let before = app.get(sample(SMALL), "wallet").await.ok();
        let fault = limited(http, code, retry_after);
        app.fakes().set_fault(Provider::CoinMarketCap, Some(fault));
        app.advance(61);
        assert_stale(&app.get(sample(SMALL), "wallet").await, &before);
        assert_eq!(requests(&app), 1, "{case}");

        // Neither this process nor a new one asks again until then.
        app.fakes().set_fault(Provider::CoinMarketCap, None);
        let midnight = 86_400 - app.now().as_secs().rem_euclid(86_400);
        let seconds = seconds.min(midnight.unsigned_abs());
        for step in [0, seconds - 2] {
            app.advance(step);
            assert_stale(&app.get(sample(SMALL), "wallet").await, &before);
            app.restart();
            assert_stale(&app.get(sample(SMALL), "wallet").await, &before);
            assert_eq!(requests(&app), 1, "{case}");
        }
        app.advance(3);
        let after = app.get(sample(SMALL), "wallet").await.ok();
        assert_eq!(requests(&app), 2, "{case}");
        // The fake dates its quotes by the machine's clock.
        if seconds < 3000 {
            assert_eq!(price(&after, "ETH")["source"], "coinmarketcap", "{case}");
        }
    }
}

#[tokio::test]
async fn deleting_its_item_lifts_a_rate_limit() {
    let app = TestApp::new().await;
    let before = app.get(sample(SMALL), "wallet").await.ok();
    let fault = limited(429, 1010, None);
    app.fakes().set_fault(Provider::CoinMarketCap, Some(fault));
    app.advance(61);
    assert_stale(&app.get(sample(SMALL), "wallet").await, &before);
    // The plan was upgraded.
    app.fakes().set_fault(Provider::CoinMarketCap, None);
    let table = app.dynamodb();
    let delete = table.client().delete_item().table_name(table.name());
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let delete = delete.key("pk", key("X")).key("sk", key("coinmarketcap"));
    delete.send().await.expect("an item");
    app.advance(60);
    app.get(sample(SMALL), "wallet").await.ok();
    let after = app.get(sample(SMALL), "wallet").await.ok();
    assert_eq!(price(&after, "ETH")["source"], "coinmarketcap");
}

#[tokio::test]
async fn a_rate_limit_without_older_prices_is_reported_with_its_end() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    app.get(sample(SMALL), "wallet").await.ok();
    let fault = limited(429, 1008, Some("42"));
    app.fakes().set_fault(Provider::CoinMarketCap, Some(fault));
    for _ in 0..2 {
        let answer = app.get(sample(SMALL), "wallet?currency=eur").await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), "42");
        assert_eq!(answer.json()["code"], "rate_limited");
    }
    assert_eq!(requests(&app), 1);
}

#[tokio::test]
async fn older_prices_of_the_book_are_preferred_to_zerions() {
    // Room for what one wallet needs, so that nothing of the other's comes along.
    let app = TestApp::with(&[("CMC_MAX_IDS", "10")]).await;
    let (small, farmer) = (sample(SMALL), sample("farmer"));
    app.get(small, "wallet").await.ok();
    app.advance(30);
    app.get(farmer, "aggregate").await.ok();
    // The first wallet has its prices renewed, the second has Zerion's.
    app.advance(31);
    let renewed = app.get(small, "wallet").await.ok();
    assert_eq!(price(&renewed, "ETH")["source"], "coinmarketcap");
    assert_eq!(
        (&renewed["prices"]["stale"], app.stats().coinmarketcap.ids),
        (&json!(false), 10)
    );
    let fault = limited(429, 1010, None);
    app.fakes().set_fault(Provider::CoinMarketCap, Some(fault));
    app.advance(100);
    let body = app.get(farmer, "aggregate").await.ok();
    assert_eq!(body["prices"]["stale"], true);
    assert_eq!(price(&body, "ETH"), price(&renewed, "ETH"));
    let zerions = positions(&body)
        .into_iter()
        .filter(|one| one["price"]["source"] == "zerion");
    assert!(zerions.count() > 3);
}

#[tokio::test]
async fn a_failed_refresh_is_not_repeated_at_once() {
    let app = TestApp::new().await;
    let before = app.get(sample(SMALL), "wallet").await.ok();
    let fault = Some(Fault::status(500));
    app.fakes().set_fault(Provider::CoinMarketCap, fault);
    app.advance(61);
    for _ in 0..3 {
        let answer = app.get(sample(SMALL), "wallet").await;
        assert!(
            answer
                .header("cache-status")
                .contains("detail=upstream-error")
        );
        assert_eq!(answer.ok()["totals"], before["totals"]);
    }
    // Two attempts of the first one.
    assert_eq!(requests(&app), 2);
    app.fakes().set_fault(Provider::CoinMarketCap, None);
    app.advance(6);
    let body = app.get(sample(SMALL), "wallet").await.ok();
    assert_eq!(body["prices"]["stale"], false);
    assert_eq!(requests(&app), 3);
}

#[tokio::test]
async fn unusable_quotes_keep_the_previous_price_and_give_a_reason() {
    let ether = |usd: Option<f64>| {
        let mut coin = Coin::new(ETHER, "Ethereum", "ETH", 3000.0);
        coin.price_usd = usd;
        coin
    };
    let mut outdated = ether(Some(3000.0));
    outdated.last_updated = Some("2024-01-01T00:00:00.000Z".to_owned());
    for (coin, reason) in [
        (ether(None), "price_refused_not_positive"),
        (ether(Some(0.0)), "price_refused_not_positive"),
        (ether(Some(-3.0)), "price_refused_not_positive"),
        (outdated, "price_refused_outdated"),
        (ether(Some(1e9)), "price_refused_jump"),
        (ether(Some(1e-9)), "price_refused_jump"),
    ] {
        let mut app = TestApp::new().await;
        let before = app.get(sample(SMALL), "wallet").await.ok();
        app.fakes().set_coin(coin);
        app.advance(61);
        let after = app.get(sample(SMALL), "wallet").await.ok();
        assert_eq!(price(&before, "ETH"), price(&after, "ETH"), "{reason}");
        assert_eq!(after["prices"]["stale"], false);
        // A later hit says so too, and so does another process.
        app.restart();
        for body in [after, app.get(sample(SMALL), "wallet").await.ok()] {
            let gaps = body["coverage"]["missing"].as_array().expect("a list");
            let gap = gaps.iter().find(|gap| gap["what"] == "price");
            let gap = gap.expect("a refused price");
            assert_eq!(
                (&gap["reason"], &gap["token"]),
                (&json!(reason), &json!("eth"))
            );
            assert_eq!(body["coverage"]["complete"], false);
        }
        assert_eq!(requests(&app), 1);
    }
}

#[tokio::test]
async fn unanswered_ids_leave_the_prices_of_others_intact() {
    let app = TestApp::new().await;
    let before = app.get(sample(SMALL), "wallet").await.ok();
    let sources = |body: &Value| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = |one: &&Value| (text(&one["id"]), text(&one["price"]["source"]));
        positions(body).iter().map(entry).collect()
    };
    app.advance(61);
    app.get(sample(SMALL), "wallet").await.ok();
    let ids = app.stats().coinmarketcap.last_ids;
    assert!(ids.len() >= 4);
    let gone = ids.len() / 2;
    for id in ids.iter().take(gone) {
        app.fakes().remove_coin(id.parse().expect("an id"));
    }
    app.advance(240);
    app.get(sample(SMALL), "wallet").await.ok();
    app.fakes().reset_stats();
    app.advance(61);
    let body = app.get(sample(SMALL), "wallet").await.ok();
    assert_eq!(requests(&app), 1);
    assert_eq!(body["prices"]["stale"], false);
    assert_eq!(body["prices"]["unpriced"], before["prices"]["unpriced"]);
    let sources = sources(&body);
    let from = |source: &str| sources.values().filter(|it| *it == source).count();
    assert!(
        from("coinmarketcap") >= 1 && from("zerion") >= 1,
        "{sources:?}"
    );
}
