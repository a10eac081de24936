//! The shared price book: its cost depends on the tokens that are alive, not
//! on the wallets that are asked for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use portfolio::{
    app,
    domain::{address::Address, query::Query, scope::Scope},
    service::{Request, Service, Snapshot},
};
use portfolio_tests::{World, rows};

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

async fn ask(service: &Service, world: &World, address: &str) -> Snapshot {
    let request = Request {
        deadline: world.now().plus(Duration::from_secs(20)),
        ..Request::default()
    };
    let query = query(address, "usd");
    let answered = service.portfolio(&query, &request).await;
    answered.expect("an answer")
}

/// A world in which CoinMarketCap lists the first `tokens` tokens.
async fn listing(tokens: u32, variables: &[(&str, &str)]) -> World {
    let world = World::with(variables).await;
    for number in 1..=tokens {
        world.standins().set_coin(rows::listed(number));
    }
    let update = app::registry_update(world.config()).expect("an update");
    update.run().await.expect("a filled registry");
    world.standins().reset_stats();
    world
}

fn processes(world: &World) -> Vec<Arc<Service>> {
    (0..PROCESSES)
        .map(|_| Arc::new(app::service(world.config(), world.clock.clone()).expect("a service")))
        .collect()
}

/// Requests for all wallets, spread over the processes, 32 at a time.
async fn ask_all(world: &World, processes: &[Arc<Service>], addresses: &[String]) -> Vec<Snapshot> {
    stream::iter(addresses.iter().enumerate())
        .map(|(at, address)| ask(&processes[at % processes.len()], world, address))
        .buffer_unordered(32)
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_grow_with_the_wallets() {
    let world = listing(TOKENS, &[("PRICE_FALLBACK", "none")]).await;
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
            world.standins().set_wallet(&address, held_rows);
            addresses.push(address);
            alive.extend(held);
        }
        let processes = processes(&world);
        ask_all(&world, &processes, &addresses).await;
        assert_eq!(world.stats().coinmarketcap.requests, 0);

        world.advance(61);
        world.standins().reset_stats();
        let answers = ask_all(&world, &processes, &addresses).await;
        let now = world.now();
        for answer in &answers {
            assert!(!answer.price_level.stale && answer.price_level.fresh_until > now);
        }
        let stats = world.stats();
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
        // What nobody holds any more is forgotten before the next round.
        world.advance(1200);
        world.standins().reset_stats();
    }
}
