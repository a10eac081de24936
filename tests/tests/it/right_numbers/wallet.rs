//! Wallets of random rows, each of an asset that a row may name in several ways.

use portfolio_tests::rows;
use serde_json::{Value, json};

/// Tokens that CoinMarketCap lists.
pub const LISTED: u32 = 6;

/// The same numbers every time.
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `most`.
    pub fn below(&mut self, most: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap_or_default() % most
    }

    fn one_of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(u32::try_from(choices.len()).expect("a few")) as usize]
    }
}

/// What a row's asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asset {
    /// A token that CoinMarketCap lists, with the provider's id.
    Listed(u32),
    /// One that it lists, without such an id.
    ListedContract(u32),
    /// A token that it does not list, with the provider's id.
    Unlisted(u32),
    /// A contract without such an id.
    Contract(u32),
    /// The provider's id alone.
    Id(u32),
    /// The chain's native coin, with the provider's id.
    Ether,
    /// The chain's native coin without it.
    NamelessEther,
    /// Nothing that tells what it is; named like the native coin, or like all
    /// others of its kind.
    Lost(u32),
}

impl Asset {
    /// Dollars and cents, the provider's.
    pub fn cents(self) -> i128 {
        match self {
            Self::Listed(number) | Self::ListedContract(number) => 1_000 + 37 * i128::from(number),
            Self::Unlisted(number) | Self::Contract(number) | Self::Id(number) => {
                2_000 + 37 * i128::from(number)
            }
            Self::Ether | Self::NamelessEther => 300_000,
            Self::Lost(number) => 900 + 37 * i128::from(number),
        }
    }

    /// Whether CoinMarketCap lists it.
    pub fn is_listed(self) -> bool {
        matches!(
            self,
            Self::Listed(_) | Self::ListedContract(_) | Self::Ether | Self::NamelessEther
        )
    }

    /// The asset, whether or not its row has the provider's id of it.
    pub fn named(self) -> Self {
        match self {
            Self::ListedContract(number) => Self::Listed(number),
            Self::NamelessEther => Self::Ether,
            other => other,
        }
    }

    pub fn is_native(self) -> bool {
        matches!(self, Self::Ether | Self::NamelessEther)
    }
}

/// A row, and what is known of it.
#[derive(Clone, Debug)]
pub struct Made {
    pub name: String,
    pub asset: Asset,
    /// Whether the row tells a price, by itself or by its value.
    pub tells: bool,
    pub tokens: i128,
    pub json: Value,
}

fn made(dice: &mut Dice, number: u32) -> Made {
    let asset = match dice.below(9) {
        0 => Asset::Listed(dice.below(LISTED)),
        1 => Asset::ListedContract(dice.below(LISTED)),
        2 => Asset::Unlisted(number),
        3 => Asset::Contract(number),
        4 => Asset::Id(number),
        5 => Asset::Ether,
        6 => Asset::NamelessEther,
        _ => Asset::Lost(number),
    };
    let (contract, fungible) = match asset {
        Asset::Listed(at) => (Some(rows::contract(at)), Some(rows::contract(at))),
        Asset::ListedContract(at) => (Some(rows::contract(at)), None),
        Asset::Unlisted(at) => {
            let contract = rows::contract(10_000 + at);
            (Some(contract.clone()), Some(contract))
        }
        Asset::Contract(at) => (Some(rows::contract(20_000 + at)), None),
        Asset::Id(at) => (None, Some(format!("id-{at}"))),
        Asset::Ether => (None, Some("eth".to_owned())),
        Asset::NamelessEther | Asset::Lost(_) => (None, None),
    };
    let (symbol, token) = match asset {
        Asset::Lost(_) => (
            dice.one_of(&["ETH", "TKN", ""]),
            dice.one_of(&["Ether", ""]),
        ),
        asset if asset.is_native() => ("ETH", "Ether"),
        _ => ("TKN", "Token"),
    };
    let (kind, protocol) = match dice.below(6) {
        0 => ("deposit", Some("aave-v3")),
        1 => ("staked", Some("lido")),
        2 => ("loan", Some("aave-v3")),
        _ => ("wallet", None),
    };
    let tokens = i128::from(dice.below(9)) + 1;
    let mut row = rows::row(rows::Row {
        id: format!("row {number}"),
        kind: json!(kind),
        units: format!("{tokens}{:0>18}", ""),
        protocol: protocol.map(str::to_owned),
        ..rows::Row::default()
    });
    let (price, value) = (dice.below(3), dice.below(2));
    let dollars = |cents: i128| {
        json!(
            format!("{}.{:02}", cents / 100, cents % 100)
                .parse::<f64>()
                .expect("a price")
        )
    };
    row["attributes"]["price"] = match price {
        0 => dollars(asset.cents()),
        1 => json!(0),
        _ => Value::Null,
    };
    row["attributes"]["value"] = match value {
        0 => dollars(asset.cents() * tokens),
        _ => Value::Null,
    };
    let name = format!("Row {number}");
    row["attributes"]["name"] = json!(name);
    let info = &mut row["attributes"]["fungible_info"];
    info["symbol"] = json!(symbol);
    info["name"] = json!(token);
    info["implementations"] = match (&contract, asset.is_native()) {
        (Some(contract), _) => {
            json!([{"chain_id": "ethereum", "address": contract, "decimals": 18}])
        }
        (None, true) => json!([{"chain_id": "ethereum", "address": null, "decimals": 18}]),
        (None, false) => json!([]),
    };
    row["relationships"]["fungible"] = match fungible {
        Some(id) => json!({"data": {"type": "fungibles", "id": id}}),
        None => Value::Null,
    };
    if dice.below(4) == 0 {
        row["id"] = Value::Null;
    }
    Made {
        name,
        asset,
        tells: price == 0 || value == 0,
        tokens,
        json: row,
    }
}

/// Returns the rows of a wallet of up to ten positions, numbered from `first`.
pub fn wallet(dice: &mut Dice, first: u32) -> Vec<Made> {
    let rows = 4 + dice.below(7);
    (first..first + rows)
        .map(|number| made(dice, number))
        .collect()
}

pub fn address(number: u32) -> String {
    format!("0x77d0a1b2c3d4e5f60718293a4b5c6d7e{number:08x}")
}
