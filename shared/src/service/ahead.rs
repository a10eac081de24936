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
        let claimed = self
            .wallets
            .claim_ahead(&query.address, held.fetched_at, &request.usage);
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
        };
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
