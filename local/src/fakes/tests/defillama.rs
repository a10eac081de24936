use super::super::ContractPrice;
use super::Client;

#[tokio::test]
async fn known_keys_are_priced_and_others_left_out() {
    let client = Client::start().await;
    let keys = [
        "ethereum:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        "bsc:0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d",
        "arbitrum:0x0000000000000000000000000000000000000000",
        "celo:0x0000000000000000000000000000000000000000",
        "binance-smart-chain:0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d",
        "solana:DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263",
        "solana:dezxaz8z7pnrnrjjz3wxborgixca6xjnb7yab1ppb263",
        "coingecko:bitcoin",
        "base:0x4e74d4db6c0726ccded4656d0bce448876bb4c7a",
        "nonsense",
    ];
    let path = format!("/prices/current/{}?searchWidth=4h", keys.join(","));
    let answer = client.get(&path).await;
    assert!(
        answer
            .header("expires")
            .is_some_and(|e| e.ends_with(":20 GMT"))
    );
    let coins = answer.json()["coins"].take();
    let known: Vec<bool> = keys.iter().map(|key| coins.get(key).is_some()).collect();
    assert_eq!(
        known,
        [
            true, true, true, false, false, true, false, true, true, false
        ]
    );
    assert_eq!(coins[keys[1]]["decimals"], 18);
    assert_eq!(coins[keys[2]]["symbol"], "ETH");
    assert!(coins[keys[7]].get("decimals").is_none());
    assert!(coins[keys[0]]["timestamp"].is_u64());
    let stats = client.fakes.stats().defillama;
    assert_eq!((stats.requests, stats.keys), (1, 10));
    assert_eq!(stats.last_keys, keys);
}

#[tokio::test]
async fn unknown_keys_give_an_empty_answer_and_too_many_an_error() {
    let client = Client::start().await;
    let unknown = client.get("/prices/current/base%3A0x01").await;
    assert_eq!(unknown.body, b"{\"coins\":{}}");
    let keys: Vec<String> = (0..259).map(|n| format!("ethereum:0x{n:040x}")).collect();
    let many = client
        .get(&format!("/prices/current/{}", keys.join(",")))
        .await;
    assert_eq!(many.status, 414);
    let fewer = client
        .get(&format!("/prices/current/{}", keys[..258].join(",")))
        .await;
    assert_eq!(fewer.status, 200);
}

#[tokio::test]
async fn a_contract_price_is_quoted_as_set_until_it_is_removed() {
    let client = Client::start().await;
    let key = "ethereum:0x00000000000000000000000000000000000abcde";
    let path = format!("/prices/current/{key}");
    let price = ContractPrice {
        usd: 12.5,
        timestamp: Some(1_795_254_046),
    };
    client.fakes.set_contract_price(key, Some(price));
    let coins = client.get(&path).await.json()["coins"].take();
    assert_eq!(coins[key]["price"], 12.5);
    assert_eq!(coins[key]["timestamp"], 1_795_254_046);
    client.fakes.set_contract_price(key, None);
    let coins = client.get(&path).await.json()["coins"].take();
    assert_eq!(coins, serde_json::json!({}));
}
