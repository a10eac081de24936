//! Wallets in another currency than the one they were fetched in.

use std::{collections::BTreeSet, time::Duration};

use portfolio::{
    app::App,
    domain::{address::Address, provider::Provider, query::Query, scope::Scope},
    service::{Request, Service},
    telemetry::request_cost::RequestCostTotals,
};
use portfolio_local::fakes::{Coin, ContractPrice, Fault};
use portfolio_tests::{Answer, TestApp, get, max_age, positions, rows, units};
use serde_json::{Value, json};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
const OTHER: &str = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// Tether, USD Coin and Dai at CoinMarketCap.
const DOLLARS: [(u32, &str); 3] = [(825, "USDT"), (3408, "USDC"), (4943, "DAI")];
/// What a dollar costs at the fakes, in ten-thousandths of a euro.
const EURO: i128 = 8632;
const CURRENCIES: [&str; 16] = [
    "usd", "eur", "krw", "rub", "gbp", "aud", "cad", "inr", "jpy", "nzd", "try", "zar", "cny",
    "chf", "eth", "btc",
];

/// Coins that are worth a dollar are worth exactly that, as of the app's
/// time.
fn quote_dollars(app: &TestApp) {
    for (id, symbol) in DOLLARS {
        let mut coin = Coin::new(id, symbol, symbol, 1.0);
        coin.last_updated = Some(app.now().to_string());
        app.fakes().set_coin(coin);
    }
}

/// A balance of a token that only Zerion prices.
fn only_zerion(number: u32) -> Value {
    let mut row = rows::token(number);
    row["attributes"]["price"] = json!(f64::from(number * 3));
    row
}

/// An app whose two wallets hold what only Zerion prices.
async fn app() -> TestApp {
    let app = TestApp::new().await;
    quote_dollars(&app);
    for address in [WALLET, OTHER] {
        let held = (1..=3).map(only_zerion).collect();
        app.fakes().set_wallet(address, held);
    }
    app
}

fn fail(app: &TestApp, upstream: Provider) {
    let down = Some(Fault::status(500));
    app.fakes().set_fault(upstream, down);
}

fn net_worth(body: &Value) -> i128 {
    units(&body["totals"]["net_worth"])
}

/// Asserts that `euros` are `dollars` converted, to a thousandth.
fn assert_converted(dollars: &Value, euros: &Value) {
    let expected = net_worth(dollars) / 10_000 * EURO;
    let shown = net_worth(euros);
    assert!(expected > 0);
    let off = (shown - expected).abs();
    assert!(off <= expected / 1000, "{shown} is not {expected}");
    assert_eq!(euros["prices"]["unpriced"], 0);
    for one in positions(euros) {
        assert_eq!(one["price"]["source"], "zerion");
    }
}

/// An answer that lacks the value of a position which has a price anywhere
/// says so. In these tests all have one.
fn assert_honest(answer: &Answer) {
    let body = answer.ok();
    let counted = positions(&body).len();
    let unpriced: Vec<&Value> = positions(&body)
        .into_iter()
        .filter(|one| one["value"].is_null())
        .collect();
    let told = body["prices"]["unpriced"].as_u64();
    assert_eq!(told, Some(unpriced.len() as u64), "of {counted}");
    let complete = &body["coverage"]["complete"];
    if !unpriced.is_empty() {
        let reasons: BTreeSet<String> = unpriced
            .iter()
            .map(|one| one["unpriced_reason"].to_string())
            .collect();
        assert_eq!(
            *complete, false,
            "{counted} positions lack values: {reasons:?}"
        );
        assert!(max_age(answer) <= 5, "max-age={}", max_age(answer));
    }
}

#[tokio::test]
async fn prices_from_the_provider_alone_are_converted() {
    let app = app().await;
    let dollars = app.get(WALLET, "aggregate").await.ok();
    let answer = app.get(WALLET, "aggregate?currency=eur").await;
    assert_honest(&answer);
    let euros = answer.ok();
    assert_converted(&dollars, &euros);
    assert_eq!(euros["coverage"]["complete"], true);
    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 1);
    assert!(stats.coinmarketcap.requests <= 1);
}

#[tokio::test]
async fn a_wallet_fetched_in_euros_is_converted_into_dollars() {
    let app = app().await;
    let euros = app.get(WALLET, "aggregate?currency=eur").await.ok();
    let answer = app.get(WALLET, "aggregate").await;
    assert_honest(&answer);
    assert_converted(&answer.ok(), &euros);
    let stats = app.stats();
    assert_eq!(stats.zerion.requests, 1);
    assert!(stats.coinmarketcap.requests <= 1);
}

