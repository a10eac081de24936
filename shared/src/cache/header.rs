//! A wallet's header item: what stands where, and how it is read.

use std::time::Duration;

use super::{FailureMark, Header, PartHeader, items::Item};
use crate::{
    clock::{MAX_SKEW, Timestamp},
    domain::scope::Part,
};

/// Of the whole wallet: the time of the holdings that were handed over.
pub(super) const AHEAD: &str = "ahead";
pub(super) const AHEAD_COUNT: &str = "ahead_n";

/// No failure is remembered for longer than this.
pub(crate) const LONGEST_FAILURE: Duration = Duration::from_secs(30);

/// Names of one part's header attributes.
pub(super) struct Attributes {
    pub generation: &'static str,
    pub hash: &'static str,
    pub chunks: &'static str,
    pub fetched_at: &'static str,
    pub chunks_expire: &'static str,
    pub lease_until: &'static str,
    pub owner: &'static str,
    pub took: &'static str,
    pub failed_until: &'static str,
    pub failure: &'static str,
    pub asked_at: &'static str,
}

pub(super) fn attributes(part: Part) -> Attributes {
    match part {
        Part::Wallet => Attributes {
            generation: "w_gen",
            hash: "w_hash",
            chunks: "w_n",
            fetched_at: "w_at",
            chunks_expire: "w_exp",
            lease_until: "w_until",
            owner: "w_owner",
            took: "w_ms",
            failed_until: "w_fail",
            failure: "w_why",
            asked_at: "w_asked",
        },
        Part::Defi => Attributes {
            generation: "d_gen",
            hash: "d_hash",
            chunks: "d_n",
            fetched_at: "d_at",
            chunks_expire: "d_exp",
            lease_until: "d_until",
            owner: "d_owner",
            took: "d_ms",
            failed_until: "d_fail",
            failure: "d_why",
            asked_at: "d_asked",
        },
    }
}

/// An older or newer format's header has no data for us, but its generations
/// go on counting.
pub(super) fn read_header(item: &Item) -> Header {
    let mut header = Header::default();
    for part in Part::ALL {
        let names = attributes(part);
        let mut read = PartHeader {
            generation: item.number(names.generation).unwrap_or(0),
            lease_until: item.time(names.lease_until),
            owner: item.number(names.owner),
            failed: item.time(names.failed_until).map(|until| FailureMark {
                until,
                reason: item.text(names.failure).unwrap_or_default().to_owned(),
                waited: None,
            }),
            ..PartHeader::default()
        };
        if item.is_current() {
            read.hash = item.hash(names.hash);
            read.chunks = item.number(names.chunks).unwrap_or(0);
            read.fetched_at = item.time(names.fetched_at);
            read.chunks_expire = item.time(names.chunks_expire);
            read.took = item.number(names.took).map(Duration::from_millis);
        }
        header.parts.insert(part, read);
    }
    header.ahead = item.time(AHEAD);
    header.ahead_count = item.number(AHEAD_COUNT).unwrap_or(0);
    header
}

impl Header {
    /// The header as far as a clock that is right at `now` can have told it:
    /// a lease or a failure that ends far in the future, or holdings from
    /// there, are damage and would otherwise last until then.
    pub fn plausible_at(mut self, now: Timestamp, lease: Duration) -> Self {
        let latest = |length: Duration| now.plus(length).plus(MAX_SKEW);
        for part in self.parts.values_mut() {
            part.lease_until = part.lease_until.filter(|until| *until <= latest(lease));
            part.failed
                .take_if(|mark| mark.until > latest(LONGEST_FAILURE));
            part.fetched_at.take_if(|at| at.is_implausible(now));
        }
        self
    }
}
