//! What must hold of every wallet, whatever its rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use portfolio::{
    cache::asset_registry::Assets,
    clock::Timestamp,
    domain::{
        address::Address,
        amount::Amount,
        decoded::StoredHoldings,
        holdings_builder::HoldingsBuilder,
        portfolio::Portfolio,
        price::{CmcId, Price, PriceAgeLimit, PriceKey, PriceTable},
        provider::Provider,
        query::{MAX_LIMIT, Query},
        response::StructureInfo,
        scope::{Part, Scope},
    },
    upstream::zerion::read_page,
};
use serde_json::Value;

use crate::{ADDRESS, NOW};

const SAMPLE: &[u8] = include_bytes!("../corpus/zerion_positions/wallet-and-defi.json");
/// Wallets with more positions than this are not walked through page by page:
/// every page values all of them.
const WALKED: usize = 6;
/// Longer cursors are given out, but not read.
const LONGEST_CURSOR: usize = 8192;

/// A registry that knows what the seeds hold.
pub fn assets() -> Assets {
    let mut assets = Assets::default();
    for (chain, address, id) in [
        ("ethereum", None, 1027),
        ("base", None, 1027),
        ("solana", None, 5426),
        (
            "ethereum",
            Some("0x1111111111111111111111111111111111111111"),
            900_001,
        ),
        (
            "base",
            Some("0x2222222222222222222222222222222222222222"),
            900_001,
        ),
    ] {
        assets.insert(chain, address, CmcId(id));
    }
    assets
}

/// What is stored of a wallet.
pub struct Stored {
    /// Its holdings.
    pub parts: BTreeMap<Part, StoredHoldings>,
    /// Prices of all that it holds.
    pub prices: PriceTable,
}

/// A small wallet with balances, debt and a pool.
pub fn sample() -> HoldingsBuilder {
    let mut draft = HoldingsBuilder::default();
    read_page(SAMPLE, None, &mut draft).expect("a page of positions");
    draft
}

/// A wallet as it is stored, its prices given at `time`.
pub fn finished(draft: &HoldingsBuilder, time: Timestamp) -> Stored {
    let mapping = draft.map(&assets());
    let (mut parts, mut prices) = (BTreeMap::new(), Vec::new());
    for part in Part::ALL {
        let finished = draft.encode(part, &mapping);
        for (key, amount, change) in finished.prices {
            prices.push((key, Price::new(amount, change, Provider::Zerion, time)));
        }
        let holdings = StoredHoldings::new(finished.bytes);
        parts.insert(part, holdings.expect("what was just encoded decodes"));
    }
    Stored {
        parts,
        prices: PriceTable::new(prices),
    }
}

/// How many positions are stored, each of which can be looked at.
pub fn count(stored: &StoredHoldings) -> usize {
    let holdings = stored.holdings();
    assert_eq!(
        holdings.encode(),
        stored.bytes(),
        "one wallet has one encoding"
    );
    for token in &holdings.tokens {
        holdings.price_key(token);
        portfolio::upstream::defillama::id_of(holdings, token);
    }
    holdings.positions.len()
}

/// Stores a wallet, answers it whole and page by page, and checks that nothing
/// gets lost or is counted twice.
pub fn check(draft: &HoldingsBuilder) {
    let Stored { parts, prices } = finished(draft, NOW);
    for (_, price) in prices.entries() {
        assert!(price.is_known(), "{} is no price", price.amount);
    }
    let rows: usize = parts.values().map(count).sum();
    assert_eq!(rows, draft.len(), "every row is stored once");

    let portfolio = portfolio(&parts, &prices);
    let whole = page(&portfolio, &query(MAX_LIMIT, None));
    sums_agree(&whole);
    if rows <= MAX_LIMIT as usize {
        assert_eq!(listed(&whole).len(), rows, "every row is listed once");
    }
    if rows <= WALKED {
        walk(&portfolio, &whole);
    }
}

/// Every price is in the answer's currency.
static NOTHING: BTreeSet<PriceKey> = BTreeSet::new();

/// Everything an answer is made from, with every price in use.
fn portfolio<'a>(
    parts: &'a BTreeMap<Part, StoredHoldings>,
    prices: &'a PriceTable,
) -> Portfolio<'a> {
    let parts = parts.iter().map(|(part, stored)| (*part, stored.decoded()));
    Portfolio {
        parts: parts.collect(),
        prices,
        unconverted: &NOTHING,
        oldest_prices: PriceAgeLimit::default(),
        structure: StructureInfo {
            as_of: NOW,
            fresh_until: NOW,
            stale: false,
        },
        prices_fresh_until: NOW,
        prices_stale: false,
        missing: Vec::new(),
    }
}

