//! Ten thousand positions on ten chains.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::{
    app::App,
    domain::{address::Address, query::Query, scope::Scope},
    service::Request,
};
use portfolio_tests::{TestApp, positions, rows, sample, units};

#[tokio::test]
async fn pages_cover_every_position_once() {
    let app = TestApp::new().await;
    let whale = sample("whale");
    let mut seen = HashSet::new();
    let (mut net, mut pages, mut cursor) = (0, 0, String::new());
    let mut totals = None;
    loop {
        let body = app
            .get(whale, &format!("aggregate?limit=1500{cursor}"))
            .await
            .ok();
        pages += 1;
        assert_eq!(body["page"]["total"], 10_000);
        assert!(positions(&body).len() <= 1500);
        for one in positions(&body) {
            assert!(
                seen.insert(one["id"].as_str().unwrap().to_owned()),
                "{} twice",
                one["id"]
            );
            if !one["value"].is_null() {
                let value = units(&one["value"]);
                net += if one["kind"] == "debt" { -value } else { value };
            }
        }
        let first = totals.get_or_insert_with(|| body["totals"].clone());
        assert_eq!(*first, body["totals"]);
        match body["page"]["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (10_000, 7));
    assert_eq!(units(&totals.unwrap()["net_worth"]), net);
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn a_page_fits_into_a_lambda_answer() {
    let app = TestApp::new().await;
    let answer = app.get(sample("whale"), "aggregate?limit=5000").await;
    answer.ok();
    assert!(answer.envelope.to_string().len() < 6_000_000);
    assert!(answer.bytes.len() <= 5_000_000);
}

#[tokio::test]
async fn the_whales_items_fit_and_one_query_reads_them() {
    let app = TestApp::new().await;
    let whale = sample("whale");
    app.get(whale, "aggregate").await.ok();
    let table = app.dynamodb();
    let query = table
        .client()
        .query()
        .table_name(table.name())
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S(format!("W#{whale}")))
        .send()
        .await
        .unwrap();
    let mut largest = 0;
    for item in query.items() {
        let size: usize = item
            .values()
            .map(|value| match value {
                AttributeValue::B(bytes) => bytes.as_ref().len(),
                AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
                _ => 0,
            })
            .sum();
        largest = largest.max(size);
        // DynamoDB takes seconds: a time in milliseconds would be far off.
        let expires: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
        let left = expires - app.now().as_secs();
        assert!((86_400..3 * 86_400).contains(&left), "{left} s");
    }
    assert!(query.items().len() >= 4);
    assert!(largest < 400 * 1024, "{largest} bytes");

    let service = App::with_clock(app.config(), app.clock.clone())
        .service()
        .unwrap();
    let request = Request {
        deadline: app.now().plus(std::time::Duration::from_secs(20)),
        ..Request::default()
    };
    let query = Query::all(Address::parse(whale).unwrap(), Scope::Aggregate);
    service.portfolio(&query, &request).await.unwrap();
    let totals = request.cost.totals();
    assert_eq!(
        (totals.round_trips, totals.calls, totals.upstream_calls),
        // The header, and everything else.
        (1, 2, 0)
    );
}

#[tokio::test]
async fn a_wallet_of_several_megabytes_is_cached_and_answered_in_pages() {
    // Some 40 MB of rows, on 200 chains.
    const ROWS: u32 = 36_000;
    let app = TestApp::with(&[("PRICE_FALLBACK", "none")]).await;
    let address = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let row = |number: u32| {
        let chain = format!("chain-{}", number % 200);
        let mut row = rows::token(number);
        row["relationships"]["chain"]["data"]["id"] = chain.clone().into();
        row["attributes"]["fungible_info"]["implementations"][0]["chain_id"] = chain.into();
        row
    };
    let held = (1..=ROWS).map(row).collect();
    app.fakes().set_wallet(address, held);
    for outcome in ["fwd=miss; stored; ttl=300", "hit; ttl=300"] {
        let answer = app.get(address, "aggregate?limit=2").await;
        let status = answer.header("cache-status");
        assert!(
            status.contains(&format!("structure; {outcome}")),
            "{status}"
        );
        let body = answer.ok();
        assert_eq!(body["page"]["total"], ROWS);
        assert_eq!(
            body["totals"]["by_chain"].as_array().map(Vec::len),
            Some(200)
        );
        assert!(!body["page"]["next"].is_null());
        assert_eq!(app.stats().zerion.requests, 1);
        assert_eq!(app.stats().coinmarketcap.requests, 0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("rows {ROWS}, the whole test process at most: {peak:?}");
}
