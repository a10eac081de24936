//! What a warm request costs: a function that answers from a cache that is all
//! fresh, compared with ones that only read.
//!
//! ```text
//! cargo bench --workspace --bench warm -- [POSITIONS...] [ENCODINGS...]
//! ```
//!
//! - *distinct*: wallets that the process has not seen, against a function that
//!   reads the same items by one query and returns their bytes;
//! - *repeated*: one wallet again and again, against a function that reads one
//!   item and returns a constant body of the same length;
//! - *304* and *page of one*: the same wallet, which the client has already, or of
//!   which it wants one position.
//!
//! All take the same events and give answers as Lambda returns them, by turns, on
//! one thread; the table is served by another. CPU is that of the first thread.

#![expect(clippy::float_arithmetic, reason = "times and how they compare")]

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portfolio::{
    cache::DynamoDb,
    domain::scope::Scope,
    lambda::{Invocation, QueryFunction},
};
use portfolio_tests::{TestApp, rows, v2_event};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

/// So that nothing expires meanwhile.
const LONG: &str = "100000";
/// The first ones open connections and warm the processor's caches.
const UNMEASURED: usize = 10;
const ENCODINGS: [&str; 3] = ["identity", "zstd", "gzip"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let app = app_on_another_thread();
    let table = app.dynamodb();
    println!("                                      answering       only reading       ratio");
    println!("positions  kind      encoding   bytes    ms  CPU ms     ms  CPU ms     ms   CPU");
    let only: Vec<u32> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    for positions in [30, 300, 3000] {
        if !only.is_empty() && !only.contains(&positions) {
            continue;
        }
        let wallets = wallets(positions);
        for wallet in &wallets {
            app.fakes()
                .set_wallet(wallet, (1..=positions).map(rows::token).collect());
        }
        // Another process fetches them.
        let first = app.real_process(Scope::Aggregate);
        for wallet in &wallets {
            answer(&first, &event(wallet, "", &[])).await;
        }
        for encoding in ENCODINGS.into_iter().filter(|it| wanted(it)) {
            distinct(&app, &table, &wallets, positions, encoding).await;
        }
        for encoding in ENCODINGS.into_iter().filter(|it| wanted(it)) {
            repeated(&app, &table, &wallets[0], positions, encoding).await;
        }
        parts_of_an_answer(&app, &table, &wallets[0], positions).await;
    }
}

/// Returns whether an encoding is to be measured: all, unless some are named.
fn wanted(encoding: &str) -> bool {
    let named = std::env::args().filter(|it| ENCODINGS.contains(&&**it));
    let named: Vec<String> = named.collect();
    named.is_empty() || named.iter().any(|it| it == encoding)
}

/// Starts the table and the providers on a thread of their own.
fn app_on_another_thread() -> Arc<TestApp> {
    let (sender, receiver) = mpsc::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let settings = [("STRUCTURE_TTL_SECONDS", LONG), ("PRICE_TTL_SECONDS", LONG)];
            let app = TestApp::with(&settings).await;
            sender.send(Arc::new(app)).expect("someone waits for it");
            std::future::pending::<()>().await;
        });
    };
    std::thread::spawn(serve);
    receiver.recv().expect("an app")
}

fn wallets(positions: u32) -> Vec<String> {
    let count = match positions {
        3000 => 60,
        _ => 400,
    };
    (0..count)
        .map(|number| format!("0x{positions:08x}{number:032x}"))
        .collect()
}

fn event(wallet: &str, query: &str, headers: &[(&str, &str)]) -> Box<RawValue> {
    let path = format!("/v1/wallets/{wallet}/aggregate");
    to_raw_value(&v2_event("GET", &path, query, headers)).expect("JSON")
}

async fn distinct(
    app: &TestApp,
    table: &DynamoDb,
    wallets: &[String],
    positions: u32,
    encoding: &str,
) {
    let function = app.real_process(Scope::Aggregate);
    let (mut answering, mut reading) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for (number, wallet) in wallets.iter().enumerate() {
        let event = event(wallet, "", &[("accept-encoding", encoding)]);
        // The second one finds the wallet in the table's caches.
        let reading_first = number % 2 == 1;
        if reading_first {
            reading.push(measured(read_all(table, wallet)).await.1);
        }
        let (reply, took) = measured(answer(&function, &event)).await;
        bytes = reply.get().len();
        answering.push(took);
        if !reading_first {
            reading.push(measured(read_all(table, wallet)).await.1);
        }
    }
    report(positions, "distinct", encoding, bytes, answering, reading);
}

