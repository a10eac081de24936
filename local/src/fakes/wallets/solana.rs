//! A wallet on Solana.

use super::position::{Position, UnknownToken};

pub(super) fn positions() -> Vec<Position> {
    let token = |symbol, amount| Position::wallet(symbol, "solana", amount);
    let unpriced = UnknownToken {
        id: "5d1f0c6a-92b7-4e38-a1d4-7c60be92f315".to_owned(),
        name: "Claim at sol-bonus.example".to_owned(),
        symbol: "BONUS".to_owned(),
        contract: "BoNusVq7Jc3mR4tXkWz9yPfGhD2sEaT6uLnKe8vCq5wM".to_owned(),
        decimals: 0,
    };
    vec![
        token("SOL", "38.402117905"),
        token("USDC", "1842.554071"),
        token("USDT", "260.18"),
        token("JitoSOL", "12.750334418"),
        token("JUP", "5400.25"),
        token("BONK", "41250000.12345"),
        token("WIF", "820.5"),
        token("RAY", "96.31"),
        token("DAI", "75.00000001"),
        // 2 units that count as 2.0084 shares since a dividend.
        token("AAPLx", "2").scaled(10_042),
        Position::unknown(unpriced, "solana", "1000".to_owned()),
    ]
}
