//! No two assets share a price, and no asset has two.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{
    asset_mapping::{AssetResolver, NoAssets},
    decimal::Decimal,
    holdings::{Holdings, Token},
    holdings_builder::HoldingsBuilder,
    identifier::MAX_TEXT,
    price::{CmcId, PriceKey},
    provider_position::{Implementation, ProviderPosition},
    quantity::Quantity,
    scope::Part,
};

/// What a token says after it was stored and read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    key: PriceKey,
    /// Its chain and contract, by which providers of quotes know it.
    contract: Option<String>,
    cmc: Option<CmcId>,
    scaled: bool,
    price: Option<String>,
}

fn contract(holdings: &Holdings<'_>, token: &Token<'_>) -> Option<String> {
    let mut buffer = [0; MAX_TEXT];
    let contract = holdings.contract(token, "native", &mut buffer)?;
    Some(format!("{}:{contract}", holdings.chain(token)))
}

/// The rows' tokens, by the rows' ids.
fn held(rows: &[ProviderPosition], assets: &dyn AssetResolver) -> BTreeMap<String, Held> {
    let mut draft = HoldingsBuilder::default();
    for row in rows {
        draft.push(row.clone(), None);
    }
    let mapping = draft.map(assets);
    let mut held = BTreeMap::new();
    for part in Part::ALL {
        let finished = draft.encode(part, &mapping);
        let holdings = Holdings::decode(&finished.bytes).unwrap();
        for position in &holdings.positions {
            let token: &Token<'_> = holdings.token(position);
            let key = holdings.price_key(token);
            let price = finished.prices.iter().find(|(of, ..)| *of == key);
            let one = Held {
                key,
                contract: contract(&holdings, token),
                cmc: token.cmc,
                scaled: token.scaled,
                price: price.map(|(_, price, _)| price.to_string()),
            };
            held.insert(holdings.position_id(position).into_owned(), one);
        }
    }
    held
}

fn row(id: &str) -> ProviderPosition {
    ProviderPosition {
        id: id.to_owned(),
        kind: Some("wallet".to_owned()),
        chain: "ethereum".to_owned(),
        quantity: Quantity::parse(Some("1"), Some(0), None).map(Quantity::into_owned),
        decimals: Some(0),
        displayable: true,
        ..ProviderPosition::default()
    }
}

fn at(chain: &str, address: Option<&str>) -> Implementation {
    Implementation {
        chain: chain.to_owned(),
        address: address.map(str::to_owned),
        decimals: None,
    }
}

fn ether(id: &str) -> ProviderPosition {
    ProviderPosition {
        symbol: "ETH".to_owned(),
        token_name: "Ether".to_owned(),
        implementations: vec![at("ethereum", None)],
        price: Some(Decimal::new(2000, 0)),
        ..row(id)
    }
}

struct Natives;

impl AssetResolver for Natives {
    fn resolve(&self, _: &str, address: Option<&str>) -> Option<CmcId> {
        address.is_none().then_some(CmcId(1027))
    }
}

#[test]
fn what_cannot_be_identified_is_priced_by_its_own_row() {
    // The same symbol and name as the native coin's, no id, no contract.
    let lost = |id: &str, value: i64| ProviderPosition {
        implementations: Vec::new(),
        price: None,
        value: Some(Decimal::new(value, 0)),
        ..ether(id)
    };
    let rows = [ether("a"), lost("b", 13), lost("c", 17), lost("d", 0)];
    for assets in [&NoAssets as &dyn AssetResolver, &Natives] {
        let held = held(&rows, assets);
        let price = |id: &str| held[id].price.as_deref();
        assert_eq!(price("a"), Some("2000"));
        assert_eq!(price("b"), Some("13"));
        assert_eq!(price("c"), Some("17"));
        assert_eq!(price("d"), None);
        for id in ["b", "c", "d"] {
            assert_eq!((&held[id].contract, held[id].cmc), (&None, None));
        }
    }
}

#[test]
fn only_the_native_coin_has_its_keys() {
    let named = |id: &str, symbol: &str, fungible: Option<&str>| ProviderPosition {
        symbol: symbol.to_owned(),
        fungible: fungible.map(str::to_owned),
        price: None,
        ..ether(id)
    };
    let rows = [
        named("native", "ETH", None),
        named("other", "FOO", None),
        named("nameless", "", None),
        named("listed", "FOO", Some("foo")),
        named("sparse", "", Some("eth")),
    ];
    let held = held(&rows, &Natives);
    let native = Some("ethereum:native".to_owned());
    for id in ["native", "sparse"] {
        assert_eq!(
            (&held[id].contract, held[id].cmc),
            (&native, Some(CmcId(1027)))
        );
    }
    for id in ["other", "nameless", "listed"] {
        assert_eq!((&held[id].contract, held[id].cmc), (&None, None), "{id}");
    }
}

