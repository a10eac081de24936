//! Prices that are not believed.

use std::time::Duration;

use portfolio::{
    app::App,
    domain::{address::Address, query::Query, scope::Scope},
    service::Request,
};
use portfolio_tests::{TestApp, positions, rows};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

/// An app in which CoinMarketCap lists the first `tokens` tokens.
async fn listing(tokens: u32) -> TestApp {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    for number in 1..=tokens {
        app.fakes().set_coin(rows::listed(number));
    }
    let update = App::new(app.config()).registry_update().expect("an update");
    update.run().await.expect("a filled registry");
    app.fakes().reset_stats();
    app
}

/// An asset that CoinMarketCap's map gives another coin's id.
async fn wrong_mapping(app: &TestApp) -> u32 {
    let mut coin = rows::listed(1);
    coin.price_usd = Some(3000.0);
    app.fakes().set_coin(coin);
    let update = App::new(app.config()).registry_update().expect("an update");
    update.run().await.expect("a filled registry");
    app.fakes().reset_stats();
    900_001
}

#[tokio::test]
async fn a_wrong_mapping_inflates_no_wallet() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    let id = wrong_mapping(&app).await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    let before = app.get(WALLET, "aggregate").await.ok();
    assert_eq!(before["coverage"]["complete"], true);
    app.advance(61);
    let service = App::with_clock(app.config(), app.clock.clone())
        .service()
        .expect("a service");
    let request = Request {
        deadline: app.now().plus(Duration::from_secs(20)),
        ..Request::default()
    };
    let address = Address::parse(WALLET).expect("an address");
    let query = Query::all(address, Scope::Aggregate);
    let answered = service.portfolio(&query, &request).await;
    answered.expect("an answer");
    assert_eq!(request.cost.totals().refused_prices, 1);
    assert_eq!(app.stats().coinmarketcap.last_ids, [id.to_string()]);

    // What was just refused, as a later hit shows it.
    let answer = app.get(WALLET, "aggregate").await;
    assert!(answer.header("cache-status").contains("prices; hit;"));
    let after = answer.ok();
    let gap = &after["coverage"]["missing"][0];
    assert_eq!(
        (&gap["what"], &gap["chain"], &gap["token"], &gap["reason"]),
        (
            &"price".into(),
            &"ethereum".into(),
            &rows::contract(1).into(),
            &"price_refused_jump".into()
        )
    );
    assert_eq!(after["totals"], before["totals"]);
    assert_eq!(
        positions(&after)[0]["price"],
        positions(&before)[0]["price"]
    );

    // It is not in the book either: a wallet without a price of its own does
    // not get it.
    let other = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let mut unpriced = rows::token(1);
    unpriced["attributes"]["price"] = serde_json::Value::Null;
    app.fakes().set_wallet(other, vec![unpriced]);
    app.get(other, "aggregate").await.ok();
    let mut requests = 1;
    for _ in 0..3 {
        app.advance(61);
        requests += 1;
        let body = app.get(other, "aggregate").await.ok();
        assert!(positions(&body)[0]["value"].is_null());
        assert_eq!(positions(&body)[0]["unpriced_reason"], "price_refused");
        assert_eq!(app.stats().coinmarketcap.requests, requests);
    }
}

#[tokio::test]
async fn a_wrong_mapping_leaves_the_price_of_other_wallets_intact() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    wrong_mapping(&app).await;
    let rightful = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let mut row = rows::token(1);
    row["attributes"]["price"] = 2990.0.into();
    app.fakes().set_wallet(rightful, vec![row]);
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    let before = app.get(WALLET, "wallet").await.ok();
    app.get(rightful, "wallet").await.ok();
    app.advance(61);
    for _ in 0..2 {
        let right = app.get(rightful, "wallet").await.ok();
        assert_eq!(positions(&right)[0]["price"]["amount"], "3000");
        assert_eq!(right["coverage"]["complete"], true);
        let wrong = app.get(WALLET, "wallet").await.ok();
        assert_eq!(wrong["totals"], before["totals"]);
        let gap = &wrong["coverage"]["missing"][0];
        assert_eq!(gap["reason"], "price_refused_jump");
        app.advance(61);
    }
    assert_eq!(app.stats().coinmarketcap.requests, 2);
}

