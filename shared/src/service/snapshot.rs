//! What an answer is rendered from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Level, ServiceError};
use crate::{
    cache::CachedPart,
    clock::Timestamp,
    domain::{
        currency::Currency,
        holdings::Holdings,
        portfolio::Portfolio,
        price::{PriceAgeLimit, PriceKey, PriceTable},
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
    pub prices: PriceTable,
    /// Assets whose price is known in another currency alone, and cannot be
    /// converted.
    pub unconverted: BTreeSet<PriceKey>,
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
    /// Decodes into what renders the answer.
    ///
    /// # Errors
    /// When the holdings cannot be decoded, which storing them rules out.
    pub fn portfolio(&self) -> Result<Portfolio<'_>, ServiceError> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for (part, cached) in &self.parts {
            parts.push((*part, Holdings::decode(&cached.bytes)?));
        }
        Ok(Portfolio {
            parts,
            prices: &self.prices,
            unconverted: &self.unconverted,
            oldest_prices: self.oldest_prices,
            structure: StructureInfo {
                as_of: self.fetched_at,
                fresh_until: self.structure.fresh_until,
                stale: self.structure.stale,
            },
            prices_fresh_until: self.price_level.fresh_until,
            prices_stale: self.price_level.stale,
            missing: self.missing.clone(),
        })
    }
}

impl Snapshot {
    /// A part that the provider does not have for this kind of wallet: empty,
    /// and said to be so.
    pub(super) fn add_uncovered(&mut self, part: Part) {
        let bytes = Holdings::default().encode();
        self.parts.insert(
            part,
            Arc::new(CachedPart {
                hash: crate::cache::codec::hash(&bytes),
                bytes,
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
    }
}
