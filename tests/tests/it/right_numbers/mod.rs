//! Whole answers over made-up wallets: no position takes a price that was not
//! given for it, and nothing that has one is left out in silence.
//!
//! Each asset has a price of its own, and each source a mark of its own in the
//! third place, so that any price in an answer tells whose it is.

mod wallet;

use std::collections::BTreeMap;

use portfolio::{
    app::App,
    cache::{
        DynamoAssetStore,
        asset_registry::{AssetStore, Assets},
    },
    telemetry::request_cost::RequestCost,
};
use portfolio_local::fakes::Coin;
use portfolio_tests::{TestApp, positions, rows, sum, units};
use serde_json::{Value, json};

use self::wallet::{Asset, Dice, LISTED, Made, address, wallet};

const DOLLAR_COINS: [u32; 3] = [825, 3408, 4943];
const ETHER: u32 = 1027;
/// What the fakes count for a dollar.
const EUROS_PER_TEN_THOUSAND_DOLLARS: i128 = 8632;
/// The fallback prices ether near this, in cents.
const FALLBACK_ETHER: std::ops::RangeInclusive<i128> = 304_000..=306_500;

/// Whether the registry knows what CoinMarketCap lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registered {
    All,
    Nothing,
}

/// An app in which all sources' prices are known.
async fn app(registered: Registered) -> TestApp {
    let app = TestApp::new().await;
    let fakes = app.fakes();
    for number in 0..LISTED {
        let mut coin: Coin = rows::listed(number);
        let cents = Asset::Listed(number).cents();
        // A mark of its own: three in the third place.
        coin.price_usd = format!("{}.{:02}3", cents / 100, cents % 100).parse().ok();
        fakes.set_coin(coin);
    }
    for coin in DOLLAR_COINS {
        fakes.set_price(coin, 1.0);
    }
    fakes.set_price(ETHER, 3000.003);
    match registered {
        Registered::All => {
            let update = App::new(app.config()).registry_update().expect("an update");
            update.run().await.expect("a filled registry");
        }
        Registered::Nothing => {
            let registry = DynamoAssetStore::new(app.table());
            let (none, cost) = (Assets::default(), RequestCost::default());
            let written = registry.write(&none, app.now(), &cost);
            written.await.expect("an empty registry");
        }
    }
    app
}

/// In units of 10^-18, what so many thousandths of a dollar are in a currency.
fn in_currency(thousandths: i128, currency: &str) -> i128 {
    match currency {
        "usd" => thousandths * 1_000_000_000_000_000,
        _ => thousandths * 100_000_000_000 * EUROS_PER_TEN_THOUSAND_DOLLARS,
    }
}

/// Doubles are right to so many digits.
fn is_near(one: i128, other: i128) -> bool {
    (one - other).abs() * 1_000_000_000 <= other.abs()
}

