//! The shared price book: its cost depends on the tokens that are alive, not
//! on the wallets that are asked for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use portfolio::{
    app::App,
    cache::{
        DynamoPriceBook,
        price_book::{LeaseTerms, PriceBook, PriceLease},
    },
    clock::{ManualClock, Timestamp},
    domain::{
        address::Address, currency::Currency, price::CmcId, price_book::QuoteKey,
        provider::Provider, query::Query, scope::Scope,
    },
    service::{Request, Service, Snapshot},
    telemetry::request_cost::{RequestCost, RequestCostTotals},
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, positions, rows};

const TOKENS: u32 = 9000;
const PROCESSES: usize = 4;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Tokens by how often they are held: the n-th most popular one n times less
/// often than the most popular.
struct Zipf(Vec<u64>);

impl Zipf {
    fn new(tokens: u32) -> Self {
        let mut sum = 0;
        let cumulated = (1..=u64::from(tokens)).map(|rank| {
            sum += 1_000_000_000 / rank;
            sum
        });
        Self(cumulated.collect())
    }

    fn token(&self, random: &mut Random) -> u32 {
        let at = random.below(*self.0.last().expect("tokens"));
        let index = self.0.partition_point(|sum| *sum <= at);
        u32::try_from(index + 1).expect("a token")
    }

    /// From 5 to 54 different tokens.
    fn holdings(&self, random: &mut Random) -> BTreeSet<u32> {
        let count = 5 + usize::try_from(random.below(50)).expect("a count");
        let mut held = BTreeSet::new();
        while held.len() < count {
            held.insert(self.token(random));
        }
        held
    }
}

fn query(address: &str, currency: &str) -> Query {
    let address = Address::parse(address).expect("an address");
    let parameters = [("currency", currency)];
    Query::parse(address, Scope::Aggregate, parameters).expect("a query")
}

async fn ask(service: &Service, app: &TestApp, address: &str) -> Snapshot {
    let request = Request {
        // A busy machine is no fault of the book's.
        deadline: app.now().plus(Duration::from_secs(60)),
        patient: true,
        ..Request::default()
    };
    let query = query(address, "usd");
    let answered = service.portfolio(&query, &request).await;
    answered.expect("an answer")
}

/// An app in which CoinMarketCap lists the first `tokens` tokens.
async fn listing(tokens: u32, variables: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(variables).await;
    for number in 1..=tokens {
        app.fakes().set_coin(rows::listed(number));
    }
    let update = App::new(app.config()).registry_update().expect("an update");
    update.run().await.expect("a filled registry");
    app.fakes().reset_stats();
    app
}

fn processes(app: &TestApp) -> Vec<Arc<Service>> {
    (0..PROCESSES)
        .map(|_| {
            Arc::new(
                App::with_clock(app.config(), app.clock.clone())
                    .service()
                    .expect("a service"),
            )
        })
        .collect()
}

