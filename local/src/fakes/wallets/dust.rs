//! A wallet full of spam and of rows that are odd in one way each.

use serde_json::{Value, json};

use super::Entry;
use super::position::{Position, whole};

pub(super) fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = vec![
        Position::wallet("ETH", "ethereum", "0.000412087731094417").into(),
        Position::wallet("USDC", "polygon", "0.000004").into(),
        Position::wallet("DAI", "binance-smart-chain", "3.5").into(),
    ];
    entries.extend(rows().into_iter().map(Entry::json));
    entries
}

/// A token without a price, as they arrive by the thousand.
fn unpriced(n: u32, chain: &str, name: &str, symbol: &str, units: &str, decimals: u8) -> Value {
    let contract = format!("0xd057{n:036x}");
    let fungible = format!("d0570000-0000-4000-a000-{n:012x}");
    let numeric = whole(units, decimals);
    json!({
        "type": "positions",
        "id": format!("{contract}-{chain}-asset-asset"),
        "attributes": {
            "parent": null,
            "protocol": null,
            "name": "Asset",
            "position_type": "wallet",
            "quantity": {
                "int": units,
                "decimals": decimals,
                "float": numeric.parse::<f64>().unwrap_or(0.0),
                "numeric": numeric,
            },
            "value": null,
            "price": 0,
            "changes": null,
            "fungible_info": {
                "name": name,
                "symbol": symbol,
                "icon": null,
                "flags": {"verified": false},
                "implementations": [
                    {"chain_id": chain, "address": contract, "decimals": decimals},
                ],
            },
            "flags": {"displayable": true, "is_trash": false},
            "updated_at": "2025-03-02T00:22:24Z",
            "updated_at_block": 54_156_841,
        },
        "relationships": {
            "chain": {
                "links": {"related": format!("https://api.zerion.io/v1/chains/{chain}")},
                "data": {"type": "chains", "id": chain},
            },
            "fungible": {
                "links": {
                    "related": format!("https://api.zerion.io/v1/fungibles/{fungible}?currency=usd"),
                },
                "data": {"type": "fungibles", "id": fungible},
            },
        },
    })
}

fn with(mut row: Value, changes: impl FnOnce(&mut Value)) -> Value {
    changes(&mut row["attributes"]);
    row
}

fn rows() -> Vec<Value> {
    const ONE: &str = "1000000000000000000";
    let trash = |row| with(row, |row| row["flags"]["is_trash"] = true.into());
    let hidden = |row| with(row, |row| row["flags"]["displayable"] = false.into());
    let valued = |row, price: f64, value: f64| {
        with(row, |row| {
            row["price"] = price.into();
            row["value"] = value.into();
        })
    };
    vec![
        // Named to be clicked on, and yet not marked as trash.
        unpriced(
            1,
            "polygon",
            "JTO",
            "Visit https://jito-claim.example to claim JTO rewards.",
            "100100000000000000000000",
            18,
        ),
        unpriced(
            2,
            "base",
            "$ 3000 at usdc-airdrop.example",
            "USDC",
            "3000000000000000000000",
            18,
        ),
        unpriced(3, "arbitrum", "! ARB-bonus.example", "! ARB", ONE, 18),
        trash(unpriced(4, "ethereum", "UЅDТ", "UЅDТ", "50000000000", 6)),
        trash(unpriced(
            5,
            "binance-smart-chain",
            "Zepe.io",
            "ZEPE",
            "5300000000000000000000000",
            18,
        )),
        hidden(valued(
            unpriced(6, "ethereum", "Hidden Gem", "GEM", ONE, 18),
            950_000.0,
            950_000.0,
        )),
        hidden(unpriced(7, "optimism", "Test Token", "TEST", ONE, 18)),
        // 2 to the power of 256: one more than a token can hold, and 78 digits long.
        unpriced(
            8,
            "ethereum",
            "Infinite Supply",
            "INF",
            "115792089237316195423570985008687907853269984665640564039457584007913129639936",
            18,
        ),
        valued(
            unpriced(
                9,
                "base",
                "Almost Nothing",
                "AN",
                "5000000000000000000000000",
                18,
            ),
            1e-30,
            5e-24,
        ),
        valued(
            unpriced(10, "polygon", "Indivisible Ticket", "TKT", "7", 0),
            1.5,
            10.5,
        ),
        with(
            valued(
                unpriced(11, "ethereum", "Margin Token", "MRG", ONE, 18),
                2.0,
                2.0,
            ),
            |row| {
                row["position_type"] = "margin_v2".into();
            },
        ),
        with(
            valued(
                unpriced(12, "ethereum", "Untyped Token", "UNT", ONE, 18),
                3.0,
                3.0,
            ),
            |row| {
                row["position_type"] = Value::Null;
            },
        ),
        valued(
            unpriced(13, "moonbase-omega", "Far Away", "FAR", ONE, 18),
            0.25,
            0.25,
        ),
        with(unpriced(14, "linea", "Null Price", "NUL", ONE, 18), |row| {
            row["price"] = Value::Null
        }),
        with(
            valued(
                unpriced(15, "base", "Half Changed", "HLF", ONE, 18),
                0.5,
                0.5,
            ),
            |row| {
                row["changes"] = json!({"absolute_1d": null, "percent_1d": null});
                row["updated_at"] = Value::Null;
                row["updated_at_block"] = Value::Null;
                row["fungible_info"]["icon"] = json!({"url": null});
            },
        ),
        elsewhere(),
        sparse(),
    ]
}

/// The token is on this chain, but its implementations only name another one.
fn elsewhere() -> Value {
    with(
        unpriced(
            16,
            "polygon",
            "Bankless BED Index",
            "BED",
            "12345678000000000000",
            18,
        ),
        |row| {
            row["price"] = 43.6.into();
            row["value"] = 538.271_560_8.into();
            row["changes"] = json!({"absolute_1d": 27.22, "percent_1d": 5.326_512});
            row["fungible_info"]["implementations"] = json!([{
                "chain_id": "ethereum",
                "address": "0x2af1df3ab0ab157e1e2ad8f88a7d04fbea0c7dc6",
                "decimals": 18,
            }]);
        },
    )
}

/// Nothing but the fields that are always there.
fn sparse() -> Value {
    json!({
        "type": "positions",
        "id": "0xd0570000000000000000000000000000000000ff-scroll-asset-asset",
        "attributes": {
            "name": "Asset",
            "position_type": "wallet",
            "quantity": {"int": "42000000", "decimals": 6, "float": 42, "numeric": "42.000000"},
            "value": null,
            "fungible_info": {
                "name": "Sparse",
                "symbol": "SPR",
                "implementations": [{
                    "chain_id": "scroll",
                    "address": "0xd0570000000000000000000000000000000000ff",
                    "decimals": 6,
                }],
            },
        },
        "relationships": {"chain": {"data": {"type": "chains", "id": "scroll"}}},
    })
}