#[test]
fn a_given_price_goes_before_one_that_is_worked_out() {
    let token = |id: &str, kind: &str| ProviderPosition {
        fungible: Some("asset".to_owned()),
        kind: Some(kind.to_owned()),
        ..row(id)
    };
    let valued = ProviderPosition {
        value: Some(Decimal::new(13, 0)),
        ..token("a", "wallet")
    };
    let priced = ProviderPosition {
        price: Some(Decimal::new(12, 0)),
        ..token("b", "staked")
    };
    let alone = held(std::slice::from_ref(&valued), &NoAssets);
    assert_eq!(alone["a"].price.as_deref(), Some("13"));
    for rows in [[valued.clone(), priced.clone()], [priced, valued]] {
        let held = held(&rows, &NoAssets);
        assert_eq!(held["a"].price.as_deref(), Some("12"));
        assert_eq!(held["b"].price.as_deref(), Some("12"));
    }
}

#[test]
fn an_id_of_several_contracts_prices_each_by_itself() {
    let with = |id: &str, contract: &str, price: i64| ProviderPosition {
        fungible: Some("asset".to_owned()),
        implementations: vec![at("ethereum", Some(contract)), at("base", Some("0xc"))],
        price: Some(Decimal::new(price, 0)),
        ..row(id)
    };
    let elsewhere = ProviderPosition {
        chain: "base".to_owned(),
        ..with("base", "0xa", 1)
    };
    let untold = ProviderPosition {
        implementations: Vec::new(),
        price: None,
        ..with("untold", "0xa", 1)
    };
    let rows = [
        with("a", "0xa", 1),
        with("b", "0xb", 100),
        elsewhere,
        untold,
    ];
    let both = held(&rows, &NoAssets);
    assert_eq!(both["a"].price.as_deref(), Some("1"));
    assert_eq!(both["b"].price.as_deref(), Some("100"));
    assert_eq!(both["untold"].price, None);
    assert_eq!(both["untold"].contract, None);
    let keys: BTreeSet<PriceKey> = both.values().map(|held| held.key).collect();
    assert_eq!(keys.len(), 4);
    // One of several that a row lists is the one that its id names.
    let listing = |id: &str| ProviderPosition {
        implementations: vec![at("ethereum", Some("0xa")), at("ethereum", Some("0xb"))],
        ..with(id, "", 1)
    };
    let listed = held(
        &[listing("0xB-ethereum-asset-asset"), listing("?")],
        &NoAssets,
    );
    assert_eq!(listed["0xB-ethereum-asset-asset"].key, both["b"].key);
    assert_eq!(listed["?"].contract, None);
}

#[test]
fn a_scaled_token_has_a_key_of_its_own_and_can_be_refreshed() {
    struct Listed;
    impl AssetResolver for Listed {
        fn resolve(&self, _: &str, _: Option<&str>) -> Option<CmcId> {
            Some(CmcId(7))
        }
    }
    let stock = |id: &str, numeric: &str| ProviderPosition {
        chain: "solana".to_owned(),
        fungible: Some("stock".to_owned()),
        implementations: vec![at("solana", Some("XsStock"))],
        quantity: Quantity::parse(Some("1000000"), Some(6), Some(numeric))
            .map(Quantity::into_owned),
        decimals: Some(6),
        ..row(id)
    };
    let rows = [
        stock("scaled", "4"),
        stock("plain", "1.0"),
        stock("more", "4.0"),
    ];
    for (assets, id) in [
        (&Listed as &dyn AssetResolver, Some(CmcId(7))),
        (&NoAssets, None),
    ] {
        let held = held(&rows, assets);
        assert!(held["scaled"].scaled && !held["plain"].scaled);
        assert_ne!(held["scaled"].key, held["plain"].key);
        assert_eq!(held["scaled"].key, held["more"].key);
        assert!(matches!(held["scaled"].key, PriceKey::Asset(_)));
        assert_eq!(held["scaled"].cmc, id);
        assert_eq!(held["scaled"].contract.as_deref(), Some("solana:XsStock"));
    }
}

#[test]
fn contracts_count_in_any_case_where_they_are_hexadecimal() {
    let token = |id: &str, chain: &str, address: &str| ProviderPosition {
        chain: chain.to_owned(),
        implementations: vec![at(chain, Some(address))],
        ..row(id)
    };
    let rows = [
        token(
            "a",
            "ethereum",
            "0xABcd000000000000000000000000000000000001",
        ),
        token(
            "b",
            "ethereum",
            "0xabCD000000000000000000000000000000000001",
        ),
        token("c", "solana", "AbcSo1ana"),
        token("d", "solana", "aBcSo1ana"),
        token("e", "ethereum", "0xa,ethereum:0xb"),
    ];
    let held = held(&rows, &NoAssets);
    assert_eq!(held["a"].key, held["b"].key);
    assert_eq!(held["a"].contract, held["b"].contract);
    assert_ne!(held["c"].key, held["d"].key);
    // A list of contracts is none.
    assert_eq!(held["e"].contract, None);
}

/// What a made-up row says of its asset. Few values, so that they often meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    fungible: Option<&'static str>,
    chain: &'static str,
    place: Option<Option<&'static str>>,
    symbol: &'static str,
    name: &'static str,
}

