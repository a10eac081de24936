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

use std::{collections::BTreeSet, time::Duration};

use super::{
    fetch::{Fetcher, Under, UnleasedLimit},
    loaded::LoadedHoldings,
    loader::WalletLoader,
    negative_cache::cached_failure,
    state::LookupState,
};
use crate::{
    cache::{
        CacheError, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest, Release, Revalidation,
    },
    clock::Timestamp,
    domain::{provider::Provider, query::Query, scope::Part},
    service::{
        context::{Detail, ServiceError},
        policy::{LEASE_TTL, MIN_REVALIDATION_INTERVAL, UNREADABLE_TIMEOUT},
        rate_limits::{RateLimits, rate_limited_error},
    },
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// A request that waits for another one's fetch looks again after these pauses,
/// the last one repeated.
const POLL_BACKOFF_MS: [u64; 4] = [100, 150, 250, 400];
/// After so many holders, one after the other, that could not store what they
/// fetched, or died, waiting requests no longer take turns.
const UNSTORED_HOLDERS: usize = 2;

/// One request's way to the parts that it wants.
pub(super) struct StructureLookup<'s> {
    pub loader: &'s WalletLoader,
    pub fetcher: &'s Fetcher,
    pub rate_limits: &'s RateLimits,
    pub unleased: &'s UnleasedLimit,
    pub query: &'s Query,
    pub state: LookupState<'s>,
    /// Generations of leases that were waited for.
    pub holders: BTreeSet<u64>,
    pub waited: Duration,
    pub unreadable: Duration,
    /// When the header was seen to keep the lease from being had without
    /// telling why: it is damaged.
    pub damaged_at: Option<Timestamp>,
}

/// What comes next.
enum Step {
    /// The answer.
    Done(Box<LoadedHoldings>),
    /// Something changed: look again.
    LookAgain,
}

impl Step {
    fn done(held: LoadedHoldings) -> Self {
        Self::Done(Box::new(held))
    }
}

