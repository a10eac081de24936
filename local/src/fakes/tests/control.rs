use std::time::{Duration, Instant};

use super::Client;
use portfolio::domain::provider::Provider;

use crate::fakes::{Fault, SAMPLES};

const SMALL: &str = SAMPLES[0].address;

#[tokio::test]
async fn faults_are_set_and_cleared() {
    let client = Client::start().await;
    let body = r#"{"zerion": {"status": 503, "times": 1, "headers": {"retry-after": "7"}},
                   "defillama": {"body": "<html>", "status": 502}}"#;
    let set = client.send("PUT", "/__faults", &[], body).await;
    assert_eq!(set.status, 204);
    let bad = client.zerion(SMALL, "").await;
    assert_eq!((bad.status, bad.header("retry-after")), (503, Some("7")));
    assert!(bad.header("ratelimit-org-second-reset").is_some());
    assert_eq!(client.zerion(SMALL, "").await.status, 200);
    let llama = client.get("/prices/current/x").await;
    assert_eq!((llama.status, &llama.body[..]), (502, &b"<html>"[..]));
    client
        .send("PUT", "/__faults", &[], r#"{"defillama": null}"#)
        .await;
    assert_eq!(client.get("/prices/current/x").await.status, 200);
    let wrong = client
        .send("PUT", "/__faults", &[], r#"{"zerion": {"code": 1}}"#)
        .await;
    assert_eq!(wrong.status, 400);
    let message = wrong.json()["error"].to_string();
    assert!(message.contains("unknown field `code`"), "{message}");
}

#[tokio::test]
async fn a_slow_answer_is_the_right_one() {
    let client = Client::start().await;
    let slow = Fault {
        delay_ms: Some(60),
        ..Fault::default()
    };
    client.fakes.set_fault(Provider::CoinMarketCap, Some(slow));
    let start = Instant::now();
    let answer = client.cmc("/v2/simple/price?id=1").await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!(answer.json()["data"][0]["id"], 1);
    client
        .fakes
        .set_fault(Provider::CoinMarketCap, Some(Fault::status(429)));
    let answer = client.cmc("/v2/simple/price?id=1").await;
    assert_eq!(answer.json()["status"]["error_code"], 1008);
}

#[tokio::test]
async fn requests_are_counted_until_the_counters_are_reset() {
    let client = Client::start().await;
    client.zerion(SMALL, "").await;
    client.zerion(SMALL, "filter[positions]=no_filter").await;
    client.zerion(SMALL, "filter[positions]=x").await;
    client
        .cmc("/v3/cryptocurrency/quotes/latest?id=1,2&convert=EUR")
        .await;
    let stats = client.get("/__stats").await.json();
    assert_eq!(stats["zerion"]["requests"], 3);
    assert_eq!(stats["zerion"]["by_filter"]["only_simple"], 1);
    assert_eq!(stats["zerion"]["by_filter"]["no_filter"], 1);
    assert_eq!(stats["zerion"]["by_status"]["200"], 2);
    assert_eq!(stats["zerion"]["by_status"]["400"], 1);
    assert_eq!(
        stats["coinmarketcap"]["last_ids"],
        serde_json::json!(["1", "2"])
    );
    assert_eq!(stats["coinmarketcap"]["last_convert"], "EUR");
    assert_eq!(client.send("DELETE", "/__stats", &[], "").await.status, 204);
    assert_eq!(client.get("/__stats").await.json()["zerion"]["requests"], 0);
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    let client = Client::start().await;
    let headers = [("Accept-Encoding", "gzip")];
    let path = "/prices/current/coingecko:bitcoin,coingecko:ethereum";
    let answer = client.send("GET", path, &headers, "").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(client.get("/elsewhere").await.status, 404);
}
