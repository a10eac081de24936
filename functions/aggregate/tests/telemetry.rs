//! What the function's own process writes: a line per request, documents of
//! metrics, and no key or wallet.

use std::collections::BTreeMap;

use portfolio::domain::provider::Provider;
use portfolio_local::fakes::{Fault, SAMPLES};
use portfolio_tests::{
    TestApp,
    runtime::{Runtime, TRACE},
    v2_event,
};
use serde_json::{Value, json};

/// Everything that one process wrote, by the invocation that it is about.
struct Written {
    text: String,
    lines: Vec<Value>,
}

impl Written {
    async fn by(runtime: Runtime) -> Self {
        let (output, errors) = runtime.end().await;
        let lines = output.lines();
        let lines = lines.map(|line| serde_json::from_str(line).expect("a line of JSON"));
        Self {
            lines: lines.collect(),
            text: output + &errors,
        }
    }

    /// The one line of a request.
    fn line(&self, id: &str) -> &Value {
        let is_it =
            |line: &&Value| line["message"] == "request completed" && line["invocation"] == id;
        let found: Vec<_> = self.lines.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{id}");
        found[0]
    }

    /// What a request's lines say went wrong.
    fn failures(&self, id: &str) -> Vec<&Value> {
        let is_it = |line: &&Value| {
            line["span"]["request_id"] == id
                && matches!(line["level"].as_str(), Some("WARN" | "ERROR"))
        };
        self.lines.iter().filter(is_it).collect()
    }

    /// The values of a request's metrics by what they are about and by name,
    /// from documents in CloudWatch's embedded format.
    fn metrics(&self, id: &str) -> BTreeMap<(String, String), Value> {
        let mut metrics = BTreeMap::new();
        for line in &self.lines {
            if line["request_id"] != id || line["_aws"].is_null() {
                continue;
            }
            assert!(line["_aws"]["Timestamp"].as_u64().expect("a time") > 1_700_000_000_000);
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("some");
            for directive in directives {
                assert_eq!(directive["Namespace"], "Portfolio/test");
            }
            let dimension = directives[0]["Dimensions"][0][0].as_str();
            let dimension = dimension.expect("one dimension");
            assert_eq!(directives[0]["Dimensions"], json!([[dimension]]));
            let about = line[dimension].as_str().expect("its value");
            let mut totals = Vec::new();
            for metric in directives[0]["Metrics"].as_array().expect("some") {
                let name = metric["Name"].as_str().expect("a name");
                let known = portfolio::telemetry::metrics::ALL
                    .iter()
                    .find(|it| it.name == name);
                let known = known.unwrap_or_else(|| panic!("{name} is not declared"));
                assert_eq!(known.dimension.name(), dimension, "{name}");
                assert!(metric["Unit"].is_string(), "{name} has no unit");
                metrics.insert((about.to_owned(), name.to_owned()), line[name].clone());
                totals.extend(known.total.then(|| metric.clone()));
            }
            // The same numbers once more, without a dimension, where an alarm
            // watches their total.
            if totals.is_empty() {
                assert_eq!(directives.len(), 1);
            } else {
                assert_eq!(directives.len(), 2);
                assert_eq!(directives[1]["Dimensions"], json!([[]]));
                assert_eq!(directives[1]["Metrics"], json!(totals));
            }
        }
        metrics
    }
}

/// A wallet per outcome.
fn wallet(at: usize) -> &'static str {
    SAMPLES[at].address
}

/// Asks for a wallet; the gateway's id and Lambda's are the same. Gives the
/// status.
async fn ask(runtime: &mut Runtime, id: &str, address: &str, query: &str) -> u64 {
    let path = format!("/v1/wallets/{address}/aggregate");
    let mut event = v2_event("GET", &path, query, &[]);
    event["requestContext"]["requestId"] = id.into();
    let answer = runtime.invoke(id, event).await.expect("an answer");
    answer["statusCode"].as_u64().expect("a status")
}

