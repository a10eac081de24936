//! What the price book costs under load: wallets that are asked for once a
//! minute each, over several processes, in virtual time and without any fault.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use portfolio::{
    cache::{
        DynamoAssetStore, DynamoPriceBook, DynamoRateLimits, DynamoWalletStore, Retention, Table,
        asset_registry::{AssetStore, Assets},
    },
    clock::Clock,
    config::Lifetime,
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        holdings_builder::HoldingsBuilder,
        price::CmcId,
        price_book::QuoteId,
        provider::Provider,
        provider_position::{Implementation, ProviderPosition},
        quantity::Quantity,
        query::Query,
        scope::{Part, Scope},
    },
    service::{CacheOutcome, Policy, Ports, Request, Service},
    telemetry::request_cost::RequestCost,
    upstream::{
        Attempts, FetchedStructure, HoldingsProvider, Quote, QuoteProvider, QuoteTerms,
        UpstreamError, coinmarketcap,
    },
};

use crate::{
    rng::Rng,
    table::SimTable,
    world::{TrueClock, World, as_millis, locked, millis},
};

/// Tokens that CoinMarketCap lists here.
const TOKENS: u32 = 9000;
/// Processes that share the requests.
const PROCESSES: usize = 8;
/// Each wallet is asked for once in this long.
const PERIOD: i64 = 62_000;
/// Rounds before anything is counted: the first brings the holdings.
const WARM_UP: i64 = 2;
/// Rounds that are counted.
const ROUNDS: i64 = 4;

/// What was counted, of the rounds after the first ones.
#[derive(Clone, Debug, Default)]
pub struct PriceLoad {
    /// Different tokens that the wallets hold.
    pub tokens: usize,
    /// Answers whose prices had expired.
    pub misses: usize,
    /// How long these took, in milliseconds, sorted.
    pub took: Vec<i64>,
    /// Those of them that old prices stood in for.
    pub stale: usize,
    /// Requests to CoinMarketCap, a minute.
    pub requests: u64,
    /// Its credits, a minute: one for each 100 coins of a request.
    pub credits: u64,
    /// Read and write units of all answers, in thousandths.
    pub units: (u64, u64),
}

impl PriceLoad {
    /// Returns how long all but so many of a hundred misses took.
    pub fn percentile(&self, percent: usize) -> i64 {
        let at = self.took.len() * percent / 100;
        let last = self.took.len().saturating_sub(1);
        self.took.get(at.min(last)).copied().unwrap_or(0)
    }

    /// Returns the read and write units of an answer whose prices had expired,
    /// in thousandths.
    pub fn units_each(&self) -> (u64, u64) {
        let misses = u64::try_from(self.misses).unwrap_or(1).max(1);
        (self.units.0 / misses, self.units.1 / misses)
    }
}

/// Wallets, and tokens by how often they are held: the n-th most popular one n
/// times less often than the most popular.
struct Upstreams {
    world: Arc<World>,
    wallets: Vec<(Address, BTreeSet<u32>)>,
    requests: AtomicU64,
    credits: AtomicU64,
}

impl Upstreams {
    fn new(world: Arc<World>, wallets: u32, rng: &mut Rng) -> Self {
        let mut sum = 0;
        let cumulated = (1..=u64::from(TOKENS)).map(|rank| {
            sum += 1_000_000_000 / rank;
            sum
        });
        let cumulated: Vec<u64> = cumulated.collect();
        let token = |rng: &mut Rng| {
            let at = rng.below(cumulated.last().copied().unwrap_or(1));
            let index = cumulated.partition_point(|sum| *sum <= at);
            u32::try_from(index).unwrap_or(0) + 1
        };
        let wallet = |number: u32| {
            let text = format!("0x{number:040x}");
            let address = Address::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let count = rng.between(5, 54);
            let mut held = BTreeSet::new();
            while (held.len() as u64) < count {
                held.insert(token(rng));
            }
            (address, held)
        };
        Self {
            world,
            wallets: (1..=wallets).map(wallet).collect(),
            requests: AtomicU64::new(0),
            credits: AtomicU64::new(0),
        }
    }

