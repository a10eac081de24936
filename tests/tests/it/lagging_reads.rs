//! Eventually consistent reads that answer what was true a while ago.

use std::collections::BTreeMap;

use portfolio::domain::scope::Scope;
use portfolio_tests::{TestApp, by_id, get, lagging::LaggingTable, rows, units};
use serde_json::Value;

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

/// A balance of token `number`, with its price in whole dollars.
fn priced(number: u32, dollars: u32) -> Value {
    let mut row = rows::token(number);
    row["attributes"]["price"] = dollars.into();
    row
}

/// What an answer says of each token: its price.
type Prices = BTreeMap<u32, Option<i128>>;

/// The prices of an answer by token.
fn shown(body: &Value) -> Prices {
    let price = |one: &Value| match &one["price"] {
        Value::Null => None,
        price => Some(units(&price["amount"])),
    };
    let number = |one: &Value| {
        let symbol = one["token"]["symbol"].as_str().unwrap_or_default();
        symbol.trim_start_matches("TK").parse().expect("a number")
    };
    let positions = by_id(body);
    positions
        .values()
        .map(|one| (number(one), price(one)))
        .collect()
}

fn set(app: &TestApp, held: &[(u32, u32)]) -> Prices {
    let rows = held
        .iter()
        .map(|(number, dollars)| priced(*number, *dollars));
    app.fakes().set_wallet(WALLET, rows.collect());
    let shown = |(number, dollars): &(u32, u32)| {
        (
            *number,
            Some(i128::from(*dollars) * 1_000_000_000_000_000_000),
        )
    };
    held.iter().map(shown).collect()
}

async fn app() -> (TestApp, LaggingTable) {
    TestApp::with_lagging_table(&[("PRICE_FALLBACK", "none")]).await
}

#[tokio::test]
async fn a_deleted_wallet_is_not_answered_from_a_lagging_replica() {
    for (other, name) in [(false, "the same process"), (true, "another process")] {
        for endpoint in ["aggregate", "wallet"] {
            let (app, table) = app().await;
            set(&app, &[(1, 10)]);
            for _ in 0..2 {
                app.get(WALLET, endpoint).await.ok();
            }
            let scope = Scope::parse(endpoint).expect("a scope");
            let process = app.process(scope);
            if other {
                get(&process, WALLET, endpoint).await.ok();
            }
            table.freeze().await;
            let path = format!("/v1/wallets/{WALLET}/cache");
            assert_eq!(app.request("DELETE", &path, &[]).await.status, 204);
            let new = set(&app, &[(2, 20), (3, 30)]);
            for _ in 0..2 {
                let answer = match other {
                    true => get(&process, WALLET, endpoint).await,
                    false => app.get(WALLET, endpoint).await,
                };
                assert_eq!(shown(&answer.ok()), new, "{name}, {endpoint}");
            }
        }
    }
}

/// The replica has never heard of the wallet.
#[tokio::test]
async fn a_replica_without_the_wallet_costs_no_fetch() {
    let (app, table) = app().await;
    let held = set(&app, &[(1, 10), (2, 20)]);
    table.freeze().await;
    app.get(WALLET, "aggregate").await.ok();
    for endpoint in ["aggregate", "wallet", "defi"] {
        let process = app.process(Scope::parse(endpoint).expect("a scope"));
        let body = get(&process, WALLET, endpoint).await.ok();
        if endpoint != "defi" {
            assert_eq!(shown(&body), held, "{endpoint}");
        }
    }
    assert_eq!(app.stats().zerion.requests, 1);
}

/// A replica that stands anywhere between the writes of a fetch: another
/// process answers what was before or what is now, never some of both.
#[tokio::test]
async fn holdings_and_prices_of_different_fetches_are_never_mixed() {
    let mut wrong = Vec::new();
    for (name, before, after) in [
        ("a first fetch", vec![], vec![(2, 25), (3, 35), (4, 45)]),
        (
            "other holdings",
            vec![(1, 10), (2, 20), (3, 30)],
            vec![(2, 25), (3, 35), (4, 45)],
        ),
        (
            "the same holdings",
            vec![(1, 10), (2, 20)],
            vec![(1, 15), (2, 25)],
        ),
    ] {
        for behind in ["P#", "D#", "H", "all"] {
            let case = format!("{name}, a replica without {behind}");
            let (app, table) = app().await;
            let mut whole = Vec::new();
            if !before.is_empty() {
                set(&app, &before);
                whole.push(told(&app.get(WALLET, "aggregate").await.ok()));
                app.advance(301);
            }
            match behind {
                "all" => table.freeze().await,
                prefix => table.freeze_before(prefix),
            }
            let new = set(&app, &after);
            whole.push(told(&app.get(WALLET, "aggregate").await.ok()));
            assert_eq!(whole.last().map(|it| &it.1), Some(&new));
            if !table.is_frozen() {
                // Nothing was written under that name.
                table.freeze().await;
            }
            for seconds in [0, 1, 10] {
                app.advance(seconds);
                let process = app.process(Scope::Aggregate);
                let seen = told(&get(&process, WALLET, "aggregate").await.ok());
                if !whole.contains(&seen) {
                    wrong.push(format!("{case}, {seconds} s later: {seen:?}"));
                }
            }
            let requests = app.stats().zerion.requests;
            if requests != whole.len() as u64 {
                wrong.push(format!("{case}: {requests} requests"));
            }
            // It is right again when the replica has caught up.
            table.thaw();
            let process = app.process(Scope::Aggregate);
            let body = get(&process, WALLET, "aggregate").await.ok();
            assert_eq!(shown(&body), new, "{case}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// When the holdings of an answer were fetched, and its prices.
fn told(body: &Value) -> (String, Prices) {
    let as_of = body["structure"]["as_of"].as_str().unwrap_or_default();
    (as_of.to_owned(), shown(body))
}

/// The price book on a lagging replica: a refresh is not repeated by a process
/// that does not see it yet, and newer prices do not give way to older ones.
#[tokio::test]
async fn refreshed_prices_are_not_replaced_by_those_of_a_lagging_replica() {
    let (app, table) = TestApp::with_lagging_table(&[("PRICE_FALLBACK", "none")]).await;
    app.list(1..=3).await;
    let held = (1..=3).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    app.get(WALLET, "aggregate").await.ok();
    app.advance(61);
    table.freeze().await;
    for number in 1..=3 {
        let dollars = f64::from(number * 2);
        app.fakes().set_price(900_000 + number, dollars);
    }
    let new = app.get(WALLET, "aggregate").await.ok();
    let requests = app.stats().coinmarketcap.requests;
    assert_eq!(requests, 1);
    let process = app.process(Scope::Aggregate);
    let answer = get(&process, WALLET, "aggregate").await;
    let seen = shown(&answer.ok());
    assert!(seen.values().all(Option::is_some));
    let stale = answer.json()["prices"]["stale"] == true;
    assert!(stale || seen == shown(&new), "{seen:?}");
    assert_eq!(app.stats().zerion.requests, 1);
    table.thaw();
    let process = app.process(Scope::Aggregate);
    let body = get(&process, WALLET, "aggregate").await.ok();
    assert_eq!(shown(&body), shown(&new));
}
