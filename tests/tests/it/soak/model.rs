//! What the providers hold, and all that they ever gave.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portfolio::clock::Timestamp;
use portfolio_local::fakes::{Coin, ContractPrice};
use portfolio_tests::{TestApp, random::Random, rows};
use serde_json::{Value, json};

pub const WALLETS: usize = 6;
/// Tokens that CoinMarketCap lists; Zerion prices them as well.
pub const LISTED: std::ops::RangeInclusive<u32> = 1..=12;
/// Tokens that DeFiLlama and Zerion price.
const BOTH: std::ops::RangeInclusive<u32> = 13..=18;
/// Tokens that only Zerion prices.
const ONLY_ZERION: std::ops::RangeInclusive<u32> = 19..=22;
/// Tokens that only DeFiLlama prices.
const ONLY_DEFILLAMA: std::ops::RangeInclusive<u32> = 23..=25;
/// The last of those that no source prices, from 26 on.
const LAST: u32 = 28;
/// Coins that are worth a dollar, and tell the rate of one.
const DOLLARS: [u32; 3] = [825, 3408, 4943];

/// Whether a fetch brings a price of this token.
pub fn comes_with_price(token: u32) -> bool {
    token <= *ONLY_ZERION.end()
}

/// Returns whether no source prices this token.
pub fn is_unknown(token: u32) -> bool {
    token > *ONLY_DEFILLAMA.end()
}

/// The address of a wallet.
pub fn address(wallet: usize) -> String {
    format!("0x50a{wallet:037x}")
}

/// What a wallet held at some time: base units by position, plain balances and
/// positions in protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub wallet: BTreeMap<String, String>,
    pub defi: BTreeMap<String, String>,
}

/// A wallet's history.
#[derive(Default)]
pub struct History {
    pub versions: Vec<Version>,
    /// No older version may come back after the last deletion.
    floor: usize,
    forgotten_at: Timestamp,
}

/// All that was ever given.
pub struct Model {
    pub wallets: Vec<History>,
    /// Prices in dollars by token and source, in units of 10^-18.
    pub given: HashMap<(u32, &'static str), BTreeSet<i128>>,
}

/// A price around the token's usual one, in whole cents: never far enough from
/// another one to be refused.
fn price(random: &mut Random, token: u32) -> (f64, i128) {
    let usual = u64::from(token + 10) * 100;
    let cents = usual - usual * 15 / 100 + random.below(usual * 30 / 100);
    let dollars: f64 = format!("{}.{:02}", cents / 100, cents % 100)
        .parse()
        .expect("a number");
    (dollars, i128::from(cents) * 10_000_000_000_000_000)
}

impl Model {
    /// Sets wallets and prices for the first time.
    pub fn new(app: &TestApp, random: &mut Random) -> Self {
        let mut model = Self {
            wallets: (0..WALLETS).map(|_| History::default()).collect(),
            given: HashMap::new(),
        };
        for wallet in 0..WALLETS {
            model.change(app, random, wallet);
        }
        model.quote(app, random);
        model
    }

    fn give(&mut self, token: u32, source: &'static str, random: &mut Random) -> f64 {
        let (dollars, units) = price(random, token);
        self.given.entry((token, source)).or_default().insert(units);
        dollars
    }

    /// New prices at CoinMarketCap and DeFiLlama, as of the functions' clock.
    pub fn quote(&mut self, app: &TestApp, random: &mut Random) {
        let now = app.now();
        let (text, seconds) = (now.to_string(), u64::try_from(now.as_secs()).ok());
        for token in LISTED {
            let mut coin = rows::listed(token);
            coin.price_usd = Some(self.give(token, "coinmarketcap", random));
            coin.last_updated = Some(text.clone());
            app.fakes().set_coin(coin);
        }
        for id in DOLLARS {
            let mut coin = Coin::new(id, "A dollar", "USD1", 1.0);
            coin.last_updated = Some(text.clone());
            app.fakes().set_coin(coin);
        }
        for token in BOTH.chain(ONLY_DEFILLAMA) {
            let price = ContractPrice {
                usd: self.give(token, "defillama", random),
                timestamp: seconds,
            };
            let key = format!("ethereum:{}", rows::contract(token));
            app.fakes().set_contract_price(&key, Some(price));
        }
    }

    /// Changes what a wallet holds; returns the number of the version.
    pub fn change(&mut self, app: &TestApp, random: &mut Random, wallet: usize) -> usize {
        let mut version = Version::default();
        let mut held = Vec::new();
        for token in 1..=LAST {
            // The first tokens are held by all, the others by some.
            let (plain, staked) = (token <= 3 || random.chance(400), random.chance(200));
            if !plain && !staked {
                continue;
            }
            let price = match comes_with_price(token) {
                true => json!(self.give(token, "zerion", random)),
                false => Value::Null,
            };
            for (there, mut row) in [(plain, rows::token(token)), (staked, rows::staked(token))] {
                if !there {
                    continue;
                }
                let units = format!("{}000000000000000", random.below(900_000) + 1);
                let (whole, fraction) = split(&units);
                let attributes = &mut row["attributes"];
                attributes["price"] = price.clone();
                attributes["quantity"]["int"] = units.clone().into();
                attributes["quantity"]["numeric"] = format!("{whole}.{fraction}").into();
                let id = row["id"].as_str().unwrap_or_default().to_owned();
                let part = match row["attributes"]["protocol"].is_null() {
                    true => &mut version.wallet,
                    false => &mut version.defi,
                };
                part.insert(id, units);
                held.push(row);
            }
        }
        let history = &mut self.wallets[wallet];
        history.versions.push(version);
        app.fakes().set_wallet(&address(wallet), held);
        history.versions.len() - 1
    }

    /// Notes that everything before `version` was forgotten by a deletion that
    /// began at `at`.
    pub fn forgotten(&mut self, wallet: usize, version: usize, at: Timestamp) {
        let history = &mut self.wallets[wallet];
        history.floor = history.floor.max(version);
        history.forgotten_at = history.forgotten_at.max(at);
    }

    /// Returns the oldest version that may still be answered, and when those
    /// before it were forgotten.
    pub fn floor(&self, wallet: usize) -> (usize, Timestamp) {
        let history = &self.wallets[wallet];
        (history.floor, history.forgotten_at)
    }
}

/// Whole tokens and 18 decimals.
fn split(units: &str) -> (String, String) {
    let padded = format!("{units:0>19}");
    let (whole, fraction) = padded.split_at(padded.len() - 18);
    (whole.to_owned(), fraction.to_owned())
}
