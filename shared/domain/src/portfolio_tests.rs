//! Properties of answers over made-up wallets.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::Value;

use crate::{
    address::Address,
    asset_mapping::NoAssets,
    decimal::Decimal,
    decoded::DecodedHoldings,
    holdings::Holdings,
    holdings_builder::HoldingsBuilder,
    portfolio::Portfolio,
    price::{Price, PriceAgeLimit, PriceTable},
    provider::Provider,
    provider_position::{Implementation, ProviderPosition, ProviderProtocol},
    quantity::Quantity,
    query::Query,
    response::StructureInfo,
    scope::{Part, Scope},
    timestamp::Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_000);

fn any_row() -> impl Strategy<Value = ProviderPosition> {
    (
        (0_u8..12, 0_u8..4, 0_u8..6, 0_u8..8),
        "[0-9]{1,30}",
        proptest::option::of((1_i64..1_000_000_000, -20_i16..6)),
        proptest::option::of(-9_000_000_i64..90_000_000),
        (any::<bool>(), 0_u8..10, 0_u8..10),
    )
        .prop_map(
            |((id, chain, kind, token), int, price, change, (grouped, trash, hidden))| {
                let kind =
                    ["wallet", "deposit", "staked", "loan", "reward", "later"][usize::from(kind)];
                let quantity =
                    Quantity::parse(Some(&int), Some(18), None).map(Quantity::into_owned);
                ProviderPosition {
                    id: format!("position-{id}"),
                    kind: Some(kind.to_owned()),
                    name: "Position".to_owned(),
                    chain: format!("chain-{chain}"),
                    fungible: Some(format!("asset-{token}")),
                    symbol: "TKN".to_owned(),
                    implementations: vec![Implementation {
                        chain: format!("chain-{chain}"),
                        address: Some(format!("0x{token}")),
                        decimals: Some(18),
                    }],
                    quantity,
                    protocol: (kind != "wallet").then(|| ProviderProtocol {
                        id: format!("protocol-{}", token % 3),
                        name: "Protocol".to_owned(),
                        ..ProviderProtocol::default()
                    }),
                    group: grouped.then(|| format!("group-{}", id % 2)),
                    displayable: hidden != 0,
                    trash: trash == 0,
                    price: price.map(|(coefficient, exponent)| Decimal::new(coefficient, exponent)),
                    change_24h_percent: change.map(|change| Decimal::new(change, -6)),
                    ..ProviderPosition::default()
                }
            },
        )
}

/// Encodes, decodes and hands the portfolio to `check`.
pub(super) fn with_portfolio(rows: Vec<ProviderPosition>, check: impl FnOnce(&Portfolio<'_>)) {
    let mut draft = HoldingsBuilder::default();
    for row in rows {
        draft.push(row, None);
    }
    let finished = Part::ALL.map(|part| (part, draft.encode(part, &draft.map(&NoAssets))));
    let prices = finished.iter().flat_map(|(_, part)| &part.prices);
    let prices = prices
        .map(|(key, amount, change)| (*key, Price::new(*amount, *change, Provider::Zerion, NOW)));
    let prices = PriceTable::new(prices.collect());
    let decoded = finished
        .each_ref()
        .map(|(part, encoded)| (*part, DecodedHoldings::decode(&encoded.bytes).unwrap()));
    check(&Portfolio {
        parts: decoded
            .iter()
            .map(|(part, decoded)| (*part, decoded))
            .collect(),
        prices: &prices,
        unconverted: &BTreeSet::new(),
        oldest_prices: PriceAgeLimit::default(),
        structure: StructureInfo {
            as_of: NOW,
            fresh_until: NOW.plus(Duration::from_secs(300)),
            stale: false,
        },
        prices_fresh_until: NOW.plus(Duration::from_secs(60)),
        prices_stale: false,
        missing: Vec::new(),
    });
}

pub(super) fn query() -> Query {
    let address = Address::parse(&format!("0x{}", "ab".repeat(20))).unwrap();
    Query::all(address, Scope::Aggregate)
}

fn render(portfolio: &Portfolio<'_>, query: &Query) -> Value {
    let valuation = portfolio.value(query).unwrap();
    serde_json::to_value(valuation.answer(query.limit)).unwrap()
}

/// A decimal string as a big integer count of 10^-18.
fn units(value: &Value) -> num_bigint::BigInt {
    let text = value.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<18}").parse().unwrap()
}

