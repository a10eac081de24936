//! The table's promises: leases, generations, merges.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::{
    cache::{
        CachedPart, CachedWallet, DynamoWalletStore, Header, Lease, LeaseOutcome, LeaseRequest,
        NewPrices, NewStructure, Release, StoreOutcome, WalletStore, codec,
    },
    clock::Timestamp,
    domain::{
        address::Address,
        asset_mapping::NoAssets,
        currency::Currency,
        decimal::Decimal,
        decoded::StoredHoldings,
        holdings_builder::HoldingsBuilder,
        price::{CmcId, Price, PriceKey, PriceTable},
        provider::Provider,
        provider_position::ProviderPosition,
        scope::Part,
    },
    telemetry::request_cost::RequestCost,
};
use portfolio_tests::{TestApp, sample};

const LENGTH: Duration = Duration::from_secs(23);

struct Bench {
    app: TestApp,
    wallets: DynamoWalletStore,
    address: Address,
    cost: RequestCost,
}

impl Bench {
    async fn new() -> Self {
        let app = TestApp::new().await;
        Self {
            wallets: app.wallets(),
            address: Address::parse(sample("small")).expect("an address"),
            cost: RequestCost::default(),
            app,
        }
    }

    async fn lease(&self, parts: &[Part], now: Timestamp) -> LeaseOutcome {
        let fresh_after = Timestamp::from_millis(now.as_millis() - 300_000);
        self.wallets
            .lease(
                &self.address,
                LeaseRequest {
                    parts,
                    now,
                    length: LENGTH,
                    fresh_after,
                    again: None,
                },
                &self.cost,
            )
            .await
            .expect("DynamoDB")
    }

    async fn won(&self, parts: &[Part], now: Timestamp) -> Lease {
        match self.lease(parts, now).await {
            LeaseOutcome::Won(lease) => lease,
            LeaseOutcome::Lost(header) => panic!("lost to {header:?}"),
        }
    }

    async fn load(&self) -> CachedWallet {
        self.wallets
            .load(&self.address, Currency::USD, true, &self.cost)
            .await
            .expect("DynamoDB")
    }

    async fn store(&self, lease: &Lease, part: Part, id: &str, now: Timestamp) -> bool {
        let parts = BTreeMap::from([(part, Arc::new(holdings(part, id, now)))]);
        let read = self.load().await;
        let structure = NewStructure {
            parts: &parts,
            previous: &read,
            took: Duration::from_secs(1),
        };
        let stored = self
            .wallets
            .store(&self.address, lease, structure, now, &self.cost)
            .await
            .expect("DynamoDB");
        stored == StoreOutcome::Stored
    }
}

fn holdings(part: Part, id: &str, now: Timestamp) -> CachedPart {
    let mut draft = HoldingsBuilder::default();
    draft.push(
        ProviderPosition {
            id: id.to_owned(),
            chain: "ethereum".to_owned(),
            ..ProviderPosition::default()
        },
        Some(part),
    );
    let bytes = draft.encode(part, &draft.map(&NoAssets)).bytes;
    CachedPart {
        hash: codec::hash(&bytes),
        holdings: StoredHoldings::new(bytes).expect("holdings"),
        fetched_at: now,
        currency: Currency::USD,
        prices: PriceTable::default(),
    }
}

fn after(now: Timestamp, seconds: u64) -> Timestamp {
    now.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_wallet_has_one_lease_at_a_time() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    bench.won(&[Part::Wallet], now).await;
    assert!(matches!(
        bench.lease(&[Part::Wallet], now).await,
        LeaseOutcome::Lost(_)
    ));
    // Both parts are needed for everything; the other one is free.
    assert!(matches!(
        bench.lease(&Part::ALL, now).await,
        LeaseOutcome::Lost(_)
    ));
    bench.won(&[Part::Defi], now).await;
    // The lease of a holder that died expires.
    bench.won(&Part::ALL, after(now, 24)).await;
}

#[tokio::test]
async fn simultaneous_attempts_have_one_winner() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let attempts = (0..32).map(|_| bench.lease(&Part::ALL, now));
    let outcomes = futures::future::join_all(attempts).await;
    let won = outcomes
        .iter()
        .filter(|one| matches!(one, LeaseOutcome::Won(_)))
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn holdings_just_stored_are_not_fetched_again() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let lease = bench.won(&[Part::Wallet], now).await;
    assert!(bench.store(&lease, Part::Wallet, "a", now).await);
    match bench.lease(&[Part::Wallet], after(now, 1)).await {
        LeaseOutcome::Lost(header) => {
            assert_eq!(header.parts[&Part::Wallet].fetched_at(), Some(now))
        }
        LeaseOutcome::Won(_) => panic!("fresh data would be fetched again"),
    }
    // The other part is missing: everything may be fetched.
    bench.won(&Part::ALL, after(now, 1)).await;
}

