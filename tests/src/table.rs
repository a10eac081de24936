//! A DynamoDB that fails on demand, in front of the embedded one.

use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::proxy::{self, Call};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// The connection breaks off.
    Broken,
    /// HTTP 500.
    Internal,
    /// The table takes no more requests for now.
    Throttled,
    /// There is no such table.
    Missing,
    /// No answer for this many milliseconds.
    Slow(u64),
    /// `BatchGetItem` leaves all keys unprocessed.
    Unprocessed,
    /// Items of holdings are not taken.
    NoChunks,
}

/// The faulty DynamoDB.
#[derive(Clone)]
pub struct FaultyTable {
    /// Where it is.
    pub url: Url,
    shared: Arc<Shared>,
}

struct Shared {
    behind: Url,
    client: Client,
    /// The fault, and the operations that it is limited to; all if there are none.
    fault: Mutex<Option<(TableFault, Vec<&'static str>)>>,
    /// Only every n-th request gets it.
    every: AtomicU64,
    requests: AtomicU64,
    faulted: AtomicU64,
    operations: Mutex<BTreeSet<String>>,
}

impl FaultyTable {
    /// Starts a proxy in front of the table at `behind`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn proxying(behind: Url) -> Self {
        let shared = Arc::new(Shared {
            behind,
            client: proxy::client(),
            fault: Mutex::default(),
            every: AtomicU64::new(1),
            requests: AtomicU64::default(),
            faulted: AtomicU64::default(),
            operations: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Self {
            url: proxy::start(router).await,
            shared,
        }
    }

    /// Limits the fault to every n-th request from now on.
    pub fn fail_every(&self, every: u64) {
        self.shared.every.store(every.max(1), Ordering::Relaxed);
    }

    /// Returns how many requests there were, and how many of them got a fault.
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.requests), count(&self.shared.faulted))
    }

    /// The operations that were asked for since the last time, such as `Query`.
    pub fn take_operations(&self) -> BTreeSet<String> {
        let operations = &self.shared.operations;
        mem::take(&mut operations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets or clears the fault, of one operation or of all.
    pub fn set(&self, fault: Option<TableFault>, operation: Option<&'static str>) {
        let fault = fault.map(|fault| (fault, operation.into_iter().collect()));
        self.replace(fault);
    }

    /// Sets the fault of these operations alone.
    pub fn set_for(&self, fault: TableFault, operations: &[&'static str]) {
        self.replace(Some((fault, operations.to_vec())));
    }

    fn replace(&self, fault: Option<(TableFault, Vec<&'static str>)>) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let call = Call::read(request).await;
    let operation = call.operation.as_str();
    shared
        .operations
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(operation.to_owned());
    let fault = shared
        .fault
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let fault = fault.filter(|(_, only)| only.is_empty() || only.contains(&operation));
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let due = number.is_multiple_of(shared.every.load(Ordering::Relaxed));
    let fault = fault.filter(|_| due);
    if fault.is_some() {
        shared.faulted.fetch_add(1, Ordering::Relaxed);
    }
    match fault.map(|(fault, _)| fault) {
        None => {}
        Some(TableFault::Slow(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Some(TableFault::Broken) => {
            let broken = std::io::Error::other("broken off");
            let pieces = [Ok(Bytes::from_static(b"{")), Err(broken)];
            return Body::from_stream(futures::stream::iter(pieces)).into_response();
        }
        Some(TableFault::Internal) => {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");
        }
        Some(TableFault::Throttled) => {
            return refusal(StatusCode::BAD_REQUEST, "ThrottlingException");
        }
        Some(TableFault::Missing) => {
            return refusal(StatusCode::BAD_REQUEST, "ResourceNotFoundException");
        }
        Some(TableFault::NoChunks) => {
            let put: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            let sort = put["Item"]["sk"]["S"].as_str().unwrap_or_default();
            if sort.starts_with("D#") {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");
            }
        }
        Some(TableFault::Unprocessed) => {
            let asked: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            if operation == "BatchGetItem" {
                let left = json!({"Responses": {}, "UnprocessedKeys": asked["RequestItems"]});
                return axum::Json(left).into_response();
            }
        }
    }
    call.forward(&shared.client, &shared.behind).await
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let body = json!({"__type": kind, "message": "a fault"});
    (status, axum::Json(body)).into_response()
}
