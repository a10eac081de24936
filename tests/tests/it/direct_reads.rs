//! Reads without the SDK's orchestrator, as the table sees them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use portfolio::{
    cache::{
        DynamoDb,
        table::{Attributes, Key, QueryCall, TableClient},
    },
    clock::SystemClock,
    config::Config,
};
use portfolio_tests::proxy;
use serde_json::json;
use sha2::{Digest, Sha256};

/// What only the SDK sends.
const FROM_SDK: &str = "amz-sdk-request";

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |it| it.to_str().expect("text"))
    }

    fn is_from_sdk(&self) -> bool {
        self.headers.contains_key(FROM_SDK)
    }
}

/// What becomes of direct reads; the SDK is always answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direct {
    Answered,
    Refused(StatusCode),
    Unreadable,
    Hung,
}

/// A table that has one item, with values of all types.
struct Canned {
    seen: Mutex<Vec<Seen>>,
    direct: Mutex<Direct>,
    hung: AtomicU64,
}

fn item() -> serde_json::Value {
    json!({
        "pk": {"S": "W#0x1"}, "sk": {"S": "H \"quoted\" é\n"}, "n": {"N": "-1.5e3"},
        "b": {"B": "AAEC/w=="}, "empty": {"B": ""}, "yes": {"BOOL": true}, "nothing": {"NULL": true},
        "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2"]}, "bs": {"BS": ["AQ==", "Ag=="]},
        "list": {"L": [{"S": "x"}, {"M": {"deep": {"L": []}}}]}, "map": {"M": {"k": {"N": "7"}}},
    })
}

