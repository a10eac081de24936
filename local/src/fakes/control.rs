//! The control of the fakes over HTTP: `/__stats` and `/__faults`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::json;

use super::{Shared, Stats, faults, lock};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/__stats", get(stats).delete(reset_stats))
        .route("/__faults", put(set_faults))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Stats> {
    Json(lock(&shared.stats).clone())
}

async fn reset_stats(State(shared): State<Arc<Shared>>) -> StatusCode {
    *lock(&shared.stats) = Stats::default();
    StatusCode::NO_CONTENT
}

async fn set_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match faults::parse(&body) {
        Ok(changes) => {
            let mut faults = lock(&shared.faults);
            for (upstream, fault) in changes {
                faults.set(upstream, fault);
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => (StatusCode::BAD_REQUEST, Json(json!({"error": problem}))).into_response(),
    }
}
