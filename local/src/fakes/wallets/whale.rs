//! A wallet with 10,000 positions on ten chains.

#![expect(clippy::float_arithmetic, reason = "sample amounts need not be exact")]

use super::generate::{amount_worth, spam};
use super::position::Position;
use super::protocols::{AAVE, CURVE, GMX, UNISWAP};
use crate::fakes::catalog;
use crate::fakes::rng::Rng;

const COUNT: usize = 10_000;
/// Each of them makes two rows.
const POOL_POSITIONS: usize = 3_000;
const CHAINS: &[&str] = &[
    "ethereum",
    "arbitrum",
    "optimism",
    "base",
    "polygon",
    "binance-smart-chain",
    "avalanche",
    "linea",
    "scroll",
    "xdai",
];
/// What the pools pair.
const POOLED: &[&str] = &[
    "WETH", "USDC", "USDT", "DAI", "WBTC", "LINK", "wstETH", "UNI", "AAVE", "CRV", "ARB", "OP",
    "cbBTC", "AERO", "CAKE", "PENDLE",
];

/// All positions, the same every time.
pub(super) fn positions() -> Vec<Position> {
    let mut rng = Rng::from_text("whale");
    let mut held = tokens(&mut rng);
    held.extend(pools(&mut rng));
    held.extend(lending_and_staking(&mut rng));
    while held.len() < COUNT {
        let chain = CHAINS[held.len() % CHAINS.len()];
        held.push(spam(chain, &mut rng));
    }
    held
}

/// Every listed token on each of the chains.
fn tokens(rng: &mut Rng) -> Vec<Position> {
    let mut held = Vec::new();
    for &chain in CHAINS {
        for asset in catalog::all() {
            if asset.on(chain).is_some() {
                let usd = 200.0 + 250_000.0 * rng.unit();
                let amount = amount_worth(asset, usd, rng);
                held.push(Position::wallet(asset.symbol, chain, &amount));
            }
        }
    }
    held
}

/// Liquidity as NFTs, two rows each.
fn pools(rng: &mut Rng) -> Vec<Position> {
    let mut held = Vec::with_capacity(2 * POOL_POSITIONS);
    for n in 0..POOL_POSITIONS {
        let chain = CHAINS[n % CHAINS.len()];
        let here: Vec<&str> = POOLED
            .iter()
            .copied()
            .filter(|symbol| catalog::by_symbol(symbol).is_some_and(|a| a.on(chain).is_some()))
            .collect();
        let first = rng.below(here.len());
        // A different one: every chain has at least two of them.
        let second = (first + 1 + rng.below(here.len() - 1)) % here.len();
        let id = (100_000 + n * 1_307 + rng.below(1_307)).to_string();
        let name = format!("Uniswap V3 {}/{} Pool (#{id})", here[first], here[second]);
        let (pool, group) = (rng.address(), rng.hex(64));
        for symbol in [here[first], here[second]] {
            let Some(asset) = catalog::by_symbol(symbol) else {
                continue;
            };
            let amount = amount_worth(asset, 50.0 + 20_000.0 * rng.unit(), rng);
            let place = (&UNISWAP, "liquidity_pool");
            held.push(
                Position::in_protocol(symbol, chain, &amount, "deposit", place, &name)
                    .pooled(&pool, &group)
                    .nft(&id),
            );
        }
    }
    held
}

fn lending_and_staking(rng: &mut Rng) -> Vec<Position> {
    let mut held = Vec::new();
    let mut add = |symbol: &str, chain, kind, place, name: &str| {
        let Some(asset) = catalog::by_symbol(symbol) else {
            return;
        };
        let amount = amount_worth(asset, 1_000.0 + 90_000.0 * rng.unit(), rng);
        held.push(Position::in_protocol(
            symbol, chain, &amount, kind, place, name,
        ));
    };
    for &chain in CHAINS {
        for (symbol, kind) in [
            ("WETH", "deposit"),
            ("DAI", "deposit"),
            ("USDC", "loan"),
            ("USDT", "loan"),
        ] {
            if catalog::by_symbol(symbol).is_some_and(|asset| asset.on(chain).is_some()) {
                add(symbol, chain, kind, (&AAVE, "lending"), "Aave V3 Lending");
            }
        }
    }
    for gauge in 0..100 {
        let name = format!("Curve Gauge {gauge}");
        add("CRV", "ethereum", "staked", (&CURVE, "staked"), &name);
        add("CRV", "ethereum", "reward", (&CURVE, "rewards"), &name);
    }
    add(
        "CRV",
        "ethereum",
        "locked",
        (&CURVE, "locked"),
        "Vote-escrowed CRV",
    );
    add("GMX", "arbitrum", "staked", (&GMX, "staked"), "Staked GMX");
    held
}
