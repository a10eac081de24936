//! Price sources that are silent, slow, failing or limiting, and what is never
//! asked for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use portfolio::domain::provider::Provider;
use portfolio::domain::scope::Scope;
use portfolio_local::fakes::{ContractPrice, Fault};
use portfolio_tests::{Answer, TestApp, get, positions, rows, units};
use serde_json::{Value, json};

/// Holds tokens that both sources price.
const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// Holds only those that CoinMarketCap lists, or only the others.
const LISTED: &str = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
const UNLISTED: &str = "0x99d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// Holds both, and no source has been asked for its unlisted tokens.
const NEW: &str = "0xaad0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// Tokens that CoinMarketCap lists, and that DeFiLlama knows.
const AT_COINMARKETCAP: [u32; 3] = [1, 2, 3];
const AT_DEFILLAMA: [u32; 3] = [101, 102, 103];
/// Those of [`NEW`].
const NEVER_ASKED: [u32; 2] = [111, 112];

fn set_contract_price(app: &TestApp, number: u32, usd: f64) {
    let key = format!("ethereum:{}", rows::contract(number));
    let timestamp = u64::try_from(app.now().as_secs()).ok();
    let price = ContractPrice { usd, timestamp };
    app.fakes().set_contract_price(&key, Some(price));
}

/// Sets what both sources quote: dollars by token.
fn quote(app: &TestApp, dollars: impl Fn(u32) -> f64) {
    for number in AT_COINMARKETCAP {
        let mut coin = rows::listed(number);
        coin.price_usd = Some(dollars(number));
        coin.last_updated = Some(app.now().to_string());
        app.fakes().set_coin(coin);
    }
    for number in AT_DEFILLAMA.into_iter().chain(NEVER_ASKED) {
        set_contract_price(app, number, dollars(number));
    }
}

/// A balance of a token that Zerion has no price of.
fn unpriced(number: u32) -> Value {
    let mut row = rows::token(number);
    row["attributes"]["price"] = Value::Null;
    row
}

fn priced(number: u32) -> Value {
    let mut row = rows::token(number);
    row["attributes"]["price"] = json!(dollars_before(number));
    row
}

fn dollars_before(number: u32) -> f64 {
    f64::from(number + 10)
}

fn dollars_after(number: u32) -> f64 {
    f64::from(number + 12)
}

/// An app in which all prices were given by their sources, and have expired:
/// those of CoinMarketCap after a minute, those of DeFiLlama after five.
async fn expired() -> TestApp {
    let variables = [("STRUCTURE_TTL_SECONDS", "3600")];
    let app = TestApp::listing(AT_COINMARKETCAP, &variables).await;
    quote(&app, dollars_before);
    let hold = |address: &str, listed: &[u32], unlisted: &[u32]| {
        let mut held: Vec<Value> = listed.iter().map(|it| priced(*it)).collect();
        held.extend(unlisted.iter().map(|it| unpriced(*it)));
        app.fakes().set_wallet(address, held);
    };
    hold(WALLET, &AT_COINMARKETCAP, &AT_DEFILLAMA);
    hold(LISTED, &AT_COINMARKETCAP, &[]);
    hold(UNLISTED, &[], &AT_DEFILLAMA);
    hold(NEW, &AT_COINMARKETCAP, &NEVER_ASKED);
    for address in [WALLET, LISTED, UNLISTED] {
        app.get(address, "aggregate").await.ok();
    }
    app.advance(61);
    for address in [WALLET, LISTED, UNLISTED] {
        let body = app.get(address, "aggregate").await.ok();
        assert_eq!(body["prices"]["unpriced"], 0, "{body}");
    }
    app.advance(240);
    app.get(NEW, "aggregate").await.ok();
    app.advance(61);
    quote(&app, dollars_after);
    app.fakes().reset_stats();
    app
}

/// The whole dollars of each token's price, and its source.
fn prices(body: &Value) -> BTreeMap<u32, (i128, String)> {
    let mut found = BTreeMap::new();
    for one in positions(body) {
        let symbol = one["token"]["symbol"].as_str().unwrap_or_default();
        let number = symbol.trim_start_matches("TK").parse().expect("a number");
        if one["price"].is_null() {
            continue;
        }
        let dollars = units(&one["price"]["amount"]) / 1_000_000_000_000_000_000;
        let source = one["price"]["source"].as_str().unwrap_or_default();
        found.insert(number, (dollars, source.to_owned()));
    }
    found
}

fn assert_new(body: &Value, numbers: &[u32]) {
    assert_prices(body, numbers, dollars_after);
}