impl StructureLookup<'_> {
    /// Goes the way to its end.
    ///
    /// # Errors
    /// When the provider fails and nothing cached may stand in, or time is over.
    pub async fn run(&mut self) -> Result<LoadedHoldings, ServiceError> {
        let limit = self.loader.policy.structure_timeout + LEASE_TTL;
        let patience = self.state.request.timeout(limit, self.state.now());
        if self.rate_limits.limited_until(Provider::Zerion).is_some() {
            let cost = &self.state.request.cost;
            self.rate_limits.refresh(Provider::Zerion, cost).await;
        }
        loop {
            if let Some(held) = self.state.complete() {
                return Ok(held);
            }
            if let Some(error) = self.paused() {
                return self.stale_if_error(error);
            }
            if self.state.is_uncacheable() {
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
        let target = self.state.target();
        if target.is_empty() {
            return self.wait(patience).await;
        }
        let concurrent = RequestCost::default();
        let asked_at = self.state.now();
        let (taken, ()) = futures::join!(
            self.take_lease(&target, asked_at),
            self.rate_limits.refresh(Provider::Zerion, &concurrent)
        );
        self.state.request.cost.merge_concurrent(&concurrent);
        match taken {
            Ok(LeaseOutcome::Won(lease)) => self.won(&target, &lease, asked_at).await,
            Ok(LeaseOutcome::Lost(header)) => {
                let before = std::mem::replace(
                    &mut self.state.header,
                    self.loader.without_future_timestamps(header),
                );
                self.lost(&target, &before, patience).await
            }
            Err(error) => {
                tracing::warn!(%error, "no lease can be taken");
                self.without_table().await.map(Step::done)
            }
        }
    }

    /// Tries for the lease of some parts. Holdings that are there by their
    /// header keep it from being had, unless they have proved unreadable.
    async fn take_lease(&self, parts: &[Part], now: Timestamp) -> Result<LeaseOutcome, CacheError> {
        let expired = self.loader.fresh_after(self.state.request);
        let lost = parts.iter().filter(|part| {
            let read = self.state.cached.header.parts.get(part);
            let stored = read.is_some_and(|read| read.stored.is_some());
            self.state.readable && stored && !self.state.cached.parts.contains_key(part)
        });
        let lost = lost.filter_map(|part| self.state.cached.header.parts.get(part)?.fetched_at());
        let wanted = LeaseRequest {
            parts,
            now,
            length: LEASE_TTL,
            fresh_after: lost
                .min()
                .into_iter()
                .chain(self.damaged_at)
                .fold(expired, Timestamp::max),
            again: self.state.request.max_age.map(|_| Revalidation {
                expired: now.minus(self.loader.policy.structure.ttl),
                tried: now.minus(MIN_REVALIDATION_INTERVAL),
            }),
        };
        let cost = &self.state.request.cost;
        self.loader
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
        if !self.state.readable || !is_next_generation(lease, &self.state.cached.header, asked_at) {
            self.reload().await;
            if let Some(held) = self.state.complete() {
                self.fetcher
                    .release_lease(self.query, lease, &Release::default(), self.state.request)
                    .await;
                return Ok(Step::done(held));
            }
        }
        if let Some(error) = self.paused() {
            self.fetcher
                .release_lease(self.query, lease, &Release::default(), self.state.request)
                .await;
            return self.stale_if_error(error).map(Step::done);
        }
        let under = Under {
            lease: Some(lease),
            // None of these could store what it fetched.
            after_many: self.holders.len() > UNSTORED_HOLDERS,
        };
        // Where it could not be read again, another fetch may have stored since:
        // nothing of that may be replaced, or taken for what is there now.
        let unknown = CachedWallet::default();
        let previous = match self.state.readable {
            true => &self.state.cached,
            false => &unknown,
        };
        let fetched = self
            .fetcher
            .fetch(self.query, target, previous, under, self.state.request)
            .await;
        match fetched {
            Ok(fetched) => self.state.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error).map(Step::done),
        }
        if let Some(held) = self.state.complete() {
            return Ok(Step::done(held));
        }
        self.reload().await;
        Ok(Step::LookAgain)
    }

    /// Another request holds the lease, has just stored, or has just failed.
    async fn lost(
        &mut self,
        target: &[Part],
        before: &Header,
        patience: Duration,
    ) -> Result<Step, ServiceError> {
        let now = self.state.now();
        if let Some(error) = cached_failure(&self.state.header, target, now) {
            return self.stale_if_error(error).map(Step::done);
        }
        if self.state.header_is_fresh(target) {
            return self.stored_meanwhile().await;
        }
        if let Some(held) = self.state.usable(Detail::BeingRefreshed) {
            return Ok(Step::done(held));
        }
        let free = target.iter().all(|part| {
            let header = self.state.header.parts.get(part);
            header.is_some_and(|it| !it.is_leased(now) && it.stored.is_none())
        });
        if free && self.state.request.max_age.is_none() {
            self.damaged_at = Some(now);
        }
        if self.state.header != *before
            && !self.state.target().is_empty()
            && self.state.target() != target
        {
            return Ok(Step::LookAgain);
        }
        self.wait(patience).await
    }

    /// Reads what the header says is there.
    async fn stored_meanwhile(&mut self) -> Result<Step, ServiceError> {
        self.reload().await;
        if let Some(held) = self.state.complete() {
            return Ok(Step::done(held));
        }
        if !self.state.readable {
            // The table cannot be read, but has told the header.
            let copy = &self.loader.wallet_cache;
            self.state.cached = copy.under(&self.query.address, &self.state.header);
            if let Some(mut held) = self.state.complete() {
                held.level.detail = Some(Detail::Copy);
                return Ok(Step::done(held));
            }
            if self.unreadable >= UNREADABLE_TIMEOUT {
                return self.without_table().await.map(Step::done);
            }
        }
        let pause = Duration::from_millis(POLL_BACKOFF_MS[0]);
        tokio::time::sleep(pause).await;
        self.unreadable += pause;
        self.waited += pause;
        Ok(Step::LookAgain)
    }

    /// Waits until the holders of the wanted parts' leases have stored, given
    /// up or died, and reads the wallet again.
    async fn wait(&mut self, patience: Duration) -> Result<Step, ServiceError> {
        let mut waited = Duration::ZERO;
        let wanted = self.state.missing();
        for pause in (0..).map(|at: usize| POLL_BACKOFF_MS[at.min(POLL_BACKOFF_MS.len() - 1)]) {
            let now = self.state.now();
            let parts = self.state.header.parts.iter();
            let leased = parts.filter(|(_, header)| header.is_leased(now));
            let leased: BTreeSet<Part> = leased.map(|(part, _)| *part).collect();
            self.state.observed.extend(&leased);
            let generations = leased
                .iter()
                .filter_map(|part| self.state.header.parts.get(part));
            self.holders
                .extend(generations.map(|header| header.generation));
            let held = wanted.iter().any(|part| leased.contains(part));
            let stop = self.state.header_is_fresh(&wanted)
                || self.state.is_uncacheable()
                || cached_failure(&self.state.header, &wanted, now).is_some();
            if waited > Duration::ZERO && (!held || stop) || waited >= patience {
                break;
            }
            let pause = Duration::from_millis(pause);
            tokio::time::sleep(pause).await;
            waited += pause;
            let (address, cost) = (&self.query.address, &self.state.request.cost);
            let read = self.loader.wallets.header(address, cost).await;
            if let Ok(header) = read {
                self.state.header = self.loader.without_future_timestamps(header);
            }
        }
        self.waited += waited;
        if let Some(error) = cached_failure(&self.state.header, &wanted, self.state.now()) {
            return self.stale_if_error(error).map(Step::done);
        }
        self.reload().await;
        Ok(Step::LookAgain)
    }

    /// The table cannot be used: usable stale parts, or one of a limited number
    /// of fetches that nothing coordinates.
    async fn without_table(&mut self) -> Result<LoadedHoldings, ServiceError> {
        if let Some(held) = self.state.usable(Detail::BeingRefreshed) {
            return Ok(held);
        }
        let now = self.state.now();
        let fetched = match self.unleased.allow(now) {
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
    fn last_copy(&mut self) -> Option<LoadedHoldings> {
        self.state.cached = self.loader.wallet_cache.last(&self.query.address)?;
        let mut held = self.state.usable(Detail::Copy)?;
        held.level.stale = true;
        held.level.fresh_until = held.level.fresh_until.min(self.state.now());
        Some(held)
    }

    async fn fetch_without_lease(&mut self) -> Result<LoadedHoldings, ServiceError> {
        let wanted = self.state.missing();
        let fetched = self
            .fetcher
            .fetch(
                self.query,
                &wanted,
                &self.state.cached,
                Under::default(),
                self.state.request,
            )
            .await;
        match fetched {
            Ok(fetched) => self.state.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error),
        }
        self.state.complete().ok_or(ServiceError::CacheUnavailable)
    }

    async fn reload(&mut self) {
        match self.loader.load(self.query, true, self.state.request).await {
            Some(loaded) => {
                self.state.header = loaded.header.clone();
                self.state.cached = loaded;
                self.state.readable = true;
            }
            None => self.state.readable = false,
        }
    }

    /// The failure that stands for the provider's rate limit, if it is reached.
    fn paused(&self) -> Option<UpstreamError> {
        let until = self.rate_limits.limited_until(Provider::Zerion)?;
        Some(rate_limited_error(
            Provider::Zerion,
            until,
            self.state.now(),
        ))
    }

    /// Stale parts in place of a failure, where it allows that.
    fn stale_if_error(&self, error: UpstreamError) -> Result<LoadedHoldings, ServiceError> {
        tracing::warn!(%error, "the provider gave no holdings");
        if error.failure == Failure::NotTrackable {
            return Err(error.into());
        }
        self.state
            .usable(Detail::UpstreamError)
            .ok_or_else(|| error.into())
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
fn is_next_generation(lease: &Lease, read: &Header, asked_at: Timestamp) -> bool {
    let first = u64::try_from(asked_at.as_millis()).unwrap_or_default();
    lease.generations.iter().all(|(part, generation)| {
        let before = read.parts.get(part).map_or(0, |part| part.generation);
        let before = if before == 0 { first } else { before };
        *generation == before + 1
    })
}
