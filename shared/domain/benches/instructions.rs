//! Runs one stage of an answer so many times, for `scripts/instructions.sh` to count
//! its instructions:
//!
//! ```text
//! instructions STAGE TOKENS TIMES
//! ```

mod support;

use std::{collections::BTreeSet, hint::black_box, process::ExitCode};

use portfolio_domain::decoded::DecodedHoldings;

use self::support::Wallet;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stage, tokens, times] = &arguments[..] else {
        // As `cargo bench` starts it, with all others.
        return ExitCode::SUCCESS;
    };
    let (Ok(tokens), Ok(times)) = (tokens.parse(), times.parse()) else {
        return ExitCode::FAILURE;
    };
    let (wallet, nothing) = (Wallet::of(tokens), BTreeSet::new());
    let portfolio = wallet.portfolio(&nothing);
    let valuation = portfolio.value(&wallet.query).expect("known chains");
    let run: &dyn Fn() -> usize = match stage.as_str() {
        "decode" => &|| {
            let decoded = DecodedHoldings::decode(black_box(wallet.holdings.bytes()));
            decoded.expect("holdings").keys().len()
        },
        "value" => &|| {
            let valuation = black_box(&portfolio).value(&wallet.query);
            usize::from(valuation.is_ok())
        },
        "render" => &|| {
            let answer = black_box(&valuation).answer(5000);
            answer.to_json().expect("JSON").len()
        },
        "page-of-one" => &|| {
            let answer = black_box(&valuation).answer(1);
            answer.to_json().expect("JSON").len()
        },
        _ => return ExitCode::FAILURE,
    };
    for _ in 0..times {
        black_box(run());
    }
    ExitCode::SUCCESS
}
