//! Random interleavings of requests, deletions, refreshes and expiries over three
//! processes with copies, each answer held against a model of what the providers said
//! when.
//!
//! `COHERENCE_STEPS=10000 cargo test --workspace --test it coherence:: -- --nocapture`
//! runs more of them; `COHERENCE_SEED` takes another course.

use std::{collections::HashMap, time::Duration};

use futures::future::join;
use portfolio::{clock::Timestamp, domain::scope::Scope, lambda::QueryFunction};
use portfolio_tests::{Answer, TestApp, ask, random::Random, rows};
use serde_json::{Value, json};

const WALLETS: [&str; 2] = [
    "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234",
    "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f905678",
];
/// What CoinMarketCap dates by this machine's clock must not look old: the functions'
/// clock starts so far behind.
const BEHIND: u64 = 365 * 86_400;
const TOKENS: u32 = 5;
/// How long each level is fresh, and may be used after that, in milliseconds.
const HOLDINGS: (i64, i64) = (300_000, 86_400_000);
const PRICES: (i64, i64) = (60_000, 900_000);
const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

/// What was so since a moment, in milliseconds.
type Since = (i64, u32);

/// Everything that the providers have said.
struct Model {
    /// Versions of each wallet's holdings.
    holdings: [Vec<Since>; 2],
    prices: Vec<Since>,
    /// When each wallet was last deleted.
    deleted: [i64; 2],
}

impl Model {
    fn at(history: &[Since], moment: i64) -> u32 {
        let mut earlier = history.iter().rev().filter(|(since, _)| *since <= moment);
        earlier.next().expect("something was said at first").1
    }
}

/// A request, and what is known when it is made.
struct Asked {
    wallet: usize,
    now: i64,
    deleted: i64,
}

