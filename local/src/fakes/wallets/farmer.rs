//! A wallet that works in many protocols at once.

use super::position::{Position, UnknownToken};
use super::protocols::{AAVE, AERODROME, COMPOUND, CURVE, ENZYME, GMX, LIDO, UNISWAP, YEARN};

pub(super) fn positions() -> Vec<Position> {
    let mut positions = lending();
    positions.extend(liquidity());
    positions.extend(other());
    positions.extend(tokens());
    positions
}

/// Deposits and loans; Zerion gives the loans positive amounts too.
fn lending() -> Vec<Position> {
    const ETHEREUM_POOL: &str = "0x87870bca3f3fd6335c3f4ce8392d69350b4fa4e2";
    const BASE_POOL: &str = "0xa238dd80c259a72e81d7e4664a9801593f98d1c5";
    let at = |symbol, chain, amount, kind, name| {
        let pool = if chain == "base" {
            BASE_POOL
        } else {
            ETHEREUM_POOL
        };
        Position::in_protocol(symbol, chain, amount, kind, (&AAVE, "lending"), name)
            .pooled(pool, "")
    };
    const CORE: &str = "Aave V3 Lending";
    vec![
        at("WETH", "ethereum", "12.5", "deposit", CORE),
        at(
            "wstETH",
            "ethereum",
            "8.204417725513907724",
            "deposit",
            CORE,
        ),
        at("USDC", "ethereum", "9500.114208", "loan", CORE),
        at("GHO", "ethereum", "2200.5", "loan", CORE),
        at("cbBTC", "base", "0.35001877", "deposit", CORE),
        at("USDC", "base", "8010.662031", "loan", CORE),
        Position::in_protocol(
            "USDC",
            "arbitrum",
            "1500.25",
            "deposit",
            (&COMPOUND, "lending"),
            "Compound V3 USDC Market",
        ),
    ]
}

fn liquidity() -> Vec<Position> {
    const LP: &str = "Uniswap V3 WETH/USDC Pool (#4213377)";
    const LP_POOL: &str = "0xc6962004f452be9203591991d15f6b388e09e8d0";
    const LP_GROUP: &str = "7b1c53d0e8f24a96b5d7031ce84f92a6d3705be1cc48f29a16e3d9075b84fa21";
    const GAUGE: &str = "Aerodrome WETH/AERO Gauge";
    const GAUGE_POOL: &str = "0x7f670f78b17dec44d5ef68a48740b6f8849cc2e6";
    const GAUGE_GROUP: &str = "c02f9e7d5ab14386e1970d3b6f5c82a4d97b10e63f8c4a25d6e790b13c5f8d42";
    let lp = |symbol, amount| {
        let place = (&UNISWAP, "liquidity_pool");
        Position::in_protocol(symbol, "arbitrum", amount, "deposit", place, LP)
            .pooled(LP_POOL, LP_GROUP)
            .nft("4213377")
    };
    let gauge = |symbol, amount| {
        let place = (&AERODROME, "farming");
        Position::in_protocol(symbol, "base", amount, "staked", place, GAUGE)
            .pooled(GAUGE_POOL, GAUGE_GROUP)
    };
    vec![
        lp("WETH", "3.118204995013447781"),
        lp("USDC", "8840.771950"),
        gauge("WETH", "1.602211840093345127"),
        gauge("AERO", "7285.330184229017734"),
        // The reward comes as a second row of the same token and type.
        gauge("AERO", "86.4").told_apart("-1"),
    ]
}

fn other() -> Vec<Position> {
    let eth = |symbol, amount, kind, place, name| {
        Position::in_protocol(symbol, "ethereum", amount, kind, place, name)
    };
    vec![
        eth(
            "stETH",
            "6.4",
            "staked",
            (&LIDO, "staked"),
            "Lido Staked ETH",
        ),
        eth(
            "CRV",
            "15000",
            "locked",
            (&CURVE, "locked"),
            "Vote-escrowed CRV",
        )
        .pooled("0x5f3b5dfeb7b28cdbd7faba78963ee202a494e2a2", ""),
        eth(
            "CRV",
            "214.704418",
            "reward",
            (&CURVE, "rewards"),
            "Curve 3pool Gauge",
        ),
        eth(
            "USDC",
            "5021.877310",
            "deposit",
            (&YEARN, "yield"),
            "Yearn V3 Yield: USDC-1 yVault",
        )
        .pooled("0xbe53a109b494e5c9f97b9cd39fe969be68bf6204", ""),
        eth(
            "DAI",
            "1875.5",
            "investment",
            (&ENZYME, "investment"),
            "Enzyme Stable Vault",
        ),
        Position::in_protocol(
            "GMX",
            "arbitrum",
            "120",
            "staked",
            (&GMX, "staked"),
            "Staked GMX",
        ),
        Position::in_protocol(
            "WETH",
            "arbitrum",
            "0.0418",
            "reward",
            (&GMX, "rewards"),
            "Staked GMX",
        ),
    ]
}

fn tokens() -> Vec<Position> {
    // A receipt that Zerion cannot look into.
    let receipt = UnknownToken {
        id: "0x3afdc9bca9213a35503b077a6072f3d0d5ab0840".to_owned(),
        name: "Compound USDT".to_owned(),
        symbol: "cUSDTv3".to_owned(),
        contract: "0x3afdc9bca9213a35503b077a6072f3d0d5ab0840".to_owned(),
        decimals: 6,
    };
    vec![
        Position::wallet("ETH", "ethereum", "4.1180"),
        Position::wallet("ETH", "arbitrum", "0.6024"),
        Position::wallet("ETH", "base", "0.2210"),
        Position::wallet("POL", "polygon", "1830.25"),
        Position::wallet("USDC", "arbitrum", "645.118830"),
        Position::wallet("ARB", "arbitrum", "5200"),
        Position::wallet("CRV", "ethereum", "880.75"),
        Position::wallet("PENDLE", "arbitrum", "310.4"),
        Position::wallet("3Crv", "ethereum", "742.19").unpriced(),
        Position::unknown(receipt, "ethereum", "2503118442".to_owned()).unpriced(),
    ]
}
