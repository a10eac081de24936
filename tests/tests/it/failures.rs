//! Upstreams that refuse, fail or answer nonsense.

use std::sync::Arc;

use axum::{Json, Router, extract::Request, routing::get};
use portfolio::domain::provider::Provider;
use portfolio_local::fakes::{Coin, Fault};
use portfolio_tests::{TestApp, positions, rows, sample, server::serve};
use serde_json::json;

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

#[tokio::test]
async fn a_failure_is_never_an_empty_wallet() {
    for (status, body, expected, code) in [
        (400, None, 422, "wallet_not_trackable"),
        (401, None, 502, "upstream_error"),
        (403, Some("error code: 1010"), 502, "upstream_error"),
        (429, None, 429, "rate_limited"),
        (500, None, 503, "upstream_unavailable"),
        (503, None, 503, "wallet_preparing"),
        (202, Some("{\"data\":[]}"), 503, "wallet_preparing"),
        (200, Some("{}"), 502, "upstream_error"),
        (200, Some("{\"data\":null}"), 502, "upstream_error"),
        (200, Some("{\"data\":[{\"id\":\"a\""), 502, "upstream_error"),
        (200, Some("<html>busy</html>"), 502, "upstream_error"),
        (200, Some(""), 502, "upstream_error"),
    ] {
        let app = TestApp::new().await;
        let fault = Fault {
            body: body.map(str::to_owned),
            ..Fault::status(status)
        };
        app.fakes().set_fault(Provider::Zerion, Some(fault));
        let answer = app.get(sample("small"), "aggregate").await;
        assert_eq!(answer.status, expected, "{status} {body:?}");
        assert_eq!(answer.json()["code"], code);
        let waits = matches!(expected, 429 | 503);
        assert_eq!(!answer.header("retry-after").is_empty(), waits, "{status}");
        // Nothing of it is kept for longer than a moment.
        app.fakes().set_fault(Provider::Zerion, None);
        app.advance(31);
        let body = app.get(sample("small"), "aggregate").await.ok();
        assert!(positions(&body).len() > 5);
    }
}

#[tokio::test]
async fn untrackable_wallets_have_their_own_problem() {
    let app = TestApp::new().await;
    let answer = app
        .get("0x000000000000000000000000000000000000dead", "aggregate")
        .await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["code"], "wallet_not_trackable");
}

#[tokio::test]
async fn old_holdings_are_answered_while_the_provider_fails() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let before = app.get(farmer, "aggregate").await.ok();
    app.fakes()
        .set_fault(Provider::Zerion, Some(Fault::status(500)));
    app.advance(320);
    let answer = app.get(farmer, "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .starts_with("structure; hit; ttl=-20; detail=upstream-error,")
    );
    assert!(
        answer
            .header("cache-control")
            .starts_with("public, max-age=0,")
    );
    let after = answer.ok();
    assert_eq!(after["structure"]["stale"], true);
    assert_eq!(after["structure"]["as_of"], before["structure"]["as_of"]);
    assert_eq!(positions(&after).len(), positions(&before).len());

    // Past the limit there is no answer.
    app.advance(86_400);
    assert_eq!(app.get(farmer, "aggregate").await.status, 503);
}

#[tokio::test]
async fn old_prices_are_answered_while_their_source_fails() {
    let app = TestApp::new().await;
    let small = sample("small");
    let before = app.get(small, "wallet").await.ok();
    app.fakes()
        .set_fault(Provider::CoinMarketCap, Some(Fault::status(500)));
    app.advance(90);
    let answer = app.get(small, "wallet").await;
    assert!(
        answer
            .header("cache-status")
            .contains("prices; hit; ttl=-30; detail=upstream-error")
    );
    let after = answer.ok();
    assert_eq!(after["prices"]["stale"], true);
    assert_eq!(after["structure"]["stale"], false);
    assert_eq!(after["totals"], before["totals"]);
}

