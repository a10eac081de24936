//! What is right about an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portfolio::clock::Timestamp;
use portfolio::domain::provider::Provider;
use portfolio_tests::{Answer, positions, sum, units};
use serde_json::Value;

use super::model::{Model, comes_with_price, is_unknown};

/// What a dollar costs in euros, in ten-thousandths.
const EURO: i128 = 8632;
/// The lifetime of holdings, and of the prices that come with them at least.
const HOLDINGS: u64 = 300;
const PRICES: u64 = 900;
/// What one fetch brought may be dated this far apart.
const MOMENT: Duration = Duration::from_secs(2);
/// After a fault requests to a provider may be paused for this long.
const LEFT_ALONE: u64 = 60;

/// A request, and what was known when it was made.
pub struct Asked {
    pub wallet: usize,
    pub endpoint: &'static str,
    pub currency: &'static str,
    /// Whether no other currency is ever asked for.
    pub alone: bool,
    pub floor: usize,
    pub forgotten_at: Timestamp,
}

/// The faults in force.
pub struct Faults {
    set: Vec<Provider>,
    /// When the last one ended.
    ended: Timestamp,
}

impl Faults {
    pub fn none(now: Timestamp) -> Self {
        Self {
            set: Vec::new(),
            ended: now,
        }
    }

    pub fn is_set(&self, upstream: Provider) -> bool {
        self.set.contains(&upstream)
    }

    pub fn set(&mut self, upstream: Provider) {
        self.set.push(upstream);
    }

    pub fn clear(&mut self, upstream: Provider, now: Timestamp) {
        self.set.retain(|it| *it != upstream);
        self.ended = now;
    }

    /// Whether a refusal needs another reason than a fault.
    fn are_over(&self, now: Timestamp) -> bool {
        self.set.is_empty() && now.since(self.ended).as_secs() > LEFT_ALONE
    }
}

/// What is wrong, by kind, with what shows it.
type Wrong = Vec<(&'static str, String)>;

/// Tells what is wrong with an answer.
pub fn check(
    model: &Model,
    asked: &Asked,
    answer: &Answer,
    faults: &Faults,
    now: Timestamp,
) -> Wrong {
    let mut wrong = Wrong::new();
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        let known = matches!(answer.status, 429 | 502 | 503 | 504);
        if !known {
            wrong.push(("a status that no fault explains", text));
        } else if faults.are_over(now) {
            wrong.push(("a refusal without a fault", text));
        }
        return wrong;
    }
    let body = answer.json();
    let as_of = time(&body["structure"]["as_of"]);
    let age = now.since(as_of).as_secs();
    // The clock may have moved a little during the request.
    if body["structure"]["stale"] == false && age > HOLDINGS + 5 {
        wrong.push(("old holdings that are not marked", format!("{age} s")));
    }
    let about = format!(
        "wallet {} {} {}, {}, as of {as_of}, now {now}",
        asked.wallet,
        asked.endpoint,
        asked.currency,
        answer.header("cache-status")
    );
    for part in ["wallet", "defi"] {
        if !body[part].is_null() {
            wrong.extend(check_holdings(model, asked, &body, part, &about));
        }
    }
    if as_of < asked.forgotten_at {
        let forgotten = format!("{about}, forgotten at {}", asked.forgotten_at);
        wrong.push(("what was deleted came back", forgotten));
    }
    for one in positions(&body) {
        if let Some(kind) = check_price(model, asked, &body, one, now) {
            let token = &one["token"]["symbol"];
            let (price, reason) = (&one["price"], &one["unpriced_reason"]);
            wrong.push((kind, format!("{token} {price} {reason}: {about}")));
        }
    }
    wrong.extend(check_totals(&body, &about));
    wrong
}

fn time(value: &Value) -> Timestamp {
    value
        .as_str()
        .and_then(Timestamp::parse)
        .unwrap_or_default()
}

