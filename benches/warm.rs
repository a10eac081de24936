//! What a warm request costs beyond its read: a function's time to answer from
//! a cache that is all fresh, compared with one that reads the same items from
//! DynamoDB and returns their bytes as they are.
//!
//! ```text
//! cargo bench --workspace --bench warm
//! ```
//!
//! Both take the same event and give an answer as Lambda returns it, by
//! turns, in one process that does nothing else.

#![expect(clippy::float_arithmetic, reason = "times and how they compare")]

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portfolio::{
    cache::DynamoDb,
    domain::scope::Scope,
    lambda::{Invocation, QueryFunction},
};
use portfolio_tests::{TestApp, rows, v2_event};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

const ADDRESS: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
const ROUNDS: usize = 1000;
const BUDGET: f64 = 1.5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // So that nothing expires meanwhile.
    let long = "100000";
    let app = TestApp::with(&[("STRUCTURE_TTL_SECONDS", long), ("PRICE_TTL_SECONDS", long)]).await;
    println!("positions  answer           bytes   median ms   only reading   ratio");
    for positions in [30, 300, 3000] {
        app.fakes()
            .set_wallet(ADDRESS, (1..=positions).map(rows::token).collect());
        for encoding in ["identity", "zstd", "gzip"] {
            measure(&app, positions, encoding).await;
        }
        let path = format!("/v1/wallets/{ADDRESS}/cache");
        app.request("DELETE", &path, &[]).await;
    }
}

async fn measure(app: &TestApp, positions: u32, encoding: &str) {
    let function = app.real_process(Scope::Aggregate);
    let table = app.dynamodb();
    let path = format!("/v1/wallets/{ADDRESS}/aggregate");
    let event = v2_event("GET", &path, "", &[("accept-encoding", encoding)]);
    let event = to_raw_value(&event).expect("JSON");
    let rounds = if positions > 1000 {
        ROUNDS / 10
    } else {
        ROUNDS
    };
    let (mut answering, mut reading) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..rounds + 10 {
        let started = Instant::now();
        bytes = answer(&function, &event).await.get().len();
        let answered = started.elapsed();
        let started = Instant::now();
        read(&table, &event).await;
        // The first ones open connections and fill the cache.
        if round >= 10 {
            answering.push(answered);
            reading.push(started.elapsed());
        }
    }
    let (answering, reading) = (median(answering), median(reading));
    let ratio = answering / reading;
    let told = match positions {
        300 if ratio > BUDGET => format!("   beyond the budget of {BUDGET}"),
        300 => format!("   budget {BUDGET}"),
        _ => String::new(),
    };
    println!(
        "{positions:>9}  {encoding:<9} {bytes:>12} {answering:>11.2} {reading:>14.2} {ratio:>7.2}{told}"
    );
}

async fn answer(function: &QueryFunction, event: &RawValue) -> Box<RawValue> {
    let invocation = Invocation::default();
    let reply = function.handle(event, &invocation).await.expect("a reply");
    assert!(reply.get().contains("\"statusCode\":200"));
    reply
}

/// The function that only reads: the wallet's partition, by the same query.
async fn read(table: &DynamoDb, event: &RawValue) -> Box<RawValue> {
    let event: serde_json::Value = serde_json::from_str(event.get()).expect("JSON");
    let address = event["rawPath"]
        .as_str()
        .and_then(|path| path.split('/').nth(3));
    let partition = format!("W#{}", address.expect("an address"));
    let page = table
        .client()
        .query()
        .table_name(table.name())
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S(partition))
        .scan_index_forward(false)
        .send()
        .await
        .expect("a page");
    let mut body = Vec::new();
    for item in page.items() {
        let blobs = item.values().filter_map(|value| value.as_b().ok());
        body.extend(blobs.flat_map(Blob::as_ref));
    }
    assert!(!body.is_empty() && page.last_evaluated_key().is_none());
    let body = STANDARD.encode(body);
    to_raw_value(&json!({"statusCode": 200, "isBase64Encoded": true, "body": body})).expect("JSON")
}

/// In milliseconds.
fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took[took.len() / 2].as_secs_f64() * 1000.0
}
