//! What the stages of an answer take, for wallets of many tokens.
//!
//! ```text
//! cargo bench --package portfolio-domain
//! ```

mod support;

use std::collections::BTreeSet;

use divan::{Bencher, black_box};
use portfolio_domain::decoded::DecodedHoldings;

use self::support::Wallet;

const SIZES: [u32; 3] = [30, 300, 3000];

fn main() {
    divan::main();
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
