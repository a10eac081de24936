//! How often upstreams are asked, and what for.

use portfolio_tests::{TestApp, positions, rows, sample};
use serde_json::Value;

/// CoinMarketCap's id of Aerodrome's token, which the sample farmer holds.
const AERO: u32 = 29270;
const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

#[tokio::test]
async fn one_fetch_of_everything_answers_all_three_paths() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let aggregate = app.get(farmer, "aggregate").await.ok();
    let defi = app.get(farmer, "defi").await.ok();
    let wallet = app.get(farmer, "wallet").await.ok();
    assert_eq!(aggregate["defi"], defi["defi"]);
    assert_eq!(aggregate["wallet"], wallet["wallet"]);
    assert!(defi.get("wallet").is_none() && wallet.get("defi").is_none());

    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 1);
    assert_eq!(stats.zerion.by_filter.no_filter, 1);
    assert_eq!(stats.coinmarketcap.requests, 0);
}

#[tokio::test]
async fn each_path_fetches_only_its_part() {
    let app = TestApp::new().await;
    app.get(sample("farmer"), "defi").await.ok();
    app.get(sample("small"), "wallet").await.ok();
    let asked = app.stats().zerion.by_filter;
    assert_eq!(
        (asked.only_complex, asked.only_simple, asked.no_filter),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn two_fresh_parts_answer_the_aggregate() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let defi = app.get(farmer, "defi").await.ok();
    let wallet = app.get(farmer, "wallet").await.ok();
    let aggregate = app.get(farmer, "aggregate").await;
    assert!(
        aggregate
            .header("cache-status")
            .starts_with("structure; hit;")
    );
    let aggregate = aggregate.ok();
    assert_eq!(aggregate["defi"], defi["defi"]);
    assert_eq!(aggregate["wallet"], wallet["wallet"]);
    assert_eq!(app.stats().zerion.requests, 2);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
}

#[tokio::test]
async fn expired_prices_cost_one_batch_and_no_fetch_of_holdings() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let before = app.get(farmer, "aggregate").await.ok();
    app.advance(59);
    app.get(farmer, "aggregate").await.ok();
    assert_eq!(app.stats().coinmarketcap.requests, 0);

    app.fakes().remove_coin(AERO);
    app.advance(2);
    let answer = app.get(farmer, "aggregate").await;
    assert_eq!(
        answer.header("cache-status"),
        "structure; hit; ttl=239, prices; fwd=stale; stored; ttl=60; detail=coinmarketcap"
    );
    let after = answer.ok();
    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 1);
    assert_eq!(stats.coinmarketcap.requests, 1);
    assert_eq!(stats.coinmarketcap.last_convert, "USD");
    let mut asked = stats.coinmarketcap.last_ids.clone();
    asked.sort();
    let count = asked.len();
    asked.dedup();
    assert_eq!(asked.len(), count, "an id was asked for twice");
    assert!(count > 5);

    let quantities = |body: &Value| -> Vec<(String, String)> {
        let mut all: Vec<_> = positions(body)
            .iter()
            .map(|one| (one["id"].to_string(), one["quantity_raw"].to_string()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(quantities(&before), quantities(&after));
    let refreshed: Vec<_> = positions(&after)
        .into_iter()
        .filter(|one| one["price"]["source"] == "coinmarketcap")
        .collect();
    assert!(refreshed.len() > 10);
    let now = app.now().to_string();
    assert!(refreshed.iter().all(|one| one["price"]["as_of"] == now));
    // What CoinMarketCap does not answer keeps the older price, marked.
    let kept = positions(&after)
        .into_iter()
        .find(|one| one["price"]["source"] == "zerion")
        .expect("an unanswered token");
    assert_eq!(kept["price"]["as_of"], before["structure"]["as_of"]);

    app.get(farmer, "defi").await.ok();
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}

#[tokio::test]
async fn every_listed_token_is_requested_once() {
    let app = TestApp::new().await;
    for number in 1..=40 {
        app.fakes().set_coin(rows::listed(number));
    }
    refill_registry(&app).await;
    let mut holdings: Vec<Value> = (1..=40).map(rows::token).collect();
    // The same token again, in a protocol.
    holdings.push(rows::row(rows::Row {
        id: "again".to_owned(),
        kind: "staked".into(),
        contract: rows::contract(3),
        protocol: Some("pool".to_owned()),
        ..rows::Row::default()
    }));
    app.fakes().set_wallet(WALLET, holdings);
    app.get(WALLET, "aggregate").await.ok();
    app.advance(61);
    app.get(WALLET, "aggregate").await.ok();
    let mut asked = app.stats().coinmarketcap.last_ids;
    asked.sort();
    let mut expected: Vec<String> = (1..=40)
        .map(|number| (900_000 + number).to_string())
        .collect();
    expected.sort();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn unanswered_ids_keep_their_price_and_are_not_requested_again_at_once() {
    let app = TestApp::new().await;
    let small = sample("small");
    let before = app.get(small, "wallet").await.ok();
    app.fakes().remove_coin(1027);
    app.advance(61);
    let after = app.get(small, "wallet").await.ok();
    let ether = |body: &Value| {
        let all = positions(body);
        let found = all.iter().find(|one| one["token"]["symbol"] == "ETH");
        found.expect("ether")["price"].clone()
    };
    assert_eq!(ether(&before), ether(&after));
    app.advance(30);
    app.get(small, "wallet").await.ok();
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}

#[tokio::test]
async fn wallets_keep_their_prices_apart() {
    let app = TestApp::new().await;
    let (small, solana) = (sample("small"), sample("solana"));
    app.get(small, "wallet").await.ok();
    app.get(solana, "wallet").await.ok();
    app.advance(61);
    app.get(small, "wallet").await.ok();
    app.get(solana, "wallet").await.ok();
    let again = app.get(small, "wallet").await;
    assert!(again.header("cache-status").contains("prices; hit;"));
    let again = again.ok();
    let fresh = positions(&again)
        .iter()
        .filter(|one| one["price"]["source"] == "coinmarketcap")
        .count();
    assert!(fresh > 5);
    // The first one's request brought what the second was known to want.
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}

#[tokio::test]
async fn parts_do_not_lose_each_others_prices() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let before = app.get(farmer, "wallet").await.ok();
    app.get(farmer, "defi").await.ok();
    let after = app.get(farmer, "wallet").await.ok();
    assert_eq!(before["wallet"], after["wallet"]);
    assert_eq!(before["prices"]["unpriced"], 2);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
}

#[tokio::test]
async fn expired_structure_costs_one_request() {
    let app = TestApp::new().await;
    let small = sample("small");
    app.get(small, "aggregate").await.ok();
    app.advance(299);
    app.get(small, "aggregate").await.ok();
    assert_eq!(app.stats().zerion.requests, 1);
    app.advance(2);
    let answer = app.get(small, "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .starts_with("structure; fwd=stale; stored; ttl=300,")
    );
    answer.ok();
    app.get(small, "aggregate").await.ok();
    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 2);
    // One refresh while the structure was fresh; the fetch brought prices.
    assert_eq!(stats.coinmarketcap.requests, 1);
}

#[tokio::test]
async fn a_second_currency_shares_the_structure() {
    let app = TestApp::new().await;
    let small = sample("small");
    app.get(small, "wallet").await.ok();
    let euro = app.get(small, "wallet?currency=eur").await.ok();
    assert_eq!(euro["currency"], "eur");
    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 1);
    assert_eq!(stats.coinmarketcap.requests, 1);
    assert_eq!(stats.coinmarketcap.last_convert, "EUR");
}

