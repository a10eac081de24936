//! What a wallet is worth, for one query: all that its pages share.

use std::{borrow::Cow, collections::HashSet};

use crate::{
    amount::Amount,
    holdings::{Holdings, defi_is_missing_on},
    page,
    portfolio::Portfolio,
    query::{InvalidParameter, Query},
    response::{
        Answer, Coverage, DefiSection, GroupBody, Missing, MissingReason, Page, PositionBody,
        PricesInfo, ProtocolBody, UnpricedReason, WalletSection,
    },
    scope::Part,
    totals::Sums,
    valued_position::ValuedPosition,
};

impl Portfolio<'_> {
    /// Values what `query` selects.
    ///
    /// # Errors
    /// When it names a chain that nothing knows.
    pub fn value<'s>(&'s self, query: &'s Query) -> Result<Valuation<'s>, InvalidParameter> {
        self.check_chains(query)?;
        Ok(Valuation::new(self, query))
    }
}

/// The value of what a query selects.
pub struct Valuation<'s> {
    portfolio: &'s Portfolio<'s>,
    query: &'s Query,
    valued: Vec<ValuedPosition<'s>>,
    sums: Sums<'s>,
    missing: Vec<Missing<'s>>,
    prices: PricesInfo,
    hidden: usize,
}

impl<'s> Valuation<'s> {
    fn new(portfolio: &'s Portfolio<'s>, query: &'s Query) -> Self {
        let mut valued = Vec::new();
        let mut sums = Sums::default();
        for (part, decoded) in &portfolio.parts {
            let positions = portfolio.value_part(*part, decoded, query);
            sums.add(*part, decoded.holdings(), &positions);
            match valued.is_empty() {
                true => valued = positions,
                false => valued.extend(positions),
            }
        }
        let (mut hidden, mut unpriced, mut oldest) = (0, 0, None);
        for one in &valued {
            let is_hidden = one.hidden();
            hidden += usize::from(is_hidden);
            unpriced += usize::from(!is_hidden && one.value.is_err());
            if let Some(price) = one.price.filter(|_| query.hidden || !is_hidden) {
                let at = oldest.get_or_insert(price.as_of);
                *at = price.as_of.min(*at);
            }
        }
        let prices = PricesInfo {
            as_of: oldest.unwrap_or(portfolio.structure.as_of),
            fresh_until: portfolio.prices_fresh_until,
            stale: portfolio.prices_stale,
            unpriced,
        };
        let missing = missing(portfolio, query, &valued);
        Self {
            portfolio,
            query,
            valued,
            sums,
            missing,
            prices,
            hidden,
        }
    }

    /// Returns the page that the query asks for, with at most `limit` positions
    /// (the query's own limit or less).
    pub fn answer(&self, limit: u32) -> Answer<'_> {
        let query = self.query;
        let listed: Vec<&ValuedPosition<'_>> = self
            .valued
            .iter()
            .filter(|one| (query.hidden || !one.hidden()) && query.lists(one.value.as_ref().ok()))
            .collect();
        let total = listed.len();
        let (page, next) = page::cut(listed, query, limit);
        let (mut wallet, mut defi) = (None, None);
        for (part, decoded) in &self.portfolio.parts {
            let mine = page.iter().copied().filter(|one| one.part == *part);
            let value = self.sums.part(*part);
            match part {
                Part::Wallet => {
                    let positions = mine.map(ValuedPosition::body).collect();
                    wallet = Some(WalletSection { value, positions });
                }
                Part::Defi => {
                    let protocols = self.protocols(decoded.holdings(), mine);
                    defi = Some(DefiSection { value, protocols });
                }
            }
        }
        Answer {
            address: &query.address,
            scope: query.scope,
            currency: query.currency,
            wallet,
            defi,
            structure: self.portfolio.structure,
            prices: self.prices,
            coverage: Coverage {
                complete: self.missing.is_empty(),
                hidden: self.hidden,
                missing: &self.missing,
            },
            page: Page {
                limit: query.limit,
                total,
                next,
            },
            totals: self.sums.totals(),
        }
    }

    fn protocols<'v>(
        &'v self,
        holdings: &'v Holdings<'v>,
        page: impl Iterator<Item = &'v ValuedPosition<'v>>,
    ) -> Vec<ProtocolBody<'v>> {
        let mut by_group: Vec<Vec<PositionBody<'v>>> = Vec::new();
        by_group.resize_with(holdings.groups.len(), Vec::new);
        for one in page {
            if let Some(group) = one.position.group {
                by_group[group as usize].push(one.body());
            }
        }
        let mut protocols: Vec<ProtocolBody<'v>> = holdings
            .protocols
            .iter()
            .map(|protocol| ProtocolBody {
                id: protocol.id,
                name: protocol.name,
                url: protocol.url,
                icon: protocol.icon,
                value: Amount::ZERO,
                groups: Vec::new(),
            })
            .collect();
        let sums = self.sums.groups(Part::Defi).iter();
        for ((positions, group), sum) in by_group.into_iter().zip(&holdings.groups).zip(sums) {
            let protocol = &mut protocols[group.protocol as usize];
            let value = sum.clone().unwrap_or_default();
            protocol.value.add(&value);
            if !positions.is_empty() {
                protocol.groups.push(GroupBody {
                    id: group.id,
                    name: group.name,
                    value,
                    positions,
                });
            }
        }
        protocols.retain(|protocol| !protocol.groups.is_empty());
        for protocol in &mut protocols {
            protocol
                .groups
                .sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.id.cmp(b.id)));
        }
        protocols.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.id.cmp(b.id)));
        protocols
    }
}

