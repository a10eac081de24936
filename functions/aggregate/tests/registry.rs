//! What a query function's process writes of an empty asset registry.

use portfolio::{
    cache::{
        DynamoAssetStore,
        asset_registry::{AssetStore, Assets},
    },
    telemetry::request_cost::RequestCost,
};
use portfolio_tests::{TestApp, runtime::Runtime, sample, v2_event};
use serde_json::Value;

/// What `aggregate` writes while it fetches a wallet that is not cached:
/// how many lines say that the registry is empty, and the metric.
async fn told(app: &TestApp, wallet: &str) -> (usize, Option<u64>) {
    let variables = app.services.environment.clone();
    let mut runtime = Runtime::start(env!("CARGO_BIN_EXE_aggregate"), variables).await;
    let event = v2_event("GET", &format!("/v1/wallets/{wallet}/aggregate"), "", &[]);
    let answer = runtime.invoke("one", event).await.expect("an answer");
    assert_eq!(answer["statusCode"], 200);
    let (output, _) = runtime.end().await;
    let lines: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let warned =
        |line: &&Value| line["level"] == "WARN" && line["message"] == "the asset registry is empty";
    let metric = lines.iter().find_map(|line| line["RegistryEmpty"].as_u64());
    (lines.iter().filter(warned).count(), metric)
}

#[tokio::test]
async fn an_empty_registry_is_logged_once_per_read() {
    let app = TestApp::new().await;
    assert_eq!(told(&app, sample("farmer")).await, (0, None));
    let registry = DynamoAssetStore::new(app.table());
    let (nothing, cost) = (Assets::default(), RequestCost::default());
    let removed = registry.write(&nothing, app.now(), &cost).await;
    assert!(removed.expect("an empty registry") > 0);
    assert_eq!(told(&app, sample("small")).await, (1, Some(1)));
}
