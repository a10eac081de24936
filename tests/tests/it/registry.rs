//! Filling the asset registry.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::{
    app::App,
    cache::{
        DynamoAssetStore,
        asset_registry::{AssetStore, Assets, RegistryStore},
    },
    domain::{asset_mapping::AssetResolver, price::CmcId, scope::Scope},
    lambda::registry::RegistryFunction,
    telemetry::request_cost::RequestCost,
};
use portfolio_local::fakes::{Coin, Platform};
use portfolio_tests::{TestApp, event, rows};
use serde_json::{Value, json, value::to_raw_value};

const DAY: u64 = 24 * 60 * 60;

fn coin(id: u32, number: u32) -> Coin {
    let mut coin = Coin::new(id, "Made up", "MADE", 1.0);
    coin.platform = Some(Platform {
        id: 1839,
        name: "BNB Smart Chain (BEP20)".to_owned(),
        symbol: "BNB".to_owned(),
        slug: "bnb".to_owned(),
        token_address: rows::contract(number).to_uppercase().replace("0X", "0x"),
    });
    coin
}

#[tokio::test]
async fn runs_are_idempotent_and_report_what_changed() {
    let app = TestApp::new().await;
    let update = App::new(app.config()).registry_update().unwrap();
    let again = update.run().await.unwrap();
    assert_eq!(
        (
            again.changes.added,
            again.changes.changed,
            again.items_written
        ),
        (0, 0, 0)
    );
    assert_eq!(again.changes.unchanged, again.assets);

    app.fakes().set_coin(coin(800_001, 1));
    let added = update.run().await.unwrap();
    assert_eq!(
        (
            added.changes.added,
            added.changes.changed,
            added.items_written
        ),
        (1, 0, 1)
    );

    app.fakes().remove_coin(800_001);
    app.fakes().set_coin(coin(800_002, 1));
    let changed = update.run().await.unwrap();
    assert_eq!(
        (
            changed.changes.added,
            changed.changes.changed,
            changed.items_written
        ),
        (0, 1, 1)
    );

    app.fakes().remove_coin(800_002);
    let removed = update.run().await.unwrap();
    assert_eq!((removed.changes.removed, removed.items_written), (1, 1));
}

#[tokio::test]
async fn an_update_reads_every_page_of_the_map() {
    let app = TestApp::new().await;
    for number in 0..5500 {
        app.fakes().set_coin(coin(700_000 + number, number + 1));
    }
    app.fakes().reset_stats();
    let update = App::new(app.config()).registry_update().unwrap();
    let summary = update.run().await.unwrap();
    assert_eq!(app.stats().coinmarketcap.map_requests, 2);
    assert_eq!(summary.changes.added, 5500);

    let registry = DynamoAssetStore::new(app.table());
    let assets = registry.read(&RequestCost::default()).await.unwrap();
    assert_eq!(assets.len(), summary.assets);
    for number in [1, 2500, 5500] {
        assert_eq!(
            assets.resolve("binance-smart-chain", Some(&rows::contract(number))),
            Some(CmcId(700_000 + number - 1))
        );
    }
}

#[tokio::test]
async fn a_failing_map_changes_nothing() {
    let app = TestApp::new().await;
    let registry = DynamoAssetStore::new(app.table());
    let before = registry.read(&RequestCost::default()).await.unwrap();
    let fault = portfolio_local::fakes::Fault::status(500);
    app.fakes().set_fault(
        portfolio::domain::provider::Provider::CoinMarketCap,
        Some(fault),
    );
    let update = App::new(app.config()).registry_update().unwrap();
    assert_eq!(update.run().await.unwrap_err().code(), "upstream_error");
    assert_eq!(
        registry.read(&RequestCost::default()).await.unwrap(),
        before
    );
}

/// The function, on the app's clock.
fn function(app: &TestApp) -> RegistryFunction {
    let update = App::on_table(app.table(), app.config()).registry_update();
    RegistryFunction::new(update.expect("an update"))
}

