//! Items that are damaged, of another format, or from a clock that is wrong.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use portfolio::{
    cache::{CachedWallet, DynamoWalletStore, WalletStore},
    domain::{address::Address, currency::Currency, scope::Part},
    telemetry::request_cost::RequestCost,
};
use portfolio_tests::{TestApp, sample};

struct Bench {
    app: TestApp,
    wallets: DynamoWalletStore,
    address: Address,
}

impl Bench {
    async fn new() -> Self {
        let app = TestApp::new().await;
        Self {
            wallets: app.wallets(),
            address: Address::parse(sample("small")).expect("an address"),
            app,
        }
    }

    async fn load(&self) -> CachedWallet {
        self.wallets
            .load(&self.address, Currency::USD, true, &RequestCost::default())
            .await
            .expect("DynamoDB")
    }

    /// The sort key of the wallet's first item whose sort key starts so.
    async fn sort(&self, prefix: &str) -> String {
        let table = self.app.dynamodb();
        let found = table
            .client()
            .query()
            .table_name(table.name())
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", AttributeValue::S(format!("W#{}", self.address)))
            .expression_attribute_values(":sk", AttributeValue::S(prefix.to_owned()))
            .send()
            .await
            .expect("DynamoDB");
        let item = found.items().first().expect("an item");
        item["sk"].as_s().expect("a text").clone()
    }

    /// Sets an attribute of the first item whose sort key starts with `prefix`.
    async fn set(&self, prefix: &str, attribute: &str, value: AttributeValue) {
        let sort = &self.sort(prefix).await;
        let table = self.app.dynamodb();
        table
            .client()
            .update_item()
            .table_name(table.name())
            .key("pk", AttributeValue::S(format!("W#{}", self.address)))
            .key("sk", AttributeValue::S(sort.clone()))
            .update_expression("SET #a = :v")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":v", value)
            .send()
            .await
            .expect("DynamoDB");
    }
}

#[tokio::test]
async fn prices_of_another_format_are_replaced() {
    let mut bench = Bench::new().await;
    let small = sample("small");
    bench.app.get(small, "wallet").await.ok();
    bench.app.advance(61);
    bench.app.get(small, "wallet").await.ok();
    for (attribute, value) in [
        ("v", AttributeValue::N("99".to_owned())),
        ("b", AttributeValue::B(Blob::new(b"garbage".to_vec()))),
        ("h", AttributeValue::S("none".to_owned())),
    ] {
        bench.set("E#usd", attribute, value).await;
        // A process with a copy would not read them.
        bench.app.restart();
        let answer = bench.app.get(small, "wallet").await;
        assert!(
            answer
                .header("cache-status")
                .contains("prices; fwd=stale; stored"),
            "{attribute}"
        );
        let again = bench.app.get(small, "wallet").await;
        assert!(
            again.header("cache-status").contains("prices; hit"),
            "{attribute}"
        );
    }
}

#[tokio::test]
async fn damaged_or_foreign_items_count_as_missing() {
    for (sort, attribute, value) in [
        (
            "D#wallet#",
            "b",
            AttributeValue::B(Blob::new(b"garbage".to_vec())),
        ),
        ("D#wallet#", "h", AttributeValue::B(Blob::new(vec![0; 16]))),
        ("D#wallet#", "v", AttributeValue::N("99".to_owned())),
        ("F#wallet#", "v", AttributeValue::N("99".to_owned())),
        ("F#wallet#", "g", AttributeValue::N("7".to_owned())),
        ("F#wallet#", "g", AttributeValue::S("oops".to_owned())),
        (
            "F#wallet#",
            "b",
            AttributeValue::B(Blob::new(b"garbage".to_vec())),
        ),
        ("H", "v", AttributeValue::N("99".to_owned())),
        ("H", "w_n", AttributeValue::N("2".to_owned())),
        ("H", "w_at", AttributeValue::S("yesterday".to_owned())),
        ("H", "w_hash", AttributeValue::B(Blob::new(vec![1]))),
        ("H", "w_cur", AttributeValue::S("gold".to_owned())),
        ("H", "w_cg", AttributeValue::N("7".to_owned())),
        ("H", "w_fg", AttributeValue::S("oops".to_owned())),
    ] {
        let bench = Bench::new().await;
        let small = sample("small");
        bench.app.get(small, "wallet").await.ok();
        bench.set(sort, attribute, value).await;
        bench.app.advance(10);
        assert!(bench.load().await.parts.is_empty(), "{sort} {attribute}");
        // The next request mends it.
        let answer = bench.app.get(small, "wallet").await;
        assert!(
            answer.header("cache-status").contains("fwd=miss"),
            "{sort} {attribute}"
        );
        answer.ok();
        assert!(
            bench.load().await.parts.contains_key(&Part::Wallet),
            "{sort} {attribute}"
        );
        assert_eq!(bench.app.stats().zerion.requests, 2);
    }
}

/// With anything in its header, a wallet can be fetched, cached and
/// forgotten.
#[tokio::test]
async fn a_damaged_header_is_replaced() {
    let text = || AttributeValue::S("oops".to_owned());
    let far = || AttributeValue::N("99999999999999".to_owned());
    let huge = || AttributeValue::N("1".to_owned() + &"0".repeat(30));
    for (sort, attribute, value) in [
        ("H", "w_gen", text()),
        ("H", "w_gen", huge()),
        ("H", "d_gen", text()),
        ("H", "w_at", far()),
        ("H", "w_until", text()),
        ("H", "w_until", far()),
        ("H", "w_fail", far()),
        ("H", "w_fail", text()),
        ("H", "w_asked", text()),
        ("H", "w_owner", text()),
        ("H", "w_exp", far()),
        ("H", "w_ms", huge()),
        ("H", "w_exp", text()),
        ("H", "w_big", text()),
        ("H", "w_big", far()),
        ("H", "epoch", text()),
        ("D#wallet#", "g", text()),
        ("F#wallet#", "g", text()),
    ] {
        let case = format!("{sort} {attribute} {value:?}");
        let bench = Bench::new().await;
        let small = sample("small");
        bench.app.get(small, "wallet").await.ok();
        bench.set(sort, attribute, value).await;
        bench.app.advance(301);
        // Somewhat else than before: a chunk has to be written.
        let rows = vec![portfolio_tests::rows::token(7)];
        bench.app.fakes().set_wallet(small, rows);
        bench.app.fakes().reset_stats();
        for round in 0..3 {
            let body = bench.app.get(small, "wallet").await.ok();
            assert_eq!(
                body["wallet"]["positions"].as_array().map(Vec::len),
                Some(1)
            );
            assert_eq!(body["structure"]["stale"], false, "{case} {round}");
        }
        assert_eq!(bench.app.stats().zerion.requests, 1, "{case}");
        let path = format!("/v1/wallets/{small}/cache");
        let forgotten = bench.app.request("DELETE", &path, &[]).await;
        assert_eq!(forgotten.status, 204, "{case}");
        assert!(bench.load().await.parts.is_empty(), "{case}");
        bench.app.get(small, "wallet").await.ok();
        assert!(
            bench.load().await.parts.contains_key(&Part::Wallet),
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_damaged_header_can_be_deleted() {
    let bench = Bench::new().await;
    let small = sample("small");
    bench.app.get(small, "wallet").await.ok();
    bench
        .set("H", "w_gen", AttributeValue::S("oops".to_owned()))
        .await;
    let path = format!("/v1/wallets/{small}/cache");
    assert_eq!(bench.app.request("DELETE", &path, &[]).await.status, 204);
    assert!(bench.load().await.parts.is_empty());
}
