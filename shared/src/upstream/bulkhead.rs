//! A bound on the requests that are under way to one upstream, so that a slow
//! one cannot take all of a process's memory and connections.

use std::time::Duration;

use tokio::{sync::Semaphore, time::Instant};

use super::Failure;

/// Lets a fixed number of requests through at a time; the others wait.
#[derive(Debug)]
pub(super) struct Bulkhead(Semaphore);

impl Bulkhead {
    /// A bulkhead for `concurrency` requests.
    pub(super) fn new(concurrency: usize) -> Self {
        Self(Semaphore::new(concurrency))
    }

    /// Runs `work` when there is room, with what is left of `timeout` after
    /// the wait.
    #[expect(clippy::disallowed_methods, reason = "within one request")]
    pub(super) async fn enter<T, F>(
        &self,
        timeout: Duration,
        work: impl FnOnce(Duration) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        // Within one request: the sandbox does not freeze here.
        let until = Instant::now() + timeout;
        match tokio::time::timeout_at(until, self.0.acquire()).await {
            Ok(Ok(_permit)) => work(until.saturating_duration_since(Instant::now())).await,
            _ => Err(Failure::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "measures paused time")]
    #[tokio::test(start_paused = true)]
    async fn bounds_what_is_under_way_and_how_long_the_others_wait() {
        let bulkhead = Bulkhead::new(2);
        let second = Duration::from_secs(1);
        let work = |left: Duration| async move {
            tokio::time::sleep(second).await;
            Ok(left)
        };
        let started = Instant::now();
        let patient = second * 5;
        let done = futures::future::join_all((0..4).map(|_| bulkhead.enter(patient, work))).await;
        assert_eq!(started.elapsed(), second * 2);
        assert_eq!(done[0], Ok(patient));
        assert_eq!(done[3], Ok(patient - second));

        let impatient =
            futures::future::join_all((0..3).map(|_| bulkhead.enter(second / 2, work))).await;
        assert_eq!(impatient[2], Err(Failure::Busy));
    }
}
