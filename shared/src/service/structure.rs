//! The first level: what a wallet holds.
//!
//! ```text
//! all wanted parts fresh ────────────────────────────────────────► answer
//!   │ no
//!   ├─ the provider is rate limited ── usable stale parts, or the failure
//!   ├─ a holder said that it cannot be kept ── fetch without a lease
//!   └─ try the lease of the parts that no request is fetching
//!        ├─ won ── one request for these parts, store, look again
//!        ├─ lost: it failed just now ── usable stale parts, or the failure
//!        ├─ lost: stored meanwhile ── look again
//!        ├─ lost: being fetched ── usable stale parts, or wait, look again
//!        └─ no lease to be had ── usable stale parts, or a limited number of
//!                                 fetches without one
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    CacheOutcome, Held, Level, Request, Service, ServiceError, TRIED_AGAIN, UPSTREAM_ERROR,
    failures::remembered,
    fetch::{Fetched, Under},
    limits::left_alone,
};
use crate::{
    cache::{
        CacheError, CachedPart, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest,
        Revalidation,
    },
    clock::Timestamp,
    config::Lifetime,
    domain::{provider::Provider, query::Query, scope::Part},
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// A lease ends this long after its holder was last heard of.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// The holder is heard of this often: clocks may differ by more than two
/// seconds before others take its lease for ended.
const BEAT: Duration = Duration::from_secs(1);
/// A request that waits for another one's fetch looks again after these pauses,
/// the last one repeated.
const PAUSES_MS: [u64; 4] = [100, 150, 250, 400];
/// A wallet that is there, but cannot be read, is waited for this long.
const UNREADABLE_TIMEOUT: Duration = Duration::from_millis(6500);
/// After so many holders, one after the other, that could not store what they
/// fetched, or died, waiting requests no longer take turns.
const UNSTORED_HOLDERS: usize = 2;
/// Parts older than this share of their lifetime are fetched along with others.
const RENEWED_ALONG: (u32, u32) = (1, 2);
/// Why an answer is stale: another request is fetching.
const BEING_REFRESHED: &str = "being-refreshed";
/// Where an answer is from while the table cannot be read.
const COPY: &str = "copy";

impl Held {
    /// Holdings of a wallet that the provider has nothing of, by its own word.
    pub(super) fn nothing(now: Timestamp, lifetime: Lifetime) -> Self {
        Self {
            parts: BTreeMap::new(),
            fetched_at: now,
            level: Level {
                outcome: CacheOutcome::Hit,
                fresh_until: now.plus(lifetime.ttl),
                stale: false,
                stored: false,
                detail: None,
            },
            fetched: false,
            unchanged: false,
            missing: Vec::new(),
            cached: CachedWallet::default(),
            storable: false,
        }
    }
}

/// One request's way to the parts that it wants.
struct Search<'s> {
    service: &'s Service,
    query: &'s Query,
    wanted: &'s [Part],
    request: &'s Request,
    /// The wallet as it was last read.
    cached: CachedWallet,
    /// Whether it could be read.
    readable: bool,
    /// The newest header that is known.
    header: Header,
    /// What this request has fetched.
    fetched: Fetched,
    /// How the cache took part when the request came.
    outcome: CacheOutcome,
    /// Parts that others were seen to fetch.
    observed: BTreeSet<Part>,
    /// Generations of leases that were waited for.
    holders: BTreeSet<u64>,
    waited: Duration,
    unreadable: Duration,
    /// When the header was seen to keep the lease from being had without
    /// telling why: it is damaged.
    damaged_at: Option<Timestamp>,
}

impl Service {
    /// Returns the wanted parts: cached, or fetched.
    pub(super) async fn held(
        &self,
        query: &Query,
        wanted: &[Part],
        request: &Request,
    ) -> Result<Held, ServiceError> {
        let loaded = self.load(query, false, request).await;
        let readable = loaded.is_some();
        let cached = loaded.unwrap_or_default();
        let mut search = Search {
            service: self,
            query,
            wanted,
            request,
            header: cached.header.clone(),
            outcome: outcome(wanted, &cached),
            cached,
            readable,
            fetched: Fetched::default(),
            observed: BTreeSet::new(),
            holders: BTreeSet::new(),
            waited: Duration::ZERO,
            unreadable: Duration::ZERO,
            damaged_at: None,
        };
        match search.complete() {
            Some(held) => Ok(held),
            None => search.run().await,
        }
    }

