//! Attempts at requests, measured.

use std::time::Instant;

use super::{Failure, Provider};
use crate::telemetry::metrics::{
    Metric, UPSTREAM_ERRORS, UPSTREAM_LATENCY, UPSTREAM_RATE_LIMITED, UPSTREAM_REQUESTS,
    milliseconds,
};

/// An attempt that is under way, and is counted when it is dropped. Unless it
/// was ended before, the caller gave it up, and it counts as failed.
pub(super) struct Attempt {
    upstream: Provider,
    started: Instant,
    counts_as: Option<Metric>,
}

impl Attempt {
    /// Begins one.
    #[expect(clippy::disallowed_methods, reason = "measures one call")]
    pub fn begin(upstream: Provider) -> Self {
        UPSTREAM_REQUESTS.add_for(upstream, 1);
        Self {
            upstream,
            started: Instant::now(),
            counts_as: Some(UPSTREAM_ERRORS),
        }
    }

    /// Ends it, with a failure or without.
    pub fn end(mut self, failure: Option<&Failure>) {
        self.counts_as = match failure {
            None | Some(Failure::NotTrackable | Failure::Preparing { .. }) => None,
            Some(Failure::RateLimited { .. }) => Some(UPSTREAM_RATE_LIMITED),
            Some(_) => Some(UPSTREAM_ERRORS),
        };
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        UPSTREAM_LATENCY.record_for(self.upstream, milliseconds(self.started.elapsed()));
        if let Some(metric) = self.counts_as {
            metric.add_for(self.upstream, 1);
        }
    }
}
