use serde_json::Value;

use super::Client;
use crate::fakes::Coin;

const V3: &str = "/v3/cryptocurrency/quotes/latest";
const V2: &str = "/v2/cryptocurrency/quotes/latest";

#[tokio::test]
async fn a_key_is_needed() {
    let client = Client::start().await;
    let path = format!("{V3}?id=1");
    let missing = client.get(&path).await;
    assert_eq!(missing.status, 401);
    assert_eq!(missing.json()["status"]["error_code"], 1002);
    let wrong = [("X-CMC_PRO_API_KEY", "other")];
    let wrong = client.send("GET", &path, &wrong, "").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.json()["status"]["error_code"], 1001);
    assert_eq!(client.fakes.stats().coinmarketcap.by_status["401"], 2);
}

#[tokio::test]
async fn the_three_forms_differ_as_documented() {
    let client = Client::start().await;
    let v3 = client
        .cmc(&format!("{V3}?id=1027,3408&convert=USD,EUR"))
        .await
        .json();
    assert_eq!(v3["status"]["error_code"], "0");
    assert_eq!(v3["status"]["credit_count"], 2);
    assert_eq!(v3["data"].as_array().map(Vec::len), Some(2));
    let quotes = &v3["data"][0]["quote"];
    assert_eq!(
        (quotes[0]["id"].as_u64(), quotes[1]["id"].as_u64()),
        (Some(2781), Some(2790))
    );
    assert!(v3["data"][0]["platform"].is_null());
    assert!(v3["data"][0]["max_supply"].is_null());
    assert_eq!(v3["data"][1]["platform"]["slug"], "ethereum");

    let v2 = client.cmc(&format!("{V2}?id=1027,3408")).await.json();
    assert_eq!(v2["status"]["error_code"], 0);
    assert!(v2["status"]["error_message"].is_null());
    let usd = &v2["data"]["1027"]["quote"]["USD"];
    assert!(usd["price"].as_f64() > Some(1000.0));
    let updated = usd["last_updated"].as_str().expect("a time");
    assert!(updated.len() == 24 && updated.ends_with('Z'), "{updated}");

    let simple = client
        .cmc("/v2/simple/price?id=1027&include_24h_change=true")
        .await
        .json();
    let quote = &simple["data"][0]["quotes"][0];
    assert_eq!(quote["symbol"], "USD");
    assert_eq!(quote["percent_change_24h"], 2.41);
    assert!(quote.get("market_cap").is_none());
}

#[tokio::test]
async fn unknown_ids_are_left_out_or_refused() {
    let client = Client::start().await;
    let skipped = client
        .cmc(&format!("{V3}?id=1,999999999&skip_invalid=true"))
        .await;
    assert_eq!(skipped.json()["data"].as_array().map(Vec::len), Some(1));
    let refused = client
        .cmc(&format!("{V3}?id=1,999999999&skip_invalid=false"))
        .await;
    assert_eq!(refused.status, 400);
    let message = refused.json()["status"]["error_message"].to_string();
    assert!(
        message.contains("Invalid value for \\\"id\\\""),
        "{message}"
    );
    for query in [
        "",
        "id=",
        "id=abc",
        "id=0",
        "id=1&convert=XYZ",
        "id=1&skip_invalid=1",
        "id=1&foo=1",
        "symbol=BTC",
        "id=1&convert=USD&convert_id=2781",
    ] {
        let answer = client.cmc(&format!("{V2}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["status"]["error_code"], 400);
    }
}

#[tokio::test]
async fn credits_follow_the_number_of_coins() {
    let client = Client::start().await;
    for id in 100_000..100_101 {
        let coin = Coin::new(id, "Sample Coin", "SMP", 1.0);
        client.fakes.set_coin(coin);
    }
    let ids: Vec<String> = (100_000..100_101).map(|id| id.to_string()).collect();
    let credits = async |path: &str, count: usize| {
        let path = format!("{path}?id={}", ids[..count].join(","));
        client.cmc(&path).await.json()["status"]["credit_count"].clone()
    };
    assert_eq!(credits(V3, 100).await, 1);
    assert_eq!(credits(V3, 101).await, 2);
    assert_eq!(credits("/v2/simple/price", 101).await, 1);
    let stats = client.fakes.stats().coinmarketcap;
    assert_eq!((stats.requests, stats.ids, stats.credits), (3, 302, 4));
    assert_eq!(stats.last_ids, ids);
    assert_eq!(stats.last_convert, "USD");
}

#[tokio::test]
async fn prices_can_be_pinned_and_coins_removed() {
    let client = Client::start().await;
    client.fakes.set_price(1027, 1234.5);
    let path = format!("{V2}?id=1027,5994");
    let data = client.cmc(&path).await.json()["data"].take();
    assert_eq!(data["1027"]["quote"]["USD"]["price"], 1234.5);
    let small = data["5994"]["quote"]["USD"]["price"].to_string();
    assert!(small.contains("e-6"), "{small}");
    client.fakes.remove_coin(1027);
    let data = client.cmc(&path).await.json()["data"].take();
    assert!(data.get("1027").is_none());
    let coin = Coin {
        price_usd: None,
        ..Coin::new(1027, "Ethereum", "ETH", 0.0)
    };
    client.fakes.set_coin(coin);
    let data = client.cmc(&path).await.json()["data"].take();
    assert_eq!(data["1027"]["quote"]["USD"]["price"], Value::Null);
}

#[tokio::test]
async fn the_map_comes_in_pages() {
    let client = Client::start().await;
    let path = "/v1/cryptocurrency/map";
    let all = client.cmc(&format!("{path}?limit=5000")).await.json();
    let rows = all["data"].as_array().expect("a list");
    assert!(rows.len() >= 60);
    assert!(rows.is_sorted_by_key(|row| row["id"].as_u64()));
    let mut paged = Vec::new();
    for start in (1..).step_by(25) {
        let page = client
            .cmc(&format!("{path}?start={start}&limit=25"))
            .await
            .json();
        let page = page["data"].as_array().expect("a list").clone();
        if page.is_empty() {
            break;
        }
        paged.extend(page.into_iter().map(|row| row["id"].clone()));
    }
    let ids: Vec<Value> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(paged, ids);
    let row = |id: u64| rows.iter().find(|row| row["id"] == id).expect("listed");
    assert_eq!(row(1839)["platform"], Value::Null);
    assert_eq!(row(7186)["platform"]["slug"], "bnb");
    assert_eq!(row(11840)["platform"]["slug"], "optimism-ethereum");
    assert_eq!(row(1)["rank"], 1);
    for query in [
        "limit=5001",
        "limit=0",
        "start=0",
        "sort=name",
        "aux=x",
        "page=2",
    ] {
        assert_eq!(
            client.cmc(&format!("{path}?{query}")).await.status,
            400,
            "{query}"
        );
    }
    let inactive = client
        .cmc(&format!("{path}?listing_status=inactive"))
        .await
        .json();
    assert_eq!(inactive["data"].as_array().map(Vec::len), Some(0));
    assert!(client.fakes.stats().coinmarketcap.map_requests > 5);
    assert_eq!(client.fakes.stats().coinmarketcap.requests, 0);
    assert_eq!(client.cmc("/v1/key/info").await.status, 200);
}