#[tokio::test]
async fn unlisted_tokens_have_a_price_in_any_currency() {
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    let listed = rows::row(rows::Row {
        id: "base-ethereum-asset-asset".to_owned(),
        contract: "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2".to_owned(),
        price: serde_json::json!(3000.0),
        ..rows::Row::default()
    });
    app.fakes().set_wallet(WALLET, vec![listed, rows::token(5)]);
    let dollars = app.get(WALLET, "wallet").await.ok();
    let euros = app.get(WALLET, "wallet?currency=eur").await.ok();
    let price = |body: &Value, symbol: &str| -> f64 {
        let all = positions(body);
        let found = all.iter().find(|one| one["token"]["symbol"] == symbol);
        let amount = &found.expect("a token")["price"]["amount"];
        amount.as_str().expect("a price").parse().expect("a number")
    };
    let rate = price(&euros, "TKN") / price(&dollars, "TKN");
    let unlisted = price(&euros, "TK5") / price(&dollars, "TK5");
    // By coins that are worth a dollar, to a fraction of a percent; the listed
    // coin itself has moved since the holdings were fetched.
    assert!((rate - unlisted).abs() < 0.03, "{rate} {unlisted}");
    assert!((0.5..1.5).contains(&unlisted), "{unlisted}");
    // And back: a fetch in euros does not blank the dollars.
    app.advance(301);
    app.get(WALLET, "wallet?currency=eur").await.ok();
    let dollars = app.get(WALLET, "wallet").await.ok();
    assert_eq!(dollars["prices"]["unpriced"], 0);
    assert_eq!(app.stats().zerion.requests, 2);
}

#[tokio::test]
async fn empty_wallets_are_cached_like_any_other() {
    let app = TestApp::new().await;
    let empty = sample("empty");
    for _ in 0..2 {
        let body = app.get(empty, "aggregate").await.ok();
        assert_eq!(body["totals"]["net_worth"], "0");
        assert_eq!(body["totals"]["change_24h"]["percent"], "0");
        assert_eq!(
            body["wallet"]["positions"].as_array().map(Vec::len),
            Some(0)
        );
        assert_eq!(body["defi"]["protocols"].as_array().map(Vec::len), Some(0));
        assert_eq!(body["page"]["total"], 0);
    }
    assert_eq!(app.stats().zerion.requests, 1);
    app.advance(61);
    app.get(empty, "aggregate").await.ok();
    assert_eq!(app.stats().coinmarketcap.requests, 0);
}

#[tokio::test]
async fn a_new_process_reads_what_another_stored() {
    let mut app = TestApp::new().await;
    let first = app.get(sample("farmer"), "aggregate").await.ok();
    app.restart();
    let second = app.get(sample("farmer"), "aggregate").await.ok();
    assert_eq!(first, second);
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn simultaneous_misses_cost_one_request() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let requests: Vec<_> = (0..8).map(|_| app.get(farmer, "aggregate")).collect();
    let mut bodies = Vec::new();
    for answer in futures::future::join_all(requests).await {
        bodies.push(answer.ok()["totals"].clone());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(app.stats().zerion.requests, 1);
}

async fn refill_registry(app: &TestApp) {
    let update = portfolio::app::App::new(app.config())
        .registry_update()
        .expect("an update");
    update.run().await.expect("a filled registry");
    app.fakes().reset_stats();
}
