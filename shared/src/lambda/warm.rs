//! Wallets that are to be warmed: no client waits for an answer, the cache is to
//! have it.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use serde::Serialize;
use tracing::Instrument;

use super::{
    access_log::span,
    event::{Message, payload::read_message},
    invocation::Invocation,
    problem::{Code, Problem},
};
use crate::{
    domain::{address::Address, query::Query, scope::Scope},
    service::{CacheOutcome, Detail, RefreshOutcome, Request, Service},
    telemetry::metrics::{WALLETS_FAILED, WALLETS_WARMED, function},
    upstream::Attempts,
};

/// Warms wallets of one scope.
pub struct Warmer<'w> {
    /// Fetches and stores them.
    pub service: &'w Service,
    /// What of them.
    pub scope: Scope,
    /// What one wallet may take.
    pub deadline: Duration,
    /// Wallets at a time.
    pub concurrency: usize,
    /// Holdings alone are wanted, none older than this. Without it holdings and
    /// prices, as a client wants them.
    pub max_age: Option<Duration>,
    /// Whether logs name them by their addresses.
    pub log_addresses: bool,
}

/// What became of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmed {
    /// Its holdings were fetched.
    Fetched,
    /// They were fresh, or another process is fetching them.
    Fresh,
}

/// What an invocation warmed, as it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Payloads.
    pub payloads: usize,
    /// Whose holdings were fetched.
    pub fetched: usize,
    /// Whose holdings were fresh.
    pub fresh: usize,
    /// That failed.
    pub failed: usize,
    /// Requests to upstreams.
    pub upstream_calls: u64,
}

/// The answer to a batch of a queue: what is to come back.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchResponse {
    /// Messages that were not done.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// One of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The message's id.
    pub item_identifier: String,
}

type Outcome = Result<Warmed, Problem>;

impl Warmer<'_> {
    /// Warms the wallet of each message. A message comes back if trying again
    /// may help, or if it cannot be read: then the queue's redrive policy moves
    /// it to the dead-letter queue.
    pub async fn batch(&self, messages: &[Message], invocation: &Invocation) -> SqsBatchResponse {
        let bodies: Vec<&str> = messages.iter().map(|it| it.body.as_str()).collect();
        let (outcomes, _) = self.all(&bodies, invocation).await;
        let mut answer = SqsBatchResponse::default();
        for (message, outcome) in messages.iter().zip(outcomes) {
            let Err(problem) = outcome else { continue };
            let code = problem.code.as_str();
            let back = problem.code != Code::WalletNotTrackable;
            tracing::warn!(message = message.id, code, back, "a message failed");
            if back {
                answer.batch_item_failures.push(BatchItemFailure {
                    item_identifier: message.id.clone(),
                });
            }
        }
        answer
    }

    /// Warms the wallet of each payload.
    ///
    /// # Errors
    /// What the first that failed failed with: Lambda then tries again.
    pub async fn notifications(
        &self,
        payloads: &[String],
        invocation: &Invocation,
    ) -> Result<Summary, Problem> {
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let (outcomes, summary) = self.all(&payloads, invocation).await;
        let failed = outcomes.into_iter().find_map(Result::err);
        failed.map_or(Ok(summary), Err)
    }

    /// Payloads of one wallet are warmed one after the other, so that the
    /// first one's fetch serves the others.
    async fn all(&self, payloads: &[&str], invocation: &Invocation) -> (Vec<Outcome>, Summary) {
        let mut wallets: BTreeMap<Address, Vec<(usize, Query)>> = BTreeMap::new();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; payloads.len()];
        for (at, payload) in payloads.iter().enumerate() {
            match read_message(self.scope, payload) {
                Ok(query) => {
                    let queries = wallets.entry(query.address.clone()).or_default();
                    queries.push((at, query));
                }
                Err(problem) => outcomes[at] = Some(Err(problem)),
            }
        }
        let mut warmed = stream::iter(wallets.into_values())
            .map(|queries| self.wallet(queries, invocation))
            .buffer_unordered(self.concurrency);
        let mut summary = Summary {
            payloads: payloads.len(),
            ..Summary::default()
        };
        while let Some((done, calls)) = warmed.next().await {
            summary.upstream_calls += calls;
            for (at, outcome) in done {
                outcomes[at] = Some(outcome);
            }
        }
        let lost = || Err(Problem::new(Code::Internal, "It was not warmed."));
        let outcomes: Vec<Outcome> = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(lost))
            .collect();
        for outcome in &outcomes {
            match outcome {
                Ok(Warmed::Fetched) => summary.fetched += 1,
                Ok(Warmed::Fresh) => summary.fresh += 1,
                Err(_) => summary.failed += 1,
            }
        }
        WALLETS_WARMED.add((summary.fetched + summary.fresh) as u64);
        WALLETS_FAILED.add(summary.failed as u64);
        tracing::info!(
            request_id = invocation.id,
            trace_id = invocation.trace.as_deref(),
            function = function(),
            payloads = summary.payloads,
            fetched = summary.fetched,
            fresh = summary.fresh,
            failed = summary.failed,
            upstream_calls = summary.upstream_calls,
            "warmed"
        );
        (outcomes, summary)
    }

    async fn wallet(
        &self,
        queries: Vec<(usize, Query)>,
        invocation: &Invocation,
    ) -> (Vec<(usize, Outcome)>, u64) {
        let (mut done, mut calls) = (Vec::new(), 0);
        for (at, query) in queries {
            let now = self.service.now();
            let request = Request {
                deadline: invocation.deadline_of(now, self.deadline),
                // Its sender sends it again.
                attempts: Attempts::One,
                patient: true,
                max_age: self.max_age,
                ..Request::default()
            };
            // A panic is a bug, but one wallet's.
            let span = span(&invocation.id, invocation);
            span.record("wallet", query.address.in_logs(self.log_addresses));
            let outcome = AssertUnwindSafe(self.one(&query, &request))
                .catch_unwind()
                .instrument(span)
                .await
                .unwrap_or_else(|_| {
                    tracing::error!("the handler of a message panicked");
                    Err(Problem::new(Code::Internal, "It could not be warmed."))
                });
            calls += u64::from(request.cost.totals().upstream_calls);
            request.cost.measure();
            done.push((at, outcome));
        }
        (done, calls)
    }

    async fn one(&self, query: &Query, request: &Request) -> Outcome {
        if request.deadline <= self.service.now() {
            return Err(Problem::new(
                Code::DeadlineExceeded,
                "There was no time left.",
            ));
        }
        if self.max_age.is_some() {
            return Ok(match self.service.refresh(query, request).await? {
                RefreshOutcome::Fresh => Warmed::Fresh,
                RefreshOutcome::Changed | RefreshOutcome::Unchanged => Warmed::Fetched,
            });
        }
        let snapshot = self.service.portfolio(query, request).await?;
        let level = snapshot.structure;
        // Old holdings answer a client; here they are a failure.
        if level.stale && level.detail == Some(Detail::UpstreamError) {
            return Err(Problem::new(
                Code::UpstreamUnavailable,
                "The holdings could not be renewed.",
            ));
        }
        Ok(match level.outcome {
            CacheOutcome::Hit => Warmed::Fresh,
            _ => Warmed::Fetched,
        })
    }
}
