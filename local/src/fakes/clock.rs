//! The time, in the forms the three services write it.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const HTTP: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Now, in UTC.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Whole seconds since 1970.
pub fn unix_seconds() -> u64 {
    u64::try_from(now().unix_timestamp()).unwrap_or(0)
}

/// Now as `2026-06-19T14:02:00.000Z`.
pub fn iso_millis() -> String {
    format(now(), MILLIS)
}

/// A moment as `2026-06-19T14:02:00Z`.
pub fn iso_seconds(unix: u64) -> String {
    format(at(unix), SECONDS)
}

/// A moment as `2026-06-19T14:02:00.000Z`.
pub fn iso_millis_at(unix: u64) -> String {
    format(at(unix), MILLIS)
}

/// A moment as HTTP headers write it.
pub fn http_date(unix: u64) -> String {
    format(at(unix), HTTP)
}

fn at(unix: u64) -> OffsetDateTime {
    i64::try_from(unix)
        .ok()
        .and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn format(moment: OffsetDateTime, form: &[BorrowedFormatItem<'_>]) -> String {
    // The forms above only name parts that every moment has.
    moment.format(&form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_services_write_them() {
        assert_eq!(iso_seconds(1_775_001_600), "2026-04-01T00:00:00Z");
        assert_eq!(iso_millis_at(1_775_001_600), "2026-04-01T00:00:00.000Z");
        assert_eq!(http_date(1_775_001_620), "Wed, 01 Apr 2026 00:00:20 GMT");
    }
}
