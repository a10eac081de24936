//! Random requests, deletions, faults and jumps of the clock over several
//! processes and one table; every answer is checked against what the providers
//! have given.
//!
//! Ten seconds in `cargo test`. For longer, with the figures:
//! `SOAK_SECONDS=600 cargo test --workspace --test it soak:: -- --nocapture`.
//! `SOAK_SEED` takes another course.

mod check;
mod model;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures::future::{Either, join_all, select};
use portfolio::{
    clock::Timestamp, domain::provider::Provider, domain::scope::Scope, lambda::QueryFunction,
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{TestApp, ask, random::Random, table::TableFault};

use self::{
    check::{Asked, Faults, check},
    model::Model,
};

const PROCESSES: usize = 3;
const ENDPOINTS: [&str; 3] = ["aggregate", "defi", "wallet"];
/// Seconds that the clock jumps between two batches.
const JUMPS: [u64; 9] = [0, 0, 1, 5, 20, 45, 61, 90, 150];
const UPSTREAMS: [Provider; 3] = [
    Provider::Zerion,
    Provider::CoinMarketCap,
    Provider::DefiLlama,
];

/// What went wrong by kind: how often, and the first time.
type Wrong = BTreeMap<&'static str, (usize, String)>;
/// A request's status, and what is wrong with its answer.
type Outcome = (u16, Vec<(&'static str, String)>);

/// One run.
struct Soak {
    app: TestApp,
    processes: Vec<Vec<QueryFunction>>,
    model: RefCell<Model>,
    faults: Faults,
    random: Random,
    currencies: &'static [&'static str],
    statuses: BTreeMap<u16, usize>,
    wrong: Wrong,
}

/// One request of a batch.
struct Call {
    process: usize,
    scope: usize,
    wallet: usize,
    currency: &'static str,
    delete: bool,
    no_cache: bool,
    after: Duration,
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |text| text.parse().expect("a number"))
}

/// This process's memory in use.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.map_or_else(String::new, |it| it.split_whitespace().skip(1).collect())
}

#[tokio::test]
async fn every_answer_in_dollars_matches_what_the_providers_gave() {
    run(&["usd"]).await;
}

#[tokio::test]
async fn every_answer_in_two_currencies_matches_what_the_providers_gave() {
    run(&["usd", "usd", "eur"]).await;
}

async fn run(currencies: &'static [&'static str]) {
    let length = Duration::from_secs(number("SOAK_SECONDS", 10));
    let seed = number("SOAK_SEED", 1);
    let mut soak = Soak::new(seed, currencies).await;
    let (started, before) = (Instant::now(), memory());
    let clock = soak.app.now();
    while started.elapsed() < length {
        soak.between_batches();
        soak.batch().await;
    }
    let requests: usize = soak.statuses.values().sum();
    let stats = soak.app.stats();
    println!(
        "{currencies:?}, seed {seed}: {requests} requests in {:.0?}, {:.0?} on the functions' clock; statuses {:?}; \
         to Zerion {}, CoinMarketCap {}, DeFiLlama {}; memory {before} at the start, {} at the end",
        started.elapsed(),
        soak.app.now().since(clock),
        soak.statuses,
        stats.zerion.requests,
        stats.coinmarketcap.requests,
        stats.defillama.requests,
        memory()
    );
    for (kind, (count, first)) in &soak.wrong {
        println!("{count:>6} × {kind}; the first: {first}");
    }
    assert!(soak.wrong.is_empty(), "wrong answers, see above");
}

