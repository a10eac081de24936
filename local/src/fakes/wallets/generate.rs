//! Amounts and tokens that are drawn at random.

#![expect(clippy::float_arithmetic, reason = "sample amounts need not be exact")]

use super::position::{Position, UnknownToken};
use crate::fakes::catalog::Asset;
use crate::fakes::rng::Rng;

/// About this many dollars of an asset, as an amount with digits of its own.
pub fn amount_worth(asset: &Asset, usd: f64, rng: &mut Rng) -> String {
    let amount = usd / asset.usd;
    format!("{amount:.6}{:09}", rng.below(1_000_000_000))
}

/// A position in a token without a price, sent unasked.
pub fn spam(chain: &'static str, rng: &mut Rng) -> Position {
    const NAMES: &[(&str, &str)] = &[
        ("Visit usdc-claim.example to claim", "USDC.claim"),
        ("$ 5000 Voucher at eth-gift.example", "VOUCHER"),
        ("Aave Season Airdrop", "aAIR"),
        ("Baby Pepe Moon", "BPM"),
        ("Elon Cat", "ECAT"),
        ("LinkPool Rewards", "LPR"),
        ("Uniswap Fan Token", "UFT"),
        ("Zk Lucky Draw", "ZKLD"),
    ];
    let (name, symbol) = rng.pick(NAMES);
    let contract = if chain == "solana" {
        base58(rng)
    } else {
        rng.address()
    };
    let token = UnknownToken {
        id: rng.uuid(),
        name: (*name).to_owned(),
        symbol: (*symbol).to_owned(),
        contract,
        decimals: *rng.pick(&[18, 18, 18, 9, 8, 6, 0]),
    };
    let zeros = "0".repeat(usize::from(token.decimals));
    let units = format!("{}{zeros}", 1 + rng.below(900_000));
    Position::unknown(token, chain, units)
}

fn base58(rng: &mut Rng) -> String {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    (0..43).map(|_| char::from(*rng.pick(DIGITS))).collect()
}