#[tokio::test]
async fn a_late_holder_overwrites_nothing() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let frozen = bench.won(&[Part::Wallet], now).await;
    let later = after(now, 30);
    let quick = bench.won(&[Part::Wallet], later).await;
    assert!(bench.store(&quick, Part::Wallet, "new", later).await);
    assert!(!bench.store(&frozen, Part::Wallet, "old", now).await);
    let expected = holdings(Part::Wallet, "new", later);
    assert_eq!(*bench.load().await.parts[&Part::Wallet], expected);
    // Nor does it end the next holder's lease.
    let next = bench.won(&[Part::Wallet], after(later, 301)).await;
    bench
        .wallets
        .release(&bench.address, &frozen, &Release::default(), &bench.cost)
        .await
        .unwrap();
    assert!(matches!(
        bench.lease(&[Part::Wallet], after(later, 302)).await,
        LeaseOutcome::Lost(_)
    ));
    bench
        .wallets
        .release(&bench.address, &next, &Release::default(), &bench.cost)
        .await
        .unwrap();
    bench.won(&[Part::Wallet], after(later, 302)).await;
}

#[tokio::test]
async fn a_late_holder_keeps_the_chunks_of_others() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let lease = bench.won(&[Part::Wallet], now).await;
    bench.store(&lease, Part::Wallet, "same", now).await;
    let frozen = bench.won(&[Part::Wallet], after(now, 400)).await;
    let quick = bench.won(&[Part::Wallet], after(now, 500)).await;
    assert!(
        bench
            .store(&quick, Part::Wallet, "same", after(now, 500))
            .await
    );
    assert!(
        !bench
            .store(&frozen, Part::Wallet, "other", after(now, 400))
            .await
    );
    let expected = holdings(Part::Wallet, "same", after(now, 500));
    assert_eq!(*bench.load().await.parts[&Part::Wallet], expected);
}

#[tokio::test]
async fn a_header_that_expired_starts_above_its_older_chunks() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    for (round, id) in ["a", "b", "c"].into_iter().enumerate() {
        let at = after(now, 400 * round as u64);
        let lease = bench.won(&[Part::Wallet], at).await;
        bench.store(&lease, Part::Wallet, id, at).await;
    }
    // TTL deletes the header a day before the chunks.
    let table = bench.app.dynamodb();
    let delete = table.client().delete_item().table_name(table.name());
    let delete = delete.key("pk", AttributeValue::S(format!("W#{}", bench.address)));
    delete
        .key("sk", AttributeValue::S("H".to_owned()))
        .send()
        .await
        .unwrap();
    let later = after(now, 90_000);
    let lease = bench.won(&[Part::Wallet], later).await;
    assert!(bench.store(&lease, Part::Wallet, "d", later).await);
    assert_eq!(
        *bench.load().await.parts[&Part::Wallet],
        holdings(Part::Wallet, "d", later)
    );
}

#[tokio::test]
async fn unchanged_holdings_rewrite_only_the_header() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let lease = bench.won(&[Part::Wallet], now).await;
    bench.store(&lease, Part::Wallet, "a", now).await;
    let later = after(now, 400);
    let lease = bench.won(&[Part::Wallet], later).await;
    let before = bench.cost.totals().calls;
    bench.store(&lease, Part::Wallet, "a", later).await;
    // A load of two calls, the prices and the header: no chunk.
    assert_eq!(bench.cost.totals().calls - before, 4);
    assert_eq!(bench.load().await.parts[&Part::Wallet].fetched_at, later);
    // Before the chunks could be deleted they are written again.
    let much_later = after(now, 100_000);
    let lease = bench.won(&[Part::Wallet], much_later).await;
    let before = bench.cost.totals().calls;
    bench.store(&lease, Part::Wallet, "a", much_later).await;
    // And those before go.
    assert_eq!(bench.cost.totals().calls - before, 6);
}

#[tokio::test]
async fn prices_of_simultaneous_writers_are_merged() {
    let bench = Bench::new().await;
    let now = bench.app.now();
    let table = |id: u32, amount: i64, checked: Timestamp| {
        let amount = Decimal::new(amount, 0);
        let price = Price::new(amount, None, Provider::CoinMarketCap, checked);
        PriceTable::new(vec![(PriceKey::Cmc(CmcId(id)), price)])
    };
    let tables = [table(1, 10, now), table(2, 20, now), table(3, 30, now)];
    // All of them read before the first one wrote.
    let header = Header::default();
    let writes = tables.iter().map(async |fresh| {
        let prices = [NewPrices {
            currency: Currency::USD,
            fresh,
            previous: None,
        }];
        let wallets = &bench.wallets;
        wallets
            .store_prices(&bench.address, &header, &prices, now, &bench.cost)
            .await
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let read = bench.load().await.refreshed[&Currency::USD].clone();
    assert_eq!(read.table.entries().len(), 3);
    // What was checked earlier does not replace what was checked later.
    let older = table(1, 99, Timestamp::from_millis(now.as_millis() - 1));
    let prices = [NewPrices {
        currency: Currency::USD,
        fresh: &older,
        previous: Some(&read),
    }];
    bench
        .wallets
        .store_prices(&bench.address, &header, &prices, now, &bench.cost)
        .await
        .unwrap();
    let kept = bench.load().await.refreshed[&Currency::USD].clone();
    let price = kept.table.get(PriceKey::Cmc(CmcId(1))).unwrap();
    assert_eq!(price.amount, Decimal::new(10, 0));
}

#[tokio::test]
async fn an_unknown_wallet_has_an_empty_header() {
    let bench = Bench::new().await;
    let header = bench
        .wallets
        .header(&bench.address, &bench.cost)
        .await
        .unwrap();
    let blank: Vec<_> = header
        .parts
        .values()
        .filter(|part| part.fetched_at().is_some())
        .collect();
    assert!(blank.is_empty());
    assert_ne!(header, Header::default());
}