impl Soak {
    async fn new(seed: u64, currencies: &'static [&'static str]) -> Self {
        let variables = [("ZERION_TIMEOUT_MS", "1000"), ("PRICE_TIMEOUT_MS", "800")];
        let (app, table) = TestApp::with_faulty_table(&variables).await;
        app.list(model::LISTED).await;
        // Writes that belong together arrive at different times.
        table.set(Some(TableFault::Slow(25)), None);
        table.fail_every(3);
        let mut random = Random::new(seed);
        let model = Model::new(&app, &mut random);
        let mut soak = Self {
            processes: Vec::new(),
            model: RefCell::new(model),
            faults: Faults::none(app.now()),
            random,
            currencies,
            statuses: BTreeMap::new(),
            wrong: Wrong::new(),
            app,
        };
        for _ in 0..PROCESSES {
            let process = soak.process();
            soak.processes.push(process);
        }
        soak
    }

    /// A process of each function.
    fn process(&self) -> Vec<QueryFunction> {
        let scope = |name| Scope::parse(name).expect("a scope");
        ENDPOINTS
            .map(|name| self.app.process(scope(name)))
            .into_iter()
            .collect()
    }

    /// Time passes, providers fail and recover, prices and holdings change, and
    /// now and then a process is replaced.
    fn between_batches(&mut self) {
        let jump = JUMPS[self.random.index(JUMPS.len())];
        self.app.advance(jump);
        let now = self.app.now();
        for upstream in UPSTREAMS {
            let (begins, ends) = match upstream {
                Provider::DefiLlama => (150, 400),
                _ => (60, 500),
            };
            let failing = self.faults.is_set(upstream);
            if failing && self.random.chance(ends) {
                self.app.fakes().set_fault(upstream, None);
                self.faults.clear(upstream, now);
            } else if !failing && self.random.chance(begins) {
                let fault = self.fault();
                self.app.fakes().set_fault(upstream, Some(fault));
                self.faults.set(upstream);
            }
        }
        let model = self.model.get_mut();
        model.quote(&self.app, &mut self.random);
        for wallet in 0..model::WALLETS {
            if self.random.chance(60) {
                model.change(&self.app, &mut self.random, wallet);
            }
        }
        if self.random.chance(20) {
            let at = self.random.index(PROCESSES);
            self.processes[at] = self.process();
        }
    }

    /// Some trouble.
    fn fault(&mut self) -> Fault {
        let slow = |delay_ms| Fault {
            delay_ms: Some(delay_ms),
            ..Fault::default()
        };
        match self.random.below(24) {
            0..9 => Fault::status(500),
            9..13 => Fault::status(503),
            13..17 => Fault {
                headers: [("retry-after".to_owned(), "3".to_owned())].into(),
                ..Fault::status(429)
            },
            17..23 => slow(250),
            _ => slow(60_000),
        }
    }

    fn call(&mut self, wallet: usize) -> Call {
        let random = &mut self.random;
        Call {
            process: random.index(PROCESSES),
            scope: random.index(ENDPOINTS.len()),
            wallet,
            currency: self.currencies[random.index(self.currencies.len())],
            delete: random.chance(20),
            no_cache: random.chance(50),
            after: Duration::from_millis(random.below(60)),
        }
    }

    /// Some requests at once, half of the time all for one wallet.
    async fn batch(&mut self) {
        let hot = self.random.chance(500);
        let one = self.random.index(model::WALLETS);
        let mut calls = Vec::new();
        for _ in 0..=self.random.below(40) {
            let wallet = match hot {
                true => one,
                false => self.random.index(model::WALLETS),
            };
            calls.push(self.call(wallet));
        }
        let jump = match self.random.chance(100) {
            true => self.random.below(4),
            false => 0,
        };
        let seeds = calls.iter().map(|_| self.random.bits()).collect();
        let outcomes = self.together(&calls, seeds, jump).await;
        for (status, wrong) in outcomes {
            *self.statuses.entry(status).or_default() += 1;
            for (kind, what) in wrong {
                let entry = self.wrong.entry(kind).or_insert((0, what));
                entry.0 += 1;
            }
        }
    }

    /// Makes the requests while the clock goes on as in reality, with a jump of
    /// some seconds soon after they began.
    async fn together(&self, calls: &[Call], seeds: Vec<u64>, jump: u64) -> Vec<Outcome> {
        let mut seeds: Vec<Random> = seeds.into_iter().map(Random::new).collect();
        let made = calls.iter().zip(&mut seeds);
        let made = join_all(made.map(|(call, random)| self.make(call, random)));
        let pass = async {
            for tick in 0_u64.. {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let jump = if tick == 8 { jump } else { 0 };
                let passed = Duration::from_millis(jump * 1000 + 5);
                self.app.clock.advance(passed);
            }
        };
        match select(pin!(made), pin!(pass)).await {
            Either::Left((outcomes, _)) => outcomes,
            Either::Right(((), made)) => made.await,
        }
    }

    /// Makes a request and tells its status and what is wrong with the answer.
    async fn make(&self, call: &Call, random: &mut Random) -> Outcome {
        tokio::time::sleep(call.after).await;
        let process = &self.processes[call.process];
        let address = model::address(call.wallet);
        if call.delete {
            // Deletions are served by the function of everything.
            let path = format!("/v1/wallets/{address}/cache");
            let (version, at) = {
                let mut model = self.model.borrow_mut();
                let version = model.change(&self.app, random, call.wallet);
                (version, self.app.now())
            };
            let answer = ask(&process[0], "DELETE", &path, &[]).await;
            let mut wrong = Vec::new();
            match answer.status {
                204 => self.model.borrow_mut().forgotten(call.wallet, version, at),
                status => wrong.push(("a deletion fails", format!("{status}"))),
            }
            return (answer.status, wrong);
        }
        let endpoint = ENDPOINTS[call.scope];
        let path = format!(
            "/v1/wallets/{address}/{endpoint}?currency={}",
            call.currency
        );
        let headers: &[(&str, &str)] = match call.no_cache {
            true => &[("cache-control", "no-cache")],
            false => &[],
        };
        let asked = {
            let model = self.model.borrow();
            let (floor, forgotten_at): (usize, Timestamp) = model.floor(call.wallet);
            Asked {
                wallet: call.wallet,
                endpoint,
                currency: call.currency,
                alone: self.currencies.len() == 1,
                floor,
                forgotten_at,
            }
        };
        let answer = ask(&process[call.scope], "GET", &path, headers).await;
        let now = self.app.now();
        let model = self.model.borrow();
        (
            answer.status,
            check(&model, &asked, &answer, &self.faults, now),
        )
    }
}