fn assert_old(body: &Value, numbers: &[u32]) {
    assert_prices(body, numbers, dollars_before);
}

fn assert_prices(body: &Value, numbers: &[u32], dollars: impl Fn(u32) -> f64) {
    let prices = prices(body);
    for number in numbers {
        let shown = prices.get(number).map(|it| it.0.to_string());
        assert_eq!(shown, Some(dollars(*number).to_string()), "token {number}");
    }
}

fn silent() -> Fault {
    Fault {
        delay_ms: Some(60_000),
        ..Fault::default()
    }
}

/// One source is silent: the other one's prices are taken, and shared before
/// the answer goes out.
async fn one_is_silent(upstream: Provider, other: &str, new: &[u32], old: &[u32]) {
    let app = expired().await;
    app.fakes().set_fault(upstream, Some(silent()));
    let asking = app.process(Scope::Aggregate);
    let sharing = app.process(Scope::Aggregate);
    let started = Instant::now();
    let shared = async {
        // The source that answers has done so by now.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = app.stats();
        let began = Instant::now();
        let answer = get(&sharing, other, "aggregate").await;
        let after = app.stats();
        let requests = (
            after.coinmarketcap.requests - before.coinmarketcap.requests,
            after.defillama.requests - before.defillama.requests,
        );
        (answer, began.elapsed(), requests)
    };
    let asked = async {
        let answer = get(&asking, WALLET, "aggregate").await;
        (answer, started.elapsed())
    };
    let ((answer, took), (shared, shared_took, requests)) = futures::join!(asked, shared);
    println!(
        "{upstream:?} silent: answered after {took:.1?}; from the book after {shared_took:.1?} \
         with {requests:?} requests of its own"
    );
    let body = answer.ok();
    assert_new(&body, new);
    assert_old(&body, old);
    assert_eq!(body["prices"]["stale"], true);
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Old ones are not passed off as new ones.
    assert_new(&shared.ok(), new);
    assert_eq!(shared.ok()["prices"]["stale"], false);
    assert_eq!(requests, (0, 0));
    assert!(shared_took < Duration::from_millis(800), "{shared_took:?}");
}

#[tokio::test]
async fn a_silent_fallback_does_not_delay_coinmarketcaps_prices() {
    let (new, old) = (&AT_COINMARKETCAP, &AT_DEFILLAMA);
    one_is_silent(Provider::DefiLlama, LISTED, new, old).await;
}

#[tokio::test]
async fn a_silent_coinmarketcap_does_not_delay_the_fallbacks_prices() {
    let (new, old) = (&AT_DEFILLAMA, &AT_COINMARKETCAP);
    one_is_silent(Provider::CoinMarketCap, UNLISTED, new, old).await;
}

fn sources(body: &Value) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, source) in prices(body).into_values() {
        *counts.entry(source).or_default() += 1;
    }
    format!("{counts:?}")
}

