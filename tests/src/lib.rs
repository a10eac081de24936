//! The application as end-to-end tests run it: the real handlers over an
//! embedded DynamoDB and fakes of the providers, with a clock that tests move.

mod answer;
pub mod lagging;
pub mod proxy;
pub mod queue;
pub mod random;
pub mod rows;
pub mod runtime;
pub mod server;
pub mod table;
pub mod template;
pub mod tls;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lambda_runtime::Diagnostic;
use portfolio::{
    app::App,
    cache::{DynamoDb, DynamoWalletStore, Retention, Table},
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    config::Config,
    domain::scope::Scope,
    lambda::{Invocation, QueryFunction},
};
use portfolio_local::{
    fakes::{FakeProviders, SAMPLES, Stats},
    services::{Ports, Services, start},
};
use serde_json::{Value, json, value::to_raw_value};

pub use answer::{Answer, by_id, max_age, positions, sum, units};

/// How long tests wait for the embedded table, unless they are about that.
const PATIENT: (&str, &str) = ("DYNAMODB_TIMEOUT_MS", "20000");

/// The functions with all that they call.
pub struct TestApp {
    /// What was started.
    pub services: Services,
    /// The functions' clock.
    pub clock: Arc<ManualClock>,
    functions: HashMap<Scope, QueryFunction>,
}

impl TestApp {
    /// Starts an app with the default configuration.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Starts an app with these environment variables.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ports = Ports {
            dynamodb: any_port,
            upstream: any_port,
        };
        let lookup = |name: &str| {
            let given = variables.iter().find(|(known, _)| *known == name);
            // A busy machine is no fault of the table's.
            let (_, value) = given.or((name == PATIENT.0).then_some(&PATIENT))?;
            Some((*value).to_owned())
        };
        let services = start(ports, &lookup).await.expect("services");
        // Starting costs requests of its own (the registry's map).
        services.fakes.reset_stats();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let mut app = Self {
            services,
            clock,
            functions: HashMap::new(),
        };
        app.restart();
        app
    }

    /// Restarts the functions with a clock that is so many seconds behind this
    /// machine's: what they store is old to a process with the right time.
    pub fn with_clock_behind(&mut self, seconds: u64) {
        let then = SystemClock.now().minus(Duration::from_secs(seconds));
        self.clock = Arc::new(ManualClock::at(then));
        self.restart();
    }

    /// Starts an app whose functions reach the table through a `FaultyTable`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn with_faulty_table(variables: &[(&str, &str)]) -> (Self, table::FaultyTable) {
        let mut app = Self::with(variables).await;
        let endpoint = app.services.config.dynamodb_endpoint.clone();
        let faulty = table::FaultyTable::proxying(endpoint.expect("an embedded table")).await;
        app.services.config.dynamodb_endpoint = Some(faulty.url.clone());
        app.restart();
        (app, faulty)
    }

    /// Starts an app whose functions reach the table through a `LaggingTable`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn with_lagging_table(variables: &[(&str, &str)]) -> (Self, lagging::LaggingTable) {
        let mut app = Self::with(variables).await;
        let lagging = lagging::LaggingTable::proxying(&app.services.config).await;
        app.services.config.dynamodb_endpoint = Some(lagging.url.clone());
        app.restart();
        (app, lagging)
    }

    /// Starts an app in which CoinMarketCap and the asset registry list these
    /// made-up tokens ([`rows::listed`]).
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn listing(
        tokens: impl IntoIterator<Item = u32>,
        variables: &[(&str, &str)],
    ) -> Self {
        let app = Self::with(variables).await;
        app.list(tokens).await;
        app
    }

    /// Makes CoinMarketCap list these made-up tokens, and updates the registry.
    ///
    /// # Panics
    /// When the registry cannot be updated.
    pub async fn list(&self, tokens: impl IntoIterator<Item = u32>) {
        for number in tokens {
            self.fakes().set_coin(rows::listed(number));
        }
        let update = App::new(self.config())
            .registry_update()
            .expect("an update");
        update.run().await.expect("a filled registry");
        self.fakes().reset_stats();
    }

    /// Replaces the processes of all functions: nothing in memory survives.
    ///
    /// # Panics
    /// When a function cannot be built.
    pub fn restart(&mut self) {
        for scope in Scope::ALL {
            self.functions.insert(scope, self.process(scope));
        }
    }

    /// Starts another process of a function.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn process(&self, scope: Scope) -> QueryFunction {
        let clock = self.clock.clone();
        let function = App::with_clock(&self.services.config, clock).query_function(scope);
        function.expect("a function")
    }

    /// Starts another process of a function, with this machine's clock.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn real_process(&self, scope: Scope) -> QueryFunction {
        let function = App::new(self.config()).query_function(scope);
        function.expect("a function")
    }

    /// Sends `GET /v1/wallets/{address}/aggregate` to this process.
    ///
    /// # Panics
    /// When it fails.
    pub async fn get_from(&self, process: &QueryFunction, address: &str) -> Answer {
        let path = format!("/v1/wallets/{address}/aggregate");
        let reply = invoke(process, &v2_event("GET", &path, "", &[])).await;
        Answer::from_envelope(reply.expect("an HTTP event is always answered"))
    }

    /// Returns the fakes of the providers.
    pub fn fakes(&self) -> &FakeProviders {
        &self.services.fakes
    }

    /// Counts what the providers were asked since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.fakes().stats()
    }

    /// Returns the configuration of the functions.
    pub fn config(&self) -> &Config {
        &self.services.config
    }

    /// Connects to the table with a client of its own.
    pub fn table(&self) -> Table {
        Table::connect(self.config(), self.clock.clone())
    }

    /// Connects the SDK's client to the table, for what no adapter does.
    pub fn dynamodb(&self) -> DynamoDb {
        DynamoDb::connect(self.config(), self.clock.clone())
    }

    /// Returns the store of wallets, which keeps them as long as the defaults say.
    pub fn wallets(&self) -> DynamoWalletStore {
        let retention = Retention {
            structure: Duration::from_secs(86_700),
            prices: Duration::from_secs(960),
        };
        DynamoWalletStore::new(self.table(), retention)
    }

    /// Moves the functions' clock.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Returns the time on the functions' clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends `GET /v1/wallets/{address}/{rest}`, which is a scope with an optional
    /// query, to the function that serves it.
    pub async fn get(&self, address: &str, rest: &str) -> Answer {
        self.request("GET", &format!("/v1/wallets/{address}/{rest}"), &[])
            .await
    }

    /// Sends any request, as an event of an HTTP API.
    pub async fn request(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let leaf = path.rsplit('/').next().unwrap_or_default();
        let scope = Scope::parse(leaf).unwrap_or(Scope::Aggregate);
        self.invoke(scope, &v2_event(method, path, query, headers))
            .await
    }

    /// Invokes a function with the JSON of an HTTP event.
    ///
    /// # Panics
    /// When the function fails.
    pub async fn invoke(&self, scope: Scope, event: &Value) -> Answer {
        let reply = self.try_invoke(scope, event).await;
        Answer::from_envelope(reply.expect("an HTTP event is always answered"))
    }

    /// Invokes a function with an event that it may refuse.
    ///
    /// # Errors
    /// What the function fails with.
    ///
    /// # Panics
    /// When the answer is no JSON.
    pub async fn try_invoke(&self, scope: Scope, event: &Value) -> Result<Value, Diagnostic> {
        invoke(&self.functions[&scope], event).await
    }
}

