//! What a valuation says of prices and chains.

use std::collections::BTreeSet;

use crate::{
    address::Address,
    asset_mapping::NoAssets,
    cursor::Cursor,
    decimal::Decimal,
    decoded::StoredHoldings,
    holdings_builder::HoldingsBuilder,
    portfolio::Portfolio,
    price::{Price, PriceAgeLimit, PriceKey, PriceTable, RejectReason},
    provider::Provider,
    provider_position::{Implementation, ProviderPosition},
    quantity::Quantity,
    query::Query,
    response::StructureInfo,
    scope::{Part, Scope},
    timestamp::Timestamp,
};

const OLD: Timestamp = Timestamp::from_millis(1_000);
const NEW: Timestamp = Timestamp::from_millis(9_000);

fn row(id: &str, chain: &str, displayable: bool) -> ProviderPosition {
    ProviderPosition {
        id: id.to_owned(),
        kind: Some("wallet".to_owned()),
        chain: chain.to_owned(),
        fungible: Some(id.to_owned()),
        implementations: vec![Implementation {
            chain: chain.to_owned(),
            address: Some(format!("0x{id}")),
            decimals: Some(0),
        }],
        quantity: Quantity::parse(Some("2"), Some(0), None).map(Quantity::into_owned),
        displayable,
        ..ProviderPosition::default()
    }
}

/// A wallet, and the keys of its tokens by the rows' ids.
struct Wallet(StoredHoldings);

impl Wallet {
    fn of(rows: &[ProviderPosition]) -> Self {
        let mut draft = HoldingsBuilder::default();
        for row in rows {
            draft.push(row.clone(), None);
        }
        let encoded = draft.encode(Part::Wallet, &draft.map(&NoAssets));
        Self(StoredHoldings::new(encoded.bytes).unwrap())
    }

    fn key(&self, id: &str) -> PriceKey {
        let holdings = self.0.holdings();
        let mut positions = holdings.positions.iter();
        let position = positions.find(|one| holdings.position_id(one) == id);
        self.0.decoded().keys()[position.unwrap().token as usize]
    }

    fn answer(
        &self,
        prices: Vec<(PriceKey, Price)>,
        unconverted: &BTreeSet<PriceKey>,
        change: impl FnOnce(&mut Query),
    ) -> Result<serde_json::Value, String> {
        let prices = PriceTable::new(prices);
        let portfolio = Portfolio {
            parts: vec![(Part::Wallet, self.0.decoded())],
            prices: &prices,
            unconverted,
            oldest_prices: PriceAgeLimit {
                listed: NEW,
                unlisted: Timestamp::from_millis(2_000),
            },
            structure: StructureInfo {
                as_of: NEW,
                fresh_until: NEW,
                stale: false,
            },
            prices_fresh_until: NEW,
            prices_stale: false,
            missing: Vec::new(),
        };
        let address = Address::parse(&format!("0x{}", "ab".repeat(20))).unwrap();
        let mut query = Query::all(address, Scope::Wallet);
        change(&mut query);
        let valuation = portfolio.value(&query).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(valuation.answer(query.limit)).unwrap())
    }
}

fn price(at: Timestamp) -> Price {
    Price::new(Decimal::new(3, 0), None, Provider::Zerion, at)
}

fn reasons(body: &serde_json::Value) -> Vec<(&str, Option<&str>)> {
    let positions = body["wallet"]["positions"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = positions
        .map(|one| (one["id"].as_str().unwrap(), one["unpriced_reason"].as_str()))
        .collect();
    reasons.sort_unstable();
    reasons
}

#[test]
fn what_has_no_value_says_why() {
    let ids = ["a", "b", "c", "d", "e", "f"];
    let rows = ids.map(|id| row(id, "base", true));
    let wallet = Wallet::of(&rows);
    let refused = price(OLD).checked(NEW, Some(RejectReason::Outlier));
    let kept = price(NEW).checked(NEW, Some(RejectReason::Outdated));
    let prices = vec![
        (wallet.key("a"), price(NEW)),
        (wallet.key("b"), price(OLD)),
        (wallet.key("c"), refused),
        (wallet.key("f"), kept),
    ];
    let unconverted = BTreeSet::from([wallet.key("d")]);
    let body = wallet.answer(prices, &unconverted, |_| {}).unwrap();
    assert_eq!(
        reasons(&body),
        [
            ("a", None),
            ("b", Some("price_too_old")),
            ("c", Some("price_refused")),
            ("d", Some("no_exchange_rate")),
            ("e", Some("no_price")),
            ("f", None),
        ]
    );
    assert_eq!(body["totals"]["net_worth"], "12");
    assert_eq!(body["prices"]["unpriced"], 4);
    let missing = body["coverage"]["missing"].as_array().unwrap();
    let mut told: Vec<_> = missing
        .iter()
        .map(|gap| gap["reason"].as_str().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "no_exchange_rate",
            "price_refused_jump",
            "price_refused_outdated",
            "price_too_old"
        ]
    );
    assert_eq!(body["coverage"]["complete"], false);
}

