use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Client, basic, close};
use crate::fakes::SAMPLES;

const OTHER: &str = "0x00000000219ab540356cBB839Cbe05303d7705Fa";

fn sample(name: &str) -> &'static str {
    SAMPLES
        .iter()
        .find(|sample| sample.name == name)
        .map(|sample| sample.address)
        .expect("a sample")
}

#[tokio::test]
async fn requests_need_the_right_key() {
    let client = Client::start().await;
    let path = format!("/v1/wallets/{OTHER}/positions/");
    for credentials in ["zk_local", "zk_local:x", ":zk_local", "zk_other:", ""] {
        let headers = [
            ("Authorization", &*basic(credentials)),
            ("User-Agent", "test"),
        ];
        let answer = client.send("GET", &path, &headers, "").await;
        assert_eq!(answer.status, 401, "{credentials}");
        assert_eq!(answer.json()["errors"][0]["title"], "Unauthorized Error");
        assert_eq!(answer.header("RateLimit-Org-Tier"), Some("enterprise"));
    }
    let bare = client
        .send("GET", &path, &[("Authorization", &basic("zk_local:"))], "")
        .await;
    assert_eq!(
        (bare.status, &bare.body[..]),
        (403, &b"error code: 1010"[..])
    );
    let good = client.zerion(OTHER, "").await;
    assert_eq!(good.status, 200);
    for span in ["Second", "Day", "Month"] {
        for part in ["Limit", "Remaining", "Reset"] {
            let value = good.header(&format!("RateLimit-Org-{span}-{part}"));
            assert!(value.is_some_and(|v| v.parse::<u64>().is_ok()), "{span}");
        }
    }
}

#[tokio::test]
async fn a_missing_slash_is_added() {
    let client = Client::start().await;
    let path = format!("/v1/wallets/{OTHER}/positions?currency=eur");
    let answer = client.get(&path).await;
    let target = format!("/v1/wallets/{OTHER}/positions/?currency=eur");
    assert_eq!(answer.status, 301);
    assert_eq!(answer.header("location"), Some(target.as_str()));
}

#[tokio::test]
async fn the_filters_part_a_wallet_in_two() {
    let client = Client::start().await;
    for address in SAMPLES.iter().map(|s| s.address).chain([OTHER]) {
        let ids = |rows: Vec<Value>| -> HashSet<String> {
            rows.iter().map(|row| row["id"].to_string()).collect()
        };
        let everything = client.rows(address, "filter[positions]=no_filter").await;
        let count = everything.len();
        let everything = ids(everything);
        assert_eq!(everything.len(), count, "ids are unique: {address}");
        let simple = ids(client.rows(address, "").await);
        let complex = client
            .rows(address, "filter%5Bpositions%5D=only_complex")
            .await;
        let complex = ids(complex);
        assert!(simple.is_disjoint(&complex), "{address}");
        assert_eq!(simple.len() + complex.len(), count, "{address}");
        assert!(simple.union(&complex).all(|id| everything.contains(id)));
    }
}

