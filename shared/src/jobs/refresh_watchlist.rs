//! Keeps watched wallets fresh: finds those whose holdings will expire before
//! the next run, and has them fetched in time.
//!
//! With a queue a run sends a message for each of them, to be delivered when four
//! fifths of its life are over; the function that takes it fetches. Without one it
//! fetches what is due itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::Either, stream};
use serde::Serialize;

use crate::{
    aws::sqs::{BATCH, Delayed, Queue},
    cache::{
        CacheError, Header,
        watchlist::{WatchList, WatchedWallet},
    },
    clock::{Clock, Timestamp},
    domain::{
        address::Address,
        provider::Provider,
        query::Query,
        refresh_schedule::{min_refresh_age, refresh_times},
        scope::{Part, Scope},
    },
    service::{RefreshOutcome, Request, Service},
    sync::random,
    telemetry::{
        metrics::{WALLETS_FAILED, WALLETS_WARMED, function},
        request_cost::RequestCost,
    },
    upstream::Attempts,
};

/// A run's lease ends this long after it was last heard of,
const LEASE_TTL: Duration = Duration::from_secs(10);
/// which is this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// The next run may be this late.
const SCHEDULE_JITTER: Duration = Duration::from_secs(60);
/// Nothing new is begun this long before the end.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);
/// Batches that are sent to the queue at a time.
const BATCHES_AT_A_TIME: usize = 8;
/// Progress is logged after so many wallets.
const PROGRESS: usize = 100;

/// How a run goes about it.
#[derive(Clone, Copy, Debug)]
pub struct RefreshTerms {
    /// For how long holdings are fresh.
    pub ttl: Duration,
    /// The time from one run to the next.
    pub period: Duration,
    /// Requests to the provider that one run may cause.
    pub budget: usize,
    /// Wallets that are fetched at a time.
    pub concurrency: usize,
    /// What one wallet may take.
    pub deadline: Duration,
    /// Whether logs name wallets by their addresses.
    pub log_addresses: bool,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Watched wallets.
    pub watched: usize,
    /// Messages sent to the queue.
    pub queued: usize,
    /// Wallets whose holdings were fetched and had changed.
    pub refreshed: usize,
    /// Wallets whose holdings were fetched and had not.
    pub unchanged: usize,
    /// Wallets that are fresh for long enough.
    pub fresh: usize,
    /// Wallets that could not be fetched, or queued.
    pub failed: usize,
    /// Wallets that there was no budget, no time, or no provider for.
    pub left: usize,
    /// Requests to upstreams.
    pub upstream_requests: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u128,
    /// Whether another run was under way, so that this one did nothing.
    pub overlapping: bool,
}

impl RunSummary {
    fn log(&self, message: &str) {
        tracing::info!(
            function = function(),
            watched = self.watched,
            queued = self.queued,
            refreshed = self.refreshed,
            unchanged = self.unchanged,
            fresh = self.fresh,
            failed = self.failed,
            left = self.left,
            upstream_requests = self.upstream_requests,
            duration_ms = self.duration_ms,
            "{message}"
        );
    }
}

/// Runs over the watched wallets.
pub struct Refresh {
    /// Fetches and stores.
    pub service: Arc<Service>,
    /// The wallets.
    pub watched: Arc<dyn WatchList>,
    /// The queue, if there is one.
    pub queue: Option<Arc<dyn Queue>>,
    /// How.
    pub terms: RefreshTerms,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A watched wallet and when its holdings are from.
struct Known {
    wallet: WatchedWallet,
    fetched_at: Option<Timestamp>,
}

impl Refresh {
    /// Runs once, until `end` at the latest. A single wallet that fails does
    /// not end it. Does nothing while another run is under way.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn run(&self, end: Timestamp) -> Result<RunSummary, CacheError> {
        let (cost, owner) = (RequestCost::default(), random());
        let started = self.clock.now();
        if !self
            .watched
            .acquire_run_lease(owner, started, LEASE_TTL, &cost)
            .await?
        {
            tracing::info!("another run is under way");
            return Ok(RunSummary {
                overlapping: true,
                ..RunSummary::default()
            });
        }
        let lost = AtomicBool::new(false);
        let work = self.work(end, &lost, &cost);
        let keep = self.keep(owner, &lost, &cost);
        let summary = match futures::future::select(Box::pin(work), Box::pin(keep)).await {
            Either::Left((summary, _)) => summary,
            Either::Right(((), work)) => work.await,
        };
        if let Err(error) = self.watched.release(owner, &cost).await {
            tracing::warn!(%error, "the run's lease cannot be ended early");
        }
        let mut summary = summary?;
        summary.duration_ms = self.clock.now().since(started).as_millis();
        summary.log("watched wallets are fresh");
        cost.measure();
        WALLETS_WARMED.add((summary.refreshed + summary.unchanged + summary.fresh) as u64);
        WALLETS_FAILED.add(summary.failed as u64);
        Ok(summary)
    }

