//! The wallet of every address that has none of its own.

#![expect(clippy::float_arithmetic, reason = "sample amounts need not be exact")]

use super::address::is_solana;
use super::generate::{amount_worth, spam};
use super::position::Position;
use super::protocols::{AAVE, LIDO, UNISWAP};
use crate::fakes::catalog::{self, Asset};
use crate::fakes::rng::Rng;

const CHAINS: &[&str] = &[
    "ethereum",
    "base",
    "arbitrum",
    "optimism",
    "polygon",
    "binance-smart-chain",
    "avalanche",
    "linea",
    "scroll",
    "xdai",
    "celo",
    "zksync-era",
];
/// Chains whose wallets may also hold something in a protocol.
const DEFI_CHAINS: &[&str] = &["ethereum", "base", "arbitrum", "optimism"];
const MAX_CHAINS: usize = 6;
const MIN_POSITIONS: usize = 5;
const MAX_POSITIONS: usize = 40;

/// Between 5 and 40 positions on at most 6 chains, the same for the same address.
pub(super) fn positions(address: &str) -> Vec<Position> {
    let mut rng = Rng::from_text(address);
    let target = MIN_POSITIONS + rng.below(MAX_POSITIONS - MIN_POSITIONS + 1);
    let on_solana = is_solana(address);
    let chains = if on_solana {
        vec!["solana"]
    } else {
        some_chains(&mut rng)
    };
    let mut candidates: Vec<(&'static Asset, &'static str)> = chains
        .iter()
        .flat_map(|&chain| {
            let here = move |asset: &&Asset| asset.on(chain).is_some();
            catalog::all()
                .iter()
                .filter(here)
                .map(move |asset| (asset, chain))
        })
        .collect();
    let mut held = Vec::new();
    if !on_solana {
        held.extend(in_protocols(&chains, &mut rng));
    }
    while held.len() < target {
        if candidates.is_empty() {
            held.push(spam(chains[0], &mut rng));
            continue;
        }
        let (asset, chain) = candidates.swap_remove(rng.below(candidates.len()));
        let amount = amount_worth(asset, 20.0 + 4000.0 * rng.unit(), &mut rng);
        held.push(Position::wallet(asset.symbol, chain, &amount));
    }
    held
}

/// 1 to 6 chains.
fn some_chains(rng: &mut Rng) -> Vec<&'static str> {
    let count = 1 + rng.below(MAX_CHAINS);
    let mut left = CHAINS.to_vec();
    (0..count)
        .map(|_| left.swap_remove(rng.below(left.len())))
        .collect()
}

/// Two in three addresses also lend, and some stake or provide liquidity.
fn in_protocols(chains: &[&'static str], rng: &mut Rng) -> Vec<Position> {
    let Some(&chain) = chains.iter().find(|chain| DEFI_CHAINS.contains(chain)) else {
        return Vec::new();
    };
    let mut held = Vec::new();
    let mut add = |symbol: &str, usd: f64, kind, place, name: &str, rng: &mut Rng| {
        let Some(asset) = catalog::by_symbol(symbol) else {
            return;
        };
        let amount = amount_worth(asset, usd, rng);
        held.push(Position::in_protocol(
            symbol, chain, &amount, kind, place, name,
        ));
    };
    let size = 500.0 + 9000.0 * rng.unit();
    if rng.below(3) > 0 {
        let lending = (&AAVE, "lending");
        add("WETH", size, "deposit", lending, "Aave V3 Lending", rng);
        add("USDC", size * 0.4, "loan", lending, "Aave V3 Lending", rng);
    }
    if rng.below(3) == 0 && chain == "ethereum" {
        add(
            "stETH",
            size * 0.7,
            "staked",
            (&LIDO, "staked"),
            "Lido Staked ETH",
            rng,
        );
    }
    if rng.below(3) == 0 {
        let id = (100_000 + rng.below(4_000_000)).to_string();
        let name = format!("Uniswap V3 WETH/USDC Pool (#{id})");
        let (pool, group) = (rng.address(), rng.hex(64));
        for (symbol, share) in [("WETH", 0.6), ("USDC", 0.4)] {
            let Some(asset) = catalog::by_symbol(symbol) else {
                continue;
            };
            let amount = amount_worth(asset, size * share, rng);
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
