//! The book's promises: leases, merges, notes, prices of other versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use portfolio::{
    cache::{
        DynamoPriceBook, DynamoRateLimits,
        price_book::{LeaseEnd, LeaseTerms, PageLease, PageState, PageWrite, PriceBook, Prices},
        rate_limits::RateLimitStore,
    },
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{
        currency::Currency,
        decimal::Decimal,
        price::{CmcId, Price},
        price_book::{DemandWindow, Page, QuoteKey},
        provider::Provider,
    },
    telemetry::request_cost::RequestCost,
};
use portfolio_tests::TestApp;

const USD: Currency = Currency::USD;

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
        let writes = BTreeMap::from([(page, write)]);
        let written = self.book.write(USD, &writes, self.now, &self.cost).await;
        written.expect("DynamoDB");
    }

    async fn read(&self, page: Page) -> Prices {
        let pages = BTreeSet::from([page]);
        let read = self.book.read(USD, &pages, true, &self.cost).await;
        read.expect("DynamoDB").remove(&page).expect("a page")
    }

    async fn state(&self, page: Page) -> PageState {
        let pages = BTreeSet::from([page]);
        let states = self.book.states(USD, &pages, &self.cost).await;
        states.expect("DynamoDB").remove(&page).expect("a page")
    }

    async fn lease(&self, key: &QuoteKey, now: Timestamp) -> PageLease {
        let wanted = BTreeMap::from([(key.page(), BTreeSet::from([key.clone()]))]);
        let terms = LeaseTerms {
            now,
            length: seconds(8),
            fresh_after: now.minus(seconds(50)),
            pages: 3,
        };
        let mut taken = self.book.lease(USD, &wanted, terms, &self.cost).await;
        taken.remove(&key.page()).expect("an answer")
    }

    async fn won(&self, key: &QuoteKey, now: Timestamp) -> u64 {
        match self.lease(key, now).await {
            PageLease::Won(owner, _) => owner,
            PageLease::Lost(state) => panic!("lost to {state:?}"),
        }
    }

    async fn end(&self, page: Page, end: LeaseEnd) {
        self.write(page, PageWrite::ending(end)).await;
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
    let read = bench.read(page).await;
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
    let read = bench.read(page).await;
    let amounts: Vec<_> = keys
        .iter()
        .map(|key| read[key].amount.to_string())
        .collect();
    assert_eq!(amounts, ["20", "20", "10"]);
    assert_eq!(read[&keys[2]].checked_at, bench.now);
    // And the page still knows how new it is.
    bench.put(&keys[..1], 30, bench.now.plus(seconds(4))).await;
    assert_eq!(bench.read(page).await[&keys[0]].amount.to_string(), "20");
}

#[tokio::test]
async fn large_pages_are_written_in_parts() {
    let bench = Bench::new().await;
    let keys = neighbours(450);
    bench.put(&keys, 3, bench.now).await;
    assert_eq!(bench.read(keys[0].page()).await.len(), 450);
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
    let read = bench.read(keys[0].page()).await;
    assert!(!read.contains_key(&keys[1]) && read.contains_key(&keys[2]));
}

#[tokio::test]
async fn a_page_has_one_holder_until_it_ends_or_expires() {
    let bench = Bench::new().await;
    let key = &neighbours(1)[0];
    let (page, now) = (key.page(), bench.now);
    let owner = bench.won(key, now).await;
    match bench.lease(key, now).await {
        PageLease::Lost(state) => {
            assert!(state.is_held(now));
            assert_eq!((state.owner, state.pages), (Some(owner), 3));
            assert!(state.notes(key, DemandWindow::of(now)));
        }
        won => panic!("{won:?}"),
    }
    // Clocks differ: a lease that has only just expired is not taken.
    assert!(matches!(
        bench.lease(key, now.plus(seconds(8))).await,
        PageLease::Lost(_)
    ));
    let late = now.plus(seconds(9));
    let second = bench.won(key, late).await;
    // The first holder comes back and ends what is no longer its own.
    let end = LeaseEnd {
        fresh_at: Some(late),
        ..LeaseEnd::early(owner)
    };
    bench.end(page, end).await;
    assert_eq!(bench.state(page).await.owner, Some(second));
    assert_eq!(bench.state(page).await.fresh_at, None);

    // Ended in time, the page is not leased again while it is fresh.
    let end = LeaseEnd {
        fresh_at: Some(late),
        ..LeaseEnd::early(second)
    };
    bench.end(page, end).await;
    assert!(matches!(
        bench.lease(key, late.plus(seconds(49))).await,
        PageLease::Lost(_)
    ));
    let third = bench.won(key, late.plus(seconds(50))).await;

    // After a failure, a moment longer.
    let failed = late.plus(seconds(50));
    let end = LeaseEnd {
        failed_until: Some(failed.plus(seconds(5))),
        ..LeaseEnd::early(third)
    };
    bench.end(page, end).await;
    assert!(matches!(
        bench.lease(key, failed.plus(seconds(4))).await,
        PageLease::Lost(_)
    ));
    bench.won(key, failed.plus(seconds(5))).await;
}