/// Checks an answer against what is known of the wallet; tells how many
/// positions have a value.
fn check(
    body: &Value,
    wallet: &[Made],
    currency: &str,
    registered: Registered,
    first: bool,
) -> usize {
    // A row has to have a price that another row of its asset tells, and may
    // have one that another row of the same coin tells under another name.
    let (mut told, mut may_be): (BTreeMap<Asset, bool>, BTreeMap<Asset, bool>) = Default::default();
    for row in wallet {
        *told.entry(row.asset).or_default() |= row.tells;
        *may_be.entry(row.asset.named()).or_default() |= row.tells;
    }
    let all = positions(body);
    assert_eq!(all.len(), wallet.len());
    let complete = body["coverage"]["complete"] == true;
    let mut valued = 0;
    let (mut assets, mut debt) = (0, 0);
    for row in wallet {
        let found: Vec<_> = all
            .iter()
            .filter(|one| one["name"] == json!(row.name))
            .collect();
        let [one] = found[..] else {
            panic!("{} stands once", row.name)
        };
        let context = format!(
            "{registered:?} {currency} {row:?}\n{one}\n{}",
            body["coverage"]
        );
        let listed = row.asset.is_listed() && registered == Registered::All;
        if one["value"].is_null() {
            assert!(
                one["price"].is_null() && !one["unpriced_reason"].is_null(),
                "{context}"
            );
            let priced = told[&row.asset] || (listed && !first);
            assert!(!(priced && complete), "left out: {context}");
            assert!(
                !priced || one["unpriced_reason"] == "no_exchange_rate",
                "{context}"
            );
            continue;
        }
        valued += 1;
        let price = units(&one["price"]["amount"]);
        let cents = row.asset.cents();
        let right = match one["price"]["source"].as_str() {
            Some("zerion") => {
                may_be[&row.asset.named()] && is_near(price, in_currency(cents * 10, currency))
            }
            Some("coinmarketcap") => {
                listed && !first && is_near(price, in_currency(cents * 10 + 3, currency))
            }
            Some("defillama") => {
                let (low, high) = (FALLBACK_ETHER.start() * 10, FALLBACK_ETHER.end() * 10);
                let range = in_currency(low, currency)..=in_currency(high, currency);
                row.asset.is_native() && !first && range.contains(&price)
            }
            _ => false,
        };
        assert!(right, "a price of something else: {context}");
        let value = units(&one["value"]);
        assert!(
            (value - price * row.tokens).abs() <= row.tokens,
            "{context}"
        );
        match one["kind"].as_str() {
            Some("debt") => debt += value,
            _ => assets += value,
        }
    }
    let totals = &body["totals"];
    assert_eq!(
        (units(&totals["assets"]), units(&totals["debt"])),
        (assets, debt)
    );
    assert_eq!(units(&totals["net_worth"]), assets - debt);
    for shares in ["by_chain", "by_protocol", "by_type"] {
        assert_eq!(sum(&totals[shares]), assets - debt, "{shares}");
    }
    let sections = units(&body["wallet"]["value"]) + units(&body["defi"]["value"]);
    assert_eq!(sections, assets - debt);
    assert_eq!(body["prices"]["unpriced"], json!(wallet.len() - valued));
    valued
}

/// Asks for wallets in these currencies, fresh and after the prices expired.
async fn ask(registered: Registered, currencies: &[&str], seed: u64) {
    let app = app(registered).await;
    let mut dice = Dice(seed);
    let wallets: Vec<(String, Vec<Made>)> = (0..24)
        .map(|number| {
            let rows = wallet(&mut dice, number * 20);
            (address(number), rows)
        })
        .collect();
    for (address, rows) in &wallets {
        let rows = rows.iter().map(|row| row.json.clone()).collect();
        app.fakes().set_wallet(address, rows);
    }
    let mut valued = 0;
    for round in 0..2 {
        for (address, rows) in &wallets {
            for (at, currency) in currencies.iter().enumerate() {
                let path = format!("aggregate?currency={currency}");
                let body = app.get(address, &path).await.ok();
                let first = round == 0 && at == 0;
                valued += check(&body, rows, currency, registered, first);
            }
        }
        app.advance(61);
    }
    assert!(valued > 100, "only {valued} positions had a value");
    assert_eq!(app.stats().zerion.requests, 24);
}

#[tokio::test]
async fn no_position_takes_the_price_of_another_asset() {
    ask(Registered::All, &["usd"], 1).await;
}

#[tokio::test]
async fn no_position_takes_the_price_of_another_asset_without_a_registry() {
    ask(Registered::Nothing, &["usd"], 2).await;
}

#[tokio::test]
async fn prices_stay_right_from_dollars_to_euros() {
    ask(Registered::All, &["usd", "eur"], 3).await;
}

#[tokio::test]
async fn prices_stay_right_from_euros_to_dollars() {
    ask(Registered::All, &["eur", "usd"], 4).await;
}

#[tokio::test]
async fn prices_stay_right_from_dollars_to_euros_without_a_registry() {
    ask(Registered::Nothing, &["usd", "eur"], 5).await;
}

