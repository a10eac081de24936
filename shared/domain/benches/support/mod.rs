//! A made-up wallet to measure with.

use std::collections::BTreeSet;

use portfolio_domain::{
    address::Address,
    asset_mapping::NoAssets,
    decimal::Decimal,
    decoded::StoredHoldings,
    holdings_builder::HoldingsBuilder,
    portfolio::Portfolio,
    price::{Price, PriceAgeLimit, PriceKey, PriceTable},
    provider::Provider,
    provider_position::{Implementation, ProviderPosition},
    quantity::Quantity,
    query::Query,
    response::StructureInfo,
    scope::{Part, Scope},
    timestamp::Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

/// A wallet as it is stored, and its prices.
pub struct Wallet {
    pub holdings: StoredHoldings,
    pub prices: PriceTable,
    pub query: Query,
}

/// A number that looks like no other.
fn scramble(number: u32) -> u64 {
    u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn row(number: u32) -> ProviderPosition {
    let chain = ["ethereum", "base", "polygon", "solana"][number as usize % 4];
    let (high, low) = (scramble(number), scramble(number + 7000));
    let contract = format!("0x{high:016x}{low:016x}{number:08x}");
    let amount = u128::from(high) * 1_000_003;
    ProviderPosition {
        id: format!("{contract}-{chain}-asset-asset"),
        kind: Some("wallet".to_owned()),
        name: "Asset".to_owned(),
        chain: chain.to_owned(),
        fungible: Some(contract.clone()),
        symbol: format!("TK{number}"),
        token_name: format!("Token number {number}"),
        icon: Some(format!("https://cdn.zerion.io/{contract}.png")),
        verified: number.is_multiple_of(2),
        implementations: vec![Implementation {
            chain: chain.to_owned(),
            address: Some(contract),
            decimals: Some(18),
        }],
        quantity: Quantity::parse(Some(&amount.to_string()), Some(18), None)
            .map(Quantity::into_owned),
        decimals: Some(18),
        displayable: true,
        price: Some(Decimal::new(
            i64::try_from(low % 1_000_000_007).unwrap_or(1),
            -7,
        )),
        change_24h_percent: Some(Decimal::new(
            i64::try_from(high % 9_999_991).unwrap_or(1),
            -6,
        )),
        ..ProviderPosition::default()
    }
}

impl Wallet {
    /// Returns a wallet of so many tokens.
    pub fn of(tokens: u32) -> Self {
        let mut draft = HoldingsBuilder::default();
        for number in 0..tokens {
            draft.push(row(number), None);
        }
        let encoded = draft.encode(Part::Wallet, &draft.map(&NoAssets));
        let prices = encoded.prices.iter().map(|(key, amount, change)| {
            (*key, Price::new(*amount, *change, Provider::Zerion, NOW))
        });
        let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234");
        Self {
            prices: PriceTable::new(prices.collect()),
            holdings: StoredHoldings::new(encoded.bytes).expect("holdings"),
            query: Query::all(address.expect("an address"), Scope::Wallet),
        }
    }

    /// Returns what its answers are made from.
    pub fn portfolio<'w>(&'w self, nothing: &'w BTreeSet<PriceKey>) -> Portfolio<'w> {
        Portfolio {
            parts: vec![(Part::Wallet, self.holdings.decoded())],
            prices: &self.prices,
            unconverted: nothing,
            oldest_prices: PriceAgeLimit::default(),
            structure: StructureInfo {
                as_of: NOW,
                fresh_until: NOW,
                stale: false,
            },
            prices_fresh_until: NOW,
            prices_stale: false,
            missing: Vec::new(),
        }
    }
}
