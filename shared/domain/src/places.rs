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