/// Sends a request to one process of a function, as an event of an HTTP API.
///
/// # Panics
/// When the function fails.
pub async fn ask(
    process: &QueryFunction,
    method: &str,
    path_and_query: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let reply = invoke(process, &v2_event(method, path, query, headers)).await;
    Answer::from_envelope(reply.expect("an HTTP event is always answered"))
}

/// Sends `GET /v1/wallets/{address}/{rest}` to this process of the function that
/// serves it.
///
/// # Panics
/// When the function fails.
pub async fn get(process: &QueryFunction, address: &str, rest: &str) -> Answer {
    ask(
        process,
        "GET",
        &format!("/v1/wallets/{address}/{rest}"),
        &[],
    )
    .await
}

/// Invokes a process with an event, as Lambda does.
async fn invoke(process: &QueryFunction, event: &Value) -> Result<Value, Diagnostic> {
    let event = to_raw_value(event).expect("JSON");
    let invocation = Invocation {
        id: "invocation-1".to_owned(),
        ..Invocation::default()
    };
    let reply = process.handle(&event, &invocation).await?;
    Ok(serde_json::from_str(reply.get()).expect("JSON"))
}

/// Returns an event of an HTTP API, payload version 2.0.
pub fn v2_event(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> Value {
    let headers: serde_json::Map<String, Value> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "request-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:09:40:46 +0000",
            "timeEpoch": 1_795_254_046_000_u64,
        },
        "isBase64Encoded": false,
    })
}

/// Reads an event of `events/`, by its file's name without the extension.
///
/// # Panics
/// When there is none.
pub fn event(name: &str) -> Value {
    let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

/// Returns the address of a sample wallet.
///
/// # Panics
/// When there is no sample of that name.
pub fn sample(name: &str) -> &'static str {
    let found = SAMPLES.iter().find(|sample| sample.name == name);
    found.expect("a sample").address
}