/// What the function answers, and how often it read the map.
async fn run(app: &TestApp, event: &Value) -> (Value, u64) {
    let before = app.stats().coinmarketcap.map_requests;
    let event = to_raw_value(event).expect("JSON");
    let done = function(app).handle(&event).await;
    let done = done.map_err(|error| error.error_message).expect("a run");
    let asked = app.stats().coinmarketcap.map_requests - before;
    (serde_json::to_value(done).expect("JSON"), asked)
}

async fn scheduled(app: &TestApp) -> (Value, u64) {
    run(app, &event("registry-schedule")).await
}

async fn stored(app: &TestApp) -> Assets {
    let registry = DynamoAssetStore::new(app.table());
    registry
        .read(&RequestCost::default())
        .await
        .expect("a registry")
}

type Attributes = HashMap<String, AttributeValue>;

/// The registry's items as they are stored.
async fn items(app: &TestApp) -> Vec<Attributes> {
    let table = app.dynamodb();
    let items = table
        .client()
        .query()
        .table_name(table.name())
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S("A".to_owned()))
        .send()
        .await
        .expect("items");
    items.items().to_vec()
}

/// Changes every item of the registry, or removes it.
async fn rewrite(app: &TestApp, change: impl Fn(Attributes) -> Option<Attributes>) {
    let table = app.dynamodb();
    for item in items(app).await {
        let delete = table.client().delete_item().table_name(table.name());
        let keys = ["pk", "sk"].map(|name| (name.to_owned(), item[name].clone()));
        let delete = delete.set_key(Some(HashMap::from(keys)));
        delete.send().await.expect("deleted");
        if let Some(item) = change(item) {
            let put = table.client().put_item().table_name(table.name());
            put.set_item(Some(item)).send().await.expect("written");
        }
    }
}

/// An item as the first format had it: with the cache's version, none of its
/// own, and nothing about completeness.
fn of_the_first_format(mut item: Attributes) -> Option<Attributes> {
    item.remove("rv")?;
    let assets = item.contains_key("b");
    item.insert("v".to_owned(), AttributeValue::N("3".to_owned()));
    assets.then_some(item)
}

#[tokio::test]
async fn a_full_registry_is_kept_for_a_day() {
    let app = TestApp::new().await;
    run(&app, &json!({})).await;
    let size = stored(&app).await.len();
    for _ in 0..3 {
        let (answer, asked) = scheduled(&app).await;
        assert_eq!((&answer["assets"], asked), (&json!(size), 0), "{answer}");
        assert!(answer["completed_at"].is_string(), "{answer}");
        app.advance(DAY / 3 - 10);
    }
    app.advance(60);
    let (answer, asked) = scheduled(&app).await;
    assert_eq!((&answer["unchanged"], asked), (&json!(size), 1), "{answer}");
    // An update that changed nothing is one as well.
    assert_eq!(scheduled(&app).await.1, 0);
}

#[tokio::test]
async fn a_direct_invocation_always_updates() {
    let app = TestApp::new().await;
    for payload in [
        json!({}),
        json!(null),
        json!([1]),
        json!({"action": "update"}),
    ] {
        let (answer, asked) = run(&app, &payload).await;
        assert_eq!(asked, 1, "{payload}");
        assert!(answer["coins"].as_u64() > Some(0), "{answer}");
    }
}

