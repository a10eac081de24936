//! The functions' outside: events in, answers out.

mod access_log;
mod body_cache;
mod cache_headers;
mod content_encoding;
pub mod event;
pub mod http;
mod invocation;
pub(crate) mod page;
pub mod problem;
pub mod refresh;
pub mod registry;
mod scratch;
pub mod warm;

use lambda_runtime::Diagnostic;
use serde_json::value::{RawValue, to_raw_value};

pub use self::invocation::Invocation;
use self::{
    event::Event,
    http::HttpHandler,
    problem::{Code, Problem},
    warm::Warmer,
};
/// A query function: decodes an event by its shape and answers in kind.
pub struct QueryFunction(HttpHandler);

impl QueryFunction {
    /// The function of `scope`.
    pub fn new(http: HttpHandler) -> Self {
        Self(http)
    }

    /// Answers one event.
    ///
    /// # Errors
    /// When the event is of no known shape, or there is no client to answer but by a
    /// failed invocation: the error's type is then a problem's code. HTTP
    /// requests are always answered.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<Box<RawValue>, Diagnostic> {
        let decoded = event::decode(event).map_err(|error| unknown_event(&error, invocation))?;
        let answer = match decoded {
            Event::Http(request, origin) => {
                let reply = self.0.handle(&request, origin, invocation).await;
                reply.into_envelope(origin)
            }
            Event::Direct(payload) => {
                let body = self
                    .0
                    .direct(payload, invocation)
                    .await
                    .map_err(into_diagnostic)?;
                RawValue::from_string(body)
            }
            Event::Queue(messages) => {
                to_raw_value(&self.warmer().batch(&messages, invocation).await)
            }
            Event::Notifications(payloads) => {
                let warmed = self.warmer().notifications(&payloads, invocation).await;
                to_raw_value(&warmed.map_err(|problem| log_and_fail(problem, invocation))?)
            }
        };
        answer.map_err(|error| Diagnostic {
            error_type: Code::Internal.as_str().to_owned(),
            error_message: error.to_string(),
        })
    }

    fn warmer(&self) -> Warmer<'_> {
        Warmer {
            service: &self.0.service,
            scope: self.0.scope,
            deadline: self.0.deadline,
            concurrency: self.0.concurrency,
            max_age: None,
            log_addresses: self.0.log_addresses,
        }
    }
}

/// A problem as a failed invocation.
fn into_diagnostic(problem: Problem) -> Diagnostic {
    Diagnostic {
        error_type: problem.code.as_str().to_owned(),
        error_message: problem.detail,
    }
}

/// A problem as a failed invocation that nothing else tells of.
fn log_and_fail(problem: Problem, invocation: &Invocation) -> Diagnostic {
    let (code, detail) = (problem.code.as_str(), &problem.detail);
    tracing::error!(
        request_id = invocation.id,
        code,
        detail,
        "the invocation failed"
    );
    into_diagnostic(problem)
}

/// An event of no known shape as a failed invocation. What it holds is not
/// repeated in the log.
fn unknown_event(error: &dyn std::fmt::Display, invocation: &Invocation) -> Diagnostic {
    let code = "unknown_event";
    tracing::error!(request_id = invocation.id, code, "the invocation failed");
    Diagnostic {
        error_type: code.to_owned(),
        error_message: error.to_string(),
    }
}