/// Holdings are those of one fetch, and not of one before a deletion.
fn check_holdings(
    model: &Model,
    asked: &Asked,
    body: &Value,
    part: &str,
    about: &str,
) -> Option<(&'static str, String)> {
    let only = serde_json::json!({ part: body[part] });
    let shown: BTreeMap<String, String> = positions(&only)
        .into_iter()
        .map(|one| (text(&one["id"]), text(&one["quantity_raw"])))
        .collect();
    let versions = &model.wallets[asked.wallet].versions;
    let of = |version: &super::model::Version| match part {
        "wallet" => version.wallet == shown,
        _ => version.defi == shown,
    };
    match versions.iter().rposition(of) {
        None => Some(("holdings of no fetch", format!("{part}: {about}"))),
        Some(version) if version < asked.floor => {
            let floor = asked.floor;
            let what = format!("{part}, version {version} before {floor}: {about}");
            Some(("what was deleted came back", what))
        }
        Some(_) => None,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A price is one that its source gave, and a missing one is reported.
fn check_price(
    model: &Model,
    asked: &Asked,
    body: &Value,
    one: &Value,
    now: Timestamp,
) -> Option<&'static str> {
    let symbol = one["token"]["symbol"].as_str().unwrap_or_default();
    let token: u32 = symbol.trim_start_matches("TK").parse().unwrap_or(0);
    if one["price"].is_null() {
        if one["unpriced_reason"].is_null() {
            return Some("no value without a reason");
        }
        let age = now.since(time(&body["structure"]["as_of"])).as_secs();
        if !comes_with_price(token) || age > PRICES {
            return None;
        }
        // They may have been fetched in a currency whose rate is unknown.
        let no_rate = one["unpriced_reason"] == "no_exchange_rate";
        return match body["coverage"]["complete"] == true {
            false if no_rate => None,
            false => Some("holdings without the prices that came with them, said to be incomplete"),
            true => Some("holdings without the prices that came with them, said to be complete"),
        };
    }
    if is_unknown(token) {
        return Some("a price that no source gave");
    }
    let source = one["price"]["source"].as_str().unwrap_or_default();
    let given = model.given.get(&(token, source_name(source)));
    let amount = units(&one["price"]["amount"]);
    let is_given = |given: &BTreeSet<i128>| {
        given.iter().any(|dollars| {
            let there = match asked.currency {
                "usd" => *dollars,
                _ => dollars / 10_000 * EURO,
            };
            (there - amount).abs() <= there / 1_000_000
        })
    };
    if !given.is_some_and(is_given) {
        return Some("a price that its source never gave");
    }
    let fresh = body["structure"]["stale"] == false && body["prices"]["stale"] == false;
    let quoted_at = time(&one["price"]["as_of"]);
    // The other one's price is no answer where each fetch brings its own.
    let mixed = source == "zerion" && quoted_at.plus(MOMENT) < time(&body["structure"]["as_of"]);
    if fresh && mixed && asked.alone {
        return Some("holdings of one fetch with prices of another");
    }
    // No price is fresh for longer than holdings are.
    (fresh && now.since(quoted_at).as_secs() > HOLDINGS + 5)
        .then_some("an old price that is not marked")
}

fn source_name(source: &str) -> &'static str {
    match source {
        "zerion" => "zerion",
        "coinmarketcap" => "coinmarketcap",
        _ => "defillama",
    }
}

/// Totals are the sums of what is listed; everything is on one page.
fn check_totals(body: &Value, about: &str) -> Option<(&'static str, String)> {
    let valued = positions(body)
        .into_iter()
        .filter(|it| !it["value"].is_null());
    let net: i128 = valued
        .map(|one| match one["kind"] == "debt" {
            true => -units(&one["value"]),
            false => units(&one["value"]),
        })
        .sum();
    let totals = &body["totals"];
    let told = units(&totals["net_worth"]);
    let lists = ["by_chain", "by_protocol", "by_type"];
    let same = lists.into_iter().all(|list| sum(&totals[list]) == told);
    (net != told || !same).then(|| {
        (
            "totals that do not add up",
            format!("{told} {net}: {about}"),
        )
    })
}
