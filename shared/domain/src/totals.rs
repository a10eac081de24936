//! Sums over valued positions. Debt carries its sign here and nowhere else.

use std::collections::BTreeMap;

use crate::{
    amount::Amount,
    holdings::Holdings,
    response::{Change, Kind, Share, Totals},
    scope::Part,
    valued_position::ValuedPosition,
};

/// The pseudo-protocol of plain balances, so that the shares by protocol sum
/// to the net worth as well.
const WALLET_PROTOCOL: (&str, &str) = ("wallet", "Wallet");

/// Sums of everything that is counted.
#[derive(Default)]
pub(super) struct Sums<'s> {
    assets: Amount,
    debt: Amount,
    change: Amount,
    parts: Vec<PartSums<'s>>,
}

/// Sums of one part, by index in its tables; none where nothing is counted.
struct PartSums<'s> {
    part: Part,
    holdings: &'s Holdings<'s>,
    total: Amount,
    chains: Vec<Option<Amount>>,
    types: Vec<Option<Amount>>,
    groups: Vec<Option<Amount>>,
    /// Of positions in no group.
    ungrouped: Option<Amount>,
}

impl<'s> Sums<'s> {
    /// Adds the sums of a part's positions.
    pub fn add(&mut self, part: Part, holdings: &'s Holdings<'s>, valued: &[ValuedPosition<'s>]) {
        let mut sums = PartSums {
            part,
            holdings,
            total: Amount::ZERO,
            chains: vec![None; holdings.chains.len()],
            types: vec![None; holdings.types.len()],
            groups: vec![None; holdings.groups.len()],
            ungrouped: None,
        };
        for one in valued.iter().filter(|one| !one.hidden()) {
            let Ok(value) = &one.value else { continue };
            let signed = match one.kind {
                Kind::Asset => {
                    self.assets.add(value);
                    value.clone()
                }
                Kind::Debt => {
                    self.debt.add(value);
                    value.negated()
                }
            };
            let percent = one.price.and_then(|price| price.change_24h_percent);
            if let Some(change) = percent.and_then(|percent| signed.change_for(percent)) {
                self.change.add(&change);
            }
            sums.count(one, &signed);
        }
        self.parts.push(sums);
    }

    /// Net value of a part.
    pub fn part(&self, part: Part) -> Amount {
        let found = self.parts.iter().find(|sums| sums.part == part);
        found.map(|sums| sums.total.clone()).unwrap_or_default()
    }

    /// Net values of a part's groups, by their index.
    pub fn groups(&self, part: Part) -> &[Option<Amount>] {
        let found = self.parts.iter().find(|sums| sums.part == part);
        found.map(|sums| &*sums.groups).unwrap_or_default()
    }

    /// Returns the sums as they are answered.
    pub fn totals(&self) -> Totals<'s> {
        let mut net_worth = self.assets.clone();
        net_worth.sub(&self.debt);
        let mut before = net_worth.clone();
        before.sub(&self.change);
        let percent = if self.change.is_zero() {
            Some(Amount::ZERO)
        } else {
            self.change.percent_of(&before)
        };
        let (mut chains, mut types) = (BTreeMap::new(), BTreeMap::new());
        let mut protocols: BTreeMap<&str, (&str, Amount)> = BTreeMap::new();
        for sums in &self.parts {
            gather(&mut chains, &sums.holdings.chains, &sums.chains);
            gather(&mut types, &sums.holdings.types, &sums.types);
            sums.gather_protocols(&mut protocols);
        }
        let plain = |sums: BTreeMap<&'s str, Amount>| {
            ordered(sums.into_iter().map(|(id, value)| Share {
                id,
                name: None,
                value,
            }))
        };
        Totals {
            net_worth,
            assets: self.assets.clone(),
            debt: self.debt.clone(),
            change_24h: Change {
                absolute: self.change.clone(),
                percent,
            },
            by_chain: plain(chains),
            by_protocol: ordered(protocols.into_iter().map(|(id, (name, value))| Share {
                id,
                name: Some(name),
                value,
            })),
            by_type: plain(types),
        }
    }
}

impl<'s> PartSums<'s> {
    fn count(&mut self, one: &ValuedPosition<'s>, signed: &Amount) {
        let position = one.position;
        let chain = self.holdings.token(position).chain;
        add_to(&mut self.chains[chain as usize], signed);
        add_to(&mut self.types[position.kind as usize], signed);
        self.total.add(signed);
        match position.group {
            Some(at) => add_to(&mut self.groups[at as usize], signed),
            None => add_to(&mut self.ungrouped, signed),
        }
    }

    fn gather_protocols(&self, protocols: &mut BTreeMap<&'s str, (&'s str, Amount)>) {
        let mut add = |id, name, value: &Amount| {
            let (_, sum) = protocols.entry(id).or_insert((name, Amount::ZERO));
            sum.add(value);
        };
        if let Some(value) = &self.ungrouped {
            add(WALLET_PROTOCOL.0, WALLET_PROTOCOL.1, value);
        }
        for (group, value) in self.holdings.groups.iter().zip(&self.groups) {
            if let Some(value) = value {
                let protocol = &self.holdings.protocols[group.protocol as usize];
                add(protocol.id, protocol.name, value);
            }
        }
    }
}

fn add_to(sum: &mut Option<Amount>, value: &Amount) {
    match sum {
        Some(sum) => sum.add(value),
        None => *sum = Some(value.clone()),
    }
}

/// Adds the sums of one part's table to those by name.
fn gather<'s>(named: &mut BTreeMap<&'s str, Amount>, names: &[&'s str], sums: &[Option<Amount>]) {
    for (name, sum) in names.iter().zip(sums) {
        if let Some(sum) = sum {
            named.entry(name).or_default().add(sum);
        }
    }
}

/// Largest first; ties stay in the order of their ids.
fn ordered<'a>(shares: impl Iterator<Item = Share<'a>>) -> Vec<Share<'a>> {
    let mut shares: Vec<_> = shares.collect();
    shares.sort_by(|a, b| b.value.cmp(&a.value));
    shares
}
