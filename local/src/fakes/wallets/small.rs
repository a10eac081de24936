//! A holder with a dozen tokens on three chains.

use super::position::Position;

pub(super) fn positions() -> Vec<Position> {
    const BNB_CHAIN: &str = "binance-smart-chain";
    vec![
        Position::wallet("ETH", "ethereum", "1.284337190245881307"),
        Position::wallet("USDC", "ethereum", "2450.187432"),
        Position::wallet("LINK", "ethereum", "85.5"),
        Position::wallet("UNI", "ethereum", "42.017"),
        Position::wallet("SHIB", "ethereum", "4200000"),
        Position::wallet("ETH", "base", "0.312755102938471120"),
        Position::wallet("USDC", "base", "318.904411"),
        Position::wallet("AERO", "base", "940.2"),
        Position::wallet("DEGEN", "base", "15250.75"),
        Position::wallet("BNB", BNB_CHAIN, "0.842190331"),
        Position::wallet("USDC", BNB_CHAIN, "1200.507351920118844071"),
        Position::wallet("CAKE", BNB_CHAIN, "120.4"),
    ]
}
