//! What one request knows on its way to the parts that it wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{fetch::Fetched, resource::Resource};
use crate::{
    cache::PartHeader,
    clock::Timestamp,
    domain::response::Missing,
    service::{
        context::{CacheOutcome, Detail, Level},
        policy::REFRESHED_TOGETHER,
    },
};

/// Data for one answer, and what is known around them.
pub(in crate::service) struct Found<P, V, E> {
    /// The wanted parts.
    pub parts: BTreeMap<P, Arc<V>>,
    /// When the oldest of them was fetched.
    pub fetched_at: Timestamp,
    /// How the cache took part.
    pub level: Level,
    /// Whether this request fetched all of them.
    pub fetched: bool,
    /// Whether it brought what was there before.
    pub unchanged: bool,
    /// What the provider left out.
    pub missing: Vec<Missing<'static>>,
    /// What is stored, as it was read last.
    pub cached: E,
    /// Whether more can be stored beside it.
    pub storable: bool,
}

/// [`Found`] of a resource.
pub(super) type FoundOf<R> =
    Found<<R as Resource>::Part, <R as Resource>::Value, <R as Resource>::Entry>;

/// The stored data as one request sees them.
pub(super) struct LookupState<'s, R: Resource> {
    pub resource: &'s R,
    pub wanted: &'s [R::Part],
    /// What is stored, as it was read last.
    pub cached: R::Entry,
    /// Whether it could be read.
    pub readable: bool,
    /// The newest header that is known.
    pub header: R::Header,
    /// What this request has fetched.
    pub fetched: Fetched<R>,
    /// How the cache took part when the request came.
    outcome: CacheOutcome,
    /// Parts that others were seen to fetch.
    pub observed: BTreeSet<R::Part>,
}

impl<'s, R: Resource> LookupState<'s, R> {
    /// Returns the state after the stored data were read, if they could be.
    pub fn new(resource: &'s R, wanted: &'s [R::Part], loaded: Option<R::Entry>) -> Self {
        let readable = loaded.is_some();
        let cached = loaded.unwrap_or_default();
        Self {
            resource,
            wanted,
            header: R::header(&cached).clone(),
            outcome: outcome::<R>(wanted, &cached),
            cached,
            readable,
            fetched: Fetched::default(),
            observed: BTreeSet::new(),
        }
    }

    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        self.resource.now()
    }

    /// Returns what the newest header says of a part.
    pub fn part_header(&self, part: R::Part) -> Option<&PartHeader> {
        R::headers(&self.header).get(&part)
    }

    /// Returns the time after which parts must have been fetched to be fresh for
    /// this request.
    pub fn fresh_after(&self) -> Timestamp {
        let ttl = self.resource.terms().lifetime.ttl;
        let max_age = self.resource.request().max_age;
        self.now().minus(max_age.map_or(ttl, |age| age.min(ttl)))
    }

    /// Returns the wanted parts that this request has not fetched.
    pub fn missing(&self) -> Vec<R::Part> {
        let missing = |part: &&R::Part| !self.fetched.parts.contains_key(*part);
        self.wanted.iter().filter(missing).copied().collect()
    }

    /// Returns the parts to fetch: those that are due and that no request is fetching,
    /// and with them those that soon will be.
    pub fn target(&self) -> Vec<R::Part> {
        let now = self.now();
        let fresh_after = self.fresh_after();
        let leased = |part: &R::Part| {
            let header = self.part_header(*part);
            header.is_some_and(|header| header.is_leased(now))
        };
        let cached = R::parts(&self.cached);
        let fetched_at = |part: &R::Part| cached.get(part).map(|read| R::fetched_at(read));
        let is_due = |part: &R::Part| fetched_at(part).is_none_or(|at| at <= fresh_after);
        let missing = self.missing().into_iter();
        let mut target: Vec<R::Part> = missing
            .filter(|part| is_due(part) && !leased(part))
            .collect();
        if target.is_empty() {
            return target;
        }
        let (share, of) = REFRESHED_TOGETHER;
        let along_after = now.minus(self.resource.terms().lifetime.ttl * share / of);
        let along = |part: &R::Part| {
            let wanted = self.wanted.contains(part) || self.observed.contains(part);
            let old = fetched_at(part).is_none_or(|at| at <= along_after);
            wanted && old && !leased(part) && !self.fetched.parts.contains_key(part)
        };
        let others = R::ALL.iter().copied().filter(along);
        target.extend(others);
        target.sort_unstable();
        target.dedup();
        target
    }

    /// Returns whether a holder has said that what is fetched cannot be stored.
    pub fn is_uncacheable(&self) -> bool {
        let now = self.now();
        self.missing().iter().any(|part| {
            let until = self.part_header(*part);
            let until = until.and_then(|header| header.uncacheable_until);
            until.is_some_and(|until| now < until)
        })
    }

    /// Returns whether the header says that all of `parts` are fresh.
    pub fn header_is_fresh(&self, parts: &[R::Part]) -> bool {
        let fresh_after = self.fresh_after();
        parts.iter().all(|part| {
            let fetched_at = self.part_header(*part);
            let fetched_at = fetched_at.and_then(PartHeader::fetched_at);
            fetched_at.is_some_and(|at| at > fresh_after)
        })
    }

    /// Returns the answer, if every wanted part was fetched or is fresh in the cache.
    pub fn complete(&self) -> Option<FoundOf<R>> {
        let fresh_after = self.fresh_after();
        self.collect(|part| R::fetched_at(part) > fresh_after, None)
    }

    /// Returns the answer from parts that may be stale, within their limit.
    pub fn usable(&self, detail: Detail) -> Option<FoundOf<R>> {
        let whole = self.resource.terms().lifetime.max_usable_age();
        let oldest = self.now().minus(whole);
        self.collect(|part| R::fetched_at(part) > oldest, Some(detail))
    }

    fn collect(
        &self,
        accept: impl Fn(&R::Value) -> bool,
        detail: Option<Detail>,
    ) -> Option<FoundOf<R>> {
        let (cached, fetched) = (R::parts(&self.cached), &self.fetched.parts);
        let part = |part: &R::Part| -> Option<(R::Part, Arc<R::Value>)> {
            let found = fetched.get(part);
            let found = found.or_else(|| cached.get(part).filter(|read| accept(read)));
            Some((*part, found?.clone()))
        };
        let parts: Option<BTreeMap<_, _>> = self.wanted.iter().map(part).collect();
        let parts = parts?;
        let fetched_at = parts.values().map(|part| R::fetched_at(part)).min()?;
        let any_fetched = self.wanted.iter().any(|part| fetched.contains_key(part));
        let now = self.now();
        let expires = fetched_at.plus(self.resource.terms().lifetime.ttl);
        let fresh_until = match self.fetched.incomplete {
            true => expires.min(now),
            false => expires,
        };
        Some(Found {
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

fn outcome<R: Resource>(wanted: &[R::Part], cached: &R::Entry) -> CacheOutcome {
    let there = wanted.iter();
    let there = there.filter(|part| R::parts(cached).contains_key(part));
    match there.count() {
        0 => CacheOutcome::Miss,
        there if there == wanted.len() => CacheOutcome::Expired,
        _ => CacheOutcome::Partial,
    }
}