async fn start(world: &TestApp, more: &[(&'static str, &str)]) -> Runtime {
    let mut variables = world.services.environment.clone();
    variables.push(("METRICS_NAMESPACE", "Portfolio/test".to_owned()));
    variables.extend(
        more.iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    Runtime::start(env!("CARGO_BIN_EXE_aggregate"), variables).await
}

#[tokio::test]
async fn every_outcome_is_told_once() {
    let mut world = TestApp::new().await;
    // Holdings that have expired, and prices that have.
    world.with_clock_behind(600);
    world.get(wallet(0), "aggregate").await.ok();
    world.with_clock_behind(120);
    world.get(wallet(1), "aggregate").await.ok();
    let mut runtime = start(&world, &[]).await;

    let aged = wallet(1);
    assert_eq!(ask(&mut runtime, "price-miss", aged, "").await, 200);
    assert_eq!(ask(&mut runtime, "hit", aged, "").await, 200);
    assert_eq!(
        ask(&mut runtime, "structure-miss", wallet(2), "").await,
        200
    );
    assert_eq!(ask(&mut runtime, "bad", wallet(2), "limit=0").await, 400);
    let broken = Fault {
        status: Some(500),
        ..Fault::default()
    };
    world.fakes().set_fault(Provider::Zerion, Some(broken));
    assert_eq!(ask(&mut runtime, "stale", wallet(0), "").await, 200);
    assert_eq!(ask(&mut runtime, "failed", wallet(3), "").await, 503);
    let direct = json!({"address": wallet(3)});
    let error = runtime
        .invoke("direct", direct)
        .await
        .expect_err("a failure");
    assert_eq!(error["errorType"], "upstream_unavailable");
    let unknown = runtime.invoke("unknown", json!({"x": 1})).await;
    assert_eq!(
        unknown.expect_err("a failure")["errorType"],
        "unknown_event"
    );
    let written = Written::by(runtime).await;

    for (id, status, structure, prices) in [
        ("price-miss", 200, json!("hit"), json!("expired")),
        ("hit", 200, json!("hit"), json!("hit")),
        ("structure-miss", 200, json!("miss"), json!("miss")),
        ("stale", 200, json!("stale"), json!("expired")),
        ("bad", 400, Value::Null, Value::Null),
        ("failed", 503, Value::Null, Value::Null),
        ("direct", 503, Value::Null, Value::Null),
    ] {
        let line = written.line(id);
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(
            (&line["structure"], &line["prices"]),
            (&structure, &prices),
            "{line}"
        );
        assert_eq!(line["function"], "aggregate");
        assert_eq!(line["trace_id"], TRACE);
        assert!(line["ms"].as_f64().expect("a time") > 0.0);
        let metrics = written.metrics(id);
        let of =
            |about: &str, name: &str| metrics.get(&(about.to_owned(), name.to_owned())).cloned();
        let ours = |name| of("aggregate", name);
        assert_eq!(ours("Requests"), Some(json!(1)), "{id}");
        assert_eq!(
            ours("ClientErrors"),
            (status == 400).then(|| json!(1)),
            "{id}"
        );
        assert_eq!(
            ours("ServerErrors"),
            (status == 503).then(|| json!(1)),
            "{id}"
        );
        assert_eq!(
            ours("StaleAnswers"),
            (id == "stale").then(|| json!(1)),
            "{id}"
        );
        assert_eq!(
            ours("Latency")
                .expect("a time")
                .as_array()
                .expect("values")
                .len(),
            1
        );
        let hit = matches!(id, "price-miss" | "hit" | "stale");
        assert_eq!(ours("StructureHits"), hit.then(|| json!(1)), "{id}");
        assert_eq!(
            ours("StructureMisses"),
            (id == "structure-miss").then(|| json!(1)),
            "{id}"
        );
        let asked = matches!(id, "structure-miss" | "stale" | "failed");
        assert_eq!(of("zerion", "UpstreamRequests").is_some(), asked, "{id}");
        let failed = matches!(id, "stale" | "failed");
        assert_eq!(of("zerion", "UpstreamErrors").is_some(), failed, "{id}");
        // It brought the prices that the wallet of "stale" was known to want.
        let priced = id == "price-miss";
        assert_eq!(
            of("coinmarketcap", "UpstreamRequests"),
            priced.then(|| json!(1)),
            "{id}"
        );
        assert_eq!(of("coinmarketcap", "CreditsUsed").is_some(), priced, "{id}");
        assert_eq!(ours("DynamoDbReadUnits").is_some(), id != "bad", "{id}");
    }
    // What failed is said once, with the request's id.
    for id in ["stale", "failed"] {
        let failures = written.failures(id);
        assert_eq!(failures.len(), 1, "{failures:?}");
    }
    assert_eq!(written.failures("hit").len(), 0);
    let errors = written.lines.iter().filter(|line| line["level"] == "ERROR");
    let errors: Vec<_> = errors.map(|line| &line["request_id"]).collect();
    assert_eq!(errors, ["unknown"]);
}

#[tokio::test]
async fn neither_keys_nor_wallets_are_written() {
    let world = TestApp::new().await;
    let mut runtime = start(&world, &[("LOG_LEVEL", "trace")]).await;
    let refused = Fault {
        status: Some(401),
        ..Fault::default()
    };
    for (at, fault) in [(0, None), (1, Some(refused))] {
        world.fakes().set_fault(Provider::Zerion, fault.clone());
        world.fakes().set_fault(Provider::CoinMarketCap, fault);
        ask(&mut runtime, &format!("http-{at}"), wallet(at), "").await;
        let direct = json!({"address": wallet(at), "currency": "eur"});
        let _ = runtime.invoke(&format!("direct-{at}"), direct).await;
    }
    let written = Written::by(runtime).await;
    let text = written.text.to_lowercase();
    for (name, value) in &world.services.environment {
        if name.ends_with("_KEY") {
            assert!(
                !text.contains(&value.to_lowercase()),
                "{name} is in the log"
            );
        }
    }
    for at in 0..2 {
        assert!(
            !text.contains(&wallet(at).to_lowercase()[2..]),
            "a wallet is in the log"
        );
    }
    let name = &written.line("http-1")["wallet"];
    assert_eq!(name.as_str().map(str::len), Some(16), "{name}");
}

#[tokio::test]
async fn wallets_are_named_where_that_is_wanted() {
    let world = TestApp::new().await;
    let mut runtime = start(&world, &[("LOG_ADDRESSES", "true")]).await;
    ask(&mut runtime, "one", wallet(0), "").await;
    let written = Written::by(runtime).await;
    assert_eq!(written.line("one")["wallet"], wallet(0).to_lowercase());
}

#[tokio::test]
async fn metrics_pass_whatever_lambda_drops() {
    let world = TestApp::new().await;
    let quiet = [("AWS_LAMBDA_LOG_LEVEL", "WARN")];
    let mut runtime = start(&world, &quiet).await;
    ask(&mut runtime, "one", wallet(0), "").await;
    let written = Written::by(runtime).await;
    assert!(!written.lines.is_empty());
    for line in &written.lines {
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
    }
    assert!(!written.metrics("one").is_empty());
}