async fn repeated(app: &TestApp, table: &DynamoDb, wallet: &str, positions: u32, encoding: &str) {
    let function = app.real_process(Scope::Aggregate);
    let event = event(wallet, "", &[("accept-encoding", encoding)]);
    against_one_read(
        &function,
        table,
        wallet,
        &event,
        (positions, "repeated", encoding),
    )
    .await;
}

/// What does not need the whole body.
async fn parts_of_an_answer(app: &TestApp, table: &DynamoDb, wallet: &str, positions: u32) {
    let function = app.real_process(Scope::Aggregate);
    let reply = answer(&function, &event(wallet, "", &[])).await;
    let reply: serde_json::Value = serde_json::from_str(reply.get()).expect("JSON");
    let etag = reply["headers"]["etag"].as_str().expect("a validator");
    let known = event(wallet, "", &[("if-none-match", etag)]);
    against_one_read(&function, table, wallet, &known, (positions, "304", "")).await;
    let one = event(wallet, "limit=1", &[("accept-encoding", "zstd")]);
    against_one_read(&function, table, wallet, &one, (positions, "one", "zstd")).await;
}

async fn against_one_read(
    function: &QueryFunction,
    table: &DynamoDb,
    wallet: &str,
    event: &RawValue,
    (positions, kind, encoding): (u32, &str, &str),
) {
    let body = answer(function, event).await;
    let (mut answering, mut reading) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        answering.push(measured(answer(function, event)).await.1);
        reading.push(measured(read_header(table, wallet, &body)).await.1);
    }
    report(
        positions,
        kind,
        encoding,
        body.get().len(),
        answering,
        reading,
    );
}

async fn answer(function: &QueryFunction, event: &RawValue) -> Box<RawValue> {
    let invocation = Invocation::default();
    let reply = function.handle(event, &invocation).await.expect("a reply");
    assert!(!reply.get().contains("\"statusCode\":5"));
    reply
}

/// The function that only reads the wallet's items.
async fn read_all(table: &DynamoDb, wallet: &str) -> Box<RawValue> {
    let page = table
        .client()
        .query()
        .table_name(table.name())
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S(format!("W#{wallet}")))
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

/// The function that only reads the wallet's header.
async fn read_header(table: &DynamoDb, wallet: &str, body: &RawValue) -> Box<RawValue> {
    let item = table
        .client()
        .get_item()
        .table_name(table.name())
        .key("pk", AttributeValue::S(format!("W#{wallet}")))
        .key("sk", AttributeValue::S("H".to_owned()))
        .consistent_read(true)
        .send()
        .await
        .expect("an item");
    assert!(item.item.is_some());
    body.to_owned()
}

/// What something took, by the clock and of this thread's processor.
type Took = (Duration, Duration);

async fn measured<T>(work: impl Future<Output = T>) -> (T, Took) {
    let (started, cpu) = (Instant::now(), cpu());
    let done = work.await;
    (done, (started.elapsed(), self::cpu() - cpu))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

fn report(
    positions: u32,
    kind: &str,
    encoding: &str,
    bytes: usize,
    answering: Vec<Took>,
    reading: Vec<Took>,
) {
    let ((ms, cpu), (read_ms, read_cpu)) = (median(answering), median(reading));
    let (ratio, cpu_ratio) = (ms / read_ms, cpu / read_cpu);
    println!(
        "{positions:>9}  {kind:<9} {encoding:<9} {bytes:>7} {ms:>5.2} {cpu:>7.3} {read_ms:>6.2} \
         {read_cpu:>7.3} {ratio:>6.2} {cpu_ratio:>5.2}"
    );
}

/// Medians in milliseconds, by the clock and of the processor.
fn median(took: Vec<Took>) -> (f64, f64) {
    let (mut clock, mut cpu): (Vec<_>, Vec<_>) = took.into_iter().skip(UNMEASURED).unzip();
    let middle = |all: &mut Vec<Duration>| {
        all.sort();
        all[all.len() / 2].as_secs_f64() * 1000.0
    };
    (middle(&mut clock), middle(&mut cpu))
}
