//! What an answer is rendered from.

use std::{collections::BTreeMap, sync::Arc};

use super::{AnswerPrices, Level, ServiceError};
use crate::{
    cache::CachedPart,
    clock::Timestamp,
    domain::{
        currency::Currency,
        decoded::StoredHoldings,
        holdings::Holdings,
        portfolio::Portfolio,
        price::{PriceAgeLimit, PriceTable},
        response::{Missing, MissingReason, StructureInfo},
        scope::Part,
    },
};

/// All that an answer is rendered from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The parts that the query needs.
    pub parts: BTreeMap<Part, Arc<CachedPart>>,
    /// Prices in the query's currency.
    pub prices: Arc<AnswerPrices>,
    /// How old the prices may be that are used.
    pub oldest_prices: PriceAgeLimit,
    /// When the holdings were fetched.
    pub fetched_at: Timestamp,
    /// The level of holdings.
    pub structure: Level,
    /// The level of prices.
    pub price_level: Level,
    /// Whether they were fetched and are what they were before.
    pub unchanged: bool,
    /// What is known to be missing.
    pub missing: Vec<Missing<'static>>,
    /// The moment that freshness was judged at.
    pub now: Timestamp,
}

impl Snapshot {
    /// Returns until when both levels are fresh.
    pub fn fresh_until(&self) -> Timestamp {
        self.structure.fresh_until.min(self.price_level.fresh_until)
    }

    /// Returns what renders the answer.
    pub fn portfolio(&self) -> Portfolio<'_> {
        let parts = self.parts.iter();
        Portfolio {
            parts: parts
                .map(|(part, cached)| (*part, cached.holdings.decoded()))
                .collect(),
            prices: &self.prices.table,
            unconverted: &self.prices.unconverted,
            oldest_prices: self.oldest_prices,
            structure: StructureInfo {
                as_of: self.fetched_at,
                fresh_until: self.structure.fresh_until,
                stale: self.structure.stale,
            },
            prices_fresh_until: self.price_level.fresh_until,
            prices_stale: self.price_level.stale,
            missing: self.missing.clone(),
        }
    }
}

impl Snapshot {
    /// A part that the provider does not have for this kind of wallet: empty,
    /// and said to be so.
    ///
    /// # Errors
    /// Never in practice: no holdings encode to what decodes.
    pub(super) fn add_uncovered(&mut self, part: Part) -> Result<(), ServiceError> {
        let bytes = Holdings::default().encode();
        self.parts.insert(
            part,
            Arc::new(CachedPart {
                hash: crate::cache::codec::hash(&bytes),
                holdings: StoredHoldings::new(bytes)?,
                fetched_at: self.fetched_at,
                currency: Currency::default(),
                prices: PriceTable::default(),
            }),
        );
        self.missing.push(Missing {
            what: part.as_str(),
            chain: Some("solana".into()),
            token: None,
            reason: MissingReason::NotCoveredByProvider,
        });
        Ok(())
    }
}
