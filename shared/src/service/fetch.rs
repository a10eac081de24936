//! A miss of the first level: one request to the provider, and the cache's
//! update.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::Either;

use super::{
    CacheOutcome, Held, Request, Service, ServiceError, UPSTREAM_ERROR, failures::mark,
    prices::Refreshable,
};
use crate::{
    cache::{
        CacheError, CachedPart, CachedWallet, FailureMark, Lease, NewStructure, assets::Assets,
        book::PageWrite, codec,
    },
    clock::Timestamp,
    domain::{
        answer::{Missing, MissingReason},
        book::BookKey,
        price::{Price, PriceKey, PriceSource, PriceTable},
        query::Query,
        scope::Part,
        upstream::Upstream,
    },
    upstream::{Failure, FetchedStructure, UpstreamError},
    usage::Usage,
};

/// The provider is waited for at least this long where old holdings may stand
/// in.
const SOFT_WAIT: Duration = Duration::from_secs(3);
/// A request that took this much longer than its limit was frozen with its
/// process.
const THAWED: Duration = Duration::from_secs(2);
/// Whoever has this much less time than the provider may take cannot tell
/// whether it fails.
const HURRY: Duration = Duration::from_secs(1);
/// An answer does not wait longer than this for the end of its lease.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(150);

impl Service {
    /// Asks the provider once, and stores what it says under the lease.
    pub(super) async fn fetch(
        &self,
        query: &Query,
        wanted: &[Part],
        cached: Option<CachedWallet>,
        lease: Option<Lease>,
        outcome: CacheOutcome,
        request: &Request,
    ) -> Result<Held, ServiceError> {
        let limit = self.longest_wait(wanted, cached.as_ref());
        let started = self.clock.now();
        let hurried = self.upstream_timeout(limit, request) + HURRY < limit;
        let fetched = self.ask_under(query, lease.as_ref(), limit, request).await;
        let now = self.clock.now();
        let (fetched, assets) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.respect(&error, request).await;
                let failed = match &error.failure {
                    // It had no fair chance: others may have more time.
                    Failure::Timeout if hurried => None,
                    failure => mark(failure, now.since(started), now),
                };
                let answer = self.despite(error, wanted, cached.as_ref());
                self.give_back(query, lease.as_ref(), failed.as_ref(), request)
                    .await;
                return answer;
            }
        };
        let mut parts = BTreeMap::new();
        let mut brought: Vec<(PriceKey, Price)> = Vec::new();
        let mapping = fetched.draft.map(assets.as_ref());
        for (id, assets) in mapping.ambiguous() {
            tracing::warn!(
                id = id.0,
                ?assets,
                "assets with different prices have one id"
            );
            request.usage.refused_price();
        }
        for part in wanted {
            let finished = fetched.draft.finish(*part, &mapping);
            let price =
                |(key, amount, change)| (key, Price::new(amount, change, PriceSource::Zerion, now));
            brought.extend(finished.prices.into_iter().map(price));
            parts.insert(
                *part,
                CachedPart {
                    hash: codec::hash(&finished.bytes),
                    bytes: finished.bytes,
                    fetched_at: now,
                },
            );
        }
        let none = PriceTable::default();
        let before = cached.as_ref().and_then(|cached| cached.prices.as_ref());
        let before = before.map_or(&none, |read| &read.table);
        let brought = PriceTable::new(brought);
        let refreshable = self.refreshable(&parts, query.currency, &brought)?;
        let priced = with_unpriced(&refreshable, brought, before, now);
        let mut held = Held::fetched(parts, now, outcome, self.policy.structure);
        if !fetched.complete {
            held.level.detail = Some("incomplete");
            held.level.fresh_until = now;
            held.missing.extend(wanted.iter().map(|part| Missing {
                what: part.as_str(),
                chain: None,
                token: None,
                reason: MissingReason::FetchedIncompletely,
            }));
            self.give_back(query, lease.as_ref(), None, request).await;
        } else if let (Some(lease), Some(cached)) = (&lease, &cached) {
            let structure = NewStructure {
                parts: &held.parts,
                previous: &cached.intact_header(),
                took: now.since(started),
                prices: (query.currency, &priced, cached.prices.as_ref()),
            };
            let aside = Usage::default();
            let (address, usage) = (&query.address, &request.usage);
            let stored = async {
                let (stored, ()) = futures::join!(
                    self.wallets.store(address, lease, structure, now, usage),
                    self.note_wanted(query, &refreshable, &priced, &aside)
                );
                stored
            };
            // What was fetched is an answer, whether or not it can be kept.
            let limit = self.upstream_timeout(self.policy.structure_timeout, request);
            let stored = tokio::time::timeout(limit, stored).await;
            let stored = stored.unwrap_or_else(|_| Err(CacheError::too_late()));
            usage.add_aside(&aside);
            held.level.stored = stored
                .inspect_err(|error| tracing::warn!(%error, "the wallet cannot be stored"))
                .unwrap_or(false);
        }
        if !held.level.stored && held.level.detail.is_none() {
            held.level.detail = Some("uncached");
        }
        held.unchanged = held.parts.iter().all(|(part, new)| {
            let old = cached.as_ref().and_then(|cached| cached.parts.get(part));
            old.is_some_and(|old| old.hash == new.hash)
        });
        held.priced = Some(before.merged(priced.entries().iter().copied()));
        held.cached = cached;
        Ok(held)
    }

    /// Notes in the book what the wallet will want when these prices expire.
    async fn note_wanted(
        &self,
        query: &Query,
        refreshable: &Refreshable,
        priced: &PriceTable,
        usage: &Usage,
    ) {
        let notable = refreshable.iter().filter(|(key, book_key)| {
            matches!(book_key, BookKey::Listed(_)) || priced.get(**key).is_some()
        });
        let notes = self.notes(query.currency, notable.map(|(_, book_key)| book_key));
        let write = |note| PageWrite {
            note,
            ..PageWrite::default()
        };
        let notes = notes.into_iter().map(|(page, keys)| (page, write(keys)));
        self.write_book(query.currency, &notes.collect(), usage)
            .await;
    }

    /// How long the provider is waited for: as long as a request may take, or,
    /// where old holdings may stand in, not much longer than the last one took.
    fn longest_wait(&self, wanted: &[Part], cached: Option<&CachedWallet>) -> Duration {
        let limit = self.policy.structure_timeout;
        let old = cached.filter(|cached| self.stale(wanted, cached, "").is_some());
        let Some(cached) = old else { return limit };
        let parts = wanted
            .iter()
            .filter_map(|part| cached.header.parts.get(part));
        let took = parts.filter_map(|part| part.took).max().unwrap_or_default();
        limit.min(SOFT_WAIT.max(took.saturating_mul(2)))
    }

    /// Asks while the lease is kept.
    async fn ask_under(
        &self,
        query: &Query,
        lease: Option<&Lease>,
        limit: Duration,
        request: &Request,
    ) -> Result<(FetchedStructure, Arc<Assets>), UpstreamError> {
        let ask = self.ask(query, limit, request);
        let Some(lease) = lease else {
            return ask.await;
        };
        let aside = Usage::default();
        let keep = self.keep_lease(query, lease, &aside);
        let asked = futures::future::select(Box::pin(ask), Box::pin(keep)).await;
        request.usage.add_aside(&aside);
        match asked {
            Either::Left((answer, _)) => answer,
            Either::Right(((), ask)) => ask.await,
        }
    }

    /// The one request to the provider; the registry is read meanwhile.
    async fn ask(
        &self,
        query: &Query,
        limit: Duration,
        request: &Request,
    ) -> Result<(FetchedStructure, Arc<Assets>), UpstreamError> {
        let timeout = self.upstream_timeout(limit, request);
        request.usage.upstream_call();
        let started = self.clock.now();
        let fetch = self.structures.fetch(
            &query.address,
            query.scope,
            query.currency,
            timeout,
            request.attempts,
        );
        let aside = Usage::default();
        let fetch = async { (fetch.await, self.clock.now().since(started)) };
        let assets = tokio::time::timeout(timeout, self.assets.get(started, &aside));
        let ((fetched, took), assets) = futures::join!(fetch, assets);
        request.usage.add_aside(&aside);
        let assets = assets.unwrap_or_default();
        request.usage.phase("zerion", took);
        // A process that was frozen meanwhile has an old answer.
        if took > timeout + THAWED {
            return Err(UpstreamError {
                upstream: Upstream::Zerion,
                failure: Failure::Timeout,
            });
        }
        fetched.map(|fetched| (fetched, assets))
    }

    /// Ends the lease early, if that takes no time: it ends by itself anyway.
    pub(super) async fn give_back(
        &self,
        query: &Query,
        lease: Option<&Lease>,
        failed: Option<&FailureMark>,
        request: &Request,
    ) {
        let Some(lease) = lease else { return };
        let limit = self.time_left(request).min(RELEASE_TIMEOUT);
        let release = self
            .wallets
            .release(&query.address, lease, failed, &request.usage);
        match tokio::time::timeout(limit, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be ended early"),
            Err(_) => tracing::warn!("the lease could not be ended in time"),
        }
    }

    /// Stale data in place of an error, where the error allows it.
    pub(super) fn despite(
        &self,
        error: UpstreamError,
        wanted: &[Part],
        cached: Option<&CachedWallet>,
    ) -> Result<Held, ServiceError> {
        tracing::warn!(%error, "the provider gave no holdings");
        if error.failure == Failure::NotTrackable {
            return Err(error.into());
        }
        cached
            .and_then(|cached| self.stale(wanted, cached, UPSTREAM_ERROR))
            .ok_or_else(|| error.into())
    }
}

/// Marks every asset of a fetch that can be refreshed as checked, those
/// without a price as well: no price source is asked for them before the
/// prices expire.
fn with_unpriced(
    refreshable: &Refreshable,
    brought: PriceTable,
    before: &PriceTable,
    now: Timestamp,
) -> PriceTable {
    let unpriced = refreshable
        .keys()
        .filter(|key| brought.get(**key).is_none());
    let unanswered = before.unanswered(unpriced.copied(), PriceSource::Zerion, now);
    brought.merged(unanswered)
}