/// Asks for a page with the hidden positions.
fn query(limit: u32, cursor: Option<&str>) -> Query {
    let address = Address::parse(ADDRESS).expect("an address");
    let limit = limit.to_string();
    let mut parameters = vec![("limit", limit.as_str()), ("hidden", "true")];
    parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
    let query = Query::parse(address, Scope::Aggregate, parameters);
    query.expect("what was given out is accepted")
}

/// The page of the sample that `query` asks for.
pub fn page_of_sample(query: &Query) -> Value {
    static SAMPLE: OnceLock<Stored> = OnceLock::new();
    let Stored { parts, prices } = SAMPLE.get_or_init(|| finished(&sample(), NOW));
    page(&portfolio(parts, prices), query)
}

/// A page as JSON.
fn page(portfolio: &Portfolio<'_>, query: &Query) -> Value {
    let valuation = portfolio.value(query);
    let valuation = valuation.expect("no chains are asked for");
    let answer = valuation.answer(query.limit);
    let text = answer.to_json().expect("an answer is JSON");
    let by_serde = serde_json::to_string(&answer).expect("an answer is JSON");
    assert_eq!(text, by_serde, "both writers agree");
    serde_json::from_str(&text).expect("an answer is JSON that can be read")
}

/// Two at a time, all pages list what the whole does.
fn walk(portfolio: &Portfolio<'_>, whole: &Value) {
    let mut seen: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..=WALKED / 2 + 1 {
        let page = page(portfolio, &query(2, cursor.as_deref()));
        assert_eq!(page["totals"], whole["totals"], "totals are of all pages");
        seen.extend(listed(&page));
        match page["page"]["next"].as_str() {
            None => break,
            Some(next) if next.len() > LONGEST_CURSOR => return,
            Some(next) => cursor = Some(next.to_owned()),
        }
    }
    let count = |ids: Vec<String>| {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for id in ids {
            *counted.entry(id).or_default() += 1;
        }
        counted
    };
    assert_eq!(count(seen), count(listed(whole)), "pages list all, once");
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

fn positions(body: &Value) -> impl Iterator<Item = &Value> {
    let wallet = list(&body["wallet"], "positions");
    let groups = list(&body["defi"], "protocols").flat_map(|one| list(one, "groups"));
    wallet.chain(groups.flat_map(|one| list(one, "positions")))
}

/// The ids of all positions, each with its section.
fn listed(body: &Value) -> Vec<String> {
    let wallet = list(&body["wallet"], "positions").count();
    let positions = positions(body).enumerate();
    let named = positions.map(|(at, one)| format!("{} {}", at < wallet, one["id"]));
    named.collect()
}

/// Assets less debt, the sections, the shares and the positions all sum up to
/// the net worth.
fn sums_agree(body: &Value) {
    let totals = &body["totals"];
    let Some(net) = amount(&totals["net_worth"]) else {
        return;
    };
    let agrees = |sum: Option<Amount>, what: &str| {
        if let Some(sum) = sum {
            assert_eq!(sum, net, "{what}");
        }
    };
    let debt = amount(&totals["debt"]).map(|debt| debt.negated());
    agrees(sum([amount(&totals["assets"]), debt]), "assets and debt");
    let sections = [&body["wallet"]["value"], &body["defi"]["value"]];
    agrees(sum(sections.map(amount)), "sections");
    for name in ["by_chain", "by_protocol", "by_type"] {
        let shares = list(totals, name).map(|share| amount(&share["value"]));
        agrees(sum(shares), name);
    }
    let counted = positions(body).filter(|one| {
        one["displayable"] == true && one["trash"] == false && !one["value"].is_null()
    });
    let signed = counted.map(|one| {
        let value = amount(&one["value"])?;
        Some(if one["kind"] == "debt" {
            value.negated()
        } else {
            value
        })
    });
    if body["page"]["next"].is_null() {
        agrees(sum(signed), "positions");
    }
}

fn sum(amounts: impl IntoIterator<Item = Option<Amount>>) -> Option<Amount> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum.add(&amount?);
    }
    Some(sum)
}

/// `None` for amounts that are longer than thresholds may be.
fn amount(value: &Value) -> Option<Amount> {
    let text = value.as_str().expect("amounts are strings");
    match text.strip_prefix('-') {
        Some(text) => Amount::parse(text).map(|amount| amount.negated()),
        None => Amount::parse(text),
    }
}