    /// Waits as long as a provider takes.
    async fn wait(&self) {
        let took = self.world.draw(|rng, _| rng.between(150, 450));
        tokio::time::sleep(Duration::from_millis(took)).await;
    }
}

fn contract(number: u32) -> String {
    format!("0xc{number:039x}")
}

fn price(number: u32) -> Decimal {
    Decimal::new(i64::from(number) * 1_000_003, -5)
}

fn row(number: u32) -> ProviderPosition {
    let contract = contract(number);
    ProviderPosition {
        id: format!("{contract}-ethereum-asset-asset"),
        kind: Some("wallet".to_owned()),
        name: "Asset".to_owned(),
        chain: "ethereum".to_owned(),
        fungible: Some(contract.clone()),
        symbol: format!("T{number}"),
        token_name: format!("Token {number}"),
        verified: true,
        implementations: vec![Implementation {
            chain: "ethereum".to_owned(),
            address: Some(contract),
            decimals: Some(6),
        }],
        quantity: Quantity::parse(Some("1000000"), Some(6), None).map(Quantity::into_owned),
        decimals: Some(6),
        displayable: true,
        price: Some(price(number)),
        ..ProviderPosition::default()
    }
}

#[async_trait]
impl HoldingsProvider for Upstreams {
    async fn fetch(
        &self,
        address: &Address,
        _: Scope,
        _: Currency,
        _: Duration,
        _: Attempts,
    ) -> Result<FetchedStructure, UpstreamError> {
        self.wait().await;
        let mut wallets = self.wallets.iter();
        let (_, held) = wallets
            .find(|(it, _)| it == address)
            .unwrap_or_else(|| panic!("{address} is no wallet"));
        let mut draft = HoldingsBuilder::default();
        for number in held {
            draft.push(row(*number), Some(Part::Wallet));
        }
        let complete = true;
        Ok(FetchedStructure { draft, complete })
    }
}

#[async_trait]
impl QuoteProvider for Upstreams {
    fn provider(&self) -> Provider {
        Provider::CoinMarketCap
    }

    fn terms(&self) -> QuoteTerms {
        coinmarketcap::terms(1000)
    }

    fn id(&self, _: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        coinmarketcap::id_of(token)
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        _: Currency,
        _: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let credits = u64::try_from(ids.len().div_ceil(100)).unwrap_or(0);
        self.credits.fetch_add(credits, Ordering::Relaxed);
        self.wait().await;
        let quote = |id: &QuoteId| match id {
            QuoteId::Number(number) => Some(Quote {
                id: id.clone(),
                price: Ok(price(*number)),
                change_24h_percent: None,
                as_of: None,
            }),
            QuoteId::Text(_) => None,
        };
        Ok(ids.iter().filter_map(quote).collect())
    }
}

fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        structure: Lifetime {
            // Holdings stay: what is looked at are prices.
            ttl: seconds(86_400),
            stale: seconds(86_400),
        },
        prices: Lifetime {
            ttl: seconds(60),
            stale: seconds(900),
        },
        structure_timeout: seconds(20),
        price_timeout: seconds(5),
        // As in processes that see each wallet once.
        wallet_cache_bytes: 0,
    }
}

fn service(table: &Arc<SimTable>, upstreams: &Arc<Upstreams>, clock: &Arc<dyn Clock>) -> Service {
    let policy = policy();
    let retention = Retention {
        structure: policy.structure.max_usable_age(),
        prices: policy.prices.max_usable_age(),
    };
    let table = Table::new(table.client(), clock.clone());
    let ports = Ports {
        structures: upstreams.clone(),
        quotes: vec![upstreams.clone()],
        wallets: Arc::new(DynamoWalletStore::new(table.clone(), retention)),
        assets: Arc::new(DynamoAssetStore::new(table.clone())),
        book: Arc::new(DynamoPriceBook::new(table.clone(), retention.prices)),
        rate_limits: Arc::new(DynamoRateLimits::new(table)),
        queue: None,
        auto_watch: None,
        clock: clock.clone(),
    };
    Service::new(ports, policy)
}

