//! How long everything in the read path lasts, and why.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    config::{Config, Lifetime},
    domain::{
        price::{Price, PriceAgeLimit, PriceKey},
        provider::Provider,
    },
    upstream::QuoteTerms,
};

// Freshness.

/// Fresh holdings are not fetched again more often than this, even for requests
/// that ask for newer ones.
pub const MIN_REVALIDATION_INTERVAL: Duration = Duration::from_secs(30);
/// Parts older than this share of their lifetime are fetched along with others.
pub(super) const REFRESHED_TOGETHER: (u32, u32) = (1, 2);
/// That a provider knows no price of a token is remembered for this long.
const UNKNOWN_PRICE_TTL: Duration = Duration::from_secs(600);
/// An answer that lacks an exchange rate is kept by no cache for longer.
pub(super) const UNCONVERTED_TTL: Duration = Duration::from_secs(3);
/// A wallet's own price is kept rather than one that was quoted later, but is
/// dated this much earlier.
pub(super) const MAX_AS_OF_REGRESSION: Duration = Duration::from_secs(600);
/// Providers answer from caches of a minute, or of five: a quote that is dated
/// no further back than this is as of now.
pub(super) const RECENT_QUOTE: Duration = Duration::from_secs(600);
/// An empty asset registry is read again after this long: the schedule is about
/// to fill it.
pub(super) const EMPTY_REGISTRY_TTL: Duration = Duration::from_secs(5);
/// A wallet that was requested near the end of several lives in a row is watched
/// for this long.
pub(super) const AUTO_WATCH_TTL: Duration = Duration::from_secs(1800);

// Leases.

/// A wallet's lease ends this long after its holder was last heard of.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(5);
/// The holder is heard of this often: clocks may differ by more than two
/// seconds before others take its lease for ended.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The lease of a price refresh outlives the request that it covers by this much.
const PRICE_LEASE_MARGIN: Duration = Duration::from_secs(3);
/// An answer does not wait longer than this for the end of its lease.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_millis(150);

// Waiting.

/// Time that is left for rendering and the way back.
pub(super) const RENDER_MARGIN: Duration = Duration::from_millis(200);
/// Where old holdings may stand in, the provider is waited for at least this
/// long.
pub(super) const SOFT_STRUCTURE_TIMEOUT: Duration = Duration::from_secs(3);
/// Where older prices may stand in, neither a provider nor the holder of the
/// lease of its refresh is waited for any longer.
pub(super) const SOFT_PRICE_TIMEOUT: Duration = Duration::from_secs(1);
/// A wallet that is there, but cannot be read, is waited for this long.
pub(super) const UNREADABLE_TIMEOUT: Duration = Duration::from_millis(6500);
/// A call that took this much longer than its limit was frozen with its process.
pub(super) const FREEZE_TOLERANCE: Duration = Duration::from_secs(2);
/// A request with this much less time than the provider may take cannot tell
/// whether it fails.
pub(super) const DEADLINE_MARGIN: Duration = Duration::from_secs(1);
/// An answer does not wait longer than this for the refresh queue.
pub(super) const ENQUEUE_TIMEOUT: Duration = Duration::from_millis(500);

// Back-off.

/// A wallet that the provider does not track.
pub(super) const NOT_TRACKABLE_TTL: Duration = Duration::from_secs(30);
/// A failure that may be over at any moment.
pub(super) const TRANSIENT_FAILURE_TTL: Duration = Duration::from_secs(2);
/// A wallet that is being prepared, where the provider does not say how long.
pub(super) const PREPARING_TTL: Duration = Duration::from_secs(3);
/// What could not be stored is fetched by each request that waits for it, for
/// this long.
pub(super) const UNSTORED_TTL: Duration = Duration::from_secs(2);
/// While the table cannot be used, a process asks the provider no more often
/// than [`UNLEASED_FETCHES`] times in this time: nothing coordinates these
/// requests.
pub(super) const UNLEASED_WINDOW: Duration = Duration::from_secs(10);
pub(super) const UNLEASED_FETCHES: usize = 10;
/// After a provider of quotes failed it is not asked again in the same currency
/// for this long.
pub(super) const PRICE_FAILURE_TTL: Duration = Duration::from_secs(5);
/// A rate limit that lasts is read again after this long: it may have been
/// lifted by hand.
pub(super) const RATE_LIMIT_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// No rate limit lasts longer, even if a provider says so.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(86_400);