/// What a client gets, and when, by the state of the fallback.
#[tokio::test]
async fn every_state_of_the_fallback_has_its_answer() {
    let slow = Fault {
        delay_ms: Some(500),
        ..Fault::default()
    };
    let mut late = Vec::new();
    for (state, fault) in [
        ("silent", silent()),
        ("slow", slow),
        ("failing", Fault::status(500)),
        ("throttled", Fault::status(429)),
    ] {
        for (name, address) in [("old prices", WALLET), ("none yet", NEW)] {
            let app = expired().await;
            let fault = Some(fault.clone());
            app.fakes().set_fault(Provider::DefiLlama, fault);
            let started = Instant::now();
            let answer = app.get(address, "aggregate").await;
            let took = started.elapsed();
            let body = answer.ok();
            let (stale, unpriced) = (&body["prices"]["stale"], &body["prices"]["unpriced"]);
            println!(
                "DeFiLlama {state:<9} {name:<10} {took:>8.1?} stale {stale:<5} unpriced {unpriced} {}",
                sources(&body)
            );
            let case = format!("{state}, {name}");
            assert_new(&body, &AT_COINMARKETCAP);
            if address == WALLET {
                assert_eq!(*unpriced, 0, "{case}");
                if took >= Duration::from_secs(2) {
                    late.push(format!("{case}: {took:.1?}"));
                }
            } else {
                let known = if state == "slow" { 0 } else { 2 };
                assert_eq!(*unpriced, known, "{case}");
                assert!(took < Duration::from_secs(12), "{case}: {took:?}");
            }
            match (state, address) {
                ("slow", WALLET) => assert_new(&body, &AT_DEFILLAMA),
                ("slow", _) => assert_new(&body, &NEVER_ASKED),
                (_, WALLET) => assert_old(&body, &AT_DEFILLAMA),
                _ => {}
            }
            // All is well again when it is.
            app.fakes().set_fault(Provider::DefiLlama, None);
            app.advance(301);
            quote(&app, dollars_after);
            let body = app.get(address, "aggregate").await.ok();
            assert_eq!(body["prices"]["unpriced"], 0, "{case}");
            assert_eq!(body["prices"]["stale"], false, "{case}");
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}

/// `count` rows from `first` on, without a price and not vouched for.
fn unknown(first: u32, count: u32) -> Vec<Value> {
    let row = |number| {
        let mut row = unpriced(number);
        row["attributes"]["fungible_info"]["flags"]["verified"] = false.into();
        row
    };
    (first..first + count).map(row).collect()
}

async fn lasting() -> TestApp {
    TestApp::with(&[("STRUCTURE_TTL_SECONDS", "3600")]).await
}

#[tokio::test]
async fn hidden_positions_are_never_requested_from_price_sources() {
    for verified in [false, true] {
        let app = lasting().await;
        let mut held = unknown(201, 50);
        for (at, row) in held.iter_mut().enumerate() {
            let attributes = &mut row["attributes"];
            attributes["fungible_info"]["flags"]["verified"] = verified.into();
            match at % 2 {
                0 => attributes["flags"]["displayable"] = false.into(),
                _ => attributes["flags"]["is_trash"] = true.into(),
            }
        }
        // Known to DeFiLlama: it would be priced if it were asked for.
        set_contract_price(&app, 201, 1_000_000.0);
        app.fakes().set_wallet(WALLET, held);
        for query in ["", "", "?hidden=true"] {
            let body = app.get(WALLET, &format!("wallet{query}")).await.ok();
            assert_eq!(body["coverage"]["hidden"], 50);
            assert_eq!(body["totals"]["net_worth"], "0");
            app.advance(61);
        }
        let asked = app.stats().defillama.keys;
        println!("50 hidden tokens, verified {verified}: {asked} asked for");
        assert_eq!(asked, 0, "verified {verified}");
    }
}

#[tokio::test]
async fn an_unknown_token_is_remembered_for_ten_minutes_by_all_processes() {
    let app = lasting().await;
    for address in [WALLET, LISTED] {
        app.fakes().set_wallet(address, unknown(301, 20));
    }
    let first = app.process(Scope::Wallet);
    let second = app.process(Scope::Wallet);
    get(&first, WALLET, "wallet").await.ok();
    app.advance(61);
    get(&first, WALLET, "wallet").await.ok();
    assert_eq!(app.stats().defillama.keys, 20);
    // Another wallet, another process.
    get(&second, LISTED, "wallet").await.ok();
    for seconds in [61, 120, 120, 120, 120] {
        app.advance(seconds);
        for (process, address) in [(&first, WALLET), (&second, LISTED)] {
            let body = get(process, address, "wallet").await.ok();
            assert_eq!(body["prices"]["unpriced"], 20);
            assert_eq!(body["prices"]["stale"], false);
        }
        assert_eq!(app.stats().defillama.keys, 20, "asked for again");
    }
    app.advance(120);
    for (process, address) in [(&first, WALLET), (&second, LISTED)] {
        get(process, address, "wallet").await.ok();
    }
    let keys = app.stats().defillama.keys;
    println!("20 unknown tokens, two wallets: {keys} asked for in eleven minutes");
    assert!(keys <= 40, "{keys}");
}

#[tokio::test]
async fn seven_hundred_unlisted_tokens_stay_fresh_for_five_minutes() {
    const COUNT: u32 = 700;
    let app = TestApp::new().await;
    let held = (1001..=1000 + COUNT).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    for number in 1001..=1000 + COUNT {
        set_contract_price(&app, number, f64::from(number));
    }
    let mut stale = Vec::new();
    for seconds in [0, 30, 40, 60, 60, 60, 45] {
        app.advance(seconds);
        let answer: Answer = app.get(WALLET, "wallet?limit=1").await;
        let body = answer.ok();
        assert_eq!(body["prices"]["unpriced"], 0);
        let age = app.now().to_string();
        if body["prices"]["stale"] == true {
            stale.push(age);
        }
    }
    let asked = app.stats().defillama;
    println!(
        "{COUNT} unlisted tokens for five minutes: {} requests for {} keys, stale {} times",
        asked.requests,
        asked.keys,
        stale.len()
    );
    assert!(stale.is_empty(), "{stale:?}");
    assert_eq!(app.stats().zerion.requests, 1);
}