#[tokio::test]
async fn an_empty_registry_is_filled_by_the_next_scheduled_run() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    rewrite(&app, |_| None).await;
    assert!(stored(&app).await.is_empty());
    let (answer, asked) = scheduled(&app).await;
    assert_eq!((&answer["added"], asked), (&json!(before.len()), 1));
    assert_eq!(stored(&app).await, before);
    assert_eq!(scheduled(&app).await.1, 0);

    // Likewise if only the note says that it is full.
    rewrite(&app, |item| (!item.contains_key("b")).then_some(item)).await;
    assert_eq!(items(&app).await.len(), 1);
    assert_eq!(scheduled(&app).await.1, 1);
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn a_registry_of_the_previous_format_resolves_and_is_renewed() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    rewrite(&app, of_the_first_format).await;
    assert_eq!(stored(&app).await, before);
    let usdc = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
    let resolved = stored(&app).await.resolve("ethereum", Some(usdc));
    assert_eq!(resolved, Some(CmcId(3408)));

    let (answer, asked) = scheduled(&app).await;
    assert_eq!((&answer["unchanged"], asked), (&json!(before.len()), 1));
    assert!(answer["items_written"].as_u64() > Some(0), "{answer}");
    let registry = DynamoAssetStore::new(app.table());
    let state = registry
        .state(&RequestCost::default())
        .await
        .expect("a state");
    assert!(state.current);
    assert_eq!(state.completed_at, Some(app.now()));
    assert_eq!(scheduled(&app).await.1, 0);
}

#[tokio::test]
async fn another_cache_version_keeps_the_registry_readable() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    for other in ["2", "4", "200"] {
        rewrite(&app, |mut item| {
            item.insert("v".to_owned(), AttributeValue::N(other.to_owned()));
            Some(item)
        })
        .await;
        assert_eq!(stored(&app).await, before, "{other}");
    }
    // Without a version of its own an item of another time cannot be read.
    rewrite(&app, |mut item| {
        item.remove("rv");
        Some(item)
    })
    .await;
    assert!(stored(&app).await.is_empty());
}

#[tokio::test]
async fn newer_formats_are_not_read_and_are_replaced() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    rewrite(&app, |mut item| {
        item.insert("rv".to_owned(), AttributeValue::N("3".to_owned()));
        Some(item)
    })
    .await;
    assert!(stored(&app).await.is_empty());
    assert_eq!(scheduled(&app).await.1, 1);
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn damaged_items_are_replaced() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    rewrite(&app, |mut item| {
        if item["sk"] == AttributeValue::S("ethereum#000".to_owned()) {
            let bytes = aws_sdk_dynamodb::primitives::Blob::new([1, 2, 3]);
            item.insert("b".to_owned(), AttributeValue::B(bytes));
        }
        Some(item)
    })
    .await;
    let left = stored(&app).await;
    assert!(!left.is_empty() && left.len() < before.len());
    assert_eq!(scheduled(&app).await.1, 1);
    assert_eq!(stored(&app).await, before);
    assert_eq!(scheduled(&app).await.1, 0);
}

#[tokio::test]
async fn an_update_that_fails_leaves_the_registry_due() {
    let app = TestApp::new().await;
    rewrite(&app, |item| item.contains_key("b").then_some(item)).await;
    let fault = portfolio_local::fakes::Fault::status(500);
    let upstream = portfolio::domain::provider::Provider::CoinMarketCap;
    app.fakes().set_fault(upstream, Some(fault));
    let event = to_raw_value(&event("registry-schedule")).expect("JSON");
    let failed = function(&app).handle(&event).await;
    assert_eq!(failed.expect_err("failed").error_type, "upstream_error");
    app.fakes().set_fault(upstream, None);
    assert_eq!(scheduled(&app).await.1, 1);
}

/// A wallet that is fetched while the registry is empty has Zerion's prices,
/// and the registry is looked at again soon.
#[tokio::test]
async fn an_empty_registry_is_read_again_soon() {
    let app = TestApp::new().await;
    rewrite(&app, |_| None).await;
    let process = app.process(Scope::Aggregate);
    app.get_from(&process, portfolio_tests::sample("farmer"))
        .await
        .ok();
    scheduled(&app).await;
    app.advance(301);
    app.get_from(&process, portfolio_tests::sample("farmer"))
        .await
        .ok();
    app.fakes().reset_stats();
    app.advance(61);
    app.get_from(&process, portfolio_tests::sample("farmer"))
        .await
        .ok();
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}