#[tokio::test]
async fn prices_past_their_limit_are_null_with_a_reason() {
    let app = TestApp::with(&[("STRUCTURE_TTL_SECONDS", "100000")]).await;
    let small = sample("small");
    let before = app.get(small, "wallet").await.ok();
    // Ether alone keeps an old price: CoinMarketCap answers, but not for it.
    app.fakes().remove_coin(1027);
    app.advance(961);
    let body = app.get(small, "wallet").await.ok();
    let ether: Vec<_> = positions(&body)
        .into_iter()
        .filter(|one| one["token"]["symbol"] == "ETH")
        .collect();
    assert!(!ether.is_empty());
    for one in &ether {
        assert!(one["value"].is_null() && one["price"].is_null());
        assert_eq!(one["unpriced_reason"], "price_too_old");
    }
    assert_eq!(body["prices"]["unpriced"], ether.len());
    assert_ne!(body["totals"]["net_worth"], before["totals"]["net_worth"]);
    assert_ne!(body["totals"]["net_worth"], "0");
}

#[tokio::test]
async fn a_wallet_without_any_price_is_a_problem_and_not_zero() {
    let app = TestApp::with(&[
        ("STRUCTURE_TTL_SECONDS", "100000"),
        ("PRICE_FALLBACK", "none"),
    ])
    .await;
    let small = sample("small");
    app.get(small, "wallet").await.ok();
    app.fakes()
        .set_fault(Provider::CoinMarketCap, Some(Fault::status(500)));
    // In a currency that it was never asked for.
    let answer = app.get(small, "wallet?currency=eur").await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (503, &json!("upstream_unavailable"))
    );
    // Past the limit of the old prices.
    app.advance(961);
    assert_eq!(app.get(small, "wallet").await.status, 503);
    app.fakes().set_fault(Provider::CoinMarketCap, None);
    app.get(small, "wallet?currency=eur").await.ok();
}

#[tokio::test]
async fn one_price_is_enough_for_an_answer() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    let listed = rows::row(rows::Row {
        id: "listed".to_owned(),
        contract: "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2".to_owned(),
        price: json!(null),
        ..rows::Row::default()
    });
    app.fakes().set_wallet(WALLET, vec![listed, rows::token(1)]);
    let before = app.get(WALLET, "wallet").await.ok();
    app.fakes()
        .set_fault(Provider::CoinMarketCap, Some(Fault::status(500)));
    app.advance(61);
    let after = app.get(WALLET, "wallet").await.ok();
    assert_eq!(after["totals"], before["totals"]);
    assert_eq!(after["prices"]["stale"], true);
}

#[tokio::test]
async fn unlisted_tokens_keep_their_price_as_long_as_the_holdings() {
    let app = TestApp::with(&[("PRICE_STALE_SECONDS", "0"), ("PRICE_FALLBACK", "none")]).await;
    app.fakes()
        .set_wallet(WALLET, vec![rows::token(1), rows::token(2)]);
    let before = app.get(WALLET, "wallet").await.ok();
    app.advance(290);
    let after = app.get(WALLET, "wallet").await.ok();
    assert_eq!(before["totals"], after["totals"]);
    assert_eq!(after["prices"]["stale"], false);
}

#[tokio::test]
async fn outdated_quotes_are_rejected() {
    let app = TestApp::new().await;
    let small = sample("small");
    let before = app.get(small, "wallet").await.ok();
    let mut coin = Coin::new(1027, "Ethereum", "ETH", 12.0);
    coin.last_updated = Some("2024-01-01T00:00:00.000Z".to_owned());
    app.fakes().set_coin(coin);
    app.advance(61);
    let after = app.get(small, "wallet").await.ok();
    let ether = |body: &serde_json::Value| {
        let all = positions(body);
        let found = all.iter().find(|one| one["token"]["symbol"] == "ETH");
        found.expect("ether")["price"].clone()
    };
    assert_eq!(ether(&before), ether(&after));
}

