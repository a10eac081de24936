//! Prices of tokens that CoinMarketCap does not list.

use portfolio_local::standins::{Fault, Upstream};
use portfolio_tests::{World, positions, sample};
use serde_json::Value;

fn token<'b>(body: &'b Value, symbol: &str) -> &'b Value {
    let found = positions(body)
        .into_iter()
        .find(|one| one["token"]["symbol"] == symbol);
    found.unwrap_or_else(|| panic!("{symbol} is missing"))
}

#[tokio::test]
async fn unlisted_tokens_are_priced_by_the_fallback() {
    let world = World::new().await;
    let farmer = sample("farmer");
    let before = world.get(farmer, "aggregate").await.ok();
    assert!(token(&before, "3Crv")["price"].is_null());
    // The structure brought prices: nobody else is asked.
    assert_eq!(world.stats().defillama.requests, 0);

    world.advance(61);
    let after = world.get(farmer, "aggregate").await.ok();
    let priced = token(&after, "3Crv");
    assert_eq!(priced["price"]["source"], "defillama");
    assert!(!priced["value"].is_null());
    assert_eq!(token(&after, "cUSDTv3")["unpriced_reason"], "no_price");
    let stats = world.stats();
    assert_eq!(
        (stats.coinmarketcap.requests, stats.defillama.requests),
        (1, 1)
    );
    assert!(stats.defillama.keys >= 2);

    // What nobody knows is not asked for again with every refresh.
    world.get(farmer, "aggregate").await.ok();
    assert_eq!(world.stats().defillama.requests, 1);
    world.advance(61);
    world.get(farmer, "aggregate").await.ok();
    let again = world.stats().defillama;
    assert_eq!(again.requests, 2);
    assert!(again.last_keys.len() < usize::try_from(stats.defillama.keys).unwrap());
}

#[tokio::test]
async fn the_fallback_can_be_turned_off() {
    let world = World::with(&[("PRICE_FALLBACK", "none")]).await;
    let farmer = sample("farmer");
    world.get(farmer, "aggregate").await.ok();
    world.advance(61);
    let body = world.get(farmer, "aggregate").await.ok();
    assert!(token(&body, "3Crv")["price"].is_null());
    assert_eq!(world.stats().defillama.requests, 0);
}

#[tokio::test]
async fn a_failing_fallback_costs_nothing_else() {
    let world = World::new().await;
    let farmer = sample("farmer");
    world.get(farmer, "aggregate").await.ok();
    world
        .standins()
        .set_fault(Upstream::DefiLlama, Some(Fault::status(502)));
    world.advance(61);
    let answer = world.get(farmer, "aggregate").await;
    assert!(
        answer
            .header("cache-status")
            .contains("detail=coinmarketcap")
    );
    assert!(answer.header("cache-status").contains("prices; fwd="));
    let body = answer.ok();
    assert_eq!(token(&body, "ETH")["price"]["source"], "coinmarketcap");
    assert_eq!(body["prices"]["stale"], false);
    // It is left alone until the prices expire again.
    world.get(farmer, "aggregate").await.ok();
    assert_eq!(world.stats().defillama.requests, 1);
    world.standins().set_fault(Upstream::DefiLlama, None);
    world.advance(61);
    let body = world.get(farmer, "aggregate").await.ok();
    assert_eq!(token(&body, "3Crv")["price"]["source"], "defillama");
}

#[tokio::test]
async fn spam_is_not_asked_for() {
    let world = World::new().await;
    let whale = sample("whale");
    world.get(whale, "wallet").await.ok();
    world.advance(61);
    world.get(whale, "wallet").await.ok();
    let stats = world.stats().defillama;
    assert!(stats.requests <= 3 && stats.keys <= 300, "{stats:?}");
}
