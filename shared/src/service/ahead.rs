//! Holdings that are asked for near the end of their life are handed over, to
//! be fetched before they expire: the next client does not wait for them.

use std::time::Duration;

use super::{CacheOutcome, Held, Request, Service};
use crate::{
    aws::sqs::{Delayed, Queue},
    cache::{Header, watchlist::WatchedWallet},
    clock::Timestamp,
    domain::{query::Query, refresh_schedule::renewed_after},
};

/// Whoever is asked for near the end of so many lives, one after the other, is
/// asked for often,
const OFTEN: u32 = 3;
/// and watched for this long.
const OFTEN_FOR: Duration = Duration::from_secs(1800);
/// An answer does not wait longer than this for the queue.
const TIMEOUT: Duration = Duration::from_millis(500);

impl Service {
    /// Hands holdings over, once in their life, if a queue takes them.
    pub(super) async fn hand_over(&self, query: &Query, held: &Held, request: &Request) {
        let Some(queue) = self.queue.as_ref().filter(|_| held.storable) else {
            return;
        };
        let header = &held.cached.header;
        let due = held
            .fetched_at
            .plus(renewed_after(self.policy.structure.ttl));
        let near_its_end = held.level.outcome == CacheOutcome::Hit
            && !held.level.stale
            && self.clock.now() >= due
            && header.refresh_ahead_of != Some(held.fetched_at);
        if !near_its_end {
            return;
        }
        let handed = self.claim_and_send(&**queue, query, held.fetched_at, header, request);
        match tokio::time::timeout(TIMEOUT, handed).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::warn!(reason, "a wallet cannot be handed over"),
            Err(_) => tracing::warn!("a wallet could not be handed over in time"),
        }
    }

    async fn claim_and_send(
        &self,
        queue: &dyn Queue,
        query: &Query,
        fetched_at: Timestamp,
        header: &Header,
        request: &Request,
    ) -> Result<(), String> {
        // Lives one after the other: the last one was handed over as well.
        let ttl = self.policy.structure.ttl;
        let count = match header
            .refresh_ahead_of
            .is_some_and(|at| fetched_at <= at.plus(2 * ttl))
        {
            true => header.refresh_ahead_streak.saturating_add(1),
            false => 1,
        };
        let (address, currency, cost) = (&query.address, query.currency, &request.cost);
        let claimed = self
            .wallets
            .claim_refresh_ahead(address, fetched_at, count, cost);
        if !claimed.await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        if let Some(watched) = self.often.as_ref().filter(|_| count >= OFTEN) {
            let wallet = WatchedWallet {
                address: address.clone(),
                currency,
                until: Some(self.clock.now().plus(OFTEN_FOR)),
            };
            if let Err(error) = watched.watch(&[wallet], cost).await {
                tracing::warn!(%error, "a wallet that is asked for often cannot be watched");
            }
        }
        let now = Delayed::fetch(address, currency, Duration::ZERO);
        let refused = queue
            .send(&[now])
            .await
            .map_err(|error| error.to_string())?;
        match refused.is_empty() {
            true => Ok(()),
            false => Err("the queue does not take it".to_owned()),
        }
    }
}
