//! Sums over valued positions. Debt carries its sign here and nowhere else.

use std::collections::BTreeMap;

use crate::{
    amount::Amount,
    response::{Change, Kind, Share, Totals},
    scope::Part,
    valued_position::ValuedPosition,
};

/// The pseudo-protocol of plain balances, so that the shares by protocol sum
/// to the net worth as well.
const WALLET_PROTOCOL: (&str, &str) = ("wallet", "Wallet");

/// Sums of everything that is counted.
#[derive(Default)]
pub(super) struct TotalsBuilder<'a> {
    assets: Amount,
    debt: Amount,
    change: Amount,
    parts: BTreeMap<Part, Amount>,
    chains: BTreeMap<&'a str, Amount>,
    types: BTreeMap<&'a str, Amount>,
    /// By protocol id, with its display name.
    protocols: BTreeMap<&'a str, (&'a str, Amount)>,
    /// By index in the DeFi part's tables.
    protocol_values: Vec<Amount>,
    group_values: Vec<Amount>,
}

impl<'a> TotalsBuilder<'a> {
    pub fn of(valued: &[ValuedPosition<'a, '_>]) -> Self {
        let mut tally = Self::default();
        for one in valued.iter().filter(|one| !one.hidden()) {
            if let (Ok(value), Some(signed)) = (&one.value, one.signed()) {
                tally.count(one, value, &signed);
            }
        }
        tally
    }

    fn count(&mut self, one: &ValuedPosition<'a, '_>, value: &Amount, signed: &Amount) {
        let (holdings, position) = (one.holdings, one.position);
        match one.kind {
            Kind::Asset => self.assets.add(value),
            Kind::Debt => self.debt.add(value),
        }
        let percent = one.price.and_then(|price| price.change_24h_percent);
        if let Some(change) = percent.and_then(|percent| signed.change_for(percent)) {
            self.change.add(&change);
        }
        let add =
            |sums: &mut BTreeMap<&'a str, Amount>, id| sums.entry(id).or_default().add(signed);
        add(&mut self.chains, holdings.chain(holdings.token(position)));
        add(&mut self.types, holdings.types[position.kind as usize]);
        self.parts.entry(one.part).or_default().add(signed);

        let (id, name) = match position.group {
            Some(at) => {
                let at = at as usize;
                let protocol_at = holdings.groups[at].protocol as usize;
                add_at(&mut self.group_values, at, signed);
                add_at(&mut self.protocol_values, protocol_at, signed);
                let protocol = &holdings.protocols[protocol_at];
                (protocol.id, protocol.name)
            }
            None => WALLET_PROTOCOL,
        };
        let (_, sum) = self.protocols.entry(id).or_insert((name, Amount::ZERO));
        sum.add(signed);
    }

    /// Net value of a part.
    pub fn part(&self, part: Part) -> Amount {
        self.parts.get(&part).cloned().unwrap_or_default()
    }

    /// Net value of the protocol at this index.
    pub fn protocol(&self, at: usize) -> Amount {
        self.protocol_values.get(at).cloned().unwrap_or_default()
    }

    /// Net value of the group at this index.
    pub fn group(&self, at: usize) -> Amount {
        self.group_values.get(at).cloned().unwrap_or_default()
    }

    pub fn totals(self) -> Totals<'a> {
        let mut net_worth = self.assets.clone();
        net_worth.sub(&self.debt);
        let mut before = net_worth.clone();
        before.sub(&self.change);
        let percent = if self.change.is_zero() {
            Some(Amount::ZERO)
        } else {
            self.change.percent_of(&before)
        };
        let plain = |sums: BTreeMap<&'a str, Amount>| {
            ordered(sums.into_iter().map(|(id, value)| Share {
                id,
                name: None,
                value,
            }))
        };
        Totals {
            net_worth,
            assets: self.assets,
            debt: self.debt,
            change_24h: Change {
                absolute: self.change,
                percent,
            },
            by_chain: plain(self.chains),
            by_protocol: ordered(self.protocols.into_iter().map(|(id, (name, value))| Share {
                id,
                name: Some(name),
                value,
            })),
            by_type: plain(self.types),
        }
    }
}

fn add_at(sums: &mut Vec<Amount>, at: usize, value: &Amount) {
    if sums.len() <= at {
        sums.resize(at + 1, Amount::ZERO);
    }
    sums[at].add(value);
}

/// Largest first; ties stay in the order of their ids.
fn ordered<'a>(shares: impl Iterator<Item = Share<'a>>) -> Vec<Share<'a>> {
    let mut shares: Vec<_> = shares.collect();
    shares.sort_by(|a, b| b.value.cmp(&a.value));
    shares
}