/// From one currency into a third one: one answer makes one request, so the
/// first one may lack a rate.
#[tokio::test]
async fn a_wallet_fetched_in_euros_is_converted_into_francs() {
    let app = app().await;
    let euros = app.get(WALLET, "aggregate?currency=eur").await.ok();
    let first = app.get(WALLET, "aggregate?currency=chf").await;
    assert_honest(&first);
    assert_eq!(app.stats().coinmarketcap.requests, 1);
    let answer = app.get(WALLET, "aggregate?currency=chf").await;
    assert_honest(&answer);
    assert!(app.stats().coinmarketcap.requests <= 2);
    let expected = net_worth(&euros) / EURO * 8049;
    let shown = net_worth(&answer.ok());
    let off = (shown - expected).abs();
    assert!(off <= expected / 1000, "{shown} is not {expected}");
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn the_rate_is_shared_for_a_minute() {
    let app = app().await;
    for address in [WALLET, OTHER] {
        app.get(address, "aggregate").await.ok();
    }
    app.get(WALLET, "aggregate?currency=eur").await.ok();
    let requests = app.stats().coinmarketcap.requests;
    app.advance(30);
    let process = app.process(Scope::Aggregate);
    let answer = get(&process, OTHER, "aggregate?currency=eur").await;
    let dollars = get(&process, OTHER, "aggregate").await.ok();
    assert_converted(&dollars, &answer.ok());
    assert_honest(&answer);
    assert_eq!(app.stats().coinmarketcap.requests, requests);
    assert!(requests <= 1);
}

#[tokio::test]
async fn an_answer_without_a_rate_is_marked() {
    let app = app().await;
    app.get(WALLET, "aggregate").await.ok();
    fail(&app, Provider::CoinMarketCap);
    let answer = app.get(WALLET, "aggregate?currency=eur").await;
    let body = answer.ok();
    let reasons: BTreeSet<&str> = positions(&body)
        .iter()
        .filter_map(|one| one["unpriced_reason"].as_str())
        .collect();
    println!(
        "no rate: net worth {}, complete {}, {:?}, {}",
        body["totals"]["net_worth"],
        body["coverage"]["complete"],
        reasons,
        answer.header("cache-control")
    );
    assert_eq!(reasons, BTreeSet::from(["no_exchange_rate"]));
    assert_eq!(body["coverage"]["complete"], false);
    assert!(max_age(&answer) <= 5);
    // As soon as there is one, it is used.
    app.fakes().set_fault(Provider::CoinMarketCap, None);
    app.advance(31);
    let dollars = app.get(WALLET, "aggregate").await.ok();
    let euros = app.get(WALLET, "aggregate?currency=eur").await.ok();
    assert_converted(&dollars, &euros);
}

#[tokio::test]
async fn an_expired_rate_is_used_and_marked_within_its_limit() {
    let app = TestApp::with(&[("STRUCTURE_TTL_SECONDS", "3600")]).await;
    quote_dollars(&app);
    let held = (1..=3).map(only_zerion).collect();
    app.fakes().set_wallet(WALLET, held);
    let dollars = app.get(WALLET, "aggregate").await.ok();
    let euros = app.get(WALLET, "aggregate?currency=eur").await.ok();
    assert_converted(&dollars, &euros);
    fail(&app, Provider::CoinMarketCap);
    for seconds in [61, 120, 600] {
        app.advance(seconds);
        let process = app.process(Scope::Aggregate);
        let answer = get(&process, WALLET, "aggregate?currency=eur").await;
        let euros = answer.ok();
        assert_honest(&answer);
        assert_converted(&dollars, &euros);
        assert_eq!(euros["prices"]["stale"], true);
    }
    // A minute and fifteen more are over.
    app.advance(300);
    let process = app.process(Scope::Aggregate);
    let answer = get(&process, WALLET, "aggregate?currency=eur").await;
    let body = answer.ok();
    assert_honest(&answer);
    assert_eq!(body["prices"]["unpriced"], 3);
    for one in positions(&body) {
        assert_eq!(one["unpriced_reason"], "no_exchange_rate");
    }
}

/// Listed and unlisted tokens, every order of currencies, CoinMarketCap failing
/// or not, holdings fresh or not: a missing value is counted.
#[tokio::test]
async fn an_answer_without_a_known_value_is_never_complete() {
    let mut wrong = Vec::new();
    for first in ["usd", "eur"] {
        for then in ["usd", "eur", "jpy"] {
            for (name, coinmarketcap, zerion, seconds) in [
                ("all well", true, true, 0),
                ("no CoinMarketCap", false, true, 0),
                ("no CoinMarketCap, a minute later", false, true, 61),
                ("no provider, later", true, false, 700),
                ("no source, later", false, false, 700),
                ("no source, much later", false, false, 1400),
            ] {
                let app = TestApp::listing([1, 2], &[("PRICE_FALLBACK", "none")]).await;
                quote_dollars(&app);
                let held = (1..=4).map(rows::token).collect();
                app.fakes().set_wallet(WALLET, held);
                let query = |currency| format!("aggregate?currency={currency}");
                app.get(WALLET, &query(first)).await.ok();
                app.advance(seconds);
                if !coinmarketcap {
                    fail(&app, Provider::CoinMarketCap);
                }
                if !zerion {
                    fail(&app, Provider::Zerion);
                }
                let answer = app.get(WALLET, &query(then)).await;
                // A refusal is honest as well.
                if answer.status != 200 {
                    assert_eq!(answer.status, 503, "{name}, {first}, {then}");
                    continue;
                }
                let body = answer.ok();
                let unpriced = &body["prices"]["unpriced"];
                let complete = body["coverage"]["complete"] == true;
                if *unpriced != 0 && complete {
                    let age = max_age(&answer);
                    wrong.push(format!(
                        "{name}: {first}, then {then}: {unpriced} of 4 without a value, complete, \
                         max-age={age}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn cost(service: &Service, app: &TestApp, currency: &str) -> RequestCostTotals {
    let request = Request {
        deadline: app.now().plus(Duration::from_secs(20)),
        ..Request::default()
    };
    let address = Address::parse(WALLET).expect("an address");
    let parameters = [("currency", currency)];
    let query = Query::parse(address, Scope::Aggregate, parameters).expect("a query");
    let answered = service.portfolio(&query, &request).await;
    answered.expect("an answer");
    request.cost.totals()
}

/// Prices in other currencies are not read where they are not needed.
#[tokio::test]
async fn other_currencies_cost_a_fresh_answer_nothing() {
    let app = TestApp::listing(1..=300, &[]).await;
    quote_dollars(&app);
    let held = (1..=300).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    let process = || {
        App::with_clock(app.config(), app.clock.clone())
            .service()
            .expect("a service")
    };
    cost(&process(), &app, "usd").await;
    let before = cost(&process(), &app, "usd").await;
    for currency in CURRENCIES {
        let service = process();
        cost(&service, &app, currency).await;
        let again = cost(&process(), &app, currency).await;
        assert_eq!(again.upstream_calls, 0, "{currency}");
    }
    let after = cost(&process(), &app, "usd").await;
    println!(
        "a fresh answer, 300 tokens: {} RRU, after 16 currencies {} RRU; {} round trips",
        before.read_units, after.read_units, after.round_trips
    );
    assert_eq!((after.round_trips, after.upstream_calls), (1, 0));
    assert_eq!(after.read_units.to_string(), before.read_units.to_string());
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn an_old_price_is_marked_although_a_younger_one_is_known_in_another_currency() {
    let app = TestApp::new().await;
    let priced_at = |price: Value| {
        let mut row = rows::token(7);
        row["attributes"]["price"] = price;
        row["attributes"]["value"] = Value::Null;
        app.fakes().set_wallet(WALLET, vec![row]);
    };
    // Zerion does not know the token at first; DeFiLlama does.
    priced_at(Value::Null);
    let quote = ContractPrice {
        usd: 5.0,
        timestamp: u64::try_from(app.now().as_secs()).ok(),
    };
    let key = format!("ethereum:{}", rows::contract(7));
    app.fakes().set_contract_price(&key, Some(quote));
    app.get(WALLET, "wallet").await.ok();
    app.advance(61);
    let body = app.get(WALLET, "wallet").await.ok();
    assert_eq!(positions(&body)[0]["price"]["source"], "defillama");
    assert_eq!(body["prices"]["stale"], false);

    // Then Zerion does, in euros, and what a dollar costs is not to be had.
    priced_at(json!(4.0));
    fail(&app, Provider::CoinMarketCap);
    app.advance(400);
    app.get(WALLET, "wallet?currency=eur").await.ok();
    let body = app.get(WALLET, "wallet").await.ok();
    assert_eq!(positions(&body)[0]["price"]["source"], "defillama");
    assert_eq!(body["prices"]["stale"], true);
}
