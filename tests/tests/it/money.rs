//! What answers say about money.

use portfolio_tests::{TestApp, positions, rows, sample, sum, units};
use serde_json::{Value, json};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

/// Assets, debt and net worth as the listed positions sum up to.
fn summed(body: &Value) -> (i128, i128) {
    let (mut assets, mut debt) = (0, 0);
    for one in positions(body) {
        if one["value"].is_null() || one["displayable"] == false || one["trash"] == true {
            continue;
        }
        match one["kind"].as_str() {
            Some("debt") => debt += units(&one["value"]),
            _ => assets += units(&one["value"]),
        }
    }
    (assets, debt)
}

fn assert_totals(body: &Value) {
    let totals = &body["totals"];
    let net = units(&totals["net_worth"]);
    assert_eq!(net, units(&totals["assets"]) - units(&totals["debt"]));
    for shares in ["by_chain", "by_protocol", "by_type"] {
        assert_eq!(sum(&totals[shares]), net, "{shares}");
    }
}

#[tokio::test]
async fn the_farmers_totals_add_up_to_the_last_digit() {
    let app = TestApp::new().await;
    let body = app.get(sample("farmer"), "aggregate").await.ok();
    assert_totals(&body);
    let totals = &body["totals"];
    let (assets, debt) = summed(&body);
    assert_eq!(units(&totals["assets"]), assets);
    assert_eq!(units(&totals["debt"]), debt);
    assert!(debt > 0);
    let sections = units(&body["wallet"]["value"]) + units(&body["defi"]["value"]);
    assert_eq!(sections, units(&totals["net_worth"]));
    assert_eq!(
        sum(&body["defi"]["protocols"]),
        units(&body["defi"]["value"])
    );
    for protocol in body["defi"]["protocols"].as_array().unwrap() {
        assert_eq!(sum(&protocol["groups"]), units(&protocol["value"]));
    }
    let loans: Vec<_> = positions(&body)
        .into_iter()
        .filter(|one| one["type"] == "loan")
        .collect();
    assert!(loans.len() >= 2);
    assert!(
        loans
            .iter()
            .all(|one| one["kind"] == "debt" && units(&one["value"]) > 0)
    );
    // The debt shows as a negative share of its type, once.
    let types = totals["by_type"].as_array().unwrap();
    let loan = types.iter().find(|share| share["id"] == "loan").unwrap();
    assert_eq!(units(&loan["value"]), -debt);
}

#[tokio::test]
async fn legs_of_a_pool_are_in_one_group() {
    let app = TestApp::new().await;
    let body = app.get(sample("farmer"), "defi").await.ok();
    let protocols = body["defi"]["protocols"].as_array().unwrap();
    let protocol = |name: &str| protocols.iter().find(|one| one["name"] == name).unwrap();
    let uniswap = &protocol("Uniswap V3")["groups"];
    assert_eq!(uniswap.as_array().unwrap().len(), 1);
    assert_eq!(uniswap[0]["positions"].as_array().unwrap().len(), 2);
    // Principal and reward in the same token are two positions.
    let gauge = &protocol("Aerodrome")["groups"][0]["positions"];
    let aero = gauge
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["token"]["symbol"] == "AERO")
        .count();
    assert_eq!(aero, 2);
}

#[tokio::test]
async fn positions_are_ordered_by_value() {
    let app = TestApp::new().await;
    let body = app.get(sample("farmer"), "wallet").await.ok();
    let values: Vec<Option<i128>> = positions(&body)
        .iter()
        .map(|one| (!one["value"].is_null()).then(|| units(&one["value"])))
        .collect();
    let priced: Vec<i128> = values.iter().map_while(|value| *value).collect();
    assert!(priced.is_sorted_by(|a, b| a >= b));
    assert!(values[priced.len()..].iter().all(Option::is_none));
    assert_eq!(values.len() - priced.len(), 2);
}