    async fn load(
        &self,
        query: &Query,
        consistent: bool,
        request: &Request,
    ) -> Option<CachedWallet> {
        let loaded = self
            .wallets
            .load(&query.address, query.currency, consistent, &request.cost)
            .await;
        let mut loaded = loaded
            .inspect_err(|error| tracing::warn!(%error, "the cache cannot be read"))
            .ok()?;
        let now = self.clock.now();
        loaded.header = self.without_future_timestamps(loaded.header);
        let implausible = |part: &CachedPart| part.fetched_at.is_in_the_future(now);
        loaded.parts.retain(|_, part| !implausible(part));
        self.wallet_copies.keep(&query.address, &loaded);
        Some(loaded)
    }

    fn without_future_timestamps(&self, header: Header) -> Header {
        header.without_future_timestamps(self.clock.now(), LEASE, self.uncacheable_ttl())
    }

    /// How long it is remembered that a wallet is too large to be cached.
    pub(super) fn uncacheable_ttl(&self) -> Duration {
        self.policy.structure.ttl
    }

    /// Holdings fetched after this are fresh for this request.
    fn fresh_after(&self, request: &Request) -> Timestamp {
        let ttl = self.policy.structure.ttl;
        let ttl = request.max_age.map_or(ttl, |age| age.min(ttl));
        self.clock.now().minus(ttl)
    }

    /// Keeps the lease for as long as this is waited for; never ends.
    pub(super) async fn keep_lease(&self, query: &Query, lease: &Lease, cost: &RequestCost) {
        loop {
            tokio::time::sleep(BEAT).await;
            let until = self.clock.now().plus(LEASE);
            let renewed = self.wallets.renew(&query.address, lease, until, cost);
            match renewed.await {
                Ok(true) => {}
                // What is fetched will not be stored, but it is an answer.
                Ok(false) => return std::future::pending().await,
                Err(error) => tracing::warn!(%error, "the lease cannot be kept"),
            }
        }
    }
}

/// What comes next.
enum Step {
    /// The answer.
    Done(Box<Held>),
    /// Something changed: look again.
    Revalidation,
}

impl Step {
    fn done(held: Held) -> Self {
        Self::Done(Box::new(held))
    }
}

