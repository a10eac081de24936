//! A bound on the requests that are under way to one upstream, so that a slow
//! one cannot take all of a process's memory and connections.

use std::time::Duration;

use tokio::{sync::Semaphore, time::Instant};

/// Lets a fixed number of requests through at a time; the others wait.
#[derive(Debug)]
pub(crate) struct Bulkhead(Semaphore);

impl Bulkhead {
    /// A bulkhead for `concurrency` requests.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self(Semaphore::new(concurrency))
    }

    /// Runs `work` when there is room, with what is left of `timeout` after
    /// the wait. Returns `None` if there was no room in time.
    #[expect(clippy::disallowed_methods, reason = "within one request")]
    pub(crate) async fn enter<T, F>(
        &self,
        timeout: Duration,
        work: impl FnOnce(Duration) -> F,
    ) -> Option<T>
    where
        F: Future<Output = T>,
    {
        // Within one request: the sandbox does not freeze here.
        let until = Instant::now() + timeout;
        match tokio::time::timeout_at(until, self.0.acquire()).await {
            Ok(Ok(_permit)) => Some(work(until.saturating_duration_since(Instant::now())).await),
            _ => None,
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
            left
        };
        let started = Instant::now();
        let patient = second * 5;
        let done = futures::future::join_all((0..4).map(|_| bulkhead.enter(patient, work))).await;
        assert_eq!(started.elapsed(), second * 2);
        assert_eq!(done[0], Some(patient));
        assert_eq!(done[3], Some(patient - second));

        let impatient =
            futures::future::join_all((0..3).map(|_| bulkhead.enter(second / 2, work))).await;
        assert_eq!(impatient[2], None);
    }
}