#[tokio::test]
async fn prices_stay_right_from_euros_to_dollars_without_a_registry() {
    ask(Registered::Nothing, &["eur", "usd"], 6).await;
}

/// A wallet of one token that CoinMarketCap does not list.
async fn unlisted(app: &TestApp) -> String {
    let wallet = address(77);
    app.fakes().set_wallet(&wallet, vec![rows::token(77)]);
    wallet
}

#[tokio::test]
async fn an_unlisted_token_has_the_same_value_in_another_currency() {
    for (one, other) in [("usd", "eur"), ("eur", "usd")] {
        let app = app(Registered::Nothing).await;
        let wallet = unlisted(&app).await;
        let worth = async |currency: &str| {
            let body = app
                .get(&wallet, &format!("wallet?currency={currency}"))
                .await
                .ok();
            assert_eq!(body["coverage"]["complete"], true, "{body}");
            units(&body["totals"]["net_worth"])
        };
        let (before, after) = (worth(one).await, worth(other).await);
        let (dollars, euros) = if one == "usd" {
            (before, after)
        } else {
            (after, before)
        };
        assert!(dollars > 0);
        assert!(
            is_near(euros, dollars / 10_000 * EUROS_PER_TEN_THOUSAND_DOLLARS),
            "{dollars} {euros}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_an_exchange_rate_lists_what_it_lacks() {
    let app = app(Registered::Nothing).await;
    for coin in DOLLAR_COINS {
        app.fakes().remove_coin(coin);
    }
    let wallet = unlisted(&app).await;
    app.get(&wallet, "wallet").await.ok();
    let body = app.get(&wallet, "wallet?currency=eur").await.ok();
    let one = positions(&body)[0];
    assert!(one["value"].is_null() && one["price"].is_null(), "{one}");
    assert_eq!(one["unpriced_reason"], "no_exchange_rate");
    assert_eq!(body["coverage"]["complete"], false);
    assert_eq!(body["prices"]["unpriced"], 1);
}

#[tokio::test]
async fn a_scaled_token_never_takes_the_price_of_its_base_unit() {
    // CoinMarketCap quotes the token as a whole, or what its base unit is worth.
    for (quoted, source, amount) in [(100.5, "coinmarketcap", 1005), (25.0, "zerion", 1000)] {
        let app = app(Registered::All).await;
        let mut coin = rows::listed(LISTED);
        coin.price_usd = Some(quoted);
        app.fakes().set_coin(coin);
        let update = App::new(app.config()).registry_update().expect("an update");
        update.run().await.expect("a filled registry");
        let row = |id: &str, numeric: &str| {
            let mut row = rows::token(LISTED);
            row["id"] = json!(id);
            row["attributes"]["name"] = json!(id);
            row["attributes"]["price"] = json!(100.0);
            row["attributes"]["quantity"]["int"] = json!("1000000000000000000");
            row["attributes"]["quantity"]["numeric"] = json!(numeric);
            row
        };
        let wallet = address(88);
        let held = vec![row("scaled", "4.0"), row("plain", "1.0")];
        app.fakes().set_wallet(&wallet, held);
        let price = async |name: &str| {
            let body = app.get(&wallet, "wallet").await.ok();
            let all = positions(&body);
            let found = all.iter().find(|one| one["name"] == json!(name));
            found.expect("a position")["price"].clone()
        };
        for name in ["scaled", "plain"] {
            let fresh = price(name).await;
            assert_eq!(
                (&fresh["amount"], &fresh["source"]),
                (&json!("100"), &json!("zerion"))
            );
        }
        app.advance(61);
        let scaled = price("scaled").await;
        assert_eq!(scaled["source"], source, "{scaled}");
        assert_eq!(units(&scaled["amount"]), in_currency(amount * 100, "usd"));
        // Nothing is unclear about an amount that is not scaled.
        assert_eq!(price("plain").await["source"], "coinmarketcap");
    }
}