#[tokio::test]
async fn a_page_lease_from_a_fast_clock_does_not_outlast_a_right_one() {
    let bench = Bench::new().await;
    let key = &neighbours(1)[0];
    let (page, now) = (key.page(), bench.now);
    let hour = seconds(3_600);
    bench.won(key, now.plus(hour)).await;
    // Neither its holder nor its end counts for a clock that is right, and a
    // lease that merely started some seconds early does.
    let second = bench.won(key, now).await;
    match bench.lease(key, now.minus(MAX_CLOCK_SKEW)).await {
        PageLease::Lost(state) => assert_eq!(state.owner, Some(second)),
        won => panic!("{won:?}"),
    }
    // Nor do the failure and the prices that such a clock tells of.
    let end = LeaseEnd {
        fresh_at: Some(now.plus(hour)),
        failed_until: Some(now.plus(hour)),
        ..LeaseEnd::early(second)
    };
    bench.end(page, end).await;
    bench.won(key, now).await;
    // The state that comes with a lost lease leaves them out as well.
    let end = LeaseEnd {
        fresh_at: Some(now),
        failed_until: Some(now.plus(hour)),
        ..LeaseEnd::early(bench.won(key, now.plus(seconds(9))).await)
    };
    bench.end(page, end).await;
    match bench.lease(key, now.plus(seconds(9))).await {
        PageLease::Lost(state) => assert_eq!((state.failed_until, state.until), (None, None)),
        won => panic!("{won:?}"),
    }
}

#[tokio::test]
async fn simultaneous_page_leases_have_one_winner() {
    let bench = Bench::new().await;
    let key = &neighbours(1)[0];
    let tries = (0..32).map(|_| bench.lease(key, bench.now));
    let tries = futures::future::join_all(tries).await;
    let won = tries.iter().filter(|it| matches!(it, PageLease::Won(..)));
    assert_eq!(won.count(), 1);
}

#[tokio::test]
async fn wants_are_noted_without_a_lease_and_dropped_by_its_holder() {
    let bench = Bench::new().await;
    let keys = neighbours(3);
    let page = keys[0].page();
    let note = |key: &QuoteKey| PageWrite {
        note: BTreeSet::from([key.clone()]),
        ..PageWrite::default()
    };
    let notes = keys.iter().map(|key| bench.write(page, note(key)));
    futures::future::join_all(notes).await;
    let slot = DemandWindow::of(bench.now);
    let noted = bench.state(page).await.wanted(slot);
    assert_eq!(noted, keys.iter().cloned().collect());

    let owner = bench.won(&keys[0], bench.now).await;
    let end = LeaseEnd {
        drop: vec![slot],
        ..LeaseEnd::early(owner)
    };
    bench.end(page, end).await;
    assert_eq!(bench.state(page).await.wanted(slot), BTreeSet::new());
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
    let read = bench.read(page).await;
    assert_eq!(read.keys().collect::<Vec<_>>(), [&keys[1]]);
    bench.put(&keys, 2, bench.now.plus(seconds(1))).await;
    assert_eq!(bench.read(page).await.len(), 2);
}

#[tokio::test]
async fn a_breaker_stays_open_for_the_longest_time_requested() {
    let bench = Bench::new().await;
    let limits = DynamoRateLimits::new(bench.app.table());
    let of = Provider::CoinMarketCap;
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
