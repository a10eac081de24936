//! A load of many wallets, some asked for often and most seldom, on several processes,
//! with copies of wallets in the processes and without.
//!
//! ```text
//! cargo bench --workspace --profile load --bench zipf -- [SECONDS [PER_SECOND [WALLETS]]]
//! ```
//!
//! How often a wallet is asked for is by Zipf's law: the second one half as often as
//! the first, the third a third. Other processes have fetched all of them; prices
//! expire and are refreshed meanwhile, as they are by default.

#![expect(
    clippy::float_arithmetic,
    reason = "times, shares and how they compare"
)]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use portfolio::{
    app::App,
    domain::scope::Scope,
    lambda::{Invocation, QueryFunction},
    telemetry::metrics as ours,
};
use portfolio_tests::{TestApp, random::Random, rows, v2_event};
use rustix::time::{ClockId, clock_gettime};
use serde_json::value::to_raw_value;

const PROCESSES: usize = 4;
/// Tokens of a wallet: from the smallest number to the largest.
const TOKENS: (u64, u64) = (10, 300);
/// Of so many tokens that there are.
const LISTED: u32 = 2000;
const MOST_UNITS_OF_A_HEADER: f64 = 1.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let units = Units::default();
    metrics::set_global_recorder(units.clone()).expect("the first one");
    let (seconds, rate, wallets) = (argument(1, 60), argument(2, 200), argument(3, 2000));
    let app = app_on_another_thread();
    for wallet in 0..wallets {
        let mut random = Random::new(wallet + 1);
        let count = TOKENS.0 + random.below(TOKENS.1 - TOKENS.0);
        let tokens = (0..count)
            .map(|_| rows::token(1 + u32::try_from(random.below(LISTED.into())).unwrap_or(0)));
        app.fakes().set_wallet(&address(wallet), tokens.collect());
    }
    println!(
        "{wallets} wallets, {rate} requests a second, {PROCESSES} processes, {seconds} s each"
    );
    println!("copies  requests  from copies  p50 ms  p99 ms  CPU ms  read units");
    for copies in [true, false] {
        // Another process fetches them, so that both runs find the same.
        let first = process(&app, false);
        for wallet in 0..wallets {
            get(&first, &address(wallet)).await;
        }
        units.take();
        let processes: Vec<QueryFunction> = (0..PROCESSES).map(|_| process(&app, copies)).collect();
        let weights = Weights::of(wallets);
        let (mut random, mut took) = (Random::new(7), Vec::new());
        let mut tick =
            tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
        let mut used = Duration::ZERO;
        for _ in 0..seconds * rate {
            tick.tick().await;
            let wallet = address(weights.draw(&mut random));
            let process = &processes[random.index(PROCESSES)];
            let (started, before) = (Instant::now(), cpu());
            get(process, &wallet).await;
            took.push(started.elapsed());
            used += cpu() - before;
        }
        report(copies, &units.take(), took, used);
    }
}

fn report(copies: bool, units: &[f64], mut took: Vec<Duration>, used: Duration) {
    took.sort();
    let requests = took.len();
    let at = |percent: usize| took[requests * percent / 100].as_secs_f64() * 1000.0;
    let small = units
        .iter()
        .filter(|units| **units <= MOST_UNITS_OF_A_HEADER);
    let share = 100.0 * small.count() as f64 / requests as f64;
    let cpu = used.as_secs_f64() * 1000.0 / requests as f64;
    let units = units.iter().sum::<f64>() / requests as f64;
    let copies = if copies { "with" } else { "none" };
    println!(
        "{copies:<7} {requests:>8} {share:>10.1} % {:>7.2} {:>7.2} {cpu:>7.3} {units:>11.2}",
        at(50),
        at(99)
    );
}

fn argument(at: usize, default: u64) -> u64 {
    let given = std::env::args().nth(at);
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn address(wallet: u64) -> String {
    format!("0x{:040x}", wallet + 1)
}

fn process(app: &TestApp, copies: bool) -> QueryFunction {
    let mut config = app.config().clone();
    if !copies {
        config.memory_cache_bytes = 0;
    }
    let function = App::new(&config).query_function(Scope::Aggregate);
    function.expect("a function")
}

async fn get(process: &QueryFunction, wallet: &str) {
    let path = format!("/v1/wallets/{wallet}/aggregate");
    let event = v2_event("GET", &path, "", &[("accept-encoding", "zstd")]);
    let event = to_raw_value(&event).expect("JSON");
    let reply = process.handle(&event, &Invocation::default()).await;
    assert!(reply.expect("a reply").get().contains("\"statusCode\":200"));
}

/// Starts the table and the providers on a thread of their own.
fn app_on_another_thread() -> Arc<TestApp> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let app = TestApp::listing(1..=LISTED, &[]).await;
            sender.send(Arc::new(app)).expect("someone waits for it");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("an app")
}

/// Numbers from zero, each as often as Zipf's law says.
struct Weights(Vec<f64>);

impl Weights {
    fn of(count: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let Self(sums) = self;
        let all = sums.last().copied().unwrap_or(0.0);
        let drawn = all * random.below(1 << 32) as f64 / (1_u64 << 32) as f64;
        sums.partition_point(|sum| *sum <= drawn) as u64
    }
}

/// The processor time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// Records the read units of each request.
#[derive(Clone, Default)]
struct Units(Arc<Mutex<Vec<f64>>>);

impl Units {
    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HistogramFn for Units {
    fn record(&self, value: f64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(value);
    }
}

impl Recorder for Units {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() == ours::DYNAMODB_READ_UNITS.name {
            true => Histogram::from_arc(Arc::new(self.clone())),
            false => Histogram::noop(),
        }
    }
}