    /// Keeps the lease; ends when it is lost.
    async fn keep(&self, owner: u64, lost: &AtomicBool, cost: &RequestCost) {
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            let now = self.clock.now();
            match self
                .watched
                .acquire_run_lease(owner, now, LEASE_TTL, cost)
                .await
            {
                Ok(true) => {}
                Ok(false) => break lost.store(true, Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "the run's lease cannot be kept"),
            }
        }
    }

    async fn work(
        &self,
        end: Timestamp,
        lost: &AtomicBool,
        cost: &RequestCost,
    ) -> Result<RunSummary, CacheError> {
        let wallets = self.watched.list(self.clock.now(), cost).await?;
        let headers = self.watched.headers(&wallets, cost).await?;
        let mut summary = RunSummary {
            watched: wallets.len(),
            ..RunSummary::default()
        };
        let now = self.clock.now();
        let mut known: Vec<Known> = wallets
            .into_iter()
            .map(|wallet| Known {
                fetched_at: fetched_at(&headers, &wallet.address, now),
                wallet,
            })
            .collect();
        // Those that were never fetched first, then the oldest.
        known.sort_by_key(|it| it.fetched_at);
        match &self.queue {
            Some(queue) => self.hand_over(&**queue, &known, &mut summary).await,
            None => self.fetch(known, end, lost, &mut summary).await,
        }
        Ok(summary)
    }

    async fn hand_over(&self, queue: &dyn Queue, known: &[Known], summary: &mut RunSummary) {
        let now = self.clock.now();
        let until = now.plus(self.terms.period).plus(SCHEDULE_JITTER);
        let mut messages = Vec::new();
        for it in known {
            let moments = refresh_times(it.fetched_at, self.terms.ttl, now, until);
            if moments.is_empty() {
                summary.fresh += 1;
            } else if messages.len() + moments.len() > self.terms.budget {
                summary.left += 1;
            } else {
                let WatchedWallet {
                    address, currency, ..
                } = &it.wallet;
                let moments = moments.iter();
                messages
                    .extend(moments.map(|at| Delayed::fetch(address, *currency, at.since(now))));
            }
        }
        let batches = messages.chunks(BATCH).map(|batch| async {
            let sent = queue.send(batch).await;
            sent.map_or_else(
                |error| {
                    tracing::warn!(%error, "wallets cannot be queued");
                    (0, batch.len())
                },
                |refused| (batch.len() - refused.len(), refused.len()),
            )
        });
        let mut batches = stream::iter(batches).buffer_unordered(BATCHES_AT_A_TIME);
        while let Some((queued, failed)) = batches.next().await {
            summary.queued += queued;
            summary.failed += failed;
        }
    }

    async fn fetch(
        &self,
        known: Vec<Known>,
        end: Timestamp,
        lost: &AtomicBool,
        summary: &mut RunSummary,
    ) {
        let now = self.clock.now();
        let worth = min_refresh_age(self.terms.ttl);
        let is_due = |it: &Known| it.fetched_at.is_none_or(|at| now >= at.plus(worth));
        let (due, fresh): (Vec<_>, Vec<_>) = known.into_iter().partition(is_due);
        summary.fresh = fresh.len();
        let requests = AtomicU32::new(0);
        let budget = u32::try_from(self.terms.budget).unwrap_or(u32::MAX);
        let fetches = due.into_iter().map(|it| {
            let requests = &requests;
            async move {
                let over = lost.load(Ordering::Relaxed)
                    || self.clock.now().plus(SHUTDOWN_MARGIN) >= end
                    || requests.load(Ordering::Relaxed) >= budget
                    || self.service.is_rate_limited(Provider::Zerion);
                if over {
                    return None;
                }
                // Counted before it is made, so that those at the same time
                // do not exceed the budget together.
                requests.fetch_add(1, Ordering::Relaxed);
                let request = Request {
                    deadline: end.min(self.clock.now().plus(self.terms.deadline)),
                    max_age: Some(worth),
                    attempts: Attempts::One,
                    patient: true,
                    ..Request::default()
                };
                let mut query = Query::all(it.wallet.address, Scope::Aggregate);
                query.currency = it.wallet.currency;
                let renewed = self.service.refresh(&query, &request).await;
                request.cost.measure();
                if let Err(error) = &renewed {
                    let wallet = query.address.in_logs(self.terms.log_addresses);
                    tracing::warn!(%error, wallet, "a watched wallet could not be refreshed");
                }
                let calls = request.cost.totals().upstream_calls;
                if calls == 0 {
                    requests.fetch_sub(1, Ordering::Relaxed);
                }
                Some((renewed, calls))
            }
        });
        let mut fetches = stream::iter(fetches).buffer_unordered(self.terms.concurrency);
        let mut done = 0;
        while let Some(outcome) = fetches.next().await {
            match outcome {
                None => summary.left += 1,
                Some((renewed, calls)) => {
                    summary.upstream_requests += calls;
                    match renewed {
                        Ok(RefreshOutcome::Changed) => summary.refreshed += 1,
                        Ok(RefreshOutcome::Unchanged) => summary.unchanged += 1,
                        Ok(RefreshOutcome::Fresh) => summary.fresh += 1,
                        Err(_) => summary.failed += 1,
                    }
                }
            }
            done += 1;
            if done % PROGRESS == 0 {
                summary.log("watched wallets are being refreshed");
            }
        }
    }
}

/// When the older part of a wallet's holdings was fetched, if both are there.
fn fetched_at(
    headers: &BTreeMap<Address, Header>,
    address: &Address,
    now: Timestamp,
) -> Option<Timestamp> {
    let header = headers.get(address)?;
    // Where the provider has one part only, the other one is never there.
    let parts = Part::ALL
        .iter()
        .filter(|part| part.is_covered(address.family()));
    let times = parts.map(|part| header.parts.get(part)?.fetched_at());
    let oldest = times.collect::<Option<Vec<_>>>()?.into_iter().min()?;
    (!oldest.is_in_the_future(now)).then_some(oldest)
}
