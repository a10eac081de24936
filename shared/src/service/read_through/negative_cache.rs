//! Failures that are remembered for a moment, so that requests that follow do
//! not repeat them.

use std::time::Duration;

use crate::{
    cache::{FailureMark, MAX_FAILURE_TTL, PartHeader},
    clock::Timestamp,
    domain::provider::Provider,
    service::policy::{NOT_TRACKABLE_TTL, PREPARING_TTL, TRANSIENT_FAILURE_TTL},
    upstream::{Failure, Quota, UpstreamError},
};

/// Returns how a failure is remembered that came after `waited`; one that is this
/// process's own is not.
pub(super) fn failure_marker(
    failure: &Failure,
    waited: Duration,
    now: Timestamp,
) -> Option<FailureMark> {
    let (reason, length) = match failure {
        Failure::NotTrackable => ("not_trackable", NOT_TRACKABLE_TTL),
        Failure::Preparing { retry_after } => ("preparing", retry_after.unwrap_or(PREPARING_TTL)),
        Failure::RateLimited { retry_after, .. } => {
            ("rate_limited", retry_after.unwrap_or(TRANSIENT_FAILURE_TTL))
        }
        Failure::Unauthorized(_) => ("unauthorized", TRANSIENT_FAILURE_TTL),
        Failure::Rejected(_) => ("rejected", TRANSIENT_FAILURE_TTL),
        Failure::Unavailable(_) => ("unavailable", TRANSIENT_FAILURE_TTL),
        Failure::Busy | Failure::CircuitOpen { .. } => return None,
        Failure::Timeout => ("timeout", TRANSIENT_FAILURE_TTL),
        Failure::Malformed(_) => ("malformed", TRANSIENT_FAILURE_TTL),
        Failure::TooLarge(_) => ("too_large", TRANSIENT_FAILURE_TTL),
    };
    Some(FailureMark {
        until: now.plus(length.min(MAX_FAILURE_TTL)),
        reason: reason.to_owned(),
        // The next one is waited for longer.
        elapsed: (*failure == Failure::Timeout).then_some(waited),
    })
}

/// Returns the failure of `provider` that is remembered in one of `headers`, with
/// what is left of it.
pub(super) fn cached_failure<'h>(
    headers: impl Iterator<Item = &'h PartHeader>,
    provider: Provider,
    now: Timestamp,
) -> Option<UpstreamError> {
    let marks = headers.filter_map(|header| header.failed.as_ref());
    let mark = marks
        .filter(|mark| now < mark.until)
        .max_by_key(|mark| mark.until)?;
    let left = Some(mark.until.since(now));
    let failure = match mark.reason.as_str() {
        "not_trackable" => Failure::NotTrackable,
        "preparing" => Failure::Preparing { retry_after: left },
        "rate_limited" => Failure::RateLimited {
            retry_after: left,
            quota: Quota::Requests,
        },
        "unauthorized" => Failure::Unauthorized(401),
        "rejected" => Failure::Rejected(400),
        "timeout" => Failure::Timeout,
        "malformed" => Failure::Malformed("a moment ago".to_owned()),
        "too_large" => Failure::TooLarge(0),
        _ => Failure::Unavailable("it failed a moment ago".to_owned()),
    };
    Some(UpstreamError {
        upstream: provider,
        failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_remembered_as_what_they_were() {
        let now = Timestamp::from_millis(1_000_000);
        for failure in [
            Failure::NotTrackable,
            Failure::Preparing {
                retry_after: Some(Duration::from_secs(10)),
            },
            Failure::RateLimited {
                retry_after: Some(Duration::from_secs(7)),
                quota: Quota::Requests,
            },
            Failure::Unauthorized(401),
            Failure::Rejected(400),
            Failure::Unavailable("it failed a moment ago".to_owned()),
            Failure::Timeout,
            Failure::Malformed("a moment ago".to_owned()),
            Failure::TooLarge(0),
        ] {
            let waited = Duration::from_secs(3);
            let mark = failure_marker(&failure, waited, now).unwrap();
            let expected = (failure == Failure::Timeout).then_some(waited);
            assert_eq!(mark.elapsed, expected);
            let until = mark.until;
            let part = PartHeader {
                failed: Some(mark),
                ..PartHeader::default()
            };
            let none = PartHeader::default();
            let read = |header: &PartHeader, at| {
                let headers = std::iter::once(header);
                let error = cached_failure(headers, Provider::Zerion, at);
                error.map(|error| error.failure)
            };
            assert_eq!(read(&part, now), Some(failure));
            assert_eq!(read(&none, now), None);
            assert_eq!(read(&part, until), None);
            assert!(until <= now.plus(MAX_FAILURE_TTL));
        }
    }
}