#[tokio::test]
async fn every_row_of_every_sample_has_the_mandatory_fields() {
    let client = Client::start().await;
    for sample in SAMPLES {
        let rows = client
            .rows(
                sample.address,
                "filter[positions]=no_filter&filter[trash]=no_filter",
            )
            .await;
        assert_eq!(rows.is_empty(), sample.name == "empty");
        let mut last = f64::INFINITY;
        for row in &rows {
            let attributes = &row["attributes"];
            assert_eq!(row["type"], "positions");
            assert!(attributes["name"].is_string());
            assert!(row["relationships"]["chain"]["data"]["id"].is_string());
            let quantity = &attributes["quantity"];
            assert!(quantity["int"].as_str().is_some_and(|int| !int.is_empty()));
            assert!(
                quantity["numeric"]
                    .as_str()
                    .is_some_and(|n| n.parse::<f64>().is_ok())
            );
            assert!(quantity["decimals"].is_u64() && quantity["float"].is_number());
            let value = attributes["value"].as_f64().unwrap_or(f64::NEG_INFINITY);
            assert!(value <= last, "{}: {row}", sample.name);
            last = value;
            if let (Some(price), Some(value), Some(amount)) = (
                attributes["price"].as_f64(),
                attributes["value"].as_f64(),
                quantity["float"].as_f64(),
            ) {
                assert!(
                    (price * amount - value).abs() <= value.abs() * 1e-3,
                    "{row}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_farmer_holds_every_kind_of_position() {
    let client = Client::start().await;
    let rows = client
        .rows(sample("farmer"), "filter[positions]=no_filter")
        .await;
    let kind = |row: &Value| row["attributes"]["position_type"].to_string();
    let kinds: HashSet<String> = rows.iter().map(kind).collect();
    assert_eq!(kinds.len(), 7);
    let loans: Vec<&Value> = rows.iter().filter(|row| kind(row) == "\"loan\"").collect();
    assert!(
        loans
            .iter()
            .all(|row| row["attributes"]["value"].as_f64() > Some(0.0))
    );
    let gauge: Vec<&Value> = rows
        .iter()
        .filter(|row| row["attributes"]["protocol_module"] == "farming")
        .collect();
    assert_eq!(gauge.len(), 3);
    let first = &gauge[0]["attributes"]["group_id"];
    assert!(
        gauge
            .iter()
            .all(|row| &row["attributes"]["group_id"] == first)
    );
    let unpriced = |row: &&Value| row["attributes"]["price"].is_null();
    assert!(rows.iter().filter(unpriced).count() >= 1);
    let dapp = "filter[positions]=only_complex&filter[dapp_ids]=aave-v3";
    assert_eq!(client.rows(sample("farmer"), dapp).await.len(), 6);
}

#[tokio::test]
async fn the_trash_filter_selects_trash() {
    let client = Client::start().await;
    let count = async |trash: &str| {
        let query = format!("filter[positions]=no_filter&filter[trash]={trash}");
        client.rows(sample("dust"), &query).await.len()
    };
    let (clean, trash) = (count("only_non_trash").await, count("only_trash").await);
    assert_eq!(trash, 2);
    assert_eq!(clean + trash, count("no_filter").await);
    let body = client.zerion(sample("dust"), "").await.body;
    let text = String::from_utf8(body).expect("text");
    assert!(text.contains("1e-30"));
    assert!(text.contains(
        "115792089237316195423570985008687907853269984665640564039457584007913129639936"
    ));
}

#[tokio::test]
async fn wrong_requests_are_refused_as_documented() {
    let client = Client::start().await;
    for (address, query, part) in [
        (
            OTHER,
            "filter[chain_ids]=nowhere",
            "chain {nowhere} is not supported",
        ),
        (OTHER, "filter[positions]=all", "filter[positions]"),
        (OTHER, "page[size]=100", "page[size]"),
        ("vitalik.eth", "", "must be a valid EVM or Solana address"),
        (
            "0x000000000000000000000000000000000000dEaD",
            "",
            "burn addresses",
        ),
    ] {
        let answer = client.zerion(address, query).await;
        assert_eq!(answer.status, 400, "{query}");
        let error = &answer.json()["errors"][0];
        assert_eq!(error["title"], "Malformed parameter was sent");
        let detail = error["detail"].as_str().expect("a text");
        assert!(detail.contains(part), "{detail}");
    }
}

#[tokio::test]
async fn currencies_convert_and_the_link_repeats_the_request() {
    let client = Client::start().await;
    let address = sample("small");
    let usd = client.rows(address, "filter[fungible_ids]=eth").await;
    let answer = client
        .zerion(address, "currency=eur&filter[fungible_ids]=eth")
        .await
        .json();
    assert_eq!(usd.len(), 2);
    let price = |row: &Value| row["attributes"]["price"].as_f64().expect("a price");
    let rate = price(&answer["data"][0]) / price(&usd[0]);
    assert!((rate / 0.8632 - 1.0).abs() < 0.005, "{rate}");
    assert_eq!(
        answer["links"]["self"],
        format!(
            "https://api.zerion.io/v1/wallets/{address}/positions/?currency=eur&filter%5Bfungible_ids%5D=eth"
        )
    );
}

#[tokio::test]
async fn the_coins_of_chains_are_written_as_zerion_writes_them() {
    let client = Client::start().await;
    let here = |row: &Value| {
        let chain = row["relationships"]["chain"]["data"]["id"].clone();
        let all = row["attributes"]["fungible_info"]["implementations"].clone();
        all.as_array()
            .and_then(|all| all.iter().find(|i| i["chain_id"] == chain).cloned())
            .expect("an implementation")
    };
    let small = client
        .rows(sample("small"), "filter[chain_ids]=binance-smart-chain")
        .await;
    let find = |rows: &[Value], symbol: &str| {
        rows.iter()
            .find(|row| row["attributes"]["fungible_info"]["symbol"] == symbol)
            .cloned()
            .expect("held")
    };
    let usdc = find(&small, "USDC");
    assert_eq!(here(&usdc)["decimals"], 18);
    assert_eq!(
        usdc["attributes"]["quantity"]["int"],
        "1200507351920118844071"
    );
    assert_eq!(here(&find(&small, "BNB"))["address"], Value::Null);
    let farmer = client
        .rows(sample("farmer"), "filter[chain_ids]=polygon")
        .await;
    assert_eq!(
        here(&find(&farmer, "POL"))["address"],
        "0x0000000000000000000000000000000000001010"
    );
    let solana = client
        .rows(sample("solana"), "filter[positions]=no_filter")
        .await;
    assert_eq!(
        here(&find(&solana, "SOL"))["address"],
        "11111111111111111111111111111111"
    );
    let apple = &find(&solana, "AAPLx")["attributes"]["quantity"];
    assert_eq!(
        (&apple["int"], &apple["numeric"]),
        (&json!("200000000"), &json!("2.008400000000"))
    );
}

#[tokio::test]
async fn prices_agree_with_coinmarketcap_and_rows_can_be_replaced() {
    let client = Client::start().await;
    let rows = client
        .rows(sample("small"), "filter[fungible_ids]=eth")
        .await;
    let quotes = client
        .cmc("/v2/cryptocurrency/quotes/latest?id=1027")
        .await
        .json();
    let price = &quotes["data"]["1027"]["quote"]["USD"]["price"];
    assert!(close(&rows[0]["attributes"]["price"], price));

    let mut row = rows[0].clone();
    row["attributes"]["value"] = json!(100.0);
    client
        .fakes
        .set_wallet(&OTHER.to_uppercase().replace("0X", "0x"), vec![row]);
    let replaced = client.rows(OTHER, "currency=gbp").await;
    assert_eq!(replaced.len(), 1);
    assert_eq!(replaced[0]["attributes"]["value"], 75.81);
}

#[tokio::test]
async fn the_whale_is_as_large_as_it_says() {
    let client = Client::start().await;
    let answer = client
        .zerion(sample("whale"), "filter[positions]=no_filter")
        .await;
    println!("the whale's body: {} bytes", answer.body.len());
    assert!(answer.body.len() > 5_000_000);
    assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(10_000));
}