struct World {
    app: TestApp,
    processes: [QueryFunction; 3],
    model: Model,
    random: Random,
    /// Bodies by their validators,
    bodies: HashMap<String, Value>,
    /// and the last validator of each path.
    validators: HashMap<String, String>,
    /// Answers from prices and holdings that had been fetched before.
    hits: u32,
    unmodified: u32,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut app = TestApp::listing(1..=TOKENS, &[]).await;
        app.with_clock_behind(BEHIND);
        let processes = [Scope::Aggregate, Scope::Aggregate, Scope::Wallet];
        let now = app.now().as_millis();
        let mut world = Self {
            processes: processes.map(|scope| app.process(scope)),
            app,
            model: Model {
                holdings: [vec![(now, 1)], vec![(now, 1)]],
                prices: vec![(now, 0)],
                deleted: [0, 0],
            },
            random: Random::new(seed),
            bodies: HashMap::new(),
            validators: HashMap::new(),
            hits: 0,
            unmodified: 0,
        };
        world.tell();
        world
    }

    fn now(&self) -> i64 {
        self.app.now().as_millis()
    }

    fn pass(&self, millis: u64) {
        self.app.clock.advance(Duration::from_millis(millis));
    }

    /// Makes the providers say what the model's last entries are.
    fn tell(&mut self) {
        let (_, step) = *self.model.prices.last().expect("prices");
        for token in 1..=TOKENS {
            self.app
                .fakes()
                .set_price(900_000 + token, price(token, step));
        }
        for (wallet, history) in WALLETS.iter().zip(&self.model.holdings) {
            let (_, version) = *history.last().expect("a version");
            let rows = (1..=count(version)).map(|token| held(token, version, step));
            self.app.fakes().set_wallet(wallet, rows.collect());
        }
    }

    fn change_holdings(&mut self) {
        self.pass(1);
        let now = self.now();
        let wallet = self.random.index(WALLETS.len());
        let history = &mut self.model.holdings[wallet];
        let version = history.len() as u64 + 1;
        history.push((now, u32::try_from(version).expect("few versions")));
        self.tell();
        self.pass(1);
    }

    fn change_prices(&mut self) {
        self.pass(1);
        let now = self.now();
        let step = self.model.prices.len() as u64;
        let step = u32::try_from(step).expect("few steps");
        self.model.prices.push((now, step));
        self.tell();
        self.pass(1);
    }

    async fn delete(&mut self) {
        self.pass(1);
        let wallet = self.random.index(WALLETS.len());
        // The third one does not serve it.
        let process = self.random.index(2);
        let path = format!("/v1/wallets/{}/cache", WALLETS[wallet]);
        let answer = ask(&self.processes[process], "DELETE", &path, &[]).await;
        assert_eq!(answer.status, 204);
        self.model.deleted[wallet] = self.now();
    }

    /// Asks two processes at once, and checks both answers.
    async fn ask_two(&mut self) {
        let wallet = self.random.index(WALLETS.len());
        let first = self.random.index(self.processes.len());
        let second = self.random.index(self.processes.len());
        let asked = Asked {
            wallet,
            now: self.now(),
            deleted: self.model.deleted[wallet],
        };
        let (first, second) = (self.request(first, wallet), self.request(second, wallet));
        let (one, two) = join(self.send(&first), self.send(&second)).await;
        for (request, answer) in [(&first, &one), (&second, &two)] {
            self.check(&asked, request, answer);
        }
    }

    fn request(&mut self, process: usize, wallet: usize) -> Request {
        let scope = if process == 2 { "wallet" } else { "aggregate" };
        let encoding = ENCODINGS[self.random.index(ENCODINGS.len())];
        let path = format!("/v1/wallets/{}/{scope}", WALLETS[wallet]);
        let again = self.random.chance(500);
        let known = self.validators.get(&path).filter(|_| again).cloned();
        Request {
            process,
            path,
            encoding,
            known,
        }
    }

    async fn send(&self, request: &Request) -> Answer {
        let mut headers = vec![("accept-encoding", request.encoding)];
        headers.extend(
            request
                .known
                .iter()
                .map(|it| ("if-none-match", it.as_str())),
        );
        ask(
            &self.processes[request.process],
            "GET",
            &request.path,
            &headers,
        )
        .await
    }

    fn check(&mut self, asked: &Asked, request: &Request, answer: &Answer) {
        let etag = answer.header("etag").to_owned();
        let body = match answer.status {
            // What the client has is what it would get.
            304 => {
                self.unmodified += 1;
                self.bodies[&etag].clone()
            }
            _ => answer.ok(),
        };
        self.check_body(asked, &body);
        self.validators.insert(request.path.clone(), etag.clone());
        self.bodies.insert(etag, body);
        let status = answer.header("cache-status");
        self.hits += u32::from(status.contains("structure; hit") && status.contains("prices; hit"));
    }

    fn check_body(&self, asked: &Asked, body: &Value) {
        let wallet = asked.wallet;
        assert_eq!(body["address"], WALLETS[wallet]);
        // Of two that come at once, one may be answered with old data while the other
        // one fetches: then the answer says so.
        let oldest = |level: &str, (ttl, stale): (i64, i64)| {
            let fresh_until = moment(&body[level]["fresh_until"]);
            let is_stale = body[level]["stale"] == true;
            assert_eq!(fresh_until <= asked.now, is_stale, "{level} of {body}");
            asked.now - if is_stale { ttl + stale } else { ttl }
        };
        let oldest_holdings = oldest("structure", HOLDINGS);
        let oldest_prices = oldest("prices", PRICES);
        let fetched = moment(&body["structure"]["as_of"]);
        assert!(fetched > oldest_holdings && fetched <= asked.now, "{body}");
        assert!(
            fetched >= asked.deleted,
            "what was deleted at {} is back: {body}",
            asked.deleted
        );
        let positions = body["wallet"]["positions"].as_array().expect("positions");
        let first = positions[0]["quantity_raw"].as_str().expect("units");
        let version = first.parse::<u32>().expect("a number") / 1000;
        // Of two parts the answer tells the time of the older one.
        let until = if body["scope"] == "wallet" {
            fetched
        } else {
            asked.now
        };
        let history = &self.model.holdings[wallet];
        let told = Model::at(history, fetched)..=Model::at(history, until);
        assert!(told.contains(&version), "version {version} of {told:?}");
        assert_eq!(
            positions.len(),
            count(version) as usize,
            "of version {version}"
        );
        for position in positions {
            let symbol = position["token"]["symbol"].as_str().expect("a symbol");
            let token: u32 = symbol.trim_start_matches("TK").parse().expect("a number");
            assert_eq!(position["quantity_raw"], units(token, version), "{symbol}");
            let quoted = moment(&position["price"]["as_of"]);
            assert!(quoted > oldest_prices && quoted <= asked.now, "{position}");
            let step = Model::at(&self.model.prices, quoted);
            assert_eq!(
                position["price"]["amount"],
                price(token, step).to_string(),
                "{symbol}"
            );
        }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..=59 => self.ask_two().await,
            60..=66 => self.change_holdings(),
            67..=75 => self.change_prices(),
            76..=80 => self.delete().await,
            81..=97 => {
                let millis = 1 + self.random.below(20_000);
                self.pass(millis);
            }
            98 => self.pass(61_000),
            _ => self.pass(301_000),
        }
    }
}

struct Request {
    process: usize,
    path: String,
    encoding: &'static str,
    known: Option<String>,
}

/// How many tokens a version has.
fn count(version: u32) -> u32 {
    1 + version % TOKENS
}

/// How much of a token a version has.
fn units(token: u32, version: u32) -> String {
    (u64::from(version) * 1000 + u64::from(token)).to_string()
}

/// What a token costs at a step: a thousandth of the first price more than before.
fn price(token: u32, step: u32) -> f64 {
    let thousandths = token * (1000 + step);
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.parse().expect("a number")
}

fn held(token: u32, version: u32, step: u32) -> Value {
    let contract = rows::contract(token);
    rows::row(rows::Row {
        id: format!("{contract}-ethereum-asset-asset"),
        contract,
        symbol: format!("TK{token}"),
        units: units(token, version),
        price: json!(price(token, step)),
        ..rows::Row::default()
    })
}

fn moment(text: &Value) -> i64 {
    let text = text.as_str().expect("a moment");
    Timestamp::parse(text).expect("RFC 3339").as_millis()
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn no_answer_is_old_deleted_or_mixed_in_any_interleaving() {
    let steps = number("COHERENCE_STEPS", 1000);
    let mut world = World::new(number("COHERENCE_SEED", 1)).await;
    for _ in 0..steps {
        world.step().await;
    }
    let stats = world.app.stats();
    println!(
        "{steps} steps: {} answers from what was there, {} of them 304; {} requests to Zerion, {} \
         to CoinMarketCap",
        world.hits, world.unmodified, stats.zerion.requests, stats.coinmarketcap.requests
    );
    assert!(u64::from(world.hits) > steps / 3 && u64::from(world.unmodified) > steps / 10);
}