#[tokio::test]
async fn two_assets_under_one_id_share_no_price() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    wrong_mapping(&app).await;
    // The rightful asset next to it, and the other one's contract as well.
    let mut rightful = rows::token(2);
    rightful["attributes"]["price"] = 2990.0.into();
    let everywhere = &mut rightful["attributes"]["fungible_info"]["implementations"];
    everywhere[0]["address"] = rows::contract(1).into();
    let rows = vec![rows::token(1), rightful];
    app.fakes().set_wallet(WALLET, rows);
    let before = app.get(WALLET, "wallet").await.ok();
    app.advance(61);
    let after = app.get(WALLET, "wallet").await.ok();
    assert_eq!(after["totals"], before["totals"]);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
}

#[tokio::test]
async fn a_jump_that_zerion_confirms_is_accepted() {
    let app = listing(1).await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    app.get(WALLET, "wallet").await.ok();
    app.advance(61);
    let before = app.get(WALLET, "wallet").await.ok();
    assert_eq!(positions(&before)[0]["price"]["source"], "coinmarketcap");
    // A crash: both providers say so.
    app.fakes().set_price(900_001, 0.01);
    let mut crashed = rows::token(1);
    crashed["attributes"]["price"] = 0.0101.into();
    app.fakes().set_wallet(WALLET, vec![crashed]);
    app.advance(301);
    app.get(WALLET, "wallet").await.ok();
    app.advance(61);
    let after = app.get(WALLET, "wallet").await.ok();
    let price = &positions(&after)[0]["price"];
    assert_eq!(
        (&price["source"], &price["amount"]),
        (&"coinmarketcap".into(), &"0.01".into())
    );
    assert_eq!(after["coverage"]["complete"], true);
}

#[tokio::test]
async fn a_wrong_mapping_is_detected_in_another_currency() {
    for held in [1, 5] {
        let app = listing(5).await;
        wrong_mapping(&app).await;
        let held_rows = (1..=held).map(rows::token).collect();
        app.fakes().set_wallet(WALLET, held_rows);
        app.get(WALLET, "wallet").await.ok();
        let euros = app.get(WALLET, "wallet?currency=eur").await.ok();
        let gaps = &euros["coverage"]["missing"];
        assert_eq!(gaps.as_array().map(Vec::len), Some(1));
        assert_eq!(gaps[0]["token"], rows::contract(1));
        let all = positions(&euros);
        let wrong = all.iter().find(|one| one["token"]["symbol"] == "TK1");
        let amount = &wrong.expect("a position")["price"]["amount"];
        let amount = amount.as_str().expect("an amount");
        assert!(
            amount.starts_with("0.") || amount.starts_with("1."),
            "{amount}"
        );
        assert_eq!(app.stats().coinmarketcap.requests, 1);
        assert_eq!(app.stats().coinmarketcap.last_convert, "EUR");
    }
}

#[tokio::test]
async fn unlisted_tokens_are_converted_by_the_exchange_rate() {
    let app = listing(1).await;
    wrong_mapping(&app).await;
    let held_rows = vec![rows::token(1), rows::token(20)];
    app.fakes().set_wallet(WALLET, held_rows);
    app.get(WALLET, "wallet").await.ok();
    let euros = app.get(WALLET, "wallet?currency=eur").await.ok();
    let all = positions(&euros);
    let unlisted = all.iter().find(|one| one["token"]["symbol"] == "TK20");
    let amount = &unlisted.expect("a position")["price"]["amount"];
    let amount: f64 = amount
        .as_str()
        .expect("an amount")
        .parse()
        .expect("a number");
    assert!((10.0..30.0).contains(&amount), "{amount}");
}