#[test]
fn hidden_positions_count_only_where_they_are_asked_for() {
    let rows = [row("a", "base", true), row("b", "base", false)];
    let wallet = Wallet::of(&rows);
    let older = Timestamp::from_millis(5_000);
    let reason = Some(RejectReason::Outlier);
    let hidden = [
        (wallet.key("b"), price(older)),
        (wallet.key("b"), price(OLD)),
        (wallet.key("b"), price(older).checked(NEW, reason)),
    ];
    for of_hidden in hidden {
        let prices = vec![(wallet.key("a"), price(NEW)), of_hidden];
        let nothing = BTreeSet::new();
        let body = wallet.answer(prices.clone(), &nothing, |_| {}).unwrap();
        assert_eq!(body["totals"]["net_worth"], "6");
        assert_eq!(body["prices"]["as_of"], NEW.to_string());
        assert_eq!(body["prices"]["unpriced"], 0);
        assert_eq!(body["coverage"]["hidden"], 1);
        assert_eq!(body["coverage"]["complete"], true);
        assert_eq!(body["page"]["total"], 1);
        let all = wallet.answer(prices, &nothing, |query| query.hidden = true);
        let all = all.unwrap();
        assert_eq!(all["page"]["total"], 2);
        assert_eq!(all["totals"], body["totals"]);
        let used = of_hidden.1.quoted_at != OLD;
        let oldest = if used { older } else { NEW };
        assert_eq!(all["prices"]["as_of"], oldest.to_string());
    }
}

#[test]
fn a_filter_names_chains_that_are_known_or_held() {
    let wallet = Wallet::of(&[row("a", "made-up", true), row("b", "base", true)]);
    let nothing = BTreeSet::new();
    let total = |chains: &[&str]| {
        let chains = chains.iter().map(|&id| id.to_owned()).collect();
        let answer = wallet.answer(Vec::new(), &nothing, |query| query.chains = Some(chains));
        answer.map(|body| body["page"]["total"].as_u64().unwrap())
    };
    assert_eq!(total(&["made-up"]), Ok(1));
    assert_eq!(total(&["base", "made-up"]), Ok(2));
    assert_eq!(total(&["ethereum"]), Ok(0));
    let error = total(&["base", "nowhere"]).unwrap_err();
    assert!(
        error.contains("chains") && error.contains("'nowhere'"),
        "{error}"
    );
}

#[test]
fn gaps_of_the_provider_are_told_of_selected_chains_alone() {
    let wallet = Wallet::of(&[row("a", "zora", true), row("b", "base", true)]);
    let told = |chains: Option<&str>| -> Vec<String> {
        let answer = wallet.answer(Vec::new(), &BTreeSet::new(), |query| {
            query.scope = Scope::Aggregate;
            query.chains = chains.map(|id| vec![id.to_owned()]);
        });
        let body = answer.unwrap();
        let missing = body["coverage"]["missing"].as_array().unwrap().iter();
        missing
            .map(|gap| gap["chain"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(told(None), ["zora"]);
    assert_eq!(told(Some("zora")), ["zora"]);
    assert_eq!(told(Some("base")), [""; 0]);
}

#[test]
fn a_page_goes_on_after_the_last_position_even_if_that_is_gone() {
    let next = |ids: &[&str], cursor: Option<&str>| -> (Vec<String>, Option<String>) {
        let rows: Vec<_> = ids.iter().map(|id| row(id, "base", true)).collect();
        let answer = Wallet::of(&rows).answer(Vec::new(), &BTreeSet::new(), |query| {
            query.limit = 1;
            let cursor = cursor.map(|text| Cursor::parse(text, &query.selection()).unwrap());
            query.cursor = cursor;
        });
        let body = answer.unwrap();
        let ids = reasons(&body).into_iter().map(|(id, _)| id.to_owned());
        let next = body["page"]["next"].as_str();
        (ids.collect(), next.map(str::to_owned))
    };
    let (first, cursor) = next(&["a", "b", "c"], None);
    assert_eq!(first, ["a"]);
    for held in [&["a", "b", "c"][..], &["b", "c"], &["0", "a", "b"]] {
        assert_eq!(next(held, cursor.as_deref()).0, ["b"], "{held:?}");
    }
    let (second, cursor) = next(&["a", "b", "c"], cursor.as_deref());
    assert_eq!(second, ["b"]);
    assert_eq!(
        next(&["a", "b", "c"], cursor.as_deref()),
        (vec!["c".to_owned()], None)
    );
}
