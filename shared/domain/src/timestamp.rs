//! Moments of wall-clock time.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// Clocks of different machines are never further apart than this.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(10);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved `by` into the future; saturates at the end of time.
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This moment moved `by` into the past; saturates at the beginning of time.
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether a clock that is right at `now` cannot have told this moment.
    pub fn is_in_the_future(self, now: Self) -> bool {
        self > now.plus(MAX_CLOCK_SKEW)
    }

    /// How far apart two moments are.
    pub fn distance(self, other: Self) -> Duration {
        self.since(other).max(other.since(self))
    }

    /// Parses an RFC 3339 / ISO 8601 time with an offset; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000)
            .ok()
            .map(Self)
    }
}

impl Timestamp {
    /// Characters of a moment in text, from the year 0 to 9999.
    pub(crate) const TEXT_LENGTH: usize = 24;

    /// Returns RFC 3339 in UTC with milliseconds, for the years 0 to 9999.
    pub(crate) fn text(self) -> Option<[u8; Self::TEXT_LENGTH]> {
        let time = OffsetDateTime::from_unix_timestamp(self.as_secs()).ok()?;
        let year = u16::try_from(time.year()).ok().filter(|it| *it < 10_000)?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut text[0..4], year);
        put_digits(&mut text[5..7], u8::from(time.month()).into());
        put_digits(&mut text[8..10], time.day().into());
        put_digits(&mut text[11..13], time.hour().into());
        put_digits(&mut text[14..16], time.minute().into());
        put_digits(&mut text[17..19], time.second().into());
        put_digits(
            &mut text[20..23],
            u16::try_from(self.0.rem_euclid(1000)).unwrap_or(0),
        );
        Some(text)
    }
}

/// Fills `digits` with a number, right-aligned.
fn put_digits(digits: &mut [u8], mut number: u16) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T09:40:46.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text() {
            return f.write_str(str::from_utf8(&text).unwrap_or_default());
        }
        let time = OffsetDateTime::from_unix_timestamp(self.as_secs())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            self.0.rem_euclid(1000)
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_the_same_moment() {
        let moment = Timestamp::from_millis(1_795_254_046_007);
        assert_eq!(moment.to_string(), "2026-11-21T09:40:46.007Z");
        assert_eq!(Timestamp::parse("2026-11-21T09:40:46.007Z"), Some(moment));
        assert_eq!(
            Timestamp::parse("2026-11-21T10:40:46.007+01:00"),
            Some(moment)
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
        for text in [
            "0000-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        // What no clock tells.
        assert_eq!(
            Timestamp::from_millis(i64::MAX).to_string(),
            "1970-01-01T00:00:00.807Z"
        );
        let before = Timestamp::parse("0000-01-01T00:00:00Z")
            .unwrap()
            .minus(Duration::from_millis(1));
        assert_eq!(before.to_string(), "-001-12-31T23:59:59.999Z");
    }

    #[test]
    fn counts_milliseconds_and_whole_seconds() {
        for (millis, seconds) in [(1_999, 1), (0, 0), (-1, -1), (-1_000, -1), (5_000, 5)] {
            let moment = Timestamp::from_millis(millis);
            assert_eq!((moment.as_millis(), moment.as_secs()), (millis, seconds));
        }
        let (early, late) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
        let apart = Duration::from_millis(2_500);
        assert_eq!((early.distance(late), late.distance(early)), (apart, apart));
        assert_eq!(early.plus(apart), late);
        assert_eq!(late.minus(apart), early);
        assert!(
            early
                .plus(MAX_CLOCK_SKEW + Duration::from_millis(1))
                .is_in_the_future(early)
        );
        assert!(!early.plus(MAX_CLOCK_SKEW).is_in_the_future(early));
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
        assert_eq!(late.since(early), Duration::from_millis(2_500));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
