//! What follows where the lease is not to be had, or the provider fails.

use std::{collections::BTreeSet, time::Duration};

use super::{
    lookup::{Lookup, Step},
    negative_cache::cached_failure,
    resource::Resource,
    state::FoundOf,
};
use crate::{
    service::{
        context::{Detail, ServiceError},
        policy::UNREADABLE_TIMEOUT,
    },
    upstream::{Failure, UpstreamError},
};

/// A request that waits for another one's fetch looks again after these pauses,
/// the last one repeated.
const POLL_BACKOFF_MS: [u64; 4] = [100, 150, 250, 400];

impl<R: Resource> Lookup<'_, R> {
    /// Another request holds the lease, has just stored, or has just failed.
    pub(super) async fn lost(
        &mut self,
        target: &[R::Part],
        before: &R::Header,
        patience: Duration,
    ) -> Result<Step<R>, ServiceError> {
        let now = self.state.now();
        if let Some(error) = self.cached_failure(target) {
            return self.stale_if_error(error).map(Step::done);
        }
        if self.state.header_is_fresh(target) {
            return self.stored_meanwhile().await;
        }
        if let Some(found) = self.state.usable(Detail::BeingRefreshed) {
            return Ok(Step::done(found));
        }
        let free = target.iter().all(|part| {
            let header = self.state.part_header(*part);
            header.is_some_and(|it| !it.is_leased(now) && it.stored.is_none())
        });
        if free && self.resource().request().max_age.is_none() {
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
    async fn stored_meanwhile(&mut self) -> Result<Step<R>, ServiceError> {
        self.reload().await;
        if let Some(found) = self.state.complete() {
            return Ok(Step::done(found));
        }
        if !self.state.readable {
            // The table cannot be read, but has told the header.
            self.state.cached = self.resource().copy_under(&self.state.header);
            if let Some(mut found) = self.state.complete() {
                found.level.detail = Some(Detail::Copy);
                return Ok(Step::done(found));
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
    /// up or died, and reads the data again.
    pub(super) async fn wait(&mut self, patience: Duration) -> Result<Step<R>, ServiceError> {
        let mut waited = Duration::ZERO;
        let wanted = self.state.missing();
        for pause in (0..).map(|at: usize| POLL_BACKOFF_MS[at.min(POLL_BACKOFF_MS.len() - 1)]) {
            let now = self.state.now();
            let parts = R::headers(&self.state.header).iter();
            let leased = parts.filter(|(_, header)| header.is_leased(now));
            let generations = leased.clone().map(|(_, header)| header.generation);
            self.holders.extend(generations);
            let leased: BTreeSet<R::Part> = leased.map(|(part, _)| *part).collect();
            self.state.observed.extend(&leased);
            let held = wanted.iter().any(|part| leased.contains(part));
            let stop = self.state.header_is_fresh(&wanted)
                || self.state.is_uncacheable()
                || self.cached_failure(&wanted).is_some();
            if waited > Duration::ZERO && (!held || stop) || waited >= patience {
                break;
            }
            let pause = Duration::from_millis(pause);
            tokio::time::sleep(pause).await;
            waited += pause;
            if let Ok(header) = self.resource().load_header().await {
                self.state.header = header;
            }
        }
        self.waited += waited;
        if let Some(error) = self.cached_failure(&wanted) {
            return self.stale_if_error(error).map(Step::done);
        }
        self.reload().await;
        Ok(Step::LookAgain)
    }

    /// The table cannot be used: usable stale parts, or one of a limited number
    /// of fetches that nothing coordinates.
    pub(super) async fn without_table(&mut self) -> Result<FoundOf<R>, ServiceError> {
        if let Some(found) = self.state.usable(Detail::BeingRefreshed) {
            return Ok(found);
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

    /// Returns the process's last copy, marked as stale: with neither the table nor
    /// the provider, nothing tells whether it has been invalidated since. Where the
    /// table could be read, that is what tells.
    fn last_copy(&mut self) -> Option<FoundOf<R>> {
        if self.state.readable {
            return None;
        }
        self.state.cached = self.resource().last_copy()?;
        let mut found = self.state.usable(Detail::Copy)?;
        found.level.detail = Some(Detail::Copy);
        found.level.stale = true;
        found.level.fresh_until = found.level.fresh_until.min(self.state.now());
        Some(found)
    }

    /// Returns stale parts in place of a failure, where it allows that.
    pub(super) fn stale_if_error(&self, error: UpstreamError) -> Result<FoundOf<R>, ServiceError> {
        tracing::warn!(%error, "the provider gave no data");
        if error.failure == Failure::NotTrackable {
            return Err(error.into());
        }
        self.state
            .usable(Detail::UpstreamError)
            .ok_or_else(|| error.into())
    }

    /// Returns the failure that is remembered of one of `parts`.
    fn cached_failure(&self, parts: &[R::Part]) -> Option<UpstreamError> {
        let headers = parts
            .iter()
            .filter_map(|part| self.state.part_header(*part));
        let provider = self.resource().terms().provider;
        cached_failure(headers, provider, self.state.now())
    }
}

fn is_not_trackable(error: &ServiceError) -> bool {
    let ServiceError::Provider(error) = error else {
        return false;
    };
    error.failure == Failure::NotTrackable
}