/// Requests for all wallets, spread over the processes, 16 at a time.
async fn ask_all(app: &TestApp, processes: &[Arc<Service>], addresses: &[String]) -> Vec<Snapshot> {
    stream::iter(addresses.iter().enumerate())
        .map(|(at, address)| ask(&processes[at % processes.len()], app, address))
        .buffer_unordered(16)
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_grow_with_the_wallets() {
    // As for `patient` above: nothing here is about time.
    let variables = [("PRICE_FALLBACK", "none"), ("PRICE_TIMEOUT_MS", "20000")];
    let app = listing(TOKENS, &variables).await;
    let zipf = Zipf::new(TOKENS);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    println!("CoinMarketCap within one price lifetime, 4 processes, 9,000 tokens:");
    println!("wallets tokens   book: requests credits   per wallet: requests credits");
    for wallets in [100_u32, 1000, 5000] {
        let (mut alive, mut credits) = (BTreeSet::new(), 0);
        let mut addresses = Vec::new();
        for number in 0..wallets {
            let held = zipf.holdings(&mut random);
            credits += held.len().div_ceil(100);
            let address = format!("0x{wallets:020}{number:020}");
            let held_rows = held.iter().map(|token| rows::token(*token)).collect();
            app.fakes().set_wallet(&address, held_rows);
            addresses.push(address);
            alive.extend(held);
        }
        let processes = processes(&app);
        ask_all(&app, &processes, &addresses).await;
        assert_eq!(app.stats().coinmarketcap.requests, 0);

        app.advance(61);
        app.fakes().reset_stats();
        let answers = ask_all(&app, &processes, &addresses).await;
        let now = app.now();
        for answer in &answers {
            assert!(!answer.price_level.stale && answer.price_level.fresh_until > now);
        }
        let stats = app.stats();
        assert_eq!(stats.zerion.requests, 0);
        let asked = stats.coinmarketcap;
        println!(
            "{wallets:>7} {:>6} {:>16} {:>7} {wallets:>22} {credits:>7}",
            alive.len(),
            asked.requests,
            asked.credits
        );
        assert!(asked.requests <= 64, "{} requests", asked.requests);
        assert!(asked.requests < u64::from(wallets) / 2);
        // Tokens that are held no more are deleted before the next round.
        app.advance(1200);
        app.fakes().reset_stats();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_misses_refresh_no_price_twice_and_lose_nothing() {
    let app = listing(300, &[("PRICE_FALLBACK", "none")]).await;
    let zipf = Zipf::new(300);
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut addresses, mut alive) = (Vec::new(), BTreeSet::new());
    for number in 0..20 {
        let held = zipf.holdings(&mut random);
        let address = format!("0x{number:040}");
        let held_rows = held.iter().map(|token| rows::token(*token)).collect();
        app.fakes().set_wallet(&address, held_rows);
        addresses.push(address);
        alive.extend(held);
    }
    let processes = processes(&app);
    ask_all(&app, &processes, &addresses).await;
    // A slow answer: all of them miss before the first one is back.
    let slow = Fault {
        delay_ms: Some(300),
        ..Fault::default()
    };
    app.fakes().set_fault(Provider::CoinMarketCap, Some(slow));
    app.advance(61);
    app.fakes().reset_stats();
    let answers = ask_all(&app, &processes, &addresses).await;
    assert!(answers.iter().all(|answer| !answer.price_level.stale));
    let asked = app.stats().coinmarketcap;
    let expected = u64::try_from(alive.len()).expect("a count");
    assert_eq!(
        asked.ids, expected,
        "an id was asked for twice, or not at all"
    );

    let ids = alive.iter().map(|token| CmcId(900_000 + token));
    let keys: BTreeSet<QuoteKey> = ids.map(QuoteKey::cmc).collect();
    let pages = keys.iter().map(QuoteKey::page).collect();
    let book = DynamoPriceBook::new(app.table(), Duration::from_secs(960));
    let cost = RequestCost::default();
    let read = book.read(Currency::USD, &pages, true, &cost).await;
    let read = read.expect("pages");
    let mut stored = BTreeSet::new();
    for (key, price) in read.values().flat_map(|page| &page.prices) {
        assert_eq!(price.checked_at, app.now());
        stored.insert(key.clone());
    }
    assert_eq!(stored, keys);
    let terms = lease_terms(&app);
    let state = book.lease_state(Currency::USD, Provider::CoinMarketCap, terms, &cost);
    let state = state.await.expect("a lease item");
    assert_eq!((state.until, state.failed_until), (None, None));
    assert_eq!(state.published.expect("prices").asked_at, app.now());
}

fn lease_terms(app: &TestApp) -> LeaseTerms {
    LeaseTerms {
        now: app.now(),
        length: Duration::from_secs(8),
    }
}

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";

#[tokio::test]
async fn tokens_beyond_a_batch_are_requested_by_the_next_answer() {
    let app = listing(25, &[("PRICE_FALLBACK", "none"), ("CMC_MAX_IDS", "10")]).await;
    app.fakes()
        .set_wallet(WALLET, (1..=25).map(rows::token).collect());
    app.get(WALLET, "wallet").await.ok();
    app.advance(61);
    for (ids, stale) in [(10, true), (20, true), (25, false), (25, false)] {
        let body = app.get(WALLET, "wallet").await.ok();
        assert_eq!(body["prices"]["stale"], stale);
        assert_eq!(body["prices"]["unpriced"], 0);
        assert_eq!(app.stats().coinmarketcap.ids, ids);
    }
    assert_eq!(app.stats().coinmarketcap.requests, 3);
}

#[tokio::test]
async fn every_token_is_refreshed_in_turn() {
    // Asked for once a price lifetime, with room for a third.
    let app = listing(30, &[("PRICE_FALLBACK", "none"), ("CMC_MAX_IDS", "10")]).await;
    let held = (1..=30).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    app.get(WALLET, "wallet").await.ok();
    let mut refreshed = BTreeSet::new();
    for _ in 0..4 {
        app.advance(61);
        let body = app.get(WALLET, "wallet").await.ok();
        let now = app.now().to_string();
        let fresh = positions(&body)
            .into_iter()
            .filter(|one| one["price"]["as_of"] == now);
        refreshed.extend(fresh.map(|one| one["id"].to_string()));
    }
    assert_eq!(refreshed.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_any_price_wait_for_a_slow_holder() {
    let app = listing(2, &[("PRICE_FALLBACK", "none")]).await;
    let held = vec![rows::token(1), rows::token(2)];
    app.fakes().set_wallet(WALLET, held);
    app.get(WALLET, "aggregate").await.ok();
    let slow = Fault {
        delay_ms: Some(3000),
        ..Fault::default()
    };
    app.fakes().set_fault(Provider::CoinMarketCap, Some(slow));
    let processes = processes(&app);
    // In a currency that was never asked for.
    let asked = processes.iter().map(|service| async {
        let request = Request {
            deadline: app.now().plus(Duration::from_secs(20)),
            ..Request::default()
        };
        service.portfolio(&query(WALLET, "eur"), &request).await
    });
    for answer in futures::future::join_all(asked).await {
        assert!(!answer.expect("an answer").price_level.stale);
    }
    // One of them asks, for two tokens and three coins for the rate; the others
    // wait for it.
    assert_eq!(app.stats().coinmarketcap.ids, 5);
}

#[tokio::test]
async fn differing_clocks_cost_no_additional_requests() {
    let app = listing(40, &[("PRICE_FALLBACK", "none")]).await;
    let held = (1..=40).map(rows::token).collect();
    app.fakes().set_wallet(WALLET, held);
    app.get(WALLET, "aggregate").await.ok();
    app.advance(70);
    let mut requests = Vec::new();
    for seconds in [0_i64, -2, 2, 0] {
        let now = Timestamp::from_millis(app.now().as_millis() + seconds * 1000);
        let clock = Arc::new(ManualClock::at(now));
        let service = App::with_clock(app.config(), clock)
            .service()
            .expect("a service");
        let request = Request {
            deadline: now.plus(Duration::from_secs(20)),
            ..Request::default()
        };
        let answer = service.portfolio(&query(WALLET, "usd"), &request).await;
        assert!(!answer.expect("an answer").price_level.stale);
        requests.push(app.stats().coinmarketcap.requests);
    }
    assert_eq!(requests, [1, 1, 1, 1]);
}

#[tokio::test]
async fn the_lease_of_a_crashed_holder_is_taken_over() {
    let variables = [("PRICE_FALLBACK", "none"), ("PRICE_TIMEOUT_MS", "5000")];
    let app = listing(1, &variables).await;
    app.fakes().set_wallet(WALLET, vec![rows::token(1)]);
    let before = app.get(WALLET, "aggregate").await.ok();
    app.advance(61);
    let book = DynamoPriceBook::new(app.table(), Duration::from_secs(960));
    let cost = RequestCost::default();
    let taken = book.take_lease(
        Currency::USD,
        Provider::CoinMarketCap,
        lease_terms(&app),
        &cost,
    );
    assert!(matches!(taken.await, Ok(PriceLease::Won(..))));
    // The old price answers, marked; no other process asks meanwhile.
    let answer = app.get(WALLET, "aggregate").await.ok();
    assert_eq!(answer["prices"]["stale"], true);
    assert_eq!(answer["totals"], before["totals"]);
    assert_eq!(app.stats().coinmarketcap.requests, 0);
    // A holder that is a second late is not waited for.
    app.advance(1);
    let cost = request_cost(&app).await;
    assert_eq!((cost.round_trips, cost.upstream_calls), (2, 0));
    // The lease ends by itself.
    app.advance(8);
    let answer = app.get(WALLET, "aggregate").await.ok();
    assert_eq!(answer["prices"]["stale"], false);
    assert_eq!(app.stats().coinmarketcap.requests, 1);
}

/// What a request for the wallet costs.
async fn request_cost(app: &TestApp) -> RequestCostTotals {
    let service = App::with_clock(app.config(), app.clock.clone())
        .service()
        .expect("a service");
    let request = Request {
        deadline: app.now().plus(Duration::from_secs(20)),
        ..Request::default()
    };
    let answer = service.portfolio(&query(WALLET, "usd"), &request).await;
    assert!(answer.expect("an answer").price_level.stale);
    request.cost.totals()
}
