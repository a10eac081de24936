//! Attempts at requests, measured.

use std::time::Instant;

use super::{Failure, Upstream};
use crate::metrics::{UPSTREAM_ERRORS, UPSTREAM_LATENCY, UPSTREAM_RATE_LIMITED, UPSTREAM_REQUESTS};

/// An attempt that is under way. One that is dropped was given up by whoever
/// waited for it, and counts as failed.
pub(super) struct Attempt {
    upstream: Upstream,
    started: Instant,
    ended: bool,
}

impl Attempt {
    /// Begins one.
    #[expect(clippy::disallowed_methods, reason = "measures one call")]
    pub fn begin(upstream: Upstream) -> Self {
        UPSTREAM_REQUESTS.add_for(upstream, 1);
        Self {
            upstream,
            started: Instant::now(),
            ended: false,
        }
    }

    /// Ends it, with a failure or without.
    pub fn end(mut self, failure: Option<&Failure>) {
        self.ended = true;
        self.took();
        match failure {
            None | Some(Failure::NotTrackable | Failure::Preparing { .. }) => {}
            Some(Failure::RateLimited { .. }) => UPSTREAM_RATE_LIMITED.add_for(self.upstream, 1),
            Some(_) => UPSTREAM_ERRORS.add_for(self.upstream, 1),
        }
    }

    #[expect(clippy::float_arithmetic, reason = "milliseconds with fractions")]
    fn took(&self) {
        let milliseconds = self.started.elapsed().as_secs_f64() * 1000.0;
        UPSTREAM_LATENCY.record_of(self.upstream, milliseconds);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.took();
            UPSTREAM_ERRORS.add_for(self.upstream, 1);
        }
    }
}
