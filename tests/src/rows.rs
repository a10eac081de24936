//! Rows as Zerion gives them, for wallets that a test makes up.

use portfolio_local::fakes::{Coin, Platform};
use serde_json::{Value, json};

/// A plain balance of token number `number` on Ethereum, contract and price
/// made from the number.
pub fn token(number: u32) -> Value {
    let contract = contract(number);
    balance(&contract, number)
}

/// Token number `number`, staked with a protocol of its own.
pub fn staked(number: u32) -> Value {
    let contract = contract(number);
    row(Row {
        id: format!("{contract}-ethereum-staker-staked"),
        kind: json!("staked"),
        contract,
        symbol: format!("TK{number}"),
        units: "2500000000000000000".to_owned(),
        price: json!(price(number)),
        protocol: Some("staker".to_owned()),
        group: Some(format!("group-{number}")),
        ..Row::default()
    })
}

/// A balance of token number `number` as text, for wallets of many thousand
/// rows: as short as a row can be, with `name` for the token's name.
pub fn slim(number: u32, name: &str) -> String {
    let contract = contract(number);
    let price = format!(
        "{}.{:09}",
        number % 997 + 1,
        u64::from(number) * 7_919_131 % 999_999_937
    );
    format!(
        "{{\"type\":\"positions\",\"id\":\"{contract}-ethereum-asset-asset\",\"attributes\":{{\
         \"parent\":null,\"protocol\":null,\"name\":\"Asset\",\"position_type\":\"wallet\",\
         \"quantity\":{{\"int\":\"{number}000000000000000000\",\"decimals\":18,\"float\":0,\
         \"numeric\":\"{number}.000000000000000000\"}},\"value\":null,\"price\":{price},\
         \"changes\":null,\"fungible_info\":{{\"name\":\"{name}\",\"symbol\":\"TK{number}\",\
         \"icon\":null,\"flags\":{{\"verified\":false}},\"implementations\":[\
         {{\"chain_id\":\"ethereum\",\"address\":\"{contract}\",\"decimals\":18}}]}},\
         \"flags\":{{\"displayable\":true,\"is_trash\":false}},\"updated_at\":null,\
         \"updated_at_block\":null}},\"relationships\":{{\
         \"chain\":{{\"data\":{{\"type\":\"chains\",\"id\":\"ethereum\"}}}},\
         \"fungible\":{{\"data\":{{\"type\":\"fungibles\",\"id\":\"{contract}\"}}}}}}}}"
    )
}

/// A body of Zerion's with [`slim`] rows of tokens 1 to `count`.
pub fn body(count: u32) -> String {
    let rows: Vec<String> = (1..=count)
        .map(|number| slim(number, &format!("Token TK{number}")))
        .collect();
    format!("{{\"links\":{{}},\"data\":[{}]}}", rows.join(","))
}

/// What CoinMarketCap lists token number `number` as: id 900000 and above.
pub fn listed(number: u32) -> Coin {
    let symbol = format!("TK{number}");
    let mut coin = Coin::new(900_000 + number, "Made up", &symbol, price(number));
    coin.platform = Some(Platform {
        id: 1027,
        name: "Ethereum".to_owned(),
        symbol: "ETH".to_owned(),
        slug: "ethereum".to_owned(),
        token_address: contract(number),
    });
    coin
}

/// The contract of token number `number`: 20 bytes that do not compress, like
/// real ones.
pub fn contract(number: u32) -> String {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    let mut hex = String::from("0x");
    while hex.len() < 42 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        hex.push_str(&format!("{:08x}", state >> 32));
    }
    hex.truncate(42);
    hex
}

fn balance(contract: &str, number: u32) -> Value {
    let units = 1_000_000_000_000_u128 * u128::from(number) * 7_654_321 + 123_456_789_012_345;
    row(Row {
        id: format!("{contract}-ethereum-asset-asset"),
        kind: json!("wallet"),
        contract: contract.to_owned(),
        symbol: format!("TK{number}"),
        units: units.to_string(),
        price: json!(price(number)),
        ..Row::default()
    })
}

/// The price of token number `number`, from every source: seventeen digits, as
/// real prices have.
fn price(number: u32) -> f64 {
    format!("{number}.{:016}", u64::from(number) * 982_451_653 * 10_007)
        .parse()
        .unwrap_or(1.0)
}

/// What a made-up row says; everything else is filled in.
pub struct Row {
    /// Position id.
    pub id: String,
    /// Position type.
    pub kind: Value,
    /// Contract, also the fungible's id.
    pub contract: String,
    /// Ticker.
    pub symbol: String,
    /// Base units, 18 decimals.
    pub units: String,
    /// Price in US dollars.
    pub price: Value,
    /// Chain.
    pub chain: String,
    /// Protocol, for DeFi rows.
    pub protocol: Option<String>,
    /// Group, for DeFi rows.
    pub group: Option<String>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            id: "row".to_owned(),
            kind: json!("wallet"),
            contract: contract(1),
            symbol: "TKN".to_owned(),
            units: "1000000000000000000".to_owned(),
            price: json!(1.0),
            chain: "ethereum".to_owned(),
            protocol: None,
            group: None,
        }
    }
}

/// The row's JSON.
pub fn row(row: Row) -> Value {
    let padded = format!("{:0>19}", row.units);
    let (whole, fraction) = padded.split_at(padded.len() - 18);
    let dapp = row
        .protocol
        .as_ref()
        .map(|name| json!({"data": {"type": "dapps", "id": name}}));
    json!({
        "type": "positions",
        "id": row.id,
        "attributes": {
            "parent": null,
            "protocol": row.protocol,
            "name": if row.protocol.is_some() { "Pool" } else { "Asset" },
            "position_type": row.kind,
            "group_id": row.group,
            "quantity": {
                "int": row.units,
                "decimals": 18,
                "float": 0,
                "numeric": format!("{whole}.{fraction}"),
            },
            "value": null,
            "price": row.price,
            "changes": {"absolute_1d": 0.1, "percent_1d": 2.5},
            "fungible_info": {
                "name": format!("Token {}", row.symbol),
                "symbol": row.symbol,
                "icon": {"url": format!("https://cdn.zerion.io/{}.png", row.contract)},
                "flags": {"verified": true},
                "implementations": [
                    {"chain_id": row.chain, "address": row.contract, "decimals": 18},
                ],
            },
            "flags": {"displayable": true, "is_trash": false},
            "updated_at": "2026-11-20T12:00:00Z",
            "updated_at_block": 21_000_000,
        },
        "relationships": {
            "chain": {"data": {"type": "chains", "id": row.chain}},
            "fungible": {"data": {"type": "fungibles", "id": row.contract}},
            "dapp": dapp,
        },
    })
}