impl Search<'_> {
    async fn run(&mut self) -> Result<Held, ServiceError> {
        let limit = self.service.policy.structure_timeout + LEASE;
        let patience = self.service.upstream_timeout(limit, self.request);
        if self.service.blocked(Provider::Zerion).is_some() {
            let cost = &self.request.cost;
            self.service.look_at_breaker(Provider::Zerion, cost).await;
        }
        loop {
            if let Some(held) = self.complete() {
                return Ok(held);
            }
            if let Some(error) = self.paused() {
                return self.stale_if_error(error);
            }
            if self.is_uncacheable() {
                return self.fetch_without_lease().await;
            }
            let step = self.next(patience.saturating_sub(self.waited)).await?;
            if let Step::Done(held) = step {
                return Ok(*held);
            }
            if self.waited >= patience {
                return Err(ServiceError::Deadline);
            }
        }
    }

    async fn next(&mut self, patience: Duration) -> Result<Step, ServiceError> {
        let target = self.target();
        if target.is_empty() {
            return self.wait(patience).await;
        }
        let concurrent = RequestCost::default();
        let asked_at = self.service.clock.now();
        let (taken, ()) = futures::join!(
            self.take_lease(&target, asked_at),
            self.service.look_at_breaker(Provider::Zerion, &concurrent)
        );
        self.request.cost.merge_concurrent(&concurrent);
        match taken {
            Ok(LeaseOutcome::Won(lease)) => self.won(&target, &lease, asked_at).await,
            Ok(LeaseOutcome::Lost(header)) => {
                let before = std::mem::replace(
                    &mut self.header,
                    self.service.without_future_timestamps(header),
                );
                self.lost(&target, &before, patience).await
            }
            Err(error) => {
                tracing::warn!(%error, "no lease can be taken");
                self.without_table().await.map(Step::done)
            }
        }
    }

    /// The parts to fetch: those that are due and that no request is fetching,
    /// and with them those that soon will be.
    fn target(&self) -> Vec<Part> {
        let now = self.service.clock.now();
        let fresh_after = self.service.fresh_after(self.request);
        let leased = |part: &Part| {
            let header = self.header.parts.get(part);
            header.is_some_and(|header| header.is_leased(now))
        };
        let fetched_at = |part: &Part| self.cached.parts.get(part).map(|read| read.fetched_at);
        let is_due = |part: &Part| fetched_at(part).is_none_or(|at| at <= fresh_after);
        let missing = |part: &&Part| !self.fetched.parts.contains_key(*part);
        let due = self
            .wanted
            .iter()
            .filter(missing)
            .filter(|part| is_due(part));
        let mut target: Vec<Part> = due.copied().filter(|part| !leased(part)).collect();
        if target.is_empty() {
            return target;
        }
        let (share, of) = RENEWED_ALONG;
        let along_after = now.minus(self.service.policy.structure.ttl * share / of);
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

    /// Tries for the lease of some parts. Holdings that are there by their
    /// header keep it from being had, unless they have proved unreadable.
    async fn take_lease(&self, parts: &[Part], now: Timestamp) -> Result<LeaseOutcome, CacheError> {
        let service = self.service;
        let expired = service.fresh_after(self.request);
        let lost = parts.iter().filter(|part| {
            let read = self.cached.header.parts.get(part);
            let stored = read.is_some_and(|read| read.stored.is_some());
            self.readable && stored && !self.cached.parts.contains_key(part)
        });
        let lost = lost.filter_map(|part| self.cached.header.parts.get(part)?.fetched_at());
        let wanted = LeaseRequest {
            parts,
            now,
            length: LEASE,
            fresh_after: lost
                .min()
                .into_iter()
                .chain(self.damaged_at)
                .fold(expired, Timestamp::max),
            again: self.request.max_age.map(|_| Revalidation {
                expired: now.minus(service.policy.structure.ttl),
                tried: now.minus(TRIED_AGAIN),
            }),
        };
        let cost = &self.request.cost;
        service
            .wallets
            .lease(&self.query.address, wanted, cost)
            .await
    }

    /// Fetches under a lease, unless the wallet turns out to be there.
    async fn won(
        &mut self,
        target: &[Part],
        lease: &Lease,
        asked_at: Timestamp,
    ) -> Result<Step, ServiceError> {
        // Others have held it, or all was forgotten, since the wallet was read.
        if !self.readable || !follows(lease, &self.cached.header, asked_at) {
            self.reload().await;
            if let Some(held) = self.complete() {
                self.service
                    .give_back(self.query, lease, &Default::default(), self.request)
                    .await;
                return Ok(Step::done(held));
            }
        }
        if let Some(error) = self.paused() {
            self.service
                .give_back(self.query, lease, &Default::default(), self.request)
                .await;
            return self.stale_if_error(error).map(Step::done);
        }
        let under = Under {
            lease: Some(lease),
            // None of these could store what it fetched.
            after_many: self.holders.len() > UNSTORED_HOLDERS,
        };
        let fetched = self
            .service
            .fetch(self.query, target, &self.cached, under, self.request)
            .await;
        match fetched {
            Ok(fetched) => self.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error).map(Step::done),
        }
        if let Some(held) = self.complete() {
            return Ok(Step::done(held));
        }
        self.reload().await;
        Ok(Step::Revalidation)
    }

    /// Another request holds the lease, has just stored, or has just failed.
    async fn lost(
        &mut self,
        target: &[Part],
        before: &Header,
        patience: Duration,
    ) -> Result<Step, ServiceError> {
        let now = self.service.clock.now();
        if let Some(error) = remembered(&self.header, target, now) {
            return self.stale_if_error(error).map(Step::done);
        }
        if self.header_is_fresh(target) {
            return self.stored_meanwhile().await;
        }
        if let Some(held) = self.usable(BEING_REFRESHED) {
            return Ok(Step::done(held));
        }
        let free = target.iter().all(|part| {
            let header = self.header.parts.get(part);
            header.is_some_and(|it| !it.is_leased(now) && it.stored.is_none())
        });
        if free && self.request.max_age.is_none() {
            self.damaged_at = Some(now);
        }
        if self.header != *before && !self.target().is_empty() && self.target() != target {
            return Ok(Step::Revalidation);
        }
        self.wait(patience).await
    }

    /// Reads what the header says is there.
    async fn stored_meanwhile(&mut self) -> Result<Step, ServiceError> {
        self.reload().await;
        if let Some(held) = self.complete() {
            return Ok(Step::done(held));
        }
        if !self.readable {
            // The table cannot be read, but has told the header.
            let copy = &self.service.wallet_copies;
            self.cached = copy.under(&self.query.address, &self.header);
            if let Some(mut held) = self.complete() {
                held.level.detail = Some(COPY);
                return Ok(Step::done(held));
            }
            if self.unreadable >= UNREADABLE_TIMEOUT {
                return self.without_table().await.map(Step::done);
            }
        }
        let pause = Duration::from_millis(PAUSES_MS[0]);
        tokio::time::sleep(pause).await;
        self.unreadable += pause;
        self.waited += pause;
        Ok(Step::Revalidation)
    }

    /// Waits until the holders of the wanted parts' leases have stored, given
    /// up or died, and reads the wallet again.
    async fn wait(&mut self, patience: Duration) -> Result<Step, ServiceError> {
        let mut waited = Duration::ZERO;
        let missing = |part: &&Part| !self.fetched.parts.contains_key(*part);
        let wanted: Vec<Part> = self.wanted.iter().filter(missing).copied().collect();
        for pause in (0..).map(|at: usize| PAUSES_MS[at.min(PAUSES_MS.len() - 1)]) {
            let now = self.service.clock.now();
            let parts = self.header.parts.iter();
            let leased = parts.filter(|(_, header)| header.is_leased(now));
            let leased: BTreeSet<Part> = leased.map(|(part, _)| *part).collect();
            self.observed.extend(&leased);
            let generations = leased.iter().filter_map(|part| self.header.parts.get(part));
            self.holders
                .extend(generations.map(|header| header.generation));
            let held = wanted.iter().any(|part| leased.contains(part));
            let stop = self.header_is_fresh(&wanted)
                || self.is_uncacheable()
                || remembered(&self.header, &wanted, now).is_some();
            if waited > Duration::ZERO && (!held || stop) || waited >= patience {
                break;
            }
            let pause = Duration::from_millis(pause);
            tokio::time::sleep(pause).await;
            waited += pause;
            let (address, cost) = (&self.query.address, &self.request.cost);
            let read = self.service.wallets.header(address, cost).await;
            if let Ok(header) = read {
                self.header = self.service.without_future_timestamps(header);
            }
        }
        self.waited += waited;
        if let Some(error) = remembered(&self.header, &wanted, self.service.clock.now()) {
            return self.stale_if_error(error).map(Step::done);
        }
        self.reload().await;
        Ok(Step::Revalidation)
    }

    /// The table cannot be used: usable stale parts, or one of a limited number
    /// of fetches that nothing coordinates.
    async fn without_table(&mut self) -> Result<Held, ServiceError> {
        if let Some(held) = self.usable(BEING_REFRESHED) {
            return Ok(held);
        }
        let now = self.service.clock.now();
        let fetched = match self.service.unleased.allow(now) {
            true => self.fetch_without_lease().await,
            false => Err(ServiceError::CacheUnavailable),
        };
        match fetched {
            Err(error) if !is_not_trackable(&error) => self.last_copy().ok_or(error),
            fetched => fetched,
        }
    }

    /// The process's last copy, marked as stale: with neither the table nor the
    /// provider, nothing tells whether the wallet has been invalidated since.
    fn last_copy(&mut self) -> Option<Held> {
        self.cached = self.service.wallet_copies.last(&self.query.address)?;
        let mut held = self.usable(COPY)?;
        held.level.stale = true;
        held.level.fresh_until = held.level.fresh_until.min(self.service.clock.now());
        Some(held)
    }

    async fn fetch_without_lease(&mut self) -> Result<Held, ServiceError> {
        let missing = |part: &&Part| !self.fetched.parts.contains_key(*part);
        let wanted: Vec<Part> = self.wanted.iter().filter(missing).copied().collect();
        let fetched = self
            .service
            .fetch(
                self.query,
                &wanted,
                &self.cached,
                Under::default(),
                self.request,
            )
            .await;
        match fetched {
            Ok(fetched) => self.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error),
        }
        self.complete().ok_or(ServiceError::CacheUnavailable)
    }

    async fn reload(&mut self) {
        match self.service.load(self.query, true, self.request).await {
            Some(loaded) => {
                self.header = loaded.header.clone();
                self.cached = loaded;
                self.readable = true;
            }
            None => self.readable = false,
        }
    }

    /// The failure that stands for the provider's rate limit, if it is reached.
    fn paused(&self) -> Option<UpstreamError> {
        let until = self.service.blocked(Provider::Zerion)?;
        Some(left_alone(
            Provider::Zerion,
            until,
            self.service.clock.now(),
        ))
    }

    /// Whether a holder has said that what is fetched cannot be stored.
    fn is_uncacheable(&self) -> bool {
        let now = self.service.clock.now();
        let missing = |part: &&Part| !self.fetched.parts.contains_key(*part);
        self.wanted.iter().filter(missing).any(|part| {
            let until = self
                .header
                .parts
                .get(part)
                .and_then(|it| it.uncacheable_until);
            until.is_some_and(|until| now < until)
        })
    }

    fn header_is_fresh(&self, parts: &[Part]) -> bool {
        let fresh_after = self.service.fresh_after(self.request);
        parts.iter().all(|part| {
            let fetched_at = self
                .header
                .parts
                .get(part)
                .and_then(|part| part.fetched_at());
            fetched_at.is_some_and(|at| at > fresh_after)
        })
    }

    /// The answer, if every wanted part was fetched or is fresh in the cache.
    fn complete(&self) -> Option<Held> {
        let fresh_after = self.service.fresh_after(self.request);
        self.collect(|part| part.fetched_at > fresh_after, None)
    }

    /// The answer from parts that may be stale, within their limit.
    fn usable(&self, detail: &'static str) -> Option<Held> {
        let whole = self.service.policy.structure.whole();
        let oldest = self.service.clock.now().minus(whole);
        self.collect(|part| part.fetched_at > oldest, Some(detail))
    }

    /// Stale parts in place of a failure, where it allows that.
    fn stale_if_error(&self, error: UpstreamError) -> Result<Held, ServiceError> {
        tracing::warn!(%error, "the provider gave no holdings");
        if error.failure == Failure::NotTrackable {
            return Err(error.into());
        }
        self.usable(UPSTREAM_ERROR).ok_or_else(|| error.into())
    }

    fn collect(
        &self,
        accept: impl Fn(&CachedPart) -> bool,
        detail: Option<&'static str>,
    ) -> Option<Held> {
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
        let now = self.service.clock.now();
        let expires = fetched_at.plus(self.service.policy.structure.ttl);
        let fresh_until = match self.fetched.incomplete {
            true => expires.min(now),
            false => expires,
        };
        Some(Held {
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

fn is_not_trackable(error: &ServiceError) -> bool {
    let ServiceError::Provider(error) = error else {
        return false;
    };
    error.failure == Failure::NotTrackable
}

/// Whether a lease that was asked for at `asked_at` is the next one after a
/// header was read. The first one of all counts from that time.
fn follows(lease: &Lease, read: &Header, asked_at: Timestamp) -> bool {
    let first = u64::try_from(asked_at.as_millis()).unwrap_or_default();
    lease.generations.iter().all(|(part, generation)| {
        let before = read.parts.get(part).map_or(0, |part| part.generation);
        let before = if before == 0 { first } else { before };
        *generation == before + 1
    })
}

fn outcome(wanted: &[Part], cached: &CachedWallet) -> CacheOutcome {
    let there = wanted.iter().filter(|part| cached.parts.contains_key(part));
    match there.count() {
        0 => CacheOutcome::Miss,
        there if there == wanted.len() => CacheOutcome::Expired,
        _ => CacheOutcome::Partial,
    }
}
