//! From holdings and prices to what they are worth.

use std::collections::BTreeSet;

use crate::{
    amount::Amount,
    chain::Chain,
    decoded::DecodedHoldings,
    holdings::{Holdings, Position},
    price::{Price, PriceAgeLimit, PriceKey, PriceTable},
    provider_position::LOAN_TYPE,
    query::{InvalidParameter, Query},
    response::{Kind, Missing, StructureInfo, UnpricedReason},
    scope::Part,
    timestamp::Timestamp,
    valued_position::ValuedPosition,
};

/// Everything an answer is made from.
#[derive(Debug)]
pub struct Portfolio<'a> {
    /// The parts that the query's scope needs, in [`Part`] order.
    pub parts: Vec<(Part, &'a DecodedHoldings<'a>)>,
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

/// A token's price, and what keeps it from having one.
#[derive(Clone, Copy)]
struct TokenPrice<'s> {
    usable: Option<&'s Price>,
    entry: Option<&'s Price>,
    unpriced: UnpricedReason,
}

impl<'a> Portfolio<'a> {
    /// A chain that neither the table nor the wallet knows is a mistake; an
    /// empty answer would hide it.
    pub(super) fn check_chains(&self, query: &Query) -> Result<(), InvalidParameter> {
        let held = |id: &str| {
            self.parts
                .iter()
                .any(|(_, decoded)| decoded.holdings().chains.contains(&id))
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

    /// Values the positions of a part that are on selected chains.
    pub(super) fn value_part<'s>(
        &'s self,
        part: Part,
        decoded: &'s DecodedHoldings<'a>,
        query: &Query,
    ) -> Vec<ValuedPosition<'s>> {
        let holdings: &'s Holdings<'s> = decoded.holdings();
        let selected: Vec<bool> = holdings.chains.iter().map(|it| query.selects(it)).collect();
        let loans: Vec<bool> = holdings.types.iter().map(|it| *it == LOAN_TYPE).collect();
        let keys = decoded.keys().iter();
        let prices: Vec<TokenPrice<'s>> = keys.map(|key| self.token_price(*key)).collect();
        let mut valued = Vec::with_capacity(holdings.positions.len());
        for (index, position) in holdings.positions.iter().enumerate() {
            if !selected[holdings.token(position).chain as usize] {
                continue;
            }
            let price = prices[position.token as usize];
            let negative = |position: &Position<'_>| {
                let quantity = position.quantity.as_ref();
                quantity.is_some_and(|it| it.is_negative())
            };
            let owed = loans[position.kind as usize] || negative(position);
            valued.push(ValuedPosition {
                part,
                holdings,
                index,
                position,
                price: price.usable,
                refused: price.entry.and_then(|entry| entry.refused),
                value: match (&position.quantity, price.usable) {
                    (None, _) => Err(UnpricedReason::QuantityUnreadable),
                    (Some(quantity), Some(price)) => {
                        Ok(Amount::value_of(&quantity.mantissa(), price.amount))
                    }
                    (Some(_), None) => Err(price.unpriced),
                },
                kind: if owed { Kind::Debt } else { Kind::Asset },
            });
        }
        valued
    }

    fn token_price(&self, key: PriceKey) -> TokenPrice<'_> {
        let entry = self.prices.entry(key);
        let known = entry.filter(|price| price.is_known());
        TokenPrice {
            usable: known.filter(|price| self.oldest_prices.permits(key, price)),
            entry,
            unpriced: match entry.and_then(|entry| entry.refused) {
                Some(_) => UnpricedReason::PriceRefused,
                None if self.unconverted.contains(&key) => UnpricedReason::NoExchangeRate,
                None if known.is_some() => UnpricedReason::PriceTooOld,
                None => UnpricedReason::NoPrice,
            },
        }
    }
}
