//! A DynamoDB whose eventually consistent reads answer from a replica that
//! lags behind.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use portfolio::{cache::DynamoDb, clock::SystemClock, config::Config};
use portfolio_local::dynamodb;
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::proxy::{self, Call};

/// How long the other writes of the same moment have to arrive before the
/// replica falls behind.
const SETTLE: Duration = Duration::from_millis(200);

/// A proxy in front of the table. While it is frozen, reads without
/// `ConsistentRead` are answered from a copy of the table as it was then;
/// writes and consistent reads go to the table itself.
#[derive(Clone)]
pub struct LaggingTable {
    /// Where it is.
    pub url: Url,
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    behind: Url,
    client: Client,
    state: Mutex<Lag>,
}

#[derive(Default)]
struct Lag {
    /// Where the copy is, while there is one.
    replica: Option<Url>,
    /// The copy is made before the first write of an item whose sort key
    /// starts like this.
    before: Option<&'static str>,
}

impl LaggingTable {
    /// Starts a proxy in front of the table of `config`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn proxying(config: &Config) -> Self {
        let behind = config.dynamodb_endpoint.clone();
        let shared = Arc::new(Shared {
            config: config.clone(),
            behind: behind.expect("an embedded table"),
            client: proxy::client(),
            state: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Self {
            url: proxy::start(router).await,
            shared,
        }
    }

    /// Makes the replica stay where the table is now.
    pub async fn freeze(&self) {
        self.shared.freeze().await;
    }

    /// Freezes right before the first write of an item whose sort key starts
    /// with `prefix`; what is written at the same time is on the replica.
    pub fn freeze_before(&self, prefix: &'static str) {
        self.shared.lag(|lag| lag.before = Some(prefix));
    }

    /// Lets the replica catch up.
    pub fn thaw(&self) {
        self.shared.lag(|lag| *lag = Lag::default());
    }

    /// Tells whether the replica lags.
    pub fn is_frozen(&self) -> bool {
        self.shared.lag(|lag| lag.replica.is_some())
    }
}

impl Shared {
    fn lag<T>(&self, change: impl FnOnce(&mut Lag) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Copies the table into one of its own.
    async fn freeze(&self) {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any_port).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        dynamodb::serve(listener).expect("a replica");
        let url: Url = format!("http://{address}").parse().expect("a URL");
        let connect = |endpoint: &Url| {
            let mut config = self.config.clone();
            config.dynamodb_endpoint = Some(endpoint.clone());
            DynamoDb::connect(&config, Arc::new(SystemClock))
        };
        let (from, to) = (connect(&self.behind), connect(&url));
        dynamodb::create_table(&to).await.expect("a table");
        let mut start = None;
        loop {
            let scan = from.client().scan().table_name(from.name());
            let scan = scan.consistent_read(true).set_exclusive_start_key(start);
            let page = scan.send().await.expect("a scan");
            for item in page.items.unwrap_or_default() {
                // The asset registry never changes: it need not be copied.
                if item
                    .get("pk")
                    .and_then(|key| key.as_s().ok())
                    .is_some_and(|key| key == "A")
                {
                    continue;
                }
                let put = to.client().put_item().table_name(to.name());
                put.set_item(Some(item)).send().await.expect("a copy");
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        self.lag(|lag| {
            lag.replica = Some(url);
            lag.before = None;
        });
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let call = Call::read(request).await;
    let awaited = shared.lag(|lag| lag.before);
    if awaited.is_some_and(|prefix| writes(&call, prefix)) {
        tokio::time::sleep(SETTLE).await;
        // Several writes may have waited for this.
        if shared.lag(|lag| lag.before.take()).is_some() {
            shared.freeze().await;
        }
    }
    let replica = shared.lag(|lag| lag.replica.clone());
    let lagging = replica.filter(|_| may_lag(&call));
    let url = lagging.as_ref().unwrap_or(&shared.behind);
    call.forward(&shared.client, url).await
}

/// Whether a request writes an item whose sort key starts with `prefix`.
fn writes(call: &Call, prefix: &str) -> bool {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let starts = |key: &Value| {
        key["sk"]["S"]
            .as_str()
            .is_some_and(|it| it.starts_with(prefix))
    };
    match call.operation.as_str() {
        "PutItem" => starts(&body["Item"]),
        "UpdateItem" => starts(&body["Key"]),
        "BatchWriteItem" | "TransactWriteItems" => any(&body, &starts),
        _ => false,
    }
}

/// Whether any object inside has a key that `starts`.
fn any(value: &Value, starts: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(fields) => starts(value) || fields.values().any(|it| any(it, starts)),
        Value::Array(items) => items.iter().any(|it| any(it, starts)),
        _ => false,
    }
}

/// Whether a request is a read that DynamoDB may answer from a replica that
/// lags. The asset registry is left out: it is not on the copy.
fn may_lag(call: &Call) -> bool {
    if !matches!(
        call.operation.as_str(),
        "Query" | "GetItem" | "BatchGetItem"
    ) {
        return false;
    }
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let consistent = |read: &Value| read["ConsistentRead"] == true;
    let consistent = match body["RequestItems"].as_object() {
        Some(tables) => tables.values().all(consistent),
        None => consistent(&body),
    };
    let registry = body["ExpressionAttributeValues"].as_object();
    let registry = registry.is_some_and(|values| values.values().any(|it| it["S"] == "A"));
    !consistent && !registry
}
