//! The functions' outside: events in, answers out.

mod caching;
mod encoding;
pub mod event;
pub mod http;
pub mod problem;

use std::sync::Arc;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use self::{
    event::decode_http,
    http::{HttpHandler, Invocation},
    problem::Code,
};
use crate::{
    app, clock::Timestamp, config::Config, domain::scope::Scope, registry::RegistryUpdate, secrets,
    telemetry,
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
    /// When the event is of no known shape. HTTP requests are always answered.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<Box<RawValue>, Diagnostic> {
        let (request, origin) = decode_http(event).map_err(|error| Diagnostic {
            error_type: "unknown_event".to_owned(),
            error_message: error.to_string(),
        })?;
        let reply = self.0.handle(&request, invocation).await;
        reply.into_envelope(origin).map_err(|error| Diagnostic {
            error_type: Code::Internal.as_str().to_owned(),
            error_message: error.to_string(),
        })
    }
}

/// Runs a query function until Lambda ends the process.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_query(scope: Scope) -> Result<(), Error> {
    telemetry::init(telemetry::Output::Lambda)?;
    let mut config = Config::from_env()?;
    secrets::resolve(&mut config).await?;
    let function = Arc::new(app::query_function(&config, scope)?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = function.clone();
        async move {
            let invocation = invocation(&event);
            function.handle(&event.payload, &invocation).await
        }
    }))
    .await
}

/// Runs the registry function until Lambda ends the process. Any event starts
/// an update.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_registry() -> Result<(), Error> {
    telemetry::init(telemetry::Output::Lambda)?;
    let mut config = Config::from_env()?;
    secrets::resolve(&mut config).await?;
    let update: Arc<RegistryUpdate> = Arc::new(app::registry_update(&config)?);
    lambda_runtime::run(service_fn(move |_: LambdaEvent<Box<RawValue>>| {
        let update = update.clone();
        async move {
            update.run().await.map_err(|error| Diagnostic {
                error_type: error.code().to_owned(),
                error_message: error.to_string(),
            })
        }
    }))
    .await
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
    }
}
