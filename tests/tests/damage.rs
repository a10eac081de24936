//! Items that are damaged, of another format, or from a clock that is wrong.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use portfolio::{
    cache::{CachedWallet, WalletStore, Wallets},
    domain::{address::Address, currency::Currency, scope::Part},
    usage::Usage,
};
use portfolio_tests::{World, sample};

struct Bench {
    world: World,
    wallets: Wallets,
    address: Address,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        Self {
            wallets: world.wallets(),
            address: Address::parse(sample("small")).expect("an address"),
            world,
        }
    }

    async fn load(&self) -> CachedWallet {
        self.wallets
            .load(&self.address, Currency::USD, true, &Usage::default())
            .await
            .expect("DynamoDB")
    }

    async fn set(&self, sort: &str, attribute: &str, value: AttributeValue) {
        let table = self.world.dynamodb();
        table
            .client()
            .update_item()
            .table_name(table.name())
            .key("pk", AttributeValue::S(format!("W#{}", self.address)))
            .key("sk", AttributeValue::S(sort.to_owned()))
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
    let bench = Bench::new().await;
    let small = sample("small");
    bench.world.get(small, "wallet").await.ok();
    for (attribute, value) in [
        ("v", AttributeValue::N("99".to_owned())),
        ("b", AttributeValue::B(Blob::new(b"garbage".to_vec()))),
        ("h", AttributeValue::S("none".to_owned())),
    ] {
        bench.set("P#usd", attribute, value).await;
        let answer = bench.world.get(small, "wallet").await;
        assert!(
            answer
                .header("cache-status")
                .contains("prices; fwd=miss; stored"),
            "{attribute}"
        );
        let again = bench.world.get(small, "wallet").await;
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
            "D#wallet#000",
            "b",
            AttributeValue::B(Blob::new(b"garbage".to_vec())),
        ),
        (
            "D#wallet#000",
            "h",
            AttributeValue::B(Blob::new(vec![0; 16])),
        ),
        ("D#wallet#000", "i", AttributeValue::N("7".to_owned())),
        ("D#wallet#000", "v", AttributeValue::N("99".to_owned())),
        ("H", "v", AttributeValue::N("99".to_owned())),
        ("H", "w_n", AttributeValue::N("2".to_owned())),
        ("H", "w_at", AttributeValue::S("yesterday".to_owned())),
        ("H", "w_hash", AttributeValue::B(Blob::new(vec![1]))),
    ] {
        let bench = Bench::new().await;
        let small = sample("small");
        bench.world.get(small, "wallet").await.ok();
        bench.set(sort, attribute, value).await;
        bench.world.advance(10);
        assert!(bench.load().await.parts.is_empty(), "{sort} {attribute}");
        // The next request mends it.
        let answer = bench.world.get(small, "wallet").await;
        assert!(
            answer.header("cache-status").contains("fwd=miss"),
            "{sort} {attribute}"
        );
        answer.ok();
        assert!(
            bench.load().await.parts.contains_key(&Part::Wallet),
            "{sort} {attribute}"
        );
        assert_eq!(bench.world.stats().zerion.requests, 2);
    }
}

/// Whatever stands in a header, its wallet can be fetched, cached and
/// forgotten.
#[tokio::test]
async fn a_damaged_header_is_mended() {
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
        ("D#wallet#000", "g", text()),
        ("D#wallet#000", "n", text()),
    ] {
        let case = format!("{sort} {attribute} {value:?}");
        let bench = Bench::new().await;
        let small = sample("small");
        bench.world.get(small, "wallet").await.ok();
        bench.set(sort, attribute, value).await;
        bench.world.advance(301);
        // Somewhat else than before: a chunk has to be written.
        let rows = vec![portfolio_tests::rows::token(7)];
        bench.world.standins().set_wallet(small, rows);
        bench.world.standins().reset_stats();
        for round in 0..3 {
            let body = bench.world.get(small, "wallet").await.ok();
            assert_eq!(
                body["wallet"]["positions"].as_array().map(Vec::len),
                Some(1)
            );
            assert_eq!(body["structure"]["stale"], false, "{case} {round}");
        }
        assert_eq!(bench.world.stats().zerion.requests, 1, "{case}");
        let path = format!("/v1/wallets/{small}/cache");
        let forgotten = bench.world.request("DELETE", &path, &[]).await;
        assert_eq!(forgotten.status, 204, "{case}");
        assert!(bench.load().await.parts.is_empty(), "{case}");
        bench.world.get(small, "wallet").await.ok();
        assert!(
            bench.load().await.parts.contains_key(&Part::Wallet),
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_damaged_header_can_be_forgotten() {
    let bench = Bench::new().await;
    let small = sample("small");
    bench.world.get(small, "wallet").await.ok();
    bench
        .set("H", "w_gen", AttributeValue::S("oops".to_owned()))
        .await;
    let path = format!("/v1/wallets/{small}/cache");
    assert_eq!(bench.world.request("DELETE", &path, &[]).await.status, 204);
    assert!(bench.load().await.parts.is_empty());
}
