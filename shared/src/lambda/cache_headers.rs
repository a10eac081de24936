//! What an answer's headers say about caches: validators, lifetimes and how
//! the two levels took part.

use std::{fmt::Write as _, time::Duration};

use lambda_http::http::HeaderMap;
use lambda_http::http::header::IF_NONE_MATCH;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    clock::Timestamp,
    config::ResponseCache,
    domain::{
        price::{PriceAgeLimit, PriceKey},
        query::Query,
        response::MissingReason,
        wallet_prices::WalletPrices,
    },
    service::{CacheOutcome, Detail, Level, Snapshot},
    telemetry::request_cost::RequestCost,
};

/// Counts changes of how an answer is rendered from the same inputs.
const RENDERING: u32 = 3;

/// A weak validator made from everything that the body is rendered from, so
/// that a 304 needs no rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Validator(u128);

impl Validator {
    /// Returns the value of `ETag`.
    pub fn etag(self) -> String {
        format!("W/\"{:032x}\"", self.0)
    }
}

/// Returns the validator of an answer.
pub(super) fn validator(query: &Query, snapshot: &Snapshot) -> Validator {
    let mut hash = Xxh3::new();
    let mut put = |bytes: &[u8]| hash.update(bytes);
    put(&RENDERING.to_le_bytes());
    put(env!("CARGO_PKG_VERSION").as_bytes());
    put(query.selection().as_bytes());
    put(&query.limit.to_le_bytes());
    if let Some(cursor) = &query.cursor {
        put(cursor.to_text(&query.selection()).as_bytes());
    }
    for (part, cached) in &snapshot.parts {
        put(part.as_str().as_bytes());
        put(&cached.hash.to_le_bytes());
    }
    put(&snapshot.fetched_at.as_millis().to_le_bytes());
    for level in [&snapshot.structure, &snapshot.price_level] {
        put(&level.fresh_until.as_millis().to_le_bytes());
        put(&[u8::from(level.stale)]);
    }
    for gap in &snapshot.missing {
        put(format!("{gap:?}").as_bytes());
    }
    put(&prices_digest(snapshot).to_le_bytes());
    Validator(hash.digest128())
}

/// Returns a hash of the prices and of which may be used.
fn prices_digest(snapshot: &Snapshot) -> u128 {
    let oldest = snapshot.oldest_prices;
    snapshot.prices.digest(|prices| hash_prices(prices, oldest))
}

fn hash_prices(prices: &WalletPrices, oldest: PriceAgeLimit) -> u128 {
    let mut hash = Xxh3::new();
    let mut put = |bytes: &[u8]| hash.update(bytes);
    for key in &prices.unconverted {
        put(format!("{key:?}").as_bytes());
    }
    for (key, price) in prices.table.entries() {
        let number = match key {
            PriceKey::Cmc(id) => u64::from(id.0),
            PriceKey::Asset(hash) => *hash,
        };
        put(&number.to_le_bytes());
        put(&price.amount.coefficient().to_le_bytes());
        put(&price.amount.exponent().to_le_bytes());
        put(&price.as_of.as_millis().to_le_bytes());
        // Whether it is still used depends on the time of the request.
        put(&[
            price.source as u8,
            u8::from(oldest.permits(*key, price)),
            price.refused.map_or(0, |refusal| refusal as u8 + 1),
        ]);
        if let Some(change) = price.change_24h_percent {
            put(&change.coefficient().to_le_bytes());
            put(&change.exponent().to_le_bytes());
        }
    }
    hash.digest128()
}

/// Whether the client has this answer already; weak comparison, as GET asks.
pub(super) fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == opaque(etag))
}

/// `Cache-Control`: what is left of the level that expires first, and how long
/// the answer may stand in for an error (`stale`), unless it is incomplete.
pub(super) fn cache_control(snapshot: &Snapshot, cache: ResponseCache, stale: Duration) -> String {
    let incomplete = snapshot
        .missing
        .iter()
        .any(|gap| gap.reason == MissingReason::FetchedIncompletely)
        || !snapshot.prices.unconverted.is_empty();
    let stale = if incomplete { Duration::ZERO } else { stale };
    let first = snapshot.fresh_until();
    let visibility = match cache {
        ResponseCache::Public => "public",
        ResponseCache::Private => "private",
    };
    format!(
        "{visibility}, max-age={}, stale-if-error={}",
        seconds_left(first, snapshot.now).max(0),
        stale.as_secs()
    )
}

/// `Cache-Status` (RFC 9211): one member per level.
pub(super) fn cache_status(snapshot: &Snapshot) -> String {
    format!(
        "{}, {}",
        member("structure", &snapshot.structure, snapshot.now),
        member("prices", &snapshot.price_level, snapshot.now)
    )
}

fn member(name: &str, level: &Level, now: Timestamp) -> String {
    let mut text = name.to_owned();
    text.push_str(match level.outcome {
        CacheOutcome::Hit => "; hit",
        CacheOutcome::Miss => "; fwd=miss",
        CacheOutcome::Expired => "; fwd=stale",
        CacheOutcome::Partial => "; fwd=partial",
    });
    if level.stored {
        text.push_str("; stored");
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "; ttl={}", seconds_left(level.fresh_until, now));
    if let Some(detail) = level.detail.map(Detail::as_str) {
        let _ = write!(text, "; detail={detail}");
    }
    text
}

/// Whole seconds until data expires: rounded, since storing what was just
/// fetched takes some milliseconds; below zero as soon as it has expired.
fn seconds_left(fresh_until: Timestamp, now: Timestamp) -> i64 {
    let millis = fresh_until.as_millis() - now.as_millis();
    if millis > 0 {
        (millis + 500) / 1000
    } else {
        millis.div_euclid(1000)
    }
}

/// `Server-Timing`: milliseconds per phase.
pub(super) fn server_timing(cost: &RequestCost) -> String {
    cost.phases()
        .into_iter()
        .map(|(name, took)| {
            let micros = took.as_micros();
            format!("{name};dur={}.{:03}", micros / 1000, micros % 1000)
        })
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provider::Provider;

    #[test]
    fn compares_validators_weakly() {
        let etag = "W/\"abc\"";
        for (sent, same) in [
            ("W/\"abc\"", true),
            ("\"abc\"", true),
            ("\"x\", W/\"abc\"", true),
            ("*", true),
            ("\"abcd\"", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, sent.parse().unwrap());
            assert_eq!(matches(&headers, etag), same, "{sent}");
        }
        assert!(!matches(&HeaderMap::new(), etag));
    }

    #[test]
    fn describes_levels() {
        let now = Timestamp::from_millis(10_000);
        let level = |outcome, fresh_until, stored, detail| Level {
            outcome,
            fresh_until: Timestamp::from_millis(fresh_until),
            stale: false,
            stored,
            detail,
        };
        let hit = level(CacheOutcome::Hit, 222_400, false, None);
        assert_eq!(member("structure", &hit, now), "structure; hit; ttl=212");
        let asked = level(
            CacheOutcome::Expired,
            70_000,
            true,
            Some(Detail::Provider(Provider::CoinMarketCap)),
        );
        assert_eq!(
            member("prices", &asked, now),
            "prices; fwd=stale; stored; ttl=60; detail=coinmarketcap"
        );
        let stale = level(CacheOutcome::Hit, 9_500, false, Some(Detail::UpstreamError));
        assert_eq!(
            member("structure", &stale, now),
            "structure; hit; ttl=-1; detail=upstream-error"
        );
    }
}
