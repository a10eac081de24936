//! From holdings and prices to an answer: values, totals, order, pages.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
};

use crate::{
    amount::Amount,
    chain::Chain,
    cursor::Cursor,
    holdings::{Holdings, Position, defi_is_missing_on},
    price::{PriceAgeLimit, PriceKey, PriceTable},
    provider_position::LOAN_TYPE,
    query::{InvalidParameter, Query},
    response::{
        Answer, Coverage, DefiSection, GroupBody, Kind, Missing, MissingReason, Page, PositionBody,
        PriceBody, PricesInfo, ProtocolBody, StructureInfo, TokenBody, UnpricedReason,
        WalletSection,
    },
    scope::Part,
    timestamp::Timestamp,
    totals::TotalsBuilder,
    valued_position::ValuedPosition,
};

/// Everything an answer is made from.
#[derive(Debug)]
pub struct Portfolio<'a> {
    /// The parts that the query's scope needs, in [`Part`] order.
    pub parts: Vec<(Part, Holdings<'a>)>,
    /// Prices in the query's currency.
    pub prices: &'a PriceTable,
    /// Assets whose price is known in another currency alone, and cannot be
    /// converted.
    pub unconverted: &'a BTreeSet<PriceKey>,
    /// How old the prices may be that are used.
    pub oldest_prices: PriceAgeLimit,
    /// Age of the holdings.
    pub structure: StructureInfo,
    /// Until when the prices count as fresh.
    pub prices_fresh_until: Timestamp,
    /// Whether some prices are past that.
    pub prices_stale: bool,
    /// What is known to be missing, besides what the chains tell.
    pub missing: Vec<Missing<'a>>,
}

