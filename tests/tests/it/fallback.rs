//! Prices of tokens that CoinMarketCap does not list.

use portfolio::domain::provider::Provider;
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, positions, rows, sample};
use serde_json::Value;

fn token<'b>(body: &'b Value, symbol: &str) -> &'b Value {
    let found = positions(body)
        .into_iter()
        .find(|one| one["token"]["symbol"] == symbol);
    found.unwrap_or_else(|| panic!("{symbol} is missing"))
}

#[tokio::test]
async fn unlisted_tokens_are_priced_by_the_fallback() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let before = app.get(farmer, "aggregate").await.ok();
    assert!(token(&before, "3Crv")["price"].is_null());
    // The structure brought prices: no other source is asked.
    assert_eq!(app.stats().defillama.requests, 0);

    app.advance(61);
    let after = app.get(farmer, "aggregate").await.ok();
    let priced = token(&after, "3Crv");
    assert_eq!(priced["price"]["source"], "defillama");
    assert!(!priced["value"].is_null());
    assert_eq!(token(&after, "cUSDTv3")["unpriced_reason"], "no_price");
    let stats = app.stats();
    assert_eq!(
        (stats.coinmarketcap.requests, stats.defillama.requests),
        (1, 1)
    );
    assert!(stats.defillama.keys >= 2);

    // An unknown token is not asked for again with every refresh.
    app.get(farmer, "aggregate").await.ok();
    assert_eq!(app.stats().defillama.requests, 1);
    app.advance(61);
    app.get(farmer, "aggregate").await.ok();
    assert_eq!(app.stats().defillama.requests, 1);
    // What it does know lives five minutes.
    app.advance(240);
    app.get(farmer, "aggregate").await.ok();
    app.advance(61);
    app.get(farmer, "aggregate").await.ok();
    let again = app.stats().defillama;
    assert_eq!(again.requests, 2);
    assert!(again.last_keys.len() < usize::try_from(stats.defillama.keys).unwrap());
}

#[tokio::test]
async fn the_fallback_can_be_turned_off() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    let farmer = sample("farmer");
    app.get(farmer, "aggregate").await.ok();
    app.advance(61);
    let body = app.get(farmer, "aggregate").await.ok();
    assert!(token(&body, "3Crv")["price"].is_null());
    assert_eq!(app.stats().defillama.requests, 0);
}

#[tokio::test]
async fn a_failing_fallback_affects_no_other_price() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    app.get(farmer, "aggregate").await.ok();
    app.fakes()
        .set_fault(Provider::DefiLlama, Some(Fault::status(502)));
    app.advance(61);
    let answer = app.get(farmer, "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .contains("detail=coinmarketcap")
    );
    assert!(answer.header("cache-status").contains("prices; fwd="));
    let body = answer.ok();
    assert_eq!(token(&body, "ETH")["price"]["source"], "coinmarketcap");
    assert_eq!(body["prices"]["stale"], false);
    // It was tried twice, and is not asked again until the prices expire.
    app.get(farmer, "aggregate").await.ok();
    assert_eq!(app.stats().defillama.requests, 2);
    app.fakes().set_fault(Provider::DefiLlama, None);
    app.advance(61);
    let body = app.get(farmer, "aggregate").await.ok();
    assert_eq!(token(&body, "3Crv")["price"]["source"], "defillama");
}

#[tokio::test]
async fn spam_is_not_requested() {
    let spam = |number| {
        let mut row = rows::token(number);
        row["attributes"]["price"] = Value::Null;
        row["attributes"]["fungible_info"]["flags"]["verified"] = false.into();
        row
    };
    let wallet = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    for (tokens, keys) in [(100, 100), (101, 0)] {
        let app = TestApp::new().await;
        let held = (1..=tokens).map(spam).collect();
        app.fakes().set_wallet(wallet, held);
        app.get(wallet, "wallet").await.ok();
        app.advance(61);
        app.get(wallet, "wallet").await.ok();
        assert_eq!(app.stats().defillama.keys, keys);
    }
}

#[tokio::test]
async fn wallets_share_prices_of_the_fallback() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    app.get(farmer, "aggregate").await.ok();
    app.advance(61);
    let body = app.get(farmer, "aggregate").await.ok();
    let shared = token(&body, "3Crv");
    let other = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let contract = shared["token"]["address"].as_str().expect("a contract");
    let row = rows::row(rows::Row {
        contract: contract.to_owned(),
        symbol: "3Crv".to_owned(),
        price: serde_json::Value::Null,
        ..rows::Row::default()
    });
    app.fakes().set_wallet(other, vec![row]);
    app.get(other, "wallet").await.ok();
    // Its own price is not looked for before the minute is over: by then the
    // book's has expired as well, unless the first wallet renewed it.
    app.advance(51);
    app.get(farmer, "aggregate").await.ok();
    app.advance(10);
    app.get(farmer, "aggregate").await.ok();
    let requests = app.stats().defillama.requests;
    let body = app.get(other, "wallet").await.ok();
    assert_eq!(token(&body, "3Crv")["price"]["source"], "defillama");
    assert_eq!(app.stats().defillama.requests, requests);
}

#[tokio::test]
async fn tokens_unknown_to_both_sources_keep_zerions_price_until_it_expires() {
    let app = TestApp::with(&[("STRUCTURE_TTL_SECONDS", "600")]).await;
    let wallet = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    app.fakes().set_wallet(wallet, vec![rows::token(1)]);
    let before = app.get(wallet, "wallet").await.ok();
    app.advance(61);
    app.get(wallet, "wallet").await.ok();
    assert_eq!(app.stats().defillama.requests, 0);
    app.advance(240);
    let after = app.get(wallet, "wallet").await.ok();
    let stats = app.stats();
    assert_eq!(
        (stats.coinmarketcap.requests, stats.defillama.requests),
        (0, 1)
    );
    let price = &token(&after, "TK1")["price"];
    assert_eq!(price, &token(&before, "TK1")["price"]);
    assert_eq!(price["source"], "zerion");
    assert_eq!(price["as_of"], before["structure"]["as_of"]);
    assert_eq!(after["prices"]["stale"], false);

    // The holdings outlive the limit for old prices.
    let down = Some(Fault::status(500));
    app.fakes().set_fault(Provider::Zerion, down);
    app.advance(1300);
    let late = app.get(wallet, "wallet").await.ok();
    let position = token(&late, "TK1");
    assert!(position["value"].is_null() && position["price"].is_null());
    assert_eq!(position["unpriced_reason"], "price_too_old");
    assert_eq!(late["structure"]["stale"], true);
}
