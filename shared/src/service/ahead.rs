//! Holdings that are asked for near the end of their life are handed over, to
//! be fetched before they expire: the next client does not wait for them.

use std::time::Duration;

use super::{CacheOutcome, Held, Request, Service};
use crate::{
    cache::watched::WatchedWallet,
    domain::{query::Query, schedule::renewed_after},
    queue::Delayed,
    refresh::message,
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
        let handed = tokio::time::timeout(TIMEOUT, self.try_to_hand_over(query, held, request));
        if handed.await.is_err() {
            tracing::warn!("a wallet could not be handed over in time");
        }
    }

    async fn try_to_hand_over(&self, query: &Query, held: &Held, request: &Request) {
        let (Some(queue), Some(cached)) = (&self.queue, &held.cached) else {
            return;
        };
        let due = held
            .fetched_at
            .plus(renewed_after(self.policy.structure.ttl));
        let near_its_end = held.level.outcome == CacheOutcome::Hit
            && !held.level.stale
            && self.clock.now() >= due
            && cached.header.ahead != Some(held.fetched_at);
        if !near_its_end {
            return;
        }
        // Lives one after the other: the last one was handed over as well.
        let ttl = self.policy.structure.ttl;
        let before = cached.header.ahead;
        let count = match before.is_some_and(|at| held.fetched_at <= at.plus(2 * ttl)) {
            true => cached.header.ahead_count.saturating_add(1),
            false => 1,
        };
        let (address, usage) = (&query.address, &request.usage);
        let claimed = self
            .wallets
            .claim_ahead(address, held.fetched_at, count, usage);
        match claimed.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "a wallet cannot be handed over");
                return;
            }
        }
        let wallet = WatchedWallet {
            address: query.address.clone(),
            currency: query.currency,
            until: Some(self.clock.now().plus(OFTEN_FOR)),
        };
        if let Some(watched) = self.often.as_ref().filter(|_| count >= OFTEN)
            && let Err(error) = watched.watch(std::slice::from_ref(&wallet), usage).await
        {
            tracing::warn!(%error, "a wallet that is asked for often cannot be watched");
        }
        let now = Delayed {
            body: message(&wallet),
            after: Duration::ZERO,
        };
        match queue.send(&[now]).await {
            Ok(refused) if refused.is_empty() => {}
            Ok(_) => tracing::warn!("the queue does not take a wallet"),
            Err(error) => tracing::warn!(%error, "a wallet cannot be handed over"),
        }
    }
}
