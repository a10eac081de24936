use super::*;
use crate::{holdings_builder::HoldingsBuilder, quantity::Quantity};

struct Everything;

impl AssetResolver for Everything {
    fn resolve(&self, _: &str, _: Option<&str>) -> Option<CmcId> {
        Some(CmcId(1027))
    }
}

fn row(fungible: &str, price: &str) -> ProviderPosition {
    ProviderPosition {
        id: fungible.to_owned(),
        fungible: Some(fungible.to_owned()),
        chain: "ethereum".to_owned(),
        symbol: "ETH".to_owned(),
        price: Decimal::parse(price),
        implementations: vec![Implementation {
            chain: "ethereum".to_owned(),
            address: None,
            decimals: None,
        }],
        ..ProviderPosition::default()
    }
}

fn draft(rows: &[ProviderPosition]) -> HoldingsBuilder {
    let mut draft = HoldingsBuilder::default();
    for row in rows {
        draft.push(row.clone(), None);
    }
    draft
}

#[test]
fn assets_with_different_prices_do_not_share_an_id() {
    let ids = |rows: &[ProviderPosition]| -> Vec<Option<CmcId>> {
        let draft = draft(rows);
        let mapping = draft.map(&Everything);
        mapping.rows.iter().map(|row| row.cmc).collect()
    };
    let id = Some(CmcId(1027));
    let ambiguous = |rows: &[ProviderPosition]| -> Vec<(CmcId, Vec<String>)> {
        let draft = draft(rows);
        let mapping = draft.map(&Everything);
        let named = mapping.ambiguous();
        named
            .map(|(id, assets)| (id, assets.iter().cloned().collect()))
            .collect()
    };
    assert_eq!(ambiguous(&[row("a", "3000"), row("b", "2990")]), []);
    let both = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        ambiguous(&[row("a", "3000"), row("b", "1.5")]),
        [(CmcId(1027), both)]
    );
    assert_eq!(ids(&[row("a", "3000"), row("b", "2990")]), [id, id]);
    assert_eq!(ids(&[row("a", "3000"), row("b", "1.5")]), [None, None]);
    assert_eq!(ids(&[row("a", "3000"), row("b", "")]), [id, id]);
    // Each is near the one between, whichever comes first.
    let mut rows = [row("a", "1"), row("b", "5"), row("c", "0.3")];
    assert_eq!(ids(&rows), [None; 3]);
    rows.reverse();
    assert_eq!(ids(&rows), [None; 3]);
}

#[test]
fn a_value_tells_that_an_id_is_not_shared() {
    let worth = |value: i64| ProviderPosition {
        value: Some(Decimal::new(value, 0)),
        quantity: quantity("1"),
        ..row("b", "")
    };
    let ids = |rows: &[ProviderPosition]| -> Vec<bool> {
        let draft = draft(rows);
        let mapping = draft.map(&Everything);
        mapping.rows.iter().map(|row| row.cmc.is_some()).collect()
    };
    assert_eq!(ids(&[row("a", "2000"), worth(1990)]), [true; 2]);
    assert_eq!(ids(&[row("a", "2000"), worth(13)]), [false; 2]);
}

#[test]
fn logs_name_an_asset_by_its_id_or_its_row() {
    let known = row("a", "1");
    assert_eq!(name(&known), "a");
    let unknown = ProviderPosition {
        fungible: None,
        ..known
    };
    assert_eq!(name(&unknown), "a on ethereum");
}

/// Knows the native coin of Base, and nothing else.
struct NativeOfBase;

impl AssetResolver for NativeOfBase {
    fn resolve(&self, chain: &str, address: Option<&str>) -> Option<CmcId> {
        (chain == "base" && address.is_none()).then_some(CmcId(1027))
    }
}

#[test]
fn an_id_is_found_on_another_chain_where_the_asset_is_native() {
    let elsewhere = |symbol: &str| {
        let at = |chain: &str, address: Option<&str>| Implementation {
            chain: chain.to_owned(),
            address: address.map(str::to_owned),
            decimals: None,
        };
        let row = ProviderPosition {
            symbol: symbol.to_owned(),
            implementations: vec![at("polygon", Some("0xa")), at("base", None)],
            chain: "polygon".to_owned(),
            ..row("a", "1")
        };
        let draft = draft(&[row]);
        let mapping = draft.map(&NativeOfBase);
        mapping.rows[0].cmc
    };
    assert_eq!(elsewhere("ETH"), Some(CmcId(1027)));
    // Without a contract there, but not the native coin.
    assert_eq!(elsewhere("FOO"), None);
}

#[test]
fn a_draft_tells_how_many_rows_it_holds() {
    let rows = [row("a", "1"), row("b", "1")];
    let empty = draft(&[]);
    assert!(empty.is_empty() && !draft(&rows).is_empty());
    assert_eq!((empty.len(), draft(&rows).len()), (0, 2));
}

fn quantity(numeric: &str) -> Option<Quantity<'static>> {
    let quantity = Quantity::parse(None, None, Some(numeric));
    quantity.map(|quantity| quantity.into_owned())
}

#[test]
fn a_price_is_worked_out_of_a_value_and_an_amount_above_zero() {
    let price = |kind: &str, value: &str, numeric: &str| {
        let signed = numeric.strip_prefix('-').map(|_| numeric);
        let row = ProviderPosition {
            kind: Some(kind.to_owned()),
            value: Decimal::parse(value),
            quantity: match signed {
                Some(int) => Quantity::parse(Some(int), Some(0), None).map(|it| it.into_owned()),
                None => quantity(numeric),
            },
            ..ProviderPosition::default()
        };
        price_by_value(&row).map(|price| price.to_string())
    };
    assert_eq!(price("wallet", "13", "1").as_deref(), Some("13"));
    assert_eq!(
        price("wallet", "0.1", "0.3").as_deref(),
        Some("0.333333333333333333")
    );
    for (value, numeric) in [
        ("", "1"),
        ("0", "1"),
        ("-13", "1"),
        ("13", "0"),
        ("13", "-1"),
        ("13", "junk"),
    ] {
        assert_eq!(price("wallet", value, numeric), None, "{value} {numeric}");
    }
    // Debt is written with either sign.
    assert_eq!(price("loan", "-13", "1").as_deref(), Some("13"));
    assert_eq!(price("loan", "-13", "-1").as_deref(), Some("13"));
}