/// Returns for how long a provider is not called that limits requests and does
/// not say for how long: CoinMarketCap counts them by the minute, the others by
/// the second.
pub(super) const fn default_backoff(provider: Provider) -> Duration {
    match provider {
        Provider::CoinMarketCap => Duration::from_secs(60),
        _ => Duration::from_secs(5),
    }
}

/// Limits and lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Of holdings.
    pub structure: Lifetime,
    /// Of prices.
    pub prices: Lifetime,
    /// One attempt at Zerion.
    pub structure_timeout: Duration,
    /// One attempt at a price source.
    pub price_timeout: Duration,
    /// Memory for copies of wallets, in bytes.
    pub wallet_cache_bytes: u64,
}

impl Policy {
    /// Returns how long the lease of a price refresh is taken for.
    pub(super) fn price_lease(&self) -> Duration {
        self.price_timeout + PRICE_LEASE_MARGIN
    }

    /// Returns how long it is remembered that a wallet is too large to be
    /// cached.
    pub(super) fn uncacheable_ttl(&self) -> Duration {
        self.structure.ttl
    }

    /// Returns how long quotes of a provider are fresh.
    pub(super) fn price_ttl(&self, terms: &QuoteTerms) -> Duration {
        self.prices.ttl.max(terms.min_ttl)
    }

    /// Returns how long it is remembered that no provider knows a price.
    pub(super) fn unknown_price_ttl(&self) -> Duration {
        UNKNOWN_PRICE_TTL.max(self.prices.ttl)
    }

    /// Returns until when a price may be used.
    pub(super) fn usable_until(&self, key: PriceKey, price: &Price) -> Timestamp {
        price.quoted_at.plus(match key {
            PriceKey::Cmc(_) => self.prices.max_usable_age(),
            PriceKey::Asset(_) => self.unlisted_price_age(),
        })
    }

    /// Prices that come with the holdings last as long as these, and as much longer
    /// as any.
    fn unlisted_price_age(&self) -> Duration {
        self.prices.max_usable_age() + self.structure.ttl
    }

    /// How old prices may be that are used at `now`.
    pub(super) fn oldest_prices(&self, now: Timestamp) -> PriceAgeLimit {
        PriceAgeLimit {
            listed: now.minus(self.prices.max_usable_age()),
            unlisted: now.minus(self.unlisted_price_age()),
        }
    }
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        Self {
            structure: config.structure,
            prices: config.prices,
            structure_timeout: config.zerion_timeout,
            price_timeout: config.price_timeout,
            wallet_cache_bytes: config.memory_cache_bytes / 4 * 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{decimal::Decimal, price::CmcId};

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy(price_ttl: u64) -> Policy {
        let lifetime = |ttl, stale| Lifetime {
            ttl: seconds(ttl),
            stale: seconds(stale),
        };
        Policy {
            structure: lifetime(300, 3600),
            prices: lifetime(price_ttl, 900),
            structure_timeout: seconds(20),
            price_timeout: seconds(5),
            wallet_cache_bytes: 0,
        }
    }

    #[test]
    fn a_price_is_used_until_it_is_too_old() {
        let policy = policy(60);
        let price = Price::new(Decimal::ONE, None, Provider::Zerion, NOW);
        let oldest = |age| policy.oldest_prices(NOW.plus(seconds(age)));
        // What comes with holdings lasts as long as these, and then as any price.
        for (key, age) in [
            (PriceKey::Cmc(CmcId(1)), 960),
            (PriceKey::of_asset("x"), 1260),
        ] {
            assert_eq!(policy.usable_until(key, &price), NOW.plus(seconds(age)));
            assert!(oldest(age).permits(key, &price));
            assert!(!oldest(age + 1).permits(key, &price));
        }
    }

    #[test]
    fn what_is_known_to_fail_is_remembered_as_long_as_it_would_be_fresh() {
        assert_eq!(policy(60).uncacheable_ttl(), seconds(300));
        assert_eq!(policy(60).unknown_price_ttl(), UNKNOWN_PRICE_TTL);
        let long = UNKNOWN_PRICE_TTL.as_secs() + 1;
        assert_eq!(policy(long).unknown_price_ttl(), seconds(long));
    }

    #[test]
    fn wallets_have_three_quarters_of_the_memory_for_copies() {
        let lookup = |name: &str| (name == "IN_PROCESS_CACHE_MB").then(|| "8".to_owned());
        let config = Config::from_lookup(&lookup).unwrap();
        assert_eq!(Policy::from(&config).wallet_cache_bytes, 6 << 20);
    }
}
