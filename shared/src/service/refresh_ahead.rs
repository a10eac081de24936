//! Holdings that are requested near the end of their life are queued, to be
//! fetched before they expire: the next client does not wait for them.

use std::{sync::Arc, time::Duration};

use super::{
    context::{CacheOutcome, Request},
    policy::{AUTO_WATCH_TTL, ENQUEUE_TIMEOUT, Policy},
    structure::LoadedHoldings,
};
use crate::{
    aws::sqs::{Delayed, Queue},
    cache::{
        Header, WalletStore,
        watchlist::{WatchList, WatchedWallet},
    },
    clock::{Clock, Timestamp},
    domain::{query::Query, refresh_schedule::refresh_ahead_age},
};

/// A wallet that is requested near the end of so many lives, one after the
/// other, is watched.
const AUTO_WATCH_AFTER: u32 = 3;

/// Queues wallets that will be wanted again.
pub(super) struct RefreshAhead {
    pub queue: Arc<dyn Queue>,
    /// Where wallets are watched that are requested often, if they are.
    pub auto_watch: Option<Arc<dyn WatchList>>,
    pub wallets: Arc<dyn WalletStore>,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
}

impl RefreshAhead {
    /// Queues a wallet near the end of its holdings' life, once in that life.
    pub async fn offer(&self, query: &Query, held: &LoadedHoldings, request: &Request) {
        if !held.storable {
            return;
        }
        let header = &held.cached.header;
        let due = held
            .fetched_at
            .plus(refresh_ahead_age(self.policy.structure.ttl));
        let near_its_end = held.level.outcome == CacheOutcome::Hit
            && !held.level.stale
            && self.clock.now() >= due
            && header.refresh_ahead_of != Some(held.fetched_at);
        if !near_its_end {
            return;
        }
        let sent = self.claim_and_send(query, held.fetched_at, header, request);
        match tokio::time::timeout(ENQUEUE_TIMEOUT, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::warn!(reason, "a wallet's refresh cannot be queued"),
            Err(_) => tracing::warn!("a wallet's refresh could not be queued in time"),
        }
    }

    async fn claim_and_send(
        &self,
        query: &Query,
        fetched_at: Timestamp,
        header: &Header,
        request: &Request,
    ) -> Result<(), String> {
        // Lives one after the other: the last one was queued as well.
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
        if let Some(watched) = self
            .auto_watch
            .as_ref()
            .filter(|_| count >= AUTO_WATCH_AFTER)
        {
            let wallet = WatchedWallet {
                address: address.clone(),
                currency,
                until: Some(self.clock.now().plus(AUTO_WATCH_TTL)),
            };
            if let Err(error) = watched.watch(&[wallet], cost).await {
                tracing::warn!(%error, "a wallet that is requested often cannot be watched");
            }
        }
        let now = Delayed::fetch(address, currency, Duration::ZERO);
        let refused = self
            .queue
            .send(&[now])
            .await
            .map_err(|error| error.to_string())?;
        match refused.is_empty() {
            true => Ok(()),
            false => Err("the queue does not take it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::{
        aws::sqs::QueueError,
        clock::ManualClock,
        config::Lifetime,
        domain::{address::Address, scope::Scope},
        service::testing::NoWallets,
        sync::locked,
    };

    const START: Timestamp = Timestamp::from_millis(1_795_254_046_007);
    const TTL: Duration = Duration::from_secs(300);

    #[derive(Default)]
    struct Sent(Mutex<Vec<Delayed>>);

    #[async_trait]
    impl Queue for Sent {
        async fn send(&self, messages: &[Delayed]) -> Result<BTreeSet<usize>, QueueError> {
            locked(&self.0).extend_from_slice(messages);
            Ok(BTreeSet::new())
        }
    }

    fn lifetime(ttl: Duration) -> Lifetime {
        Lifetime { ttl, stale: ttl }
    }

    #[tokio::test]
    async fn a_wallet_is_queued_once_near_the_end_of_its_life() {
        let (queue, clock) = (Arc::new(Sent::default()), Arc::new(ManualClock::at(START)));
        let policy = Policy {
            structure: lifetime(TTL),
            prices: lifetime(TTL),
            structure_timeout: TTL,
            price_timeout: TTL,
            wallet_cache_bytes: 0,
        };
        let refresh_ahead = RefreshAhead {
            queue: queue.clone(),
            auto_watch: None,
            wallets: Arc::new(NoWallets::default()),
            clock: clock.clone(),
            policy,
        };
        let address = Address::parse("0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234");
        let query = Query::all(address.unwrap(), Scope::Wallet);
        let mut held = LoadedHoldings::nothing(START, policy.structure);
        let request = Request {
            deadline: START.plus(2 * TTL),
            ..Request::default()
        };
        let queued = || locked(&queue.0).len();
        // Not beside a table that could not be read.
        clock.advance(refresh_ahead_age(TTL));
        refresh_ahead.offer(&query, &held, &request).await;
        assert_eq!(queued(), 0);
        held.storable = true;
        for _ in 0..3 {
            refresh_ahead.offer(&query, &held, &request).await;
            assert_eq!(queued(), 1);
        }
        // Not when they are young, or have just been fetched.
        held.fetched_at = clock.now();
        refresh_ahead.offer(&query, &held, &request).await;
        held.fetched_at = START.plus(Duration::from_millis(1));
        held.level.outcome = CacheOutcome::Expired;
        clock.advance(Duration::from_secs(1));
        refresh_ahead.offer(&query, &held, &request).await;
        assert_eq!(queued(), 1);
    }
}