fn listed(body: &Value) -> Vec<&Value> {
    let each = |value: &'_ Value| value.as_array().unwrap().len();
    assert!(each(&body["wallet"]["positions"]) <= 5000);
    let wallet = body["wallet"]["positions"].as_array().unwrap().iter();
    let protocols = body["defi"]["protocols"].as_array().unwrap().iter();
    let groups = protocols.flat_map(|one| one["groups"].as_array().unwrap());
    wallet
        .chain(groups.flat_map(|one| one["positions"].as_array().unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_sum_to_the_net_worth(rows in proptest::collection::vec(any_row(), 0..40)) {
        with_portfolio(rows, |portfolio| {
            let body = render(portfolio, &query());
            let totals = &body["totals"];
            let net = units(&totals["net_worth"]);
            assert_eq!(units(&totals["assets"]) - units(&totals["debt"]), net);
            for shares in ["by_chain", "by_protocol", "by_type"] {
                let shares = totals[shares].as_array().unwrap();
                let sum: num_bigint::BigInt = shares.iter().map(|share| units(&share["value"])).sum();
                assert_eq!(sum, net);
            }
            let sections = units(&body["wallet"]["value"]) + units(&body["defi"]["value"]);
            assert_eq!(sections, net);
            let mut from_positions = num_bigint::BigInt::default();
            for one in listed(&body) {
                if one["kind"] == "debt" && !one["value"].is_null() {
                    from_positions -= units(&one["value"]);
                } else if !one["value"].is_null() {
                    from_positions += units(&one["value"]);
                }
            }
            assert_eq!(from_positions, net);
        });
    }

    #[test]
    fn pages_of_any_size_list_everything_once(
        rows in proptest::collection::vec(any_row(), 0..40),
        limit in 1_u32..9,
    ) {
        let count = rows.len();
        with_portfolio(rows, |portfolio| {
            let mut query = Query { hidden: true, limit, ..query() };
            let whole = render(portfolio, &Query { limit: 5000, ..query.clone() });
            let seen = Cell::new(0);
            let mut pages = 0;
            loop {
                let body = render(portfolio, &query);
                assert_eq!(body["totals"], whole["totals"]);
                assert_eq!(body["page"]["total"], count);
                seen.set(seen.get() + listed(&body).len());
                pages += 1;
                let Some(next) = body["page"]["next"].as_str() else { break };
                query.cursor = Some(crate::cursor::Cursor::parse(next, &query.selection()).unwrap());
            }
            assert_eq!(seen.get(), count);
            assert_eq!(pages, count.div_ceil(limit as usize).max(1));
            let ids: HashSet<String> = listed(&whole).iter().map(|one| one["id"].to_string()).collect();
            assert!(ids.len() <= count);
        });
    }

    #[test]
    fn the_order_of_rows_leaves_no_trace(rows in proptest::collection::vec(any_row(), 0..30)) {
        let encode = |rows: Vec<ProviderPosition>| {
            let mut draft = HoldingsBuilder::default();
            for row in rows {
                draft.push(row, None);
            }
            Part::ALL.map(|part| draft.encode(part, &draft.map(&NoAssets)).bytes)
        };
        let mut distinct: Vec<ProviderPosition> = Vec::new();
        for row in rows {
            if !distinct.iter().any(|known| known.id == row.id) {
                distinct.push(row);
            }
        }
        let mut reversed = distinct.clone();
        reversed.reverse();
        prop_assert_eq!(encode(distinct), encode(reversed));
    }

    #[test]
    fn damaged_holdings_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Holdings::decode(&bytes);
    }
}

#[test]
fn an_answer_looks_like_this() {
    let row =
        |id: &str, kind: &str, chain: &str, int: &str, price: Option<&str>| ProviderPosition {
            id: id.to_owned(),
            kind: Some(kind.to_owned()),
            name: if kind == "wallet" { "Asset" } else { "Lending" }.to_owned(),
            chain: chain.to_owned(),
            fungible: Some(format!("asset-{id}")),
            symbol: id.to_uppercase(),
            token_name: format!("Token {id}"),
            icon: Some(format!("https://example.com/{id}.png")),
            verified: true,
            implementations: vec![Implementation {
                chain: chain.to_owned(),
                address: Some("0x6b175474e89094c44da98b954eedeac495271d0f".to_owned()),
                decimals: Some(18),
            }],
            quantity: Quantity::parse(Some(int), Some(18), None).map(Quantity::into_owned),
            decimals: Some(18),
            protocol: (kind != "wallet").then(|| ProviderProtocol {
                id: "lender-v1".to_owned(),
                name: "Lender V1".to_owned(),
                url: Some("https://lender.example".to_owned()),
                icon: None,
            }),
            displayable: true,
            price: price.and_then(Decimal::parse),
            change_24h_percent: Decimal::parse("2.5"),
            ..ProviderPosition::default()
        };
    let rows = vec![
        row(
            "a",
            "wallet",
            "ethereum",
            "1500000000000000000",
            Some("2000.5"),
        ),
        row("b", "wallet", "zora", "7", None),
        row("c", "deposit", "base", "10000000000000000000", Some("1.01")),
        row("d", "loan", "base", "4000000000000000000", Some("0.999")),
    ];
    with_portfolio(rows, |portfolio| {
        insta::assert_json_snapshot!(render(portfolio, &query()));
    });
}
