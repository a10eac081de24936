//! Runs the functions in Lambda: what each `main.rs` calls.

use std::sync::Arc;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    app::App,
    aws::secrets,
    cache::Table,
    clock::{SystemClock, Timestamp},
    config::Config,
    domain::scope::Scope,
    lambda::{Invocation, registry::RegistryFunction},
    telemetry::{self, metrics},
    upstream::Failure,
};

/// Runs a query function until Lambda ends the process.
///
/// # Errors
/// When the configuration is bad, the keys cannot be read, or Lambda's runtime
/// API fails.
pub async fn run_query(scope: Scope) -> Result<(), Error> {
    let function = Arc::new(start(scope.as_str(), |app| app.query_function(scope)).await?);
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
    let update = start("registry", |app| app.registry_update()).await?;
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
    let function = Arc::new(start("refresh", |app| app.refresh_function()).await?);
    serve(move |event, invocation| {
        let function = function.clone();
        async move { function.handle(&event, &invocation).await }
    })
    .await
}

/// Passes every event to `handle`, and writes what was measured before the
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
    build: impl FnOnce(App<'_>) -> Result<F, Failure>,
) -> Result<F, Error> {
    metrics::set_function(function);
    telemetry::init(telemetry::Output::Lambda).map_err(log_startup_error)?;
    let mut config = Config::from_env().map_err(log_startup_error)?;
    let table = Table::connect(&config, Arc::new(SystemClock));
    let built = async {
        secrets::resolve(&mut config)
            .await
            .map_err(log_startup_error)?;
        build(App::on_table(table.clone(), &config)).map_err(log_startup_error)
    };
    let ((), built) = futures::join!(table.open(), built);
    built
}

/// Logs why the function cannot start, and returns it as the reason that Lambda
/// prints.
fn log_startup_error(error: impl std::fmt::Display) -> Error {
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
