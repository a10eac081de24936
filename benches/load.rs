//! A load on several processes while a twentieth of all calls to DynamoDB,
//! Zerion, CoinMarketCap and DeFiLlama fail in one of many ways. Every answer
//! is checked against what the wallet held at the time that it names.
//!
//! ```text
//! cargo bench --workspace --profile load --bench load -- [SECONDS [PER_SECOND [WALLETS]]]
//! ```
//!
//! Prints counts and latencies; ends with 1 if an answer was wrong.

use std::{
    collections::{BTreeMap, HashSet},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portfolio::{
    clock::{Clock, SystemClock, Timestamp},
    domain::{provider::Provider, scope::Scope},
    lambda::QueryFunction,
};
use portfolio_local::fakes::Fault;
use portfolio_tests::{
    TestApp, positions, rows,
    table::{FaultyTable, TableFault},
};

const PROCESSES: u64 = 4;
/// One call in so many fails.
const EVERY: u32 = 20;
/// How often the kind of fault changes.
const ROUND: Duration = Duration::from_millis(700);
/// How often the wallets change.
const EPOCH: Duration = Duration::from_secs(15);
/// How long it takes until all of them have changed, and what Zerion said before
/// may be on its way.
const CHANGING: Duration = Duration::from_secs(6);

/// What happened so far.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<String, u64>,
    millis: Vec<u128>,
    wrong: Vec<String>,
    /// Wallets whose holdings the cache has.
    cached: HashSet<u64>,
}

/// An app under load.
struct Load {
    app: TestApp,
    functions: Vec<QueryFunction>,
    wallets: u64,
    /// When each generation of holdings began.
    epochs: Mutex<Vec<Timestamp>>,
    tally: Mutex<Tally>,
}

fn address(wallet: u64) -> String {
    format!("0x{:040x}", wallet + 1)
}

/// How many tokens a wallet holds: its number and the generation can be told
/// from it.
fn held(wallet: u64, epoch: usize) -> u64 {
    5 + (wallet % 25) + 25 * (epoch as u64 % 7)
}

impl Load {
    /// All wallets hold something else from now on.
    fn change_wallets(&self) {
        let epoch = {
            let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
            epochs.push(SystemClock.now());
            epochs.len() - 1
        };
        for wallet in 0..self.wallets {
            let first = (wallet * 17) % 2000;
            let tokens = first..first + held(wallet, epoch);
            let rows = tokens.map(|it| rows::token(u32::try_from(it).unwrap_or(0) + 1));
            self.app
                .fakes()
                .set_wallet(&address(wallet), rows.collect());
        }
    }

    /// What is wrong with a body, if anything is.
    fn wrong(&self, wallet: u64, body: &serde_json::Value, asked: Timestamp) -> Option<String> {
        if body["address"] != address(wallet) {
            return Some("another wallet".to_owned());
        }
        let count = positions(body).len() as u64;
        let as_of = body["structure"]["as_of"].as_str()?;
        let as_of = Timestamp::parse(as_of)?;
        let epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let possible = epochs.iter().enumerate().any(|(epoch, begin)| {
            let end = epochs.get(epoch + 1).map(|end| end.plus(CHANGING));
            count == held(wallet, epoch) && as_of >= *begin && end.is_none_or(|end| as_of <= end)
        });
        if !possible {
            return Some(format!("{count} positions as of {as_of}"));
        }
        for level in ["structure", "prices"] {
            let until = body[level]["fresh_until"].as_str()?;
            let until = Timestamp::parse(until)?;
            let stale = body[level]["stale"] == true;
            if !stale && until < asked {
                return Some(format!("{level} is not fresh and not marked"));
            }
        }
        let unpriced = positions(body).iter().any(|it| it["value"].is_null());
        if unpriced || body["totals"]["net_worth"] == "0" {
            return Some("something has no value".to_owned());
        }
        None
    }

    async fn request(&self, number: u64, wallet: u64) {
        let process = &self.functions[(number % PROCESSES) as usize];
        let asked = SystemClock.now();
        let started = Instant::now();
        let answer = self.app.get_from(process, &address(wallet)).await;
        let took = started.elapsed().as_millis();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.millis.push(took);
        let outcome = match answer.status {
            200 => {
                let body = answer.json();
                if let Some(wrong) = self.wrong(wallet, &body, asked) {
                    tally.wrong.push(format!("{}: {wrong}", address(wallet)));
                }
                let status = answer.header("cache-status");
                let structure = status.split(", ").next().unwrap_or_default();
                if structure.contains("hit") || structure.contains("stored") {
                    tally.cached.insert(wallet);
                }
                let stale = |level: &str| match body[level]["stale"] == true {
                    true => " stale",
                    false => "",
                };
                let word = |at: usize| {
                    let member = status.split(", ").nth(at).unwrap_or_default();
                    member.split("; ").nth(1).unwrap_or_default().to_owned()
                };
                let (s, p) = (stale("structure"), stale("prices"));
                format!("200  structure {}{s}, prices {}{p}", word(0), word(1))
            }
            status => {
                if tally.cached.contains(&wallet) {
                    tally
                        .wrong
                        .push(format!("{}: {status} despite holdings", address(wallet)));
                }
                format!("{status}  {}", answer.json()["code"])
            }
        };
        *tally.outcomes.entry(outcome).or_default() += 1;
    }

