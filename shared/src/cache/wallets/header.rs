//! A wallet's header item: what stands where, and how it is read.

use std::time::Duration;

use crate::{
    cache::{FailureMark, Header, MAX_FAILURE_TTL, PartHeader, StoredPart, table::item::Item},
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{currency::Currency, scope::Part},
};

/// Of the whole wallet: how often it was invalidated.
pub(in crate::cache) const EPOCH: &str = "epoch";
/// The time of the holdings whose refresh ahead is under way.
pub(in crate::cache) const REFRESH_AHEAD_OF: &str = "ahead";
pub(in crate::cache) const REFRESH_AHEAD_STREAK: &str = "ahead_n";

/// Names of one part's header attributes.
pub(in crate::cache) struct Attributes {
    pub generation: &'static str,
    pub hash: &'static str,
    pub fetched_at: &'static str,
    pub currency: &'static str,
    pub fetch: &'static str,
    pub written: &'static str,
    pub chunks: &'static str,
    pub chunks_expire: &'static str,
    pub price_chunks: &'static str,
    pub lease_until: &'static str,
    pub owner: &'static str,
    pub took: &'static str,
    pub failed_until: &'static str,
    pub failure: &'static str,
    pub asked_at: &'static str,
    pub uncacheable_until: &'static str,
}

impl Attributes {
    /// What refers to stored holdings.
    pub fn stored(&self) -> [&'static str; 8] {
        [
            self.hash,
            self.fetched_at,
            self.currency,
            self.fetch,
            self.written,
            self.chunks,
            self.chunks_expire,
            self.price_chunks,
        ]
    }

    /// Everything but the generation.
    pub fn forgettable(&self) -> impl Iterator<Item = &'static str> {
        let rest = [
            self.lease_until,
            self.owner,
            self.took,
            self.failed_until,
            self.failure,
            self.asked_at,
            self.uncacheable_until,
        ];
        self.stored().into_iter().chain(rest)
    }
}

macro_rules! attributes {
    ($prefix:literal) => {
        Attributes {
            generation: concat!($prefix, "_gen"),
            hash: concat!($prefix, "_hash"),
            fetched_at: concat!($prefix, "_at"),
            currency: concat!($prefix, "_cur"),
            fetch: concat!($prefix, "_fg"),
            written: concat!($prefix, "_cg"),
            chunks: concat!($prefix, "_n"),
            chunks_expire: concat!($prefix, "_exp"),
            price_chunks: concat!($prefix, "_pn"),
            lease_until: concat!($prefix, "_until"),
            owner: concat!($prefix, "_owner"),
            took: concat!($prefix, "_ms"),
            failed_until: concat!($prefix, "_fail"),
            failure: concat!($prefix, "_why"),
            asked_at: concat!($prefix, "_asked"),
            uncacheable_until: concat!($prefix, "_big"),
        }
    };
}

pub(in crate::cache) const fn attributes(part: Part) -> Attributes {
    match part {
        Part::Wallet => attributes!("w"),
        Part::Defi => attributes!("d"),
    }
}

/// Reads a header. An older or newer format's header has no data for us, but
/// its generations go on.
pub(in crate::cache) fn read_header(item: &Item) -> Header {
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
                elapsed: None,
            }),
            uncacheable_until: item.time(names.uncacheable_until),
            ..PartHeader::default()
        };
        if item.is_current() {
            read.stored = read_stored(item, &names);
            read.took = item.number(names.took).map(Duration::from_millis);
        }
        header.parts.insert(part, read);
    }
    header.epoch = item.number(EPOCH).unwrap_or(0);
    header.refresh_ahead_of = item.time(REFRESH_AHEAD_OF);
    header.refresh_ahead_streak = item.number(REFRESH_AHEAD_STREAK).unwrap_or(0);
    header
}

/// Reads what refers to stored holdings; if some of it is missing, none is
/// there.
fn read_stored(item: &Item, names: &Attributes) -> Option<StoredPart> {
    Some(StoredPart {
        hash: item.hash(names.hash)?,
        fetched_at: item.time(names.fetched_at)?,
        currency: Currency::parse(item.text(names.currency)?)?,
        fetch: item.number(names.fetch)?,
        written: item.number(names.written)?,
        chunks: item.number(names.chunks)?,
        chunks_expire: item.time(names.chunks_expire)?,
        price_chunks: item.number(names.price_chunks).unwrap_or(0),
    })
}

