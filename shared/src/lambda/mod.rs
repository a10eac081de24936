//! The functions' outside: events in, answers out.

mod caching;
mod encoding;
pub mod event;
pub mod http;
pub(crate) mod page;
pub mod problem;
mod record;
pub mod refresh;
pub mod registry;
pub mod warm;

use std::{sync::Arc, time::Duration};

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use self::{
    event::Event,
    http::HttpHandler,
    problem::{Code, Problem},
    registry::RegistryFunction,
    warm::Warmer,
};
use crate::{
    app,
    cache::Table,
    clock::{SystemClock, Timestamp},
    config::Config,
    domain::scope::Scope,
    metrics, secrets, telemetry,
    upstream::Failure,
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
    /// When the event is of no known shape, or nobody can be answered but by a
    /// failed invocation: the error's type is then a problem's code. HTTP
    /// requests are always answered.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<Box<RawValue>, Diagnostic> {
        let decoded = event::decode(event).map_err(|error| unknown(&error, invocation))?;
        let answer = match decoded {
            Event::Http(request, origin) => {
                let reply = self.0.handle(&request, origin, invocation).await;
                reply.into_envelope(origin)
            }
            Event::Direct(payload) => {
                let body = self.0.direct(payload, invocation).await.map_err(failed)?;
                RawValue::from_string(body)
            }
            Event::Queue(messages) => {
                to_raw_value(&self.warmer().batch(&messages, invocation).await)
            }
            Event::Notices(payloads) => {
                let warmed = self.warmer().notices(&payloads, invocation).await;
                to_raw_value(&warmed.map_err(|problem| told_and_failed(problem, invocation))?)
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
fn failed(problem: Problem) -> Diagnostic {
    Diagnostic {
        error_type: problem.code.as_str().to_owned(),
        error_message: problem.detail,
    }
}

/// A problem as a failed invocation that nothing else tells of.
fn told_and_failed(problem: Problem, invocation: &Invocation) -> Diagnostic {
    let (code, detail) = (problem.code.as_str(), &problem.detail);
    tracing::error!(
        request_id = invocation.id,
        code,
        detail,
        "the invocation failed"
    );
    failed(problem)
}

/// An event of no known shape as a failed invocation. What it holds is not
/// repeated in the log.
fn unknown(error: &dyn std::fmt::Display, invocation: &Invocation) -> Diagnostic {
    let code = "unknown_event";
    tracing::error!(request_id = invocation.id, code, "the invocation failed");
    Diagnostic {
        error_type: code.to_owned(),
        error_message: error.to_string(),
    }
}

/// What an invocation gives besides the event.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Lambda's id of it.
    pub id: String,
    /// When Lambda ends it.
    pub deadline: Option<Timestamp>,
    /// The trace that it belongs to, as X-Ray writes it.
    pub trace: Option<String>,
}

impl Invocation {
    /// When something must be done that may take `own`: never past Lambda's
    /// deadline.
    pub(crate) fn deadline_of(&self, now: Timestamp, own: Duration) -> Timestamp {
        const MARGIN: Duration = Duration::from_millis(500);
        let own = now.plus(own);
        match self.deadline {
            Some(lambda) => own.min(lambda.minus(MARGIN)),
            None => own,
        }
    }
}

/// Runs a query function until Lambda ends the process.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_query(scope: Scope) -> Result<(), Error> {
    let build = |config: &_, table: &_| app::query_function_on(table, config, scope);
    let function = Arc::new(start(scope.as_str(), build).await?);
    serve(move |event, invocation| {
        let function = function.clone();
        async move { function.handle(&event, &invocation).await }
    })
    .await
}

/// Runs the registry function until Lambda ends the process.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_registry() -> Result<(), Error> {
    let build = |config: &_, table: &_| app::registry_update_on(table, config);
    let update = start("registry", build).await?;
    let function = Arc::new(RegistryFunction::new(update));
    serve(move |event, _| {
        let function = function.clone();
        async move { function.handle(&event).await }
    })
    .await
}

/// Runs the function that keeps watched wallets fresh until Lambda ends the
/// process.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_refresh() -> Result<(), Error> {
    let build = |config: &_, table: &_| app::refresh_function_on(table, config);
    let function = Arc::new(start("refresh", build).await?);
    serve(move |event, invocation| {
        let function = function.clone();
        async move { function.handle(&event, &invocation).await }
    })
    .await
}

/// Hands every event to `handle`, and writes what was measured before the
/// answer goes out: afterwards the sandbox may freeze.
async fn serve<T, F>(handle: impl Fn(Box<RawValue>, Invocation) -> F) -> Result<(), Error>
where
    T: Serialize,
    F: Future<Output = Result<T, Diagnostic>>,
{
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let invocation = invocation(&event);
        let id = invocation.id.clone();
        let answer = handle(event.payload, invocation);
        async move {
            let answer = answer.await;
            telemetry::write_metrics(Some(&id));
            answer
        }
    }))
    .await
}

/// What comes before the first event: logs, configuration, keys and the parts
/// of the function, and while these are put together the connection to the
/// table.
async fn start<F>(
    function: &'static str,
    build: impl FnOnce(&Config, &Table) -> Result<F, Failure>,
) -> Result<F, Error> {
    metrics::set_function(function);
    telemetry::init(telemetry::Output::Lambda).map_err(told)?;
    let mut config = Config::from_env().map_err(told)?;
    let table = Table::connect(&config, Arc::new(SystemClock));
    let built = async {
        secrets::resolve(&mut config).await.map_err(told)?;
        build(&config, &table).map_err(told)
    };
    let ((), built) = futures::join!(table.open(), built);
    built
}

/// Why the function cannot start, in the log and as the reason that Lambda
/// prints.
fn told(error: impl std::fmt::Display) -> Error {
    tracing::error!(%error, "the function cannot start");
    error.to_string().into()
}

fn invocation(event: &LambdaEvent<Box<RawValue>>) -> Invocation {
    // Emulators send placeholders, such as ten minutes after the epoch.
    const PLAUSIBLE: Timestamp = Timestamp::from_millis(1_600_000_000_000);
    let deadline = i64::try_from(event.context.deadline).ok();
    Invocation {
        id: event.context.request_id.clone(),
        deadline: deadline
            .map(Timestamp::from_millis)
            .filter(|deadline| *deadline > PLAUSIBLE),
        trace: event.context.xray_trace_id.clone(),
    }
}
