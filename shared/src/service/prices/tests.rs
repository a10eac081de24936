//! The reader of prices over a book in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::*;
use crate::{
    cache::{CachedPart, CachedWallet, codec, price_book::StoredPage},
    clock::{Clock, Timestamp},
    config::Lifetime,
    domain::{
        address::Address,
        asset_mapping::AssetResolver,
        currency::Currency,
        decimal::Decimal,
        decoded::StoredHoldings,
        holdings_builder::HoldingsBuilder,
        price::{CmcId, Price, PriceTable},
        price_book::{DemandWindow, QuoteKey},
        provider::Provider,
        provider_position::{Implementation, ProviderPosition},
        quantity::Quantity,
        query::Query,
        scope::{Part, Scope},
    },
    service::{
        context::{CacheOutcome, Detail, Level, Request},
        policy::{PRICE_FAILURE_TTL, Policy, SOFT_PRICE_TIMEOUT},
        rate_limits::RateLimits,
        structure::{LoadedHoldings, WalletCache},
        testing::{DollarQuotes, MemoryBook, NoRateLimits, NoWallets, VirtualClock},
    },
    sync::locked,
    upstream::Failure,
};

/// The number at the end of a contract is the coin's id.
struct ByContract;

impl AssetResolver for ByContract {
    fn resolve(&self, _: &str, contract: Option<&str>) -> Option<CmcId> {
        contract?.trim_start_matches("0x").parse().ok().map(CmcId)
    }
}

fn row(id: u32) -> ProviderPosition {
    let contract = format!("0x{id:040}");
    ProviderPosition {
        id: format!("{contract}-ethereum-asset-asset"),
        kind: Some("wallet".to_owned()),
        chain: "ethereum".to_owned(),
        fungible: Some(contract.clone()),
        verified: true,
        implementations: vec![Implementation {
            chain: "ethereum".to_owned(),
            address: Some(contract),
            decimals: Some(6),
        }],
        quantity: Quantity::parse(Some("1000000"), Some(6), None).map(Quantity::into_owned),
        displayable: true,
        price: Some(Decimal::ONE),
        ..ProviderPosition::default()
    }
}

/// Holdings of some coins, fetched at one moment.
fn held(ids: &[u32], fetched_at: Timestamp) -> LoadedHoldings {
    let mut draft = HoldingsBuilder::default();
    for id in ids {
        draft.push(row(*id), Some(Part::Wallet));
    }
    let encoded = draft.encode(Part::Wallet, &draft.map(&ByContract));
    let prices = encoded.prices.into_iter().map(|(key, amount, change)| {
        let price = Price::new(amount, change, Provider::Zerion, fetched_at);
        (key, price)
    });
    let part = CachedPart {
        hash: codec::hash(&encoded.bytes),
        holdings: StoredHoldings::new(encoded.bytes).unwrap(),
        fetched_at,
        currency: Currency::USD,
        prices: PriceTable::new(prices.collect()),
    };
    LoadedHoldings {
        parts: BTreeMap::from([(Part::Wallet, Arc::new(part))]),
        fetched_at,
        level: Level::fresh(fetched_at.plus(Duration::from_secs(300))),
        fetched: false,
        unchanged: false,
        missing: Vec::new(),
        cached: CachedWallet::default(),
        storable: true,
    }
}

struct World {
    clock: Arc<VirtualClock>,
    book: Arc<MemoryBook>,
    wallets: Arc<NoWallets>,
    quotes: Arc<DollarQuotes>,
    started: Timestamp,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::start());
        Self {
            started: clock.now(),
            clock,
            book: Arc::default(),
            wallets: Arc::default(),
            quotes: DollarQuotes::new(),
        }
    }

    /// A reader with an empty memory, as in a new process.
    fn reader(&self) -> PriceReader {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let seconds = Duration::from_secs;
        let policy = Policy {
            structure: Lifetime {
                ttl: seconds(300),
                stale: seconds(86_400),
            },
            prices: Lifetime {
                ttl: seconds(60),
                stale: seconds(900),
            },
            structure_timeout: seconds(20),
            price_timeout: seconds(5),
            wallet_cache_bytes: 1 << 20,
        };
        let rate_limits = RateLimits::new(Arc::new(NoRateLimits), clock.clone());
        let shared = SharedPrices {
            book: self.book.clone(),
            page_cache: PageCache::default(),
            sources: Sources {
                providers: vec![self.quotes.clone()],
                clock: clock.clone(),
            },
            rate_limits: Arc::new(rate_limits),
            clock,
            policy,
        };
        let copies = WalletCache::new(policy.wallet_cache_bytes, policy.structure.ttl);
        PriceReader::new(Arc::new(shared), self.wallets.clone(), Arc::new(copies))
    }

    /// The level of prices for a wallet that holds some coins.
    async fn read(&self, reader: &PriceReader, ids: &[u32]) -> Level {
        let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234");
        let query = Query::all(address.unwrap(), Scope::Wallet);
        let request = Request {
            deadline: self.clock.now().plus(Duration::from_secs(25)),
            ..Request::default()
        };
        let held = held(ids, self.started);
        let (prices, level) = reader.get(&query, &held, &request).await.unwrap();
        assert_eq!(prices.table.entries().len(), ids.len());
        level
    }

    fn requests(&self) -> Vec<BTreeSet<QuoteKey>> {
        locked(&self.quotes.requests).clone()
    }
}

