//! The book's promises: leases, merges, notes, prices of other versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use portfolio::{
    cache::{
        DynamoPriceBook, DynamoRateLimits,
        price_book::{
            BookWrite, LeaseEnd, LeaseState, LeaseTerms, PageWrite, PriceBook, PriceLease,
            Publication, StoredPage,
        },
        rate_limits::RateLimitStore,
    },
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{
        currency::Currency,
        decimal::Decimal,
        price::{CmcId, Price},
        price_book::{DemandWindow, Page, PageSet, QuoteKey},
        provider::Provider,
    },
    telemetry::request_cost::RequestCost,
};
use portfolio_tests::TestApp;

const USD: Currency = Currency::USD;
const CMC: Provider = Provider::CoinMarketCap;

struct Bench {
    app: TestApp,
    book: DynamoPriceBook,
    cost: RequestCost,
    now: Timestamp,
}

/// Listed coins that all stand on the same page.
fn neighbours(count: usize) -> Vec<QuoteKey> {
    let keys = (1..).map(|id| QuoteKey::cmc(CmcId(id)));
    let page = QuoteKey::cmc(CmcId(1)).page();
    keys.filter(|key| key.page() == page).take(count).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Bench {
    async fn new() -> Self {
        let app = TestApp::new().await;
        Self {
            book: DynamoPriceBook::new(app.table(), seconds(960)),
            cost: RequestCost::default(),
            now: app.now(),
            app,
        }
    }

    fn price(&self, amount: i64, at: Timestamp) -> Price {
        Price::new(Decimal::new(amount, 0), None, Provider::CoinMarketCap, at)
    }

    async fn put(&self, keys: &[QuoteKey], amount: i64, at: Timestamp) {
        let prices = keys.iter().map(|key| (key.clone(), self.price(amount, at)));
        let write = PageWrite {
            prices: prices.collect(),
            ..PageWrite::default()
        };
        self.write(keys[0].page(), write).await;
    }

    async fn write(&self, page: Page, write: PageWrite) {
        let write = BookWrite {
            pages: BTreeMap::from([(page, write)]),
            end: None,
        };
        let written = self.book.write(USD, &write, self.now, &self.cost).await;
        written.expect("DynamoDB");
    }

    async fn read(&self, page: Page) -> StoredPage {
        let pages = BTreeSet::from([page]);
        let read = self.book.read(USD, &pages, true, &self.cost).await;
        read.expect("DynamoDB").remove(&page).expect("a page")
    }

    async fn state(&self, now: Timestamp) -> LeaseState {
        let state = self.book.lease_state(USD, CMC, terms(now), &self.cost);
        state.await.expect("DynamoDB")
    }

    async fn lease(&self, now: Timestamp) -> PriceLease {
        let taken = self.book.take_lease(USD, CMC, terms(now), &self.cost);
        taken.await.expect("DynamoDB")
    }

    async fn won(&self, now: Timestamp) -> u64 {
        match self.lease(now).await {
            PriceLease::Won(owner, _) => owner,
            PriceLease::Lost(state) => panic!("lost to {state:?}"),
        }
    }

    async fn lost(&self, now: Timestamp) -> LeaseState {
        match self.lease(now).await {
            PriceLease::Lost(state) => state,
            won => panic!("{won:?}"),
        }
    }

    async fn end(&self, end: LeaseEnd) {
        let write = BookWrite {
            end: Some(end),
            ..BookWrite::default()
        };
        let written = self.book.write(USD, &write, self.now, &self.cost).await;
        written.expect("DynamoDB");
    }
}

fn terms(now: Timestamp) -> LeaseTerms {
    LeaseTerms {
        now,
        length: seconds(8),
    }
}

#[tokio::test]
async fn writers_of_one_page_merge_their_prices() {
    let bench = Bench::new().await;
    let keys = neighbours(40);
    let page = keys[0].page();
    let writes = keys
        .iter()
        .map(|key| bench.put(std::slice::from_ref(key), 7, bench.now));
    futures::future::join_all(writes).await;
    let read = bench.read(page).await.prices;
    assert_eq!(
        read.keys().cloned().collect::<BTreeSet<_>>(),
        keys.into_iter().collect()
    );
}

#[tokio::test]
async fn older_prices_overwrite_nothing() {
    let bench = Bench::new().await;
    let keys = neighbours(3);
    let page = keys[0].page();
    let later = bench.now.plus(seconds(5));
    bench.put(&keys[..2], 20, later).await;
    // A late writer: of its three prices only the one that no other writer has
    // asked for since is taken.
    bench.put(&keys, 10, bench.now).await;
    let read = bench.read(page).await.prices;
    let amounts: Vec<_> = keys
        .iter()
        .map(|key| read[key].amount.to_string())
        .collect();
    assert_eq!(amounts, ["20", "20", "10"]);
    assert_eq!(read[&keys[2]].checked_at, bench.now);
    // And the page still knows how new it is.
    bench.put(&keys[..1], 30, bench.now.plus(seconds(4))).await;
    assert_eq!(
        bench.read(page).await.prices[&keys[0]].amount.to_string(),
        "20"
    );
}

#[tokio::test]
async fn large_pages_are_written_in_parts() {
    let bench = Bench::new().await;
    let keys = neighbours(450);
    bench.put(&keys, 3, bench.now).await;
    assert_eq!(bench.read(keys[0].page()).await.prices.len(), 450);
}

#[tokio::test]
async fn a_write_deletes_the_prices_it_names() {
    let bench = Bench::new().await;
    let keys = neighbours(3);
    bench.put(&keys, 1, bench.now).await;
    let write = PageWrite {
        prices: BTreeMap::from([(keys[0].clone(), bench.price(2, bench.now))]),
        forget: BTreeSet::from([keys[1].clone()]),
        ..PageWrite::default()
    };
    bench.write(keys[0].page(), write).await;
    let read = bench.read(keys[0].page()).await.prices;
    assert!(!read.contains_key(&keys[1]) && read.contains_key(&keys[2]));
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends_or_expires() {
    let bench = Bench::new().await;
    let now = bench.now;
    let owner = bench.won(now).await;
    let state = bench.lost(now).await;
    assert!(!state.is_free(now));
    assert_eq!(state.owner, Some(owner));
    // Clocks differ: a lease that has only just expired is not taken.
    assert!(!bench.lost(now.plus(seconds(8))).await.is_free(now));
    let late = now.plus(seconds(9));
    let second = bench.won(late).await;
    // The first holder comes back and ends what is no longer its own.
    let published = Publication {
        asked_at: late,
        pages: PageSet(5),
    };
    let end = LeaseEnd {
        published: Some(published),
        ..LeaseEnd::early(CMC, owner)
    };
    bench.end(end).await;
    let state = bench.state(late).await;
    assert_eq!((state.owner, state.published), (Some(second), None));

    // Ended in time it is free, and tells what was published.
    let end = LeaseEnd {
        published: Some(published),
        ..LeaseEnd::early(CMC, second)
    };
    bench.end(end).await;
    let third = match bench.lease(late).await {
        PriceLease::Won(owner, before) => {
            assert_eq!(before.published, Some(published));
            owner
        }
        PriceLease::Lost(state) => panic!("lost to {state:?}"),
    };

    // After a failure, a moment longer.
    let end = LeaseEnd {
        failed_until: Some(late.plus(seconds(5))),
        ..LeaseEnd::early(CMC, third)
    };
    bench.end(end).await;
    let state = bench.lost(late.plus(seconds(4))).await;
    assert!(state.has_failed(late.plus(seconds(4))) && state.is_free(late));
    bench.won(late.plus(seconds(5))).await;
}

#[tokio::test]
async fn leases_are_by_provider_and_currency() {
    let bench = Bench::new().await;
    bench.won(bench.now).await;
    let euro = Currency::parse("eur").expect("a currency");
    for (currency, provider) in [(euro, CMC), (USD, Provider::DefiLlama)] {
        let terms = terms(bench.now);
        let taken = bench
            .book
            .take_lease(currency, provider, terms, &bench.cost);
        assert!(matches!(taken.await, Ok(PriceLease::Won(..))));
    }
}

#[tokio::test]
async fn a_lease_from_a_fast_clock_does_not_outlast_a_right_one() {
    let bench = Bench::new().await;
    let now = bench.now;
    let hour = seconds(3_600);
    bench.won(now.plus(hour)).await;
    // Neither its holder nor its end counts for a clock that is right, and a
    // lease that merely started some seconds early does.
    let second = bench.won(now).await;
    let state = bench.lost(now.minus(MAX_CLOCK_SKEW)).await;
    assert_eq!(state.owner, Some(second));
    // Nor do the failure and the prices that such a clock tells of.
    let end = |owner| LeaseEnd {
        published: Some(Publication {
            asked_at: now.plus(hour),
            pages: PageSet(1),
        }),
        failed_until: Some(now.plus(hour)),
        ..LeaseEnd::early(CMC, owner)
    };
    bench.end(end(second)).await;
    let state = bench.state(now).await;
    assert_eq!((state.failed_until, state.published), (None, None));
    match bench.lease(now).await {
        PriceLease::Won(_, before) => assert_eq!(before.published, None),
        PriceLease::Lost(state) => panic!("lost to {state:?}"),
    }
}

#[tokio::test]
async fn simultaneous_leases_have_one_winner() {
    let bench = Bench::new().await;
    let tries = (0..32).map(|_| bench.lease(bench.now));
    let tries = futures::future::join_all(tries).await;
    let won = tries.iter().filter(|it| matches!(it, PriceLease::Won(..)));
    assert_eq!(won.count(), 1);
}

#[tokio::test]
async fn wants_are_noted_with_prices_and_without_and_forgotten_with_them() {
    let bench = Bench::new().await;
    let keys = neighbours(4);
    let page = keys[0].page();
    let note = |key: &QuoteKey| PageWrite {
        wanted: BTreeSet::from([key.clone()]),
        ..PageWrite::default()
    };
    let notes = keys[..3].iter().map(|key| bench.write(page, note(key)));
    futures::future::join_all(notes).await;
    let with_price = PageWrite {
        prices: BTreeMap::from([(keys[3].clone(), bench.price(1, bench.now))]),
        ..note(&keys[3])
    };
    bench.write(page, with_price).await;
    let window = DemandWindow::of(bench.now);
    let noted = bench.read(page).await.demand;
    assert_eq!(
        noted,
        keys.iter().cloned().map(|key| (key, window)).collect()
    );

    // Also where the prices themselves are too old to be written.
    let late = PageWrite {
        prices: BTreeMap::from([(keys[3].clone(), bench.price(2, bench.now.minus(seconds(1))))]),
        forget: BTreeSet::from([keys[1].clone()]),
        ..note(&keys[0])
    };
    bench.write(page, late).await;
    let read = bench.read(page).await;
    assert_eq!(read.prices[&keys[3]].amount.to_string(), "1");
    let forget = PageWrite {
        prices: BTreeMap::from([(keys[3].clone(), bench.price(3, bench.now))]),
        forget: BTreeSet::from([keys[1].clone()]),
        ..note(&keys[0])
    };
    bench.write(page, forget).await;
    // What is wanted again is not forgotten, even if a write says both.
    let both = PageWrite {
        prices: BTreeMap::from([(keys[3].clone(), bench.price(4, bench.now))]),
        forget: BTreeSet::from([keys[2].clone()]),
        ..note(&keys[2])
    };
    bench.write(page, both).await;
    let left: Vec<_> = bench.read(page).await.demand.into_keys().collect();
    let expected: BTreeSet<_> = [0, 2, 3].map(|at| keys[at].clone()).into();
    assert_eq!(left, expected.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn prices_of_another_version_count_as_missing() {
    let bench = Bench::new().await;
    let keys = neighbours(2);
    let page = keys[0].page();
    bench.put(&keys, 1, bench.now).await;
    let table = bench.app.dynamodb();
    let text = |text: String| AttributeValue::S(text);
    let update = table.client().update_item().table_name(table.name());
    let update = update
        .key("pk", text(format!("B#usd#{page}")))
        .key("sk", text("P".to_owned()))
        .update_expression("SET #key = :future")
        .expression_attribute_names("#key", keys[0].to_string())
        .expression_attribute_values(":future", AttributeValue::B(Blob::new([99, 1, 2])));
    update.send().await.expect("an update");
    let read = bench.read(page).await.prices;
    assert_eq!(read.keys().collect::<Vec<_>>(), [&keys[1]]);
    bench.put(&keys, 2, bench.now.plus(seconds(1))).await;
    assert_eq!(bench.read(page).await.prices.len(), 2);
}

#[tokio::test]
async fn a_breaker_stays_open_for_the_longest_time_requested() {
    let bench = Bench::new().await;
    let limits = DynamoRateLimits::new(bench.app.table());
    let of = CMC;
    let until = |count| bench.now.plus(seconds(count));
    assert_eq!(limits.open_until(of, &bench.cost).await, Ok(None));
    for count in [60, 5, 30] {
        let opened = limits.open(of, until(count), &bench.cost).await;
        opened.expect("DynamoDB");
    }
    assert_eq!(
        limits.open_until(of, &bench.cost).await,
        Ok(Some(until(60)))
    );
    assert_eq!(
        limits.open_until(Provider::DefiLlama, &bench.cost).await,
        Ok(None)
    );
}
