//! The `status` object that comes with every answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::fakes::clock;

/// Whether `error_code` is a number, or a text as on the newer endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCodes {
    Numbers,
    Texts,
}

impl ErrorCodes {
    fn write(self, code: i64) -> Value {
        match self {
            Self::Numbers => code.into(),
            Self::Texts => code.to_string().into(),
        }
    }
}

/// A request that is not answered.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    code: i64,
    message: String,
}

impl Refusal {
    /// A bad parameter.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: 400,
            message: message.into(),
        }
    }

    /// A bad key.
    pub fn key(code: i64, message: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code,
            message: message.to_owned(),
        }
    }

    /// The refusal as an answer.
    pub fn response(&self, codes: ErrorCodes) -> Response {
        let body = error_body(codes.write(self.code), &self.message);
        (self.status, Json(body)).into_response()
    }
}

/// The body of a refusal.
pub fn error_body(code: Value, message: &str) -> Value {
    json!({
        "status": {
            "timestamp": clock::iso_millis(),
            "error_code": code,
            "error_message": message,
            "elapsed": 0,
            "credit_count": 0,
        },
    })
}

/// The answer to a good request.
pub fn success(data: Value, credits: u64, codes: ErrorCodes) -> Response {
    let mut status = json!({
        "timestamp": clock::iso_millis(),
        "error_code": codes.write(0),
        "error_message": null,
        "elapsed": 11,
        "credit_count": credits,
        "notice": null,
    });
    if codes == ErrorCodes::Texts {
        // The newer endpoints leave the message empty and know no notice.
        status["error_message"] = "".into();
        if let Some(fields) = status.as_object_mut() {
            fields.remove("notice");
        }
    }
    Json(json!({"data": data, "status": status})).into_response()
}
