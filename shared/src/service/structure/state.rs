//! What one request knows on its way to the parts that it wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{fetch::Fetched, loaded::LoadedHoldings, loader::WalletLoader};
use crate::{
    cache::{CachedPart, CachedWallet, Header},
    clock::Timestamp,
    domain::scope::Part,
    service::{
        context::{CacheOutcome, Detail, Level, Request},
        policy::REFRESHED_TOGETHER,
    },
};

/// The wallet as one request sees it.
pub(super) struct LookupState<'s> {
    pub loader: &'s WalletLoader,
    pub wanted: &'s [Part],
    pub request: &'s Request,
    /// The wallet as it was last read.
    pub cached: CachedWallet,
    /// Whether it could be read.
    pub readable: bool,
    /// The newest header that is known.
    pub header: Header,
    /// What this request has fetched.
    pub fetched: Fetched,
    /// How the cache took part when the request came.
    outcome: CacheOutcome,
    /// Parts that others were seen to fetch.
    pub observed: BTreeSet<Part>,
}

impl<'s> LookupState<'s> {
    /// Returns the state after the wallet was read, if it could be.
    pub fn new(
        loader: &'s WalletLoader,
        wanted: &'s [Part],
        request: &'s Request,
        loaded: Option<CachedWallet>,
    ) -> Self {
        let readable = loaded.is_some();
        let cached = loaded.unwrap_or_default();
        Self {
            loader,
            wanted,
            request,
            header: cached.header.clone(),
            outcome: outcome(wanted, &cached),
            cached,
            readable,
            fetched: Fetched::default(),
            observed: BTreeSet::new(),
        }
    }

    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        self.loader.clock.now()
    }

    /// Returns the wanted parts that this request has not fetched.
    pub fn missing(&self) -> Vec<Part> {
        let missing = |part: &&Part| !self.fetched.parts.contains_key(*part);
        self.wanted.iter().filter(missing).copied().collect()
    }

    /// Returns the parts to fetch: those that are due and that no request is fetching,
    /// and with them those that soon will be.
    pub fn target(&self) -> Vec<Part> {
        let now = self.now();
        let fresh_after = self.loader.fresh_after(self.request);
        let leased = |part: &Part| {
            let header = self.header.parts.get(part);
            header.is_some_and(|header| header.is_leased(now))
        };
        let fetched_at = |part: &Part| self.cached.parts.get(part).map(|read| read.fetched_at);
        let is_due = |part: &Part| fetched_at(part).is_none_or(|at| at <= fresh_after);
        let missing = self.missing().into_iter();
        let mut target: Vec<Part> = missing
            .filter(|part| is_due(part) && !leased(part))
            .collect();
        if target.is_empty() {
            return target;
        }
        let (share, of) = REFRESHED_TOGETHER;
        let along_after = now.minus(self.loader.policy.structure.ttl * share / of);
        let along = |part: &Part| {
            let wanted = self.wanted.contains(part) || self.observed.contains(part);
            let old = fetched_at(part).is_none_or(|at| at <= along_after);
            wanted && old && !leased(part) && !self.fetched.parts.contains_key(part)
        };
        let others = Part::ALL.into_iter().filter(along);
        target.extend(others);
        target.sort_unstable();
        target.dedup();
        target
    }

    /// Whether a holder has said that what is fetched cannot be stored.
    pub fn is_uncacheable(&self) -> bool {
        let now = self.now();
        self.missing().iter().any(|part| {
            let until = self
                .header
                .parts
                .get(part)
                .and_then(|it| it.uncacheable_until);
            until.is_some_and(|until| now < until)
        })
    }

    /// Whether the header says that all of `parts` are fresh.
    pub fn header_is_fresh(&self, parts: &[Part]) -> bool {
        let fresh_after = self.loader.fresh_after(self.request);
        parts.iter().all(|part| {
            let fetched_at = self
                .header
                .parts
                .get(part)
                .and_then(|part| part.fetched_at());
            fetched_at.is_some_and(|at| at > fresh_after)
        })
    }

    /// Returns the answer, if every wanted part was fetched or is fresh in the cache.
    pub fn complete(&self) -> Option<LoadedHoldings> {
        let fresh_after = self.loader.fresh_after(self.request);
        self.collect(|part| part.fetched_at > fresh_after, None)
    }

    /// Returns the answer from parts that may be stale, within their limit.
    pub fn usable(&self, detail: Detail) -> Option<LoadedHoldings> {
        let whole = self.loader.policy.structure.max_usable_age();
        let oldest = self.now().minus(whole);
        self.collect(|part| part.fetched_at > oldest, Some(detail))
    }

    fn collect(
        &self,
        accept: impl Fn(&CachedPart) -> bool,
        detail: Option<Detail>,
    ) -> Option<LoadedHoldings> {
        let (cached, fetched) = (&self.cached.parts, &self.fetched.parts);
        let part = |part: &Part| -> Option<(Part, Arc<CachedPart>)> {
            let found = fetched.get(part);
            let found = found.or_else(|| cached.get(part).filter(|read| accept(read)));
            Some((*part, found?.clone()))
        };
        let parts: Option<BTreeMap<_, _>> = self.wanted.iter().map(part).collect();
        let parts = parts?;
        let fetched_at = parts.values().map(|part| part.fetched_at).min()?;
        let any_fetched = self.wanted.iter().any(|part| fetched.contains_key(part));
        let now = self.now();
        let expires = fetched_at.plus(self.loader.policy.structure.ttl);
        let fresh_until = match self.fetched.incomplete {
            true => expires.min(now),
            false => expires,
        };
        Some(LoadedHoldings {
            fetched_at,
            level: Level {
                outcome: match any_fetched {
                    true => self.outcome,
                    false => CacheOutcome::Hit,
                },
                fresh_until,
                stale: now >= expires,
                stored: any_fetched && self.fetched.stored,
                detail: self.fetched.detail.filter(|_| any_fetched).or(detail),
            },
            fetched: self.wanted.iter().all(|part| fetched.contains_key(part)),
            unchanged: any_fetched && self.fetched.unchanged,
            missing: self.fetched.missing.clone(),
            storable: self.readable,
            cached: self.cached.clone(),
            parts,
        })
    }
}

fn outcome(wanted: &[Part], cached: &CachedWallet) -> CacheOutcome {
    let there = wanted.iter().filter(|part| cached.parts.contains_key(part));
    match there.count() {
        0 => CacheOutcome::Miss,
        there if there == wanted.len() => CacheOutcome::Expired,
        _ => CacheOutcome::Partial,
    }
}
