//! A queue that takes messages by SQS's protocol and delivers them when their
//! time has come, by the clock of the app.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse};
use portfolio::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::server::serve;

/// A message and when it may be delivered.
type Message = (Timestamp, String);

/// The queue.
#[derive(Clone)]
pub struct FakeQueue {
    /// What REFRESH_QUEUE_URL and AWS_ENDPOINT_URL_SQS must be.
    pub url: String,
    messages: Arc<Mutex<Vec<Message>>>,
    used: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    messages: Arc<Mutex<Vec<Message>>>,
    used: Arc<AtomicBool>,
}

impl FakeQueue {
    /// Starts a queue.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(clock: Arc<dyn Clock>) -> Self {
        let (messages, used) = (Arc::default(), Arc::default());
        let shared = Shared {
            clock,
            messages: Arc::clone(&messages),
            used: Arc::clone(&used),
        };
        let router = Router::new().fallback(send).with_state(shared);
        let address = serve(router).await;
        Self {
            url: format!("http://{address}/123456789012/portfolio-refresh"),
            messages,
            used,
        }
    }

    /// Whether it was sent messages since the last time.
    pub fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Takes at most ten messages whose time has come by `now`, as the event
    /// that Lambda gets.
    pub fn deliver(&self, now: Timestamp) -> Option<Value> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.sort();
        let due = messages
            .iter()
            .take(10)
            .filter(|(at, _)| *at <= now)
            .count();
        let records: Vec<Value> = messages
            .drain(..due)
            .enumerate()
            .map(|(at, (_, body))| {
                json!({"messageId": format!("m{at}"), "body": body, "eventSource": "aws:sqs"})
            })
            .collect();
        (!records.is_empty()).then(|| json!({"Records": records}))
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `SendMessageBatch` as SQS documents it.
async fn send(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    // Its content type is one of AWS's own.
    let request: Value = serde_json::from_slice(&body).expect("JSON");
    let target = headers.get("x-amz-target").map(|value| value.as_bytes());
    assert_eq!(target, Some(&b"AmazonSQS.SendMessageBatch"[..]));
    shared.used.store(true, Ordering::Relaxed);
    let entries = request["Entries"].as_array().cloned().unwrap_or_default();
    assert!((1..=10).contains(&entries.len()));
    let mut messages = shared
        .messages
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut successful = Vec::new();
    for entry in entries {
        let delay = entry["DelaySeconds"].as_u64().unwrap_or(0);
        assert!(delay <= 900);
        let at = shared
            .clock
            .now()
            .plus(std::time::Duration::from_secs(delay));
        let body = entry["MessageBody"].as_str().unwrap_or_default().to_owned();
        messages.push((at, body));
        successful.push(json!({
            "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e",
        }));
    }
    Json(json!({"Successful": successful, "Failed": []}))
}