impl<'a> Portfolio<'a> {
    /// Renders the page that `query` asks for, with at most `limit` positions
    /// (the query's own limit or less).
    pub fn answer<'s>(
        &'s self,
        query: &'s Query,
        limit: u32,
    ) -> Result<Answer<'s>, InvalidParameter> {
        self.check_chains(query)?;
        let valued = self.valued(query);
        let tally = TotalsBuilder::of(&valued);
        let hidden = valued.iter().filter(|one| one.hidden()).count();
        let unpriced = valued
            .iter()
            .filter(|one| !one.hidden() && one.value.is_err())
            .count();
        let oldest = valued
            .iter()
            .filter(|one| query.hidden || !one.hidden())
            .filter_map(|one| one.price.map(|price| price.as_of))
            .min();
        let missing = self.missing(query, &valued);

        let mut listed: Vec<&ValuedPosition<'s, 'a>> = valued
            .iter()
            .filter(|one| (query.hidden || !one.hidden()) && query.lists(one.value.as_ref().ok()))
            .collect();
        listed.sort_unstable_by(|a, b| a.order(b));
        let (page, next) = page(&listed, query, limit);

        let mut wallet = None;
        let mut defi = None;
        for (part, holdings) in &self.parts {
            let mine = page.iter().copied().filter(|one| one.part == *part);
            match part {
                Part::Wallet => {
                    wallet = Some(WalletSection {
                        value: tally.part(*part),
                        positions: mine.map(|one| self.body(one)).collect(),
                    });
                }
                Part::Defi => {
                    defi = Some(DefiSection {
                        value: tally.part(*part),
                        protocols: self.protocols(holdings, mine, &tally),
                    });
                }
            }
        }
        Ok(Answer {
            address: &query.address,
            scope: query.scope,
            currency: query.currency,
            wallet,
            defi,
            structure: self.structure,
            prices: PricesInfo {
                as_of: oldest.unwrap_or(self.structure.as_of),
                fresh_until: self.prices_fresh_until,
                stale: self.prices_stale,
                unpriced,
            },
            coverage: Coverage {
                complete: missing.is_empty(),
                hidden,
                missing,
            },
            page: Page {
                limit: query.limit,
                total: listed.len(),
                next,
            },
            totals: tally.totals(),
        })
    }

    /// A chain that neither the table nor the wallet knows is a mistake; an
    /// empty answer would hide it.
    fn check_chains(&self, query: &Query) -> Result<(), InvalidParameter> {
        let held = |id: &str| {
            self.parts
                .iter()
                .any(|(_, holdings)| holdings.chains.contains(&id))
        };
        let unknown = query
            .chains
            .iter()
            .flatten()
            .find(|id| Chain::by_id(id).is_none() && !held(id));
        match unknown {
            Some(id) => Err(InvalidParameter::new(
                "chains",
                format!("holds '{id}', a chain that is neither known here nor held by the wallet"),
            )),
            None => Ok(()),
        }
    }

    fn valued(&self, query: &Query) -> Vec<ValuedPosition<'_, 'a>> {
        self.parts
            .iter()
            .flat_map(|(part, holdings)| {
                let keys = holdings
                    .tokens
                    .iter()
                    .map(|token| holdings.price_key(token));
                let keys: Vec<PriceKey> = keys.collect();
                let positions = holdings.positions.iter().enumerate();
                positions
                    .filter(|(_, position)| query.selects(holdings.chain(holdings.token(position))))
                    .map(move |(index, position)| {
                        let key = keys[position.token as usize];
                        self.value(*part, holdings, index, position, key)
                    })
            })
            .collect()
    }

    fn value<'s>(
        &self,
        part: Part,
        holdings: &'s Holdings<'a>,
        index: usize,
        position: &'s Position<'a>,
        key: PriceKey,
    ) -> ValuedPosition<'s, 'a> {
        let owed = holdings.types[position.kind as usize] == LOAN_TYPE
            || position
                .quantity
                .as_ref()
                .is_some_and(|it| it.is_negative());
        let (price, refused) = (self.prices.get(key), self.prices.refused(key));
        let usable = price.filter(|price| self.oldest_prices.permits(key, price));
        let value = match (&position.quantity, usable) {
            (None, _) => Err(UnpricedReason::QuantityUnreadable),
            (Some(quantity), Some(price)) => {
                Ok(Amount::value_of(&quantity.mantissa(), price.amount))
            }
            (Some(_), None) if refused.is_some() => Err(UnpricedReason::PriceRefused),
            (Some(_), None) if self.unconverted.contains(&key) => {
                Err(UnpricedReason::NoExchangeRate)
            }
            (Some(_), None) if price.is_some() => Err(UnpricedReason::PriceTooOld),
            (Some(_), None) => Err(UnpricedReason::NoPrice),
        };
        ValuedPosition {
            part,
            holdings,
            index,
            position,
            price: usable,
            refused,
            value,
            kind: if owed { Kind::Debt } else { Kind::Asset },
        }
    }

    /// What the provider does not list on the chains that the answer is about,
    /// and prices that are not believed.
    fn missing<'s>(
        &'s self,
        query: &'s Query,
        valued: &[ValuedPosition<'s, 'a>],
    ) -> Vec<Missing<'s>> {
        let mut missing = self.missing.clone();
        if query.scope.parts().contains(&Part::Defi) {
            let held = valued
                .iter()
                .map(|one| one.holdings.chain(one.holdings.token(one.position)));
            let asked = query.chains.iter().flatten().map(String::as_str);
            let mut chains: Vec<&str> = held
                .chain(asked)
                .filter(|id| defi_is_missing_on(id))
                .collect();
            chains.sort_unstable();
            chains.dedup();
            for chain in chains {
                let gap = Missing {
                    what: Part::Defi.as_str(),
                    chain: Some(Cow::Borrowed(chain)),
                    token: None,
                    reason: MissingReason::NotCoveredByProvider,
                };
                if !missing.contains(&gap) {
                    missing.push(gap);
                }
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
            let left_out = |one: &ValuedPosition<'_, '_>| {
                let unpriced = one.value.as_ref().err();
                !one.hidden() && unpriced == Some(&reason)
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
        for one in valued.iter().filter(|one| !one.hidden()) {
            if let Some(reason) = one.refused
                && seen.insert((one.part, one.position.token))
            {
                let gap = one.refused_price(reason);
                if !missing.contains(&gap) {
                    missing.push(gap);
                }
            }
        }
        missing
    }

    fn protocols<'s, 'v>(
        &self,
        holdings: &'s Holdings<'a>,
        page: impl Iterator<Item = &'v ValuedPosition<'s, 'a>>,
        tally: &TotalsBuilder<'s>,
    ) -> Vec<ProtocolBody<'s>>
    where
        's: 'v,
        'a: 'v,
    {
        let mut by_group: Vec<Vec<PositionBody<'s>>> = Vec::new();
        by_group.resize_with(holdings.groups.len(), Vec::new);
        for one in page {
            if let Some(group) = one.position.group {
                by_group[group as usize].push(self.body(one));
            }
        }
        let mut protocols: Vec<ProtocolBody<'s>> = holdings
            .protocols
            .iter()
            .enumerate()
            .map(|(at, protocol)| ProtocolBody {
                id: protocol.id,
                name: protocol.name,
                url: protocol.url,
                icon: protocol.icon,
                value: tally.protocol(at),
                groups: Vec::new(),
            })
            .collect();
        for (at, positions) in by_group.into_iter().enumerate() {
            if !positions.is_empty() {
                let group = &holdings.groups[at];
                protocols[group.protocol as usize].groups.push(GroupBody {
                    id: group.id,
                    name: group.name,
                    value: tally.group(at),
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

    fn body<'s>(&self, one: &ValuedPosition<'s, 'a>) -> PositionBody<'s> {
        let (holdings, position) = (one.holdings, one.position);
        let token = holdings.token(position);
        PositionBody {
            id: one.id(),
            r#type: holdings.types[position.kind as usize],
            kind: one.kind,
            chain: holdings.chain(token),
            name: holdings.names[position.name as usize],
            token: TokenBody {
                id: token.id.as_ref(),
                symbol: token.symbol,
                name: token.name,
                icon: &token.icon,
                address: token.address.as_ref(),
                decimals: token.decimals,
                verified: token.verified,
            },
            quantity: position.quantity.as_ref(),
            quantity_raw: position.quantity.as_ref().and_then(|it| it.raw()),
            value: one.value.as_ref().ok().cloned(),
            price: one.price.map(PriceBody::from),
            unpriced_reason: one.value.as_ref().err().copied(),
            displayable: position.displayable,
            trash: position.trash,
        }
    }
}

/// Cuts the page out of the ordered list and names where the next one starts.
fn page<'v, 's, 'a>(
    listed: &'v [&'v ValuedPosition<'s, 'a>],
    query: &Query,
    limit: u32,
) -> (&'v [&'v ValuedPosition<'s, 'a>], Option<String>) {
    let start = query.cursor.as_ref().map_or(0, |cursor| {
        let same = listed.partition_point(|one| one.follows(cursor) == Ordering::Less);
        let after = listed.partition_point(|one| one.follows(cursor) != Ordering::Greater);
        after.min(
            same.saturating_add(cursor.ordinal as usize)
                .saturating_add(1),
        )
    });
    let end = start.saturating_add(limit as usize).min(listed.len());
    let page = &listed[start..end];
    let next = page.last().filter(|_| end < listed.len()).map(|last| {
        let mut cursor = Cursor {
            value: last.value.as_ref().ok().cloned(),
            id: last.id().into_owned(),
            ordinal: 0,
        };
        let same = listed.partition_point(|one| one.follows(&cursor) == Ordering::Less);
        cursor.ordinal = u32::try_from(end - 1 - same).unwrap_or(0);
        cursor.to_text(&query.selection())
    });
    (page, next)
}
