//! Filling the asset registry.

use portfolio::{
    app,
    cache::{Registry, assets::AssetStore},
    domain::{draft::AssetResolver, price::CmcId},
    usage::Usage,
};
use portfolio_local::standins::{Coin, Platform};
use portfolio_tests::{World, rows};

fn coin(id: u32, number: u32) -> Coin {
    let mut coin = Coin::new(id, "Made up", "MADE", 1.0);
    coin.platform = Some(Platform {
        id: 1839,
        name: "BNB Smart Chain (BEP20)".to_owned(),
        symbol: "BNB".to_owned(),
        slug: "bnb".to_owned(),
        token_address: rows::contract(number).to_uppercase().replace("0X", "0x"),
    });
    coin
}

#[tokio::test]
async fn runs_are_idempotent_and_say_what_changed() {
    let world = World::new().await;
    let update = app::registry_update(world.config()).unwrap();
    let again = update.run().await.unwrap();
    assert_eq!(
        (
            again.changes.added,
            again.changes.changed,
            again.items_written
        ),
        (0, 0, 0)
    );
    assert_eq!(again.changes.unchanged, again.assets);

    world.standins().set_coin(coin(800_001, 1));
    let added = update.run().await.unwrap();
    assert_eq!(
        (
            added.changes.added,
            added.changes.changed,
            added.items_written
        ),
        (1, 0, 1)
    );

    world.standins().remove_coin(800_001);
    world.standins().set_coin(coin(800_002, 1));
    let changed = update.run().await.unwrap();
    assert_eq!(
        (
            changed.changes.added,
            changed.changes.changed,
            changed.items_written
        ),
        (0, 1, 1)
    );

    world.standins().remove_coin(800_002);
    let removed = update.run().await.unwrap();
    assert_eq!((removed.changes.removed, removed.items_written), (1, 1));
}

#[tokio::test]
async fn reads_every_page_of_the_map() {
    let world = World::new().await;
    for number in 0..5500 {
        world
            .standins()
            .set_coin(coin(700_000 + number, number + 1));
    }
    world.standins().reset_stats();
    let update = app::registry_update(world.config()).unwrap();
    let summary = update.run().await.unwrap();
    assert_eq!(world.stats().coinmarketcap.map_requests, 2);
    assert_eq!(summary.changes.added, 5500);

    let registry = Registry::new(world.table());
    let assets = registry.read(&Usage::default()).await.unwrap();
    assert_eq!(assets.len(), summary.assets);
    for number in [1, 2500, 5500] {
        assert_eq!(
            assets.resolve("binance-smart-chain", Some(&rows::contract(number))),
            Some(CmcId(700_000 + number - 1))
        );
    }
}

#[tokio::test]
async fn a_failing_map_changes_nothing() {
    let world = World::new().await;
    let registry = Registry::new(world.table());
    let before = registry.read(&Usage::default()).await.unwrap();
    let fault = portfolio_local::standins::Fault::status(500);
    world.standins().set_fault(
        portfolio_local::standins::Upstream::CoinMarketCap,
        Some(fault),
    );
    let update = app::registry_update(world.config()).unwrap();
    assert_eq!(update.run().await.unwrap_err().code(), "upstream_error");
    assert_eq!(registry.read(&Usage::default()).await.unwrap(), before);
}
