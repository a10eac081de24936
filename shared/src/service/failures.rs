//! Failures that are remembered for a moment, so that not everybody repeats
//! them.

use std::time::Duration;

use crate::{
    cache::{FailureMark, Header, MAX_FAILURE_TTL},
    clock::Timestamp,
    domain::{provider::Provider, scope::Part},
    upstream::{Failure, Quota, UpstreamError},
};

/// A wallet that the provider does not track.
const NOT_TRACKABLE: Duration = Duration::from_secs(30);
/// Trouble that may be over at any moment.
const TROUBLE: Duration = Duration::from_secs(2);
/// A wallet that is being prepared, where the provider does not say how long.
const PREPARING: Duration = Duration::from_secs(3);

/// How a failure is remembered that came after `waited`; one that is this
/// process's own is not.
pub(super) fn mark(failure: &Failure, waited: Duration, now: Timestamp) -> Option<FailureMark> {
    let (reason, length) = match failure {
        Failure::NotTrackable => ("not_trackable", NOT_TRACKABLE),
        Failure::Preparing { retry_after } => ("preparing", retry_after.unwrap_or(PREPARING)),
        Failure::RateLimited { retry_after, .. } => {
            ("rate_limited", retry_after.unwrap_or(TROUBLE))
        }
        Failure::Unauthorized(_) => ("unauthorized", TROUBLE),
        Failure::Rejected(_) => ("rejected", TROUBLE),
        Failure::Unavailable(_) => ("unavailable", TROUBLE),
        Failure::Busy | Failure::LeftAlone { .. } => return None,
        Failure::Timeout => ("timeout", TROUBLE),
        Failure::Malformed(_) => ("malformed", TROUBLE),
        Failure::TooLarge(_) => ("too_large", TROUBLE),
    };
    Some(FailureMark {
        until: now.plus(length.min(MAX_FAILURE_TTL)),
        reason: reason.to_owned(),
        // The next one is waited for longer.
        waited: (*failure == Failure::Timeout).then_some(waited),
    })
}

/// The failure that is remembered of one of `wanted`, with what is left of it.
pub(super) fn remembered(
    header: &Header,
    wanted: &[Part],
    now: Timestamp,
) -> Option<UpstreamError> {
    let marks = wanted
        .iter()
        .filter_map(|part| header.parts.get(part)?.failed.as_ref());
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
        upstream: Provider::Zerion,
        failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::PartHeader;

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
            Failure::Timeout,
        ] {
            let mark = mark(&failure, Duration::ZERO, now).unwrap();
            let until = mark.until;
            let part = PartHeader {
                failed: Some(mark),
                ..PartHeader::default()
            };
            let header = Header {
                parts: [(Part::Defi, part)].into(),
                ..Header::default()
            };
            let read = |part, at| remembered(&header, &[part], at).map(|error| error.failure);
            assert_eq!(read(Part::Defi, now), Some(failure));
            assert_eq!(read(Part::Wallet, now), None);
            assert_eq!(read(Part::Defi, until), None);
            assert!(until <= now.plus(MAX_FAILURE_TTL));
        }
    }
}
