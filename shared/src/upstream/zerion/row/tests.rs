use serde_json::{Value, json};

use super::*;
use crate::domain::{asset_mapping::NoAssets, holdings::Holdings};

/// One row of Ethereum, with these attributes and implementations.
fn row(id: Value, attributes: Value, implementations: Value) -> Value {
    let mut row = json!({
        "id": id,
        "attributes": {
            "position_type": "wallet",
            "quantity": {"int": "1", "decimals": 0, "numeric": "1"},
            "fungible_info": {
                "symbol": "ETH", "name": "Ether", "implementations": implementations,
            },
        },
        "relationships": {"chain": {"data": {"id": "ethereum"}}},
    });
    for (name, value) in attributes.as_object().unwrap() {
        row["attributes"][name] = value.clone();
    }
    row
}

/// Each position's id, and the price of its token.
fn priced(rows: Vec<Value>) -> Vec<(String, Option<String>)> {
    let body = json!({ "data": rows }).to_string();
    let mut draft = HoldingsBuilder::default();
    read_page(body.as_bytes(), None, &mut draft).unwrap();
    let finished = draft.encode(Part::Wallet, &draft.map(&NoAssets));
    let holdings = Holdings::decode(&finished.bytes).unwrap();
    let positions = holdings.positions.iter().map(|position| {
        let key = holdings.price_key(holdings.token(position));
        let price = finished.prices.iter().find(|(of, ..)| *of == key);
        (
            holdings.position_id(position).into_owned(),
            price.map(|(_, price, _)| price.to_string()),
        )
    });
    positions.collect()
}

fn price_of(rows: Vec<Value>, id: &str) -> Option<String> {
    let found = priced(rows).into_iter().find(|(of, _)| of == id);
    found.unwrap().1
}

fn ether() -> Value {
    let native = json!([{"chain_id": "ethereum", "address": null, "decimals": 18}]);
    row(
        json!("base-ethereum-asset-asset"),
        json!({"price": 2000}),
        native,
    )
}

#[test]
fn an_asset_without_id_and_contract_does_not_take_the_native_coins_price() {
    let lost = |price: Value| row(json!("x"), json!({"price": price, "value": 13}), json!([]));
    for (given, price) in [(json!(null), "13"), (json!(0), "13"), (json!(12.5), "12.5")] {
        let rows = vec![ether(), lost(given)];
        assert_eq!(price_of(rows, "x").as_deref(), Some(price));
    }
}

#[test]
fn a_contract_that_cannot_be_read_is_not_the_native_coin() {
    for address in [json!(17), json!({}), json!(false)] {
        let place = json!([{"chain_id": "ethereum", "address": address, "decimals": 18}]);
        let rows = vec![ether(), row(json!("x"), json!({"value": 13}), place)];
        assert_eq!(price_of(rows, "x").as_deref(), Some("13"));
    }
}

#[test]
fn the_value_is_divided_by_the_displayed_amount() {
    let scaled = json!({"int": "1000000", "decimals": 6, "numeric": "4"});
    let whole = json!({"int": "250", "decimals": 2});
    let none = json!({"int": "0", "decimals": 6, "numeric": "0"});
    for (quantity, value, price) in [
        (&scaled, json!(100), Some("25")),
        (&whole, json!(10), Some("4")),
        (&none, json!(10), None),
        (&whole, json!(0), None),
        (&whole, json!(-10), None),
        (&whole, json!("much"), None),
        (&json!({"int": "?"}), json!(10), None),
    ] {
        let attributes = json!({"value": value, "price": null, "quantity": quantity});
        let rows = vec![row(json!("x"), attributes, json!([]))];
        assert_eq!(price_of(rows, "x").as_deref(), price);
    }
}

#[test]
fn rows_without_an_id_keep_their_names_in_any_order() {
    let nameless = |name: &str, value: i64| {
        row(
            json!(null),
            json!({"name": name, "value": value}),
            json!([]),
        )
    };
    let rows = vec![nameless("a", 13), nameless("b", 17), ether()];
    let mut names = priced(rows.clone());
    names.sort();
    let mut reversed = priced(rows.into_iter().rev().collect());
    reversed.sort();
    assert_eq!(names, reversed);
    let prices: Vec<&str> = names
        .iter()
        .filter_map(|(_, price)| price.as_deref())
        .collect();
    assert!(prices.contains(&"13") && prices.contains(&"17") && prices.contains(&"2000"));
}