impl Header {
    /// Returns the header as far as a clock that is right at `now` can have told
    /// it: a lease, a failure or a mark that ends far in the future, or holdings
    /// from there, are damage and would otherwise last until then.
    pub fn without_future_timestamps(
        mut self,
        now: Timestamp,
        lease: Duration,
        uncacheable: Duration,
    ) -> Self {
        let latest = |length: Duration| now.plus(length).plus(MAX_CLOCK_SKEW);
        for part in self.parts.values_mut() {
            part.lease_until = part.lease_until.filter(|until| *until <= latest(lease));
            part.failed
                .take_if(|mark| mark.until > latest(MAX_FAILURE_TTL));
            part.stored
                .take_if(|stored| stored.fetched_at.is_in_the_future(now));
            part.uncacheable_until
                .take_if(|until| *until > latest(uncacheable));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::table::item::{hash, number, text, time};

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);
    const MILLI: Duration = Duration::from_millis(1);

    fn stored() -> StoredPart {
        StoredPart {
            hash: 5 << 100,
            fetched_at: NOW,
            currency: Currency::USD,
            fetch: 7,
            written: 6,
            chunks: 2,
            chunks_expire: NOW.plus(Duration::from_secs(9)),
            price_chunks: 1,
        }
    }

    fn header() -> PartHeader {
        PartHeader {
            generation: 8,
            stored: Some(stored()),
            lease_until: Some(NOW.plus(Duration::from_secs(4))),
            owner: Some(11),
            took: Some(Duration::from_millis(321)),
            failed: Some(FailureMark {
                until: NOW.plus(Duration::from_secs(5)),
                reason: "timeout".to_owned(),
                elapsed: None,
            }),
            uncacheable_until: Some(NOW.plus(Duration::from_secs(6))),
        }
    }

    /// An item that tells [`header`] of one part.
    fn item(names: &Attributes) -> Item {
        let (header, stored) = (header(), stored());
        let failed = header.failed.unwrap();
        Item::keyed("W#".to_owned(), "H".to_owned())
            .with(EPOCH, number(3))
            .with(REFRESH_AHEAD_OF, time(NOW))
            .with(REFRESH_AHEAD_STREAK, number(2))
            .with(names.generation, number(header.generation))
            .with(names.hash, hash(stored.hash))
            .with(names.fetched_at, time(stored.fetched_at))
            .with(names.currency, text("usd"))
            .with(names.fetch, number(stored.fetch))
            .with(names.written, number(stored.written))
            .with(names.chunks, number(stored.chunks))
            .with(names.chunks_expire, time(stored.chunks_expire))
            .with(names.price_chunks, number(stored.price_chunks))
            .with(names.lease_until, time(header.lease_until.unwrap()))
            .with(names.owner, number(11))
            .with(names.took, number(321))
            .with(names.failed_until, time(failed.until))
            .with(names.failure, text(&failed.reason))
            .with(
                names.uncacheable_until,
                time(header.uncacheable_until.unwrap()),
            )
    }

    #[test]
    fn each_part_has_a_header_of_its_own() {
        for (part, other) in [(Part::Wallet, Part::Defi), (Part::Defi, Part::Wallet)] {
            let read = read_header(&item(&attributes(part)));
            assert_eq!(read.parts[&part], header());
            assert_eq!(read.parts[&other], PartHeader::default());
            let rest = (read.epoch, read.refresh_ahead_of, read.refresh_ahead_streak);
            assert_eq!(rest, (3, Some(NOW), 2));
        }
    }

    #[test]
    fn of_another_format_all_but_the_data_count() {
        let item = item(&attributes(Part::Wallet)).with("v", number(1));
        let expected = PartHeader {
            stored: None,
            took: None,
            ..header()
        };
        assert_eq!(read_header(&item).parts[&Part::Wallet], expected);
    }

    #[test]
    fn what_refers_to_holdings_counts_whole_or_not_at_all() {
        let names = attributes(Part::Defi);
        // Written since later versions.
        let needed = names
            .stored()
            .into_iter()
            .filter(|it| *it != names.price_chunks);
        for name in needed {
            let mut attributes = item(&names).into_inner();
            attributes.remove(name).unwrap();
            let read = read_header(&Item::new(attributes));
            assert_eq!(read.parts[&Part::Defi].stored, None, "{name}");
        }
    }

    #[test]
    fn all_attributes_but_the_generation_are_forgotten() {
        let names = attributes(Part::Wallet);
        let forgotten: Vec<_> = names.forgettable().collect();
        let item = item(&names).with(names.asked_at, time(NOW));
        let of_part = item.names().filter(|name| name.starts_with("w_"));
        for name in of_part {
            assert_eq!(
                forgotten.contains(&name),
                name != names.generation,
                "{name}"
            );
        }
        assert_eq!(forgotten.len(), 15);
    }

    #[test]
    fn times_that_no_clock_can_have_told_do_not_count() {
        let (lease, uncacheable) = (Duration::from_secs(20), Duration::from_secs(300));
        let latest = |length: Duration| NOW.plus(length).plus(MAX_CLOCK_SKEW);
        let at = |later: Duration| {
            let part = PartHeader {
                lease_until: Some(latest(lease).plus(later)),
                failed: Some(FailureMark {
                    until: latest(MAX_FAILURE_TTL).plus(later),
                    reason: "timeout".to_owned(),
                    elapsed: None,
                }),
                uncacheable_until: Some(latest(uncacheable).plus(later)),
                ..header()
            };
            Header {
                parts: [(Part::Wallet, part)].into(),
                ..Header::default()
            }
        };
        let told = at(Duration::ZERO);
        let read = told
            .clone()
            .without_future_timestamps(NOW, lease, uncacheable);
        assert_eq!(read.parts, told.parts);
        let read = at(MILLI).without_future_timestamps(NOW, lease, uncacheable);
        let expected = PartHeader {
            lease_until: None,
            failed: None,
            uncacheable_until: None,
            ..header()
        };
        assert_eq!(read.parts[&Part::Wallet], expected);
        let early = NOW.minus(2 * MAX_CLOCK_SKEW);
        let read = told.without_future_timestamps(early, lease, uncacheable);
        assert_eq!(read.parts[&Part::Wallet].stored, None);
    }
}