#[tokio::test]
async fn positions_without_a_price_have_a_null_value_and_a_reason() {
    let app = TestApp::new().await;
    let body = app.get(sample("dust"), "aggregate?hidden=true").await.ok();
    let unpriced: Vec<_> = positions(&body)
        .into_iter()
        .filter(|one| one["value"].is_null())
        .collect();
    assert!(unpriced.len() > 3);
    for one in &unpriced {
        assert!(one["price"].is_null());
        assert_eq!(one["unpriced_reason"], "no_price");
    }
    for one in positions(&body) {
        assert_eq!(one["value"].is_null(), !one["unpriced_reason"].is_null());
    }
    let counted = unpriced
        .iter()
        .filter(|one| one["displayable"] == true && one["trash"] == false);
    assert_eq!(body["prices"]["unpriced"], counted.count());
    assert_totals(&body);
}

#[tokio::test]
async fn extreme_amounts_are_answered_exactly() {
    let app = TestApp::new().await;
    let huge = "9".repeat(78);
    let row = |id: &str, units: &str, price: Value, kind: Value, chain: &str| {
        rows::row(rows::Row {
            id: id.to_owned(),
            units: units.to_owned(),
            price,
            kind,
            chain: chain.to_owned(),
            contract: rows::contract(u32::try_from(id.len()).unwrap()),
            ..rows::Row::default()
        })
    };
    let tiny = json!(1e-30);
    let large = json!(1e30);
    app.fakes().set_wallet(
        WALLET,
        vec![
            row("a", &huge, json!(1.0), json!("wallet"), "ethereum"),
            row(
                "bb",
                "1000000000000000000",
                tiny,
                json!("wallet"),
                "ethereum",
            ),
            row(
                "ccc",
                "2500000000000000000",
                large,
                json!("wallet"),
                "ethereum",
            ),
            row(
                "dddd",
                "1",
                json!(null),
                json!("from_the_future"),
                "a-new-chain",
            ),
            row("eeeee", "0", json!(0), json!(null), "ethereum"),
        ],
    );
    let body = app.get(WALLET, "aggregate").await.ok();
    let by_id = |id: &str| {
        let found = positions(&body).into_iter().find(|one| one["id"] == id);
        found.unwrap_or_else(|| panic!("{id} is lost")).clone()
    };
    assert_eq!(positions(&body).len(), 5);
    assert_eq!(by_id("a")["quantity_raw"], huge);
    assert_eq!(
        by_id("a")["value"],
        format!("{}.{}", "9".repeat(60), "9".repeat(18))
    );
    assert_eq!(
        by_id("bb")["price"]["amount"],
        format!("0.{}1", "0".repeat(29))
    );
    assert_eq!(by_id("ccc")["value"], format!("25{}", "0".repeat(29)));
    assert_eq!(by_id("dddd")["type"], "from_the_future");
    assert_eq!(by_id("dddd")["chain"], "a-new-chain");
    assert_eq!(by_id("eeeee")["type"], "unknown");
    assert_eq!(by_id("eeeee")["value"], Value::Null);
    // And again, from the cache.
    assert_eq!(app.get(WALLET, "aggregate").await.ok(), body);
    let chain = app.get(WALLET, "aggregate?chains=a-new-chain").await.ok();
    assert_eq!(positions(&chain).len(), 1);
}

#[tokio::test]
async fn scaled_quantities_are_answered_as_the_provider_gave_them() {
    let app = TestApp::new().await;
    let body = app.get(sample("solana"), "wallet").await.ok();
    let listed = positions(&body);
    let scaled = listed
        .iter()
        .find(|one| one["token"]["symbol"] == "AAPLx")
        .unwrap();
    // A display multiplier: the decimal amount is the true one.
    let raw: f64 = scaled["quantity_raw"].as_str().unwrap().parse().unwrap();
    let shown: f64 = scaled["quantity"].as_str().unwrap().parse().unwrap();
    let decimals = i32::try_from(scaled["token"]["decimals"].as_i64().unwrap()).unwrap();
    assert!(shown > raw / 10_f64.powi(decimals));
}
