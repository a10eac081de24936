//! Where an asset exists, as the rows of a wallet tell it.

use std::borrow::Cow;

use crate::{
    asset::contract_form,
    chain::is_native,
    provider_position::{Implementation, ProviderPosition},
};

/// The chains and contracts of one asset, each once.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Implementation>);

/// What a row itself says of its asset's contract on its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// It is this one of the asset's places.
    Told(usize),
    /// It is one of several.
    Unclear,
    /// Nothing.
    Untold,
}

impl Places {
    /// Takes what `row` says of where its asset exists.
    pub fn add(&mut self, row: &mut ProviderPosition) -> Here {
        let found = std::mem::take(&mut row.implementations);
        let mut here: Vec<usize> = Vec::new();
        for place in found {
            let on_chain = place.chain == row.chain;
            let at = self.index(place);
            if on_chain && !here.contains(&at) {
                here.push(at);
            }
        }
        match *here {
            [] => Here::Untold,
            [only] => Here::Told(only),
            _ => {
                let mut named = here.iter().filter(|at| self.names(**at, &row.id));
                match (named.next(), named.next()) {
                    (Some(one), None) => Here::Told(*one),
                    _ => Here::Unclear,
                }
            }
        }
    }

    /// The place of a row that said `here`: the one that it told, or the only
    /// one that other rows tell on its chain.
    pub fn at(&self, chain: &str, here: Here) -> Option<&Implementation> {
        match here {
            Here::Told(at) => self.0.get(at),
            Here::Unclear => None,
            Here::Untold => {
                let mut known = self.0.iter().filter(|place| place.chain == chain);
                known.next().filter(|_| known.next().is_none())
            }
        }
    }

    /// The places on other chains than this, where there is only one on each.
    pub fn on_other_chains(&self, chain: &str) -> impl Iterator<Item = &Implementation> {
        let other = self.0.iter().filter(move |place| place.chain != chain);
        other.filter(|place| !self.are_several_on(&place.chain))
    }

    /// Whether the asset has several contracts on `chain`.
    pub fn are_several_on(&self, chain: &str) -> bool {
        self.0.iter().filter(|place| place.chain == chain).count() > 1
    }

    fn index(&mut self, mut place: Implementation) -> usize {
        let address = place.address.as_deref();
        if address.is_some_and(|address| is_native(&place.chain, address)) {
            place.address = None;
        }
        let same =
            |known: &Implementation| known.chain == place.chain && form(known) == form(&place);
        let Some(at) = self.0.iter().position(same) else {
            self.0.push(place);
            return self.0.len() - 1;
        };
        // Of two spellings and two claims the same one stays in any order.
        let known = &mut self.0[at];
        known.decimals = match (known.decimals, place.decimals) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if place.address > known.address {
            known.address = place.address;
        }
        at
    }

    /// Whether a row's id begins with the contract, as ids do.
    fn names(&self, at: usize, row: &str) -> bool {
        let contract = self.0[at].address.as_deref().unwrap_or("base");
        let rest = row.get(..contract.len()).zip(row.get(contract.len()..));
        rest.is_some_and(|(first, rest)| {
            rest.starts_with('-') && contract_form(first) == contract_form(contract)
        })
    }
}

fn form(place: &Implementation) -> Option<Cow<'_, str>> {
    place.address.as_deref().map(contract_form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(chain: &str, address: Option<&str>, decimals: Option<u16>) -> Implementation {
        Implementation {
            chain: chain.to_owned(),
            address: address.map(str::to_owned),
            decimals,
        }
    }

    fn row(id: &str, chain: &str, implementations: &[Implementation]) -> ProviderPosition {
        ProviderPosition {
            id: id.to_owned(),
            chain: chain.to_owned(),
            implementations: implementations.to_vec(),
            ..ProviderPosition::default()
        }
    }

    fn contract(places: &Places, chain: &str, here: Here) -> Option<String> {
        places.at(chain, here)?.address.clone()
    }

    #[test]
    fn a_row_that_says_nothing_takes_the_only_place_on_its_chain() {
        let mut places = Places::default();
        let told = places.add(&mut row("a", "base", &[place("base", Some("0xa"), None)]));
        assert_eq!(told, Here::Told(0));
        let untold = places.add(&mut row("b", "base", &[place("zora", Some("0xz"), None)]));
        assert_eq!(untold, Here::Untold);
        assert_eq!(contract(&places, "base", untold).as_deref(), Some("0xa"));
        assert_eq!(contract(&places, "linea", untold), None);
        // With a second one there, neither is meant.
        places.add(&mut row("c", "base", &[place("base", Some("0xb"), None)]));
        assert_eq!(contract(&places, "base", untold), None);
    }

    #[test]
    fn a_row_that_names_several_takes_the_one_in_its_id() {
        let several = [
            place("base", Some("0xa"), None),
            place("base", Some("0xb"), None),
        ];
        let mut places = Places::default();
        let named = places.add(&mut row("0xB-base-asset-asset", "base", &several));
        assert_eq!(contract(&places, "base", named).as_deref(), Some("0xb"));
        assert_eq!(
            places.add(&mut row("0xbc-base", "base", &several)),
            Here::Unclear
        );
        assert_eq!(contract(&places, "base", Here::Unclear), None);
    }

    #[test]
    fn other_chains_count_where_there_is_one_place() {
        let mut places = Places::default();
        let all = [
            place("base", Some("0xa"), None),
            place("zora", Some("0xz"), None),
            place("linea", Some("0x1"), None),
            place("linea", Some("0x2"), None),
        ];
        places.add(&mut row("a", "base", &all));
        let others = places.on_other_chains("base");
        let others: Vec<&str> = others.map(|place| &*place.chain).collect();
        assert_eq!(others, ["zora"]);
        assert!(places.are_several_on("linea") && !places.are_several_on("base"));
    }

    #[test]
    fn of_two_spellings_and_claims_the_same_one_stays_in_any_order() {
        let (lower, upper) = ("0xabcd", "0xABCD");
        for spellings in [[lower, upper], [upper, lower]] {
            for decimals in [[Some(6), Some(18)], [Some(18), Some(6)], [None, Some(6)]] {
                let mut places = Places::default();
                for (spelling, decimals) in spellings.into_iter().zip(decimals) {
                    places.add(&mut row(
                        "a",
                        "base",
                        &[place("base", Some(spelling), decimals)],
                    ));
                }
                let kept = places.at("base", Here::Told(0)).unwrap();
                assert_eq!(kept, &place("base", Some(lower), Some(6)));
            }
        }
    }
}