async fn answer(State(canned): State<Arc<Canned>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    let seen = Seen {
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    };
    let direct = *canned.direct.lock().expect("no panic");
    let direct = match seen.is_from_sdk() {
        true => Direct::Answered,
        false => direct,
    };
    let target = seen.header("x-amz-target").to_owned();
    canned.seen.lock().expect("no panic").push(seen);
    let body = match &*target {
        "DynamoDB_20120810.GetItem" => json!({
            "Item": item(), "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 0.5},
        }),
        "DynamoDB_20120810.Query" => json!({
            "Items": [item(), item()], "Count": 2, "ScannedCount": 2,
            "LastEvaluatedKey": {"pk": {"S": "W#0x1"}, "sk": {"S": "C"}},
            "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 3.5},
        }),
        other => panic!("{other}"),
    };
    match direct {
        Direct::Answered => axum::Json(body).into_response(),
        Direct::Refused(status) => {
            let kind = "com.amazonaws.dynamodb.v20120810#ThrottlingException";
            (status, axum::Json(json!({"__type": kind}))).into_response()
        }
        Direct::Unreadable => "{\"Item\": {\"a\": {\"X\": 1}}}".into_response(),
        Direct::Hung => {
            canned.hung.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }
}

async fn table() -> (DynamoDb, Arc<Canned>) {
    let canned = Arc::new(Canned {
        seen: Mutex::default(),
        direct: Mutex::new(Direct::Answered),
        hung: AtomicU64::new(0),
    });
    let router = Router::new().fallback(answer).with_state(canned.clone());
    let url = proxy::start(router).await;
    let mut config = Config::from_lookup(&|_| None).expect("the defaults");
    config.dynamodb_endpoint = Some(url);
    config.dynamodb_timeout = Duration::from_millis(1500);
    let table = DynamoDb::connect(&config, Arc::new(SystemClock));
    (table, canned)
}

fn key() -> Key {
    Key {
        partition: "W#0x1".to_owned(),
        sort: "H \"quoted\"".to_owned(),
    }
}

fn whole() -> QueryCall {
    QueryCall {
        partition: "W#0x1".to_owned(),
        range: None,
        consistent: false,
        start: None,
    }
}

async fn get(table: &DynamoDb) -> (Attributes, f64) {
    let read = table.get(key(), true).await.expect("an answer");
    (read.value.expect("an item"), read.units)
}

#[tokio::test]
async fn items_are_read_as_the_sdk_reads_them() {
    let (table, canned) = table().await;
    let (direct, direct_units) = get(&table).await;
    *canned.direct.lock().expect("no panic") = Direct::Unreadable;
    let (by_sdk, units) = get(&table).await;
    *canned.direct.lock().expect("no panic") = Direct::Answered;
    assert_eq!((&direct, direct_units), (&by_sdk, units));
    assert_eq!(direct.len(), item().as_object().unwrap().len());

    let range = Some(("A".to_owned(), "B".to_owned()));
    for call in [
        whole(),
        QueryCall {
            range,
            consistent: true,
            ..whole()
        },
    ] {
        let page = table.query(call.clone()).await.expect("an answer");
        assert_eq!(page.units.to_bits(), 3.5_f64.to_bits());
        assert_eq!(page.value.items, [by_sdk.clone(), by_sdk.clone()]);
        let start = page.value.next;
        assert_eq!(start.as_ref().unwrap().len(), 2);
        // A later page is left to the SDK.
        table
            .query(QueryCall { start, ..call })
            .await
            .expect("an answer");
    }
    let seen = canned.seen.lock().expect("no panic").clone();
    let from_sdk: Vec<bool> = seen.iter().map(Seen::is_from_sdk).collect();
    assert_eq!(from_sdk, [false, false, true, false, true, false, true]);
    // Both ask for the same.
    let json = |at: usize| -> serde_json::Value { serde_json::from_str(&seen[at].body).unwrap() };
    assert_eq!(json(0), json(2));
    for (direct, later) in [(3, 4), (5, 6)] {
        let mut later = json(later);
        later
            .as_object_mut()
            .unwrap()
            .remove("ExclusiveStartKey")
            .unwrap();
        assert_eq!(json(direct), later);
    }
}

#[tokio::test]
async fn what_fails_directly_is_read_through_the_sdk() {
    let (table, canned) = table().await;
    let (by_sdk, _) = get(&table).await;
    for fault in [
        Direct::Refused(StatusCode::BAD_REQUEST),
        Direct::Refused(StatusCode::INTERNAL_SERVER_ERROR),
        Direct::Unreadable,
        Direct::Hung,
    ] {
        canned.seen.lock().expect("no panic").clear();
        *canned.direct.lock().expect("no panic") = fault;
        let (read, _) = get(&table).await;
        assert_eq!(read, by_sdk, "{fault:?}");
        let seen = canned.seen.lock().expect("no panic");
        let from_sdk: Vec<bool> = seen.iter().map(Seen::is_from_sdk).collect();
        assert_eq!(from_sdk, [false, true], "{fault:?}");
    }
    assert_eq!(canned.hung.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn direct_reads_are_signed_for_what_arrives() {
    let (table, canned) = table().await;
    get(&table).await;
    table.query(whole()).await.expect("an answer");
    let seen = canned.seen.lock().expect("no panic").clone();
    for request in &seen {
        assert!(!request.is_from_sdk());
        let header = request.header("authorization");
        let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
        let fields = fields.split(", ").map(|it| it.split_once('=').unwrap());
        let fields: BTreeMap<&str, &str> = fields.collect();
        let (id, scope) = fields["Credential"].split_once('/').unwrap();
        assert_eq!(id, "local");
        let signed: Vec<&str> = fields["SignedHeaders"].split(';').collect();
        for needed in ["content-type", "host", "x-amz-date", "x-amz-target"] {
            assert!(signed.contains(&needed), "{needed} is not signed");
        }
        assert_eq!(
            fields["Signature"],
            signature(request, scope, fields["SignedHeaders"])
        );
    }
}

/// The signature that AWS works out for a request, by its documentation of version 4.
fn signature(request: &Seen, scope: &str, signed_headers: &str) -> String {
    let headers = signed_headers.split(';');
    let headers = headers.map(|name| format!("{name}:{}\n", request.header(name).trim()));
    let headers: String = headers.collect();
    let payload = hex(&Sha256::digest(&request.body));
    let canonical = format!("POST\n/\n\n{headers}\n{signed_headers}\n{payload}");
    let date = request.header("x-amz-date");
    let hash = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let mut key = b"AWS4local".to_vec();
    for part in scope.split('/').chain([&*text]) {
        key = hmac(&key, part.as_bytes());
    }
    hex(&key)
}

/// HMAC-SHA-256 with a key of at most 64 bytes (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