/// Returns what the provider does not list on the chains that the answer is about,
/// and prices that are not believed.
fn missing<'s>(
    portfolio: &'s Portfolio<'s>,
    query: &'s Query,
    valued: &[ValuedPosition<'s>],
) -> Vec<Missing<'s>> {
    let mut missing = portfolio.missing.clone();
    if query.scope.parts().contains(&Part::Defi) {
        for chain in uncovered_chains(portfolio, query) {
            push(
                &mut missing,
                Missing {
                    what: Part::Defi.as_str(),
                    chain: Some(Cow::Borrowed(chain)),
                    token: None,
                    reason: MissingReason::NotCoveredByProvider,
                },
            );
        }
    }
    // A price that there is, but that the answer does without.
    for (reason, gap) in [
        (
            UnpricedReason::NoExchangeRate,
            MissingReason::NoExchangeRate,
        ),
        (UnpricedReason::PriceTooOld, MissingReason::PriceTooOld),
    ] {
        let left_out = |one: &ValuedPosition<'_>| {
            let unpriced = one.value.as_ref().err();
            unpriced == Some(&reason) && !one.hidden()
        };
        if valued.iter().any(left_out) {
            missing.push(Missing {
                what: "price",
                chain: None,
                token: None,
                reason: gap,
            });
        }
    }
    let mut seen = HashSet::new();
    for one in valued {
        if let Some(reason) = one.refused
            && !one.hidden()
            && seen.insert((one.part, one.position.token))
        {
            push(&mut missing, one.refused_price(reason));
        }
    }
    missing
}

fn push<'s>(missing: &mut Vec<Missing<'s>>, gap: Missing<'s>) {
    if !missing.contains(&gap) {
        missing.push(gap);
    }
}

/// Returns the chains, held or asked for, on which the provider lists no DeFi
/// positions, in order.
fn uncovered_chains<'s>(portfolio: &'s Portfolio<'s>, query: &'s Query) -> Vec<&'s str> {
    let mut chains: Vec<&str> = Vec::new();
    for (_, decoded) in &portfolio.parts {
        let holdings = decoded.holdings();
        let mut held = vec![false; holdings.chains.len()];
        for position in &holdings.positions {
            held[holdings.token(position).chain as usize] = true;
        }
        let held = holdings.chains.iter().zip(held);
        let held = held.filter(|(id, held)| *held && query.selects(id));
        chains.extend(held.map(|(id, _)| *id));
    }
    chains.extend(query.chains.iter().flatten().map(String::as_str));
    chains.retain(|id| defi_is_missing_on(id));
    chains.sort_unstable();
    chains.dedup();
    chains
}