fn keys(ids: &[u32]) -> BTreeSet<QuoteKey> {
    ids.iter().map(|id| QuoteKey::cmc(CmcId(*id))).collect()
}

async fn minutes(count: u32) {
    tokio::time::sleep(count * Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn prices_that_came_with_holdings_are_used_until_they_expire() {
    let world = World::new();
    let reader = world.reader();
    let level = world.read(&reader, &[1, 2]).await;
    assert_eq!((level.outcome, level.stale), (CacheOutcome::Hit, false));
    assert!(world.requests().is_empty());
    minutes(1).await;
    let level = world.read(&reader, &[1, 2]).await;
    let asked = Some(Detail::Provider(Provider::CoinMarketCap));
    assert_eq!(
        (level.outcome, level.stored, level.detail),
        (CacheOutcome::Expired, true, asked)
    );
    assert_eq!(world.requests(), [keys(&[1, 2])]);
    assert_eq!(world.wallets.prices_stored.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn one_request_brings_what_others_want_too() {
    let world = World::new();
    let note = |id| {
        let key = QuoteKey::cmc(CmcId(id));
        let page = StoredPage {
            demand: [(key.clone(), DemandWindow::of(world.clock.now()))].into(),
            ..StoredPage::default()
        };
        locked(&world.book.pages).insert(key.page(), page);
    };
    note(7);
    minutes(1).await;
    world.read(&world.reader(), &[1]).await;
    assert_eq!(world.requests(), [keys(&[1, 7])]);
    // Another process finds it in the book.
    let level = world.read(&world.reader(), &[7]).await;
    assert_eq!((level.stale, level.detail), (false, Some(Detail::Book)));
    assert_eq!(world.requests().len(), 1);
    // What is not wanted any more is not asked for.
    minutes(16).await;
    world.read(&world.reader(), &[1]).await;
    assert_eq!(world.requests().last(), Some(&keys(&[1])));
}

#[tokio::test(start_paused = true)]
async fn what_the_book_has_is_not_waited_for_while_another_process_refreshes() {
    let world = World::new();
    minutes(1).await;
    world.read(&world.reader(), &[1]).await;
    let now = world.clock.now();
    locked(&world.book.lease).until = Some(now.plus(Duration::from_secs(8)));
    let level = world.read(&world.reader(), &[1]).await;
    assert_eq!((level.stale, level.detail), (false, Some(Detail::Book)));
    assert_eq!(world.clock.now(), now);
}

#[tokio::test(start_paused = true)]
async fn simultaneous_misses_are_one_request() {
    let world = World::new();
    minutes(1).await;
    let readers: Vec<_> = (0..8).map(|_| world.reader()).collect();
    let read = readers.iter().map(|reader| world.read(reader, &[1, 2]));
    let levels = futures::future::join_all(read).await;
    assert!(levels.iter().all(|level| !level.stale));
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_delays_old_prices_for_a_second_in_all() {
    let world = World::new();
    minutes(1).await;
    let now = world.clock.now();
    // Taken by a process that is never heard of again.
    locked(&world.book.lease).until = Some(now.plus(Duration::from_secs(8)));
    let level = world.read(&world.reader(), &[1]).await;
    assert!(level.stale);
    let waited = world.clock.now().since(now);
    assert!(waited >= SOFT_PRICE_TIMEOUT && waited < 2 * SOFT_PRICE_TIMEOUT);
    let before = world.clock.now();
    let level = world.read(&world.reader(), &[1]).await;
    assert!(level.stale);
    assert_eq!(world.clock.now(), before);
    assert!(world.requests().is_empty());
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(!world.read(&world.reader(), &[1]).await.stale);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_others_and_old_prices_answer() {
    let world = World::new();
    minutes(1).await;
    *locked(&world.quotes.failure) = Some(Failure::Unavailable("HTTP 502".to_owned()));
    for _ in 0..3 {
        let level = world.read(&world.reader(), &[1]).await;
        let detail = Some(Detail::UpstreamError);
        assert_eq!(
            (level.outcome, level.stale, level.detail),
            (CacheOutcome::Hit, true, detail)
        );
    }
    assert_eq!(world.requests().len(), 1);
    *locked(&world.quotes.failure) = None;
    tokio::time::sleep(PRICE_FAILURE_TTL).await;
    assert!(!world.read(&world.reader(), &[1]).await.stale);
    // The lease was free all the while.
    assert!(locked(&world.book.lease).until.is_none());
}

#[tokio::test(start_paused = true)]
async fn published_prices_are_waited_for_until_they_are_seen() {
    let world = World::new();
    minutes(1).await;
    world.read(&world.reader(), &[1]).await;
    // The end of the lease is seen, the page not yet.
    let page =
        locked(&world.book.pages).insert(QuoteKey::cmc(CmcId(1)).page(), StoredPage::default());
    let reader = world.reader();
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let page = page.unwrap();
        locked(&world.book.pages).insert(QuoteKey::cmc(CmcId(1)).page(), page);
    };
    let (level, ()) = futures::join!(world.read(&reader, &[1]), late);
    assert!(!level.stale);
    assert_eq!(world.requests().len(), 1);
}