#[tokio::test]
async fn loans_of_either_sign_count_as_debt_and_odd_rows_are_counted() {
    let app = TestApp::new().await;
    let mut loan = rows::row(rows::Row {
        kind: json!("loan"),
        price: json!(null),
        protocol: Some("lender".to_owned()),
        ..rows::Row::default()
    });
    loan["attributes"]["value"] = json!(-500.0);
    loan["attributes"]["fungible_info"]["implementations"]
        .as_array_mut()
        .expect("a list")
        .push(json!(null));
    app.fakes().set_wallet(WALLET, vec![loan.clone()]);
    let body = app.get(WALLET, "defi").await.ok();
    assert_eq!(body["totals"]["debt"], "500");
    assert_eq!(body["totals"]["net_worth"], "-500");
    assert_eq!(positions(&body)[0]["token"]["address"], rows::contract(1));

    let other = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let mut odd = rows::token(3);
    odd["attributes"] = json!("oops");
    let body = json!({"links": {}, "data": [loan, odd]}).to_string();
    let answered = Fault {
        body: Some(body),
        ..Fault::status(200)
    };
    app.fakes().set_fault(Provider::Zerion, Some(answered));
    let answer = app.get(other, "defi").await;
    assert!(
        answer
            .header("cache-control")
            .contains("max-age=0, stale-if-error=0")
    );
    assert_eq!(answer.ok()["coverage"]["complete"], false);
}

#[tokio::test]
async fn further_pages_are_followed_on_the_same_host_only() {
    // A provider that pages, as its general documentation has it.
    let hits = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = hits.clone();
    let pages = get(move |request: Request| async move {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let authorised = request.headers().contains_key("authorization");
        seen.lock().unwrap().push((query.clone(), authorised));
        let next = match query.as_str() {
            query if query.contains("after%5D=2") => json!("http://elsewhere.invalid/steal"),
            query if query.contains("after%5D=1") && request.uri().path().contains(WALLET) => {
                json!(null)
            }
            query if query.contains("after%5D=1") => json!("?page%5Bafter%5D=2"),
            _ => json!("?page%5Bafter%5D=1"),
        };
        let number = if query.contains("after") { 2 } else { 1 };
        Json(json!({"links": {"self": "", "next": next}, "data": [rows::token(number)]}))
    });
    let router = Router::new().route("/v1/wallets/{address}/positions/", pages);
    let url = format!("http://{}", serve(router).await);

    let app = TestApp::with(&[("ZERION_BASE_URL", &url), ("ZERION_API_KEY", "zk_test")]).await;
    let body = app.get(WALLET, "wallet").await.ok();
    assert_eq!(positions(&body).len(), 2);
    assert_eq!(body["coverage"]["complete"], true);
    app.get(WALLET, "wallet").await.ok();
    assert_eq!(hits.lock().unwrap().len(), 2);

    // A page on another host is not fetched: the key would go with it. What is
    // there is shown, marked, and not kept.
    let other = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let answer = app.get(other, "wallet").await;
    assert!(
        answer
            .header("cache-control")
            .starts_with("public, max-age=0,")
    );
    let body = answer.ok();
    assert_eq!(body["coverage"]["complete"], false);
    assert_eq!(
        body["coverage"]["missing"][0]["reason"],
        "fetched_incompletely"
    );
    let count = hits.lock().unwrap().len();
    app.get(other, "wallet").await.ok();
    assert_eq!(hits.lock().unwrap().len(), count + 3);
    assert!(
        hits.lock()
            .unwrap()
            .iter()
            .all(|(_, authorised)| *authorised)
    );
}

#[tokio::test]
async fn requests_are_answered_without_the_table() {
    let app = TestApp::with(&[("TABLE_NAME", "another-table")]).await;
    let table = app.dynamodb();
    table
        .client()
        .delete_table()
        .table_name("another-table")
        .send()
        .await
        .unwrap();
    let answer = app.get(sample("small"), "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .contains("structure; fwd=miss; ttl=300; detail=uncached")
    );
    assert!(positions(&answer.ok()).len() > 5);
}
