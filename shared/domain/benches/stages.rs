//! What the stages of an answer take, for wallets of many tokens.
//!
//! ```text
//! cargo bench --package portfolio-domain
//! ```

use std::collections::BTreeSet;

use divan::{Bencher, black_box};
use portfolio_domain::{
    address::Address,
    asset_mapping::NoAssets,
    decimal::Decimal,
    decoded::{DecodedHoldings, StoredHoldings},
    holdings_builder::HoldingsBuilder,
    portfolio::Portfolio,
    price::{Price, PriceAgeLimit, PriceTable},
    provider::Provider,
    provider_position::{Implementation, ProviderPosition},
    quantity::Quantity,
    query::Query,
    response::StructureInfo,
    scope::{Part, Scope},
    timestamp::Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);
const SIZES: [u32; 3] = [30, 300, 3000];

fn main() {
    divan::main();
}

/// A wallet as it is stored, and its prices.
struct Wallet {
    holdings: StoredHoldings,
    prices: PriceTable,
    query: Query,
}

/// A number that looks like no other.
fn scramble(number: u32) -> u64 {
    u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn row(number: u32) -> ProviderPosition {
    let chain = ["ethereum", "base", "polygon", "solana"][number as usize % 4];
    let (high, low) = (scramble(number), scramble(number + 7000));
    let contract = format!("0x{high:016x}{low:016x}{number:08x}");
    let amount = u128::from(high) * 1_000_003;
    ProviderPosition {
        id: format!("{contract}-{chain}-asset-asset"),
        kind: Some("wallet".to_owned()),
        name: "Asset".to_owned(),
        chain: chain.to_owned(),
        fungible: Some(contract.clone()),
        symbol: format!("TK{number}"),
        token_name: format!("Token number {number}"),
        icon: Some(format!("https://cdn.zerion.io/{contract}.png")),
        verified: number.is_multiple_of(2),
        implementations: vec![Implementation {
            chain: chain.to_owned(),
            address: Some(contract),
            decimals: Some(18),
        }],
        quantity: Quantity::parse(Some(&amount.to_string()), Some(18), None)
            .map(Quantity::into_owned),
        decimals: Some(18),
        displayable: true,
        price: Some(Decimal::new(
            i64::try_from(low % 1_000_000_007).unwrap_or(1),
            -7,
        )),
        change_24h_percent: Some(Decimal::new(
            i64::try_from(high % 9_999_991).unwrap_or(1),
            -6,
        )),
        ..ProviderPosition::default()
    }
}

impl Wallet {
    fn of(tokens: u32) -> Self {
        let mut draft = HoldingsBuilder::default();
        for number in 0..tokens {
            draft.push(row(number), None);
        }
        let encoded = draft.encode(Part::Wallet, &draft.map(&NoAssets));
        let prices = encoded.prices.iter().map(|(key, amount, change)| {
            (*key, Price::new(*amount, *change, Provider::Zerion, NOW))
        });
        let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234");
        Self {
            prices: PriceTable::new(prices.collect()),
            holdings: StoredHoldings::new(encoded.bytes).expect("holdings"),
            query: Query::all(address.expect("an address"), Scope::Wallet),
        }
    }

    fn portfolio<'w>(
        &'w self,
        nothing: &'w BTreeSet<portfolio_domain::price::PriceKey>,
    ) -> Portfolio<'w> {
        Portfolio {
            parts: vec![(Part::Wallet, self.holdings.decoded())],
            prices: &self.prices,
            unconverted: nothing,
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
}

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher<'_, '_>, tokens: u32) {
    let wallet = Wallet::of(tokens);
    bencher.bench_local(|| {
        let decoded = DecodedHoldings::decode(black_box(wallet.holdings.bytes()));
        decoded.expect("holdings").keys().len()
    });
}

#[divan::bench(args = SIZES)]
fn value(bencher: Bencher<'_, '_>, tokens: u32) {
    let (wallet, nothing) = (Wallet::of(tokens), BTreeSet::new());
    let portfolio = wallet.portfolio(&nothing);
    bencher.bench_local(|| {
        let valuation = black_box(&portfolio).value(&wallet.query);
        drop(valuation.expect("known chains"));
    });
}

#[divan::bench(args = SIZES)]
fn page_of_one(bencher: Bencher<'_, '_>, tokens: u32) {
    let (wallet, nothing) = (Wallet::of(tokens), BTreeSet::new());
    let portfolio = wallet.portfolio(&nothing);
    let valuation = portfolio.value(&wallet.query).expect("known chains");
    bencher.bench_local(|| {
        black_box(&valuation)
            .answer(1)
            .to_json()
            .expect("JSON")
            .len()
    });
}

#[divan::bench(args = SIZES)]
fn render(bencher: Bencher<'_, '_>, tokens: u32) {
    let (wallet, nothing) = (Wallet::of(tokens), BTreeSet::new());
    let portfolio = wallet.portfolio(&nothing);
    let valuation = portfolio.value(&wallet.query).expect("known chains");
    bencher.bench_local(|| {
        black_box(&valuation)
            .answer(5000)
            .to_json()
            .expect("JSON")
            .len()
    });
}

#[divan::bench(args = SIZES)]
fn render_by_serde(bencher: Bencher<'_, '_>, tokens: u32) {
    let (wallet, nothing) = (Wallet::of(tokens), BTreeSet::new());
    let portfolio = wallet.portfolio(&nothing);
    let valuation = portfolio.value(&wallet.query).expect("known chains");
    bencher.bench_local(|| {
        let answer = black_box(&valuation).answer(5000);
        serde_json::to_string(&answer).expect("JSON").len()
    });
}