fn any_said() -> impl Strategy<Value = Said> {
    let ids = [
        "eth",
        "0xa",
        "ethereum:0xa",
        "ethereum\n0xa",
        "a",
        "ethereum",
    ];
    let fungible = proptest::option::of(proptest::sample::select(ids.to_vec()));
    let chains = ["ethereum", "base", "solana", "ethereum:0xa", "later"];
    let addresses = ["0xa", "0xA", "0xb", "a", "A", "a:b", "", ETHER];
    let address = proptest::option::of(proptest::sample::select(addresses.to_vec()));
    let place = proptest::option::of(address);
    let symbols = proptest::sample::select(&["ETH", "SOL", "a", ""][..]);
    let names = proptest::sample::select(&["Ether", "a:b", ""][..]);
    (
        fungible,
        proptest::sample::select(chains.to_vec()),
        place,
        symbols,
        names,
    )
        .prop_map(|(fungible, chain, place, symbol, name)| Said {
            fungible,
            chain,
            place,
            symbol,
            name,
        })
}

const ETHER: &str = "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/// The asset of a row, as structured values that cannot be taken for others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Id(&'static str),
    Part(&'static str, &'static str, String),
    Contract(&'static str, String),
    Native(&'static str),
    Row(usize),
}

impl Said {
    /// The contract, empty for a native coin; `None` if it is not told.
    fn contract(&self) -> Option<String> {
        let address = self.place?.unwrap_or_default();
        let native = address.is_empty() || (address == ETHER && self.chain != "solana");
        Some(match native {
            true => String::new(),
            false if address.starts_with("0x") => address.to_lowercase(),
            false => address.to_owned(),
        })
    }

    fn is_native(&self) -> bool {
        let symbol = match self.chain {
            "ethereum" | "base" => "ETH",
            "solana" => "SOL",
            _ => return self.fungible.is_some(),
        };
        self.symbol == symbol || (self.symbol.is_empty() && self.fungible.is_some())
    }

    fn which(&self, at: usize, all: &[Self]) -> Which {
        let same = |other: &&Self| other.fungible == self.fungible && other.chain == self.chain;
        let contracts: BTreeSet<String> =
            all.iter().filter(same).filter_map(Self::contract).collect();
        let located = self
            .contract()
            .filter(|it| !it.is_empty() || self.is_native());
        match (self.fungible, located) {
            (Some(id), _) if contracts.len() < 2 => Which::Id(id),
            (Some(id), Some(contract)) => Which::Part(id, self.chain, contract),
            (None, Some(contract)) if contract.is_empty() => Which::Native(self.chain),
            (None, Some(contract)) => Which::Contract(self.chain, contract),
            (_, None) => Which::Row(at),
        }
    }

    fn row(&self, number: usize) -> ProviderPosition {
        ProviderPosition {
            fungible: self.fungible.map(str::to_owned),
            chain: self.chain.to_owned(),
            symbol: self.symbol.to_owned(),
            token_name: self.name.to_owned(),
            implementations: self
                .place
                .map(|address| at(self.chain, address))
                .into_iter()
                .collect(),
            ..row(&format!("{number:03}"))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn two_rows_share_a_key_exactly_if_they_are_of_one_asset(
        said in proptest::collection::vec(any_said(), 1..24),
        turn in 0_usize..24,
    ) {
        let mut rows: Vec<ProviderPosition> = said.iter().enumerate().map(|(at, said)| said.row(at)).collect();
        let found = held(&rows, &NoAssets);
        let mut keys: BTreeMap<PriceKey, Which> = BTreeMap::new();
        let mut assets: BTreeMap<Which, PriceKey> = BTreeMap::new();
        for (at, one) in said.iter().enumerate() {
            let (which, key) = (one.which(at, &said), found[&rows[at].id].key);
            prop_assert_eq!(keys.entry(key).or_insert(which.clone()), &which);
            prop_assert_eq!(*assets.entry(which).or_insert(key), key);
        }
        // In any order of rows, and at any worth.
        let turn = turn % rows.len();
        rows.rotate_left(turn);
        for row in &mut rows {
            row.price = Some(Decimal::new(3, 0));
            row.quantity = Quantity::parse(Some("77"), Some(0), None).map(Quantity::into_owned);
        }
        for (id, again) in held(&rows, &NoAssets) {
            prop_assert_eq!(again.key, found[&id].key);
            prop_assert_eq!(&again.contract, &found[&id].contract);
        }
    }

    #[test]
    fn rows_that_share_an_id_are_priced_each_by_itself(
        prices in proptest::collection::btree_set(1_i64..1000, 1..6),
    ) {
        let prices: Vec<i64> = prices.into_iter().collect();
        let with = |price: &i64| ProviderPosition { price: Some(Decimal::new(*price, 0)), ..row("same") };
        let mut draft = HoldingsBuilder::default();
        for price in &prices {
            draft.push(with(price), None);
        }
        let finished = draft.encode(Part::Wallet, &draft.map(&NoAssets));
        let mut told: Vec<String> = finished.prices.iter().map(|(_, price, _)| price.to_string()).collect();
        told.sort();
        let mut expected: Vec<String> = prices.iter().map(ToString::to_string).collect();
        expected.sort();
        prop_assert_eq!(told, expected);
    }
}
