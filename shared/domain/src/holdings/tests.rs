use super::*;
use crate::{asset::Identity, identifier::Icon};

fn holdings() -> Holdings<'static> {
    let token = Token {
        chain: 0,
        id: None,
        address: None,
        native: true,
        symbol: "ETH",
        name: "Ether",
        icon: Icon::None,
        decimals: Some(18),
        verified: true,
        cmc: None,
        scaled: false,
        identity: Identity::Asset,
    };
    let position = Position {
        id: PositionId::Asset,
        kind: 0,
        token: 0,
        name: 0,
        group: Some(0),
        quantity: None,
        displayable: true,
        trash: false,
    };
    Holdings {
        chains: vec!["ethereum"],
        types: vec!["deposit"],
        names: vec!["Some Pool"],
        tokens: vec![token],
        protocols: vec![Protocol {
            id: "p",
            name: "P",
            url: None,
            icon: None,
        }],
        groups: vec![Group {
            protocol: 0,
            id: "g",
            name: "G",
        }],
        positions: vec![position],
    }
}

fn decodes(change: impl FnOnce(&mut Holdings<'static>)) -> bool {
    let mut holdings = holdings();
    change(&mut holdings);
    Holdings::decode(&holdings.encode()).is_ok()
}

#[test]
fn no_index_points_outside_of_its_table() {
    assert!(decodes(|_| {}));
    assert!(decodes(|it| it.positions[0].group = None));
    assert!(!decodes(|it| it.tokens[0].chain = 1));
    assert!(!decodes(|it| it.groups[0].protocol = 1));
    assert!(!decodes(|it| it.positions[0].kind = 1));
    assert!(!decodes(|it| it.positions[0].token = 1));
    assert!(!decodes(|it| it.positions[0].name = 1));
    assert!(!decodes(|it| it.positions[0].group = Some(1)));
}

#[test]
fn ids_are_written_as_the_provider_writes_them() {
    let mut holdings = holdings();
    let contract = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
    holdings.tokens[0].address = Some(Identifier::pack(contract.into()));
    for (id, text) in [
        (
            PositionId::Asset,
            format!("{contract}-ethereum-asset-asset"),
        ),
        (PositionId::Native, "base-ethereum-asset-asset".to_owned()),
        (
            PositionId::Named,
            format!("{contract}-ethereum-some pool-deposit"),
        ),
        (PositionId::Text("any".into()), "any".to_owned()),
    ] {
        holdings.positions[0].id = id;
        let position = &holdings.positions[0];
        assert_eq!(holdings.position_id(position), text);
        assert_eq!(holdings.packed_id(position).to_string(), text);
    }
}

#[test]
fn the_size_counts_every_table() {
    let whole = holdings().size();
    let without = |change: fn(&mut Holdings<'static>)| {
        let mut holdings = holdings();
        change(&mut holdings);
        whole - holdings.size()
    };
    assert_eq!(
        without(|it| it.positions.clear()),
        size_of::<Position<'_>>()
    );
    assert_eq!(without(|it| it.tokens.clear()), size_of::<Token<'_>>());
    let texts = size_of::<&str>();
    assert_eq!(without(|it| it.chains.clear()), texts);
    assert_eq!(without(|it| it.types.clear()), texts);
    assert_eq!(without(|it| it.names.clear()), texts);
    assert_eq!(without(|it| it.groups.clear()), size_of::<Group<'_>>());
    assert_eq!(
        without(|it| it.protocols.clear()),
        size_of::<Protocol<'_>>()
    );
}