/// Asks for one wallet, and counts what it took.
async fn ask(world: &World, service: &Service, address: &Address, counted: &Mutex<PriceLoad>) {
    let request = Request {
        deadline: service.now().plus(Duration::from_secs(25)),
        ..Request::default()
    };
    let began = world.now();
    let query = Query::all(address.clone(), Scope::Aggregate);
    let answer = service.portfolio(&query, &request).await;
    let answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
    let took = world.now() - began;
    let mut load = locked(counted);
    let missed = answer.price_level.outcome != CacheOutcome::Hit || answer.price_level.stale;
    if missed || answer.price_level.detail.is_some() {
        load.misses += 1;
        load.took.push(took);
        load.stale += usize::from(answer.price_level.stale);
        let totals = request.cost.totals();
        load.units.0 += thousandths(totals.read_units);
        load.units.1 += thousandths(totals.write_units);
    }
}

#[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
fn thousandths(units: f64) -> u64 {
    (units * 1000.0) as u64
}

/// Runs so many wallets, each of which is asked for once a minute.
pub fn run(wallets: u32, seed: u64) -> PriceLoad {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let mut rng = Rng::new(seed);
        let world = Arc::new(World::new(rng.draw(), false));
        let upstreams = Arc::new(Upstreams::new(world.clone(), wallets, &mut rng));
        let table = SimTable::new(world.clone(), 1 << 20);
        let clock: Arc<dyn Clock> = Arc::new(TrueClock(world.clone()));
        let mut assets = Assets::default();
        for number in 1..=TOKENS {
            assets.insert("ethereum", Some(&contract(number)), CmcId(number));
        }
        let registry = DynamoAssetStore::new(Table::new(table.client(), clock.clone()));
        let cost = RequestCost::default();
        let written = registry.write(&assets, clock.now(), &cost).await;
        written.unwrap_or_else(|error| panic!("no registry: {error}"));
        let services: Vec<_> = (0..PROCESSES)
            .map(|_| Arc::new(service(&table, &upstreams, &clock)))
            .collect();
        let counted = Arc::new(Mutex::new(PriceLoad::default()));
        let mut tasks = Vec::new();
        for (address, _) in &upstreams.wallets {
            let phase = rng.below(u64::try_from(PERIOD).unwrap_or(1));
            let mut moment = i64::try_from(phase).unwrap_or(0);
            for _ in 0..WARM_UP + ROUNDS {
                let process = usize::try_from(rng.below(PROCESSES as u64)).unwrap_or(0);
                let service = services[process].clone();
                let (world, counted) = (world.clone(), counted.clone());
                let address = address.clone();
                tasks.push(tokio::spawn(async move {
                    tokio::time::sleep(millis(moment)).await;
                    ask(&world, &service, &address, &counted).await;
                }));
                moment += PERIOD + i64::try_from(rng.below(2000)).unwrap_or(0);
            }
        }
        tokio::time::sleep(millis(PERIOD * WARM_UP)).await;
        *locked(&counted) = PriceLoad::default();
        for count in [&upstreams.requests, &upstreams.credits] {
            count.store(0, Ordering::Relaxed);
        }
        let began = world.now();
        for task in tasks {
            task.await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        let minutes = u64::try_from((world.now() - began) / as_millis(Duration::from_secs(60)));
        let minutes = minutes.unwrap_or(1).max(1);
        let mut load = locked(&counted).clone();
        load.took.sort_unstable();
        load.requests = upstreams.requests.load(Ordering::Relaxed) / minutes;
        load.credits = upstreams.credits.load(Ordering::Relaxed) / minutes;
        let held = upstreams.wallets.iter().flat_map(|(_, held)| held);
        load.tokens = held.collect::<BTreeSet<_>>().len();
        load
    })
}