    /// Another kind of fault in everything.
    fn change_faults(&self, round: usize, table: &FaultyTable) {
        let retry = [("retry-after".to_owned(), "1".to_owned())];
        let every = Some(EVERY);
        let garbage = Fault {
            body: Some("<html>".to_owned()),
            ..Fault::status(200)
        };
        let cut = Fault {
            cut_after: Some(300),
            ..Fault::default()
        };
        let slow = Fault {
            delay_ms: Some(2500),
            ..Fault::default()
        };
        let limited = Fault {
            headers: retry.into(),
            ..Fault::status(429)
        };
        let empty = Fault {
            body: Some("{}".to_owned()),
            ..Fault::status(200)
        };
        let null = Fault {
            body: Some("{\"data\":null}".to_owned()),
            ..Fault::status(200)
        };
        let faults = [
            Fault::status(500),
            garbage,
            cut,
            slow,
            limited,
            Fault::status(503),
            empty,
            null,
        ];
        let upstreams = [
            Provider::Zerion,
            Provider::CoinMarketCap,
            Provider::DefiLlama,
        ];
        for (offset, upstream) in upstreams.into_iter().enumerate() {
            let fault = faults[(round + 3 * offset) % faults.len()].clone();
            self.app
                .fakes()
                .set_fault(upstream, Some(Fault { every, ..fault }));
        }
        let faults = [
            TableFault::Internal,
            TableFault::Broken,
            TableFault::Throttled,
            TableFault::Slow(600),
            TableFault::Unprocessed,
            TableFault::NoChunks,
        ];
        table.set(Some(faults[round % faults.len()]), None);
    }
}

fn argument(at: usize, default: u64) -> u64 {
    let given = std::env::args().nth(at);
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> ExitCode {
    let (seconds, rate, wallets) = (argument(1, 60), argument(2, 100), argument(3, 1000));
    // Short lives, so that a minute has many misses of both levels.
    let variables = [
        ("STRUCTURE_TTL_SECONDS", "20"),
        ("PRICE_TTL_SECONDS", "10"),
        ("DYNAMODB_TIMEOUT_MS", "1000"),
    ];
    let (mut app, table) = TestApp::with_faulty_table(&variables).await;
    for number in 1..=2400 {
        app.fakes().set_coin(rows::listed(number));
    }
    app.restart();
    let update = portfolio::app::App::new(app.config())
        .registry_update()
        .expect("an update");
    update.run().await.expect("a filled registry");
    app.fakes().reset_stats();
    table.fail_every(u64::from(EVERY));
    let process = |_| app.real_process(Scope::Aggregate);
    let functions = (0..PROCESSES).map(process).collect();
    let load = Arc::new(Load {
        app,
        functions,
        wallets,
        epochs: Mutex::default(),
        tally: Mutex::default(),
    });
    load.change_wallets();
    let started = Instant::now();
    let (mut tick, mut requests) = (
        tokio::time::interval(Duration::from_secs(1) / rate as u32),
        Vec::new(),
    );
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut rounds, mut epochs) = (0, 1);
    for number in 0..seconds * rate {
        tick.tick().await;
        if started.elapsed() > ROUND * rounds {
            load.change_faults(rounds as usize, &table);
            rounds += 1;
        }
        if started.elapsed() > EPOCH * epochs {
            let load = load.clone();
            tokio::task::spawn_blocking(move || load.change_wallets());
            epochs += 1;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (load, wallet) = (load.clone(), random % wallets);
        requests.push(tokio::spawn(
            async move { load.request(number, wallet).await },
        ));
    }
    for request in requests {
        if let Err(error) = request.await {
            println!("a request ended with {error}");
            return ExitCode::FAILURE;
        }
    }
    report(&load, &table, started.elapsed())
}

fn report(load: &Load, table: &FaultyTable, took: Duration) -> ExitCode {
    let mut tally = load.tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.millis.sort_unstable();
    let count = tally.millis.len();
    let percentile = |share: usize| tally.millis[(count - 1) * share / 100];
    let (calls, met) = table.counts();
    let stats = load.app.stats();
    println!(
        "{count} requests for {} wallets in {} s",
        load.wallets,
        took.as_secs()
    );
    for (outcome, count) in &tally.outcomes {
        println!("{count:>7}  {outcome}");
    }
    println!(
        "p50 {} ms, p95 {} ms, p99 {} ms, longest {} ms",
        percentile(50),
        percentile(95),
        percentile(99),
        percentile(100)
    );
    println!("DynamoDB: {calls} calls, {met} met a fault");
    println!(
        "Zerion: {} requests, CoinMarketCap: {}, DeFiLlama: {}; one in {EVERY} met a fault",
        stats.zerion.requests, stats.coinmarketcap.requests, stats.defillama.requests
    );
    for wrong in tally.wrong.iter().take(20) {
        println!("WRONG  {wrong}");
    }
    println!("{} wrong answers", tally.wrong.len());
    match tally.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
