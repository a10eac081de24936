//! The shared price book: prices that one process has fetched for all.

mod encoding;
mod leases;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;

pub use self::{
    encoding::{pack, unpack},
    store::DynamoPriceBook,
};
use super::{CacheError, LEASE_SKEW_MARGIN, MAX_FAILURE_TTL};
use crate::{
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, PageSet, QuoteKey},
        provider::Provider,
    },
    telemetry::request_cost::RequestCost,
};

/// Prices of the book.
pub type Prices = BTreeMap<QuoteKey, Price>;

/// When prices were last noted as wanted.
pub type Demand = BTreeMap<QuoteKey, DemandWindow>;

/// A page of the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredPage {
    /// Its prices.
    pub prices: Prices,
    /// What is wanted on it.
    pub demand: Demand,
    /// When the newest of its prices was asked for.
    pub newest: Option<Timestamp>,
}

/// What the lease item of a provider's prices in one currency tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseState {
    /// Until when a process holds the lease.
    pub until: Option<Timestamp>,
    /// Which process took it last: a random number.
    pub owner: Option<u64>,
    /// Until when no request should ask again, because the provider just failed.
    pub failed_until: Option<Timestamp>,
    /// What its last holder published.
    pub published: Option<Publication>,
}

impl LeaseState {
    /// Returns whether the lease may be taken, by clocks that differ a little.
    pub fn is_free(&self, now: Timestamp) -> bool {
        self.until
            .is_none_or(|until| until < now.minus(LEASE_SKEW_MARGIN))
    }

    /// Returns whether the provider failed a moment ago.
    pub fn has_failed(&self, now: Timestamp) -> bool {
        self.failed_until.is_some_and(|until| now < until)
    }

    /// Returns the state as far as a clock that is right at `now` can have
    /// written it, where leases are taken for `length`: times that lie far in
    /// the future are damage and would otherwise last until then.
    fn plausible(mut self, now: Timestamp, length: Duration) -> Self {
        let latest = |length: Duration| now.plus(length).plus(MAX_CLOCK_SKEW);
        self.until.take_if(|until| *until > latest(length));
        self.failed_until
            .take_if(|until| *until > latest(MAX_FAILURE_TTL));
        self.published
            .take_if(|published| published.asked_at.is_in_the_future(now));
        self
    }
}

/// Prices that the holder of a lease wrote while it ended it: they may be seen
/// later than its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// When the provider was asked for them.
    pub asked_at: Timestamp,
    /// Where they stand.
    pub pages: PageSet,
}

/// When and for how long a lease is taken.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTerms {
    /// The time now.
    pub now: Timestamp,
    /// How long it lasts unless it is ended.
    pub length: Duration,
}

/// What came of trying for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceLease {
    /// It is ours, under this owner's number. The state tells what the holder
    /// before published.
    Won(u64, LeaseState),
    /// Another process holds it, or the provider failed a moment ago.
    Lost(LeaseState),
}

/// What is written to a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageWrite {
    /// Prices to merge.
    pub prices: Prices,
    /// What to note as wanted.
    pub wanted: BTreeSet<QuoteKey>,
    /// What is neither wanted nor usable any more.
    pub forget: BTreeSet<QuoteKey>,
}

/// The end of a lease, or a failure without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// Whose prices it was for.
    pub provider: Provider,
    /// Whose lease; none if only a failure is to be told.
    pub owner: Option<u64>,
    /// What is published with it.
    pub published: Option<Publication>,
    /// The provider failed: no request should ask before this.
    pub failed_until: Option<Timestamp>,
}

impl LeaseEnd {
    /// Returns the end of a lease that nothing was done under.
    pub fn early(provider: Provider, owner: u64) -> Self {
        Self {
            provider,
            owner: Some(owner),
            published: None,
            failed_until: None,
        }
    }
}

/// All that one lookup writes to the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookWrite {
    /// By page.
    pub pages: BTreeMap<Page, PageWrite>,
    /// What becomes of the lease.
    pub end: Option<LeaseEnd>,
}

impl BookWrite {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.end.is_none()
    }
}

/// Keeps the book.
#[async_trait]
pub trait PriceBook: Send + Sync {
    /// Reads pages. A page that could not be read is not in the answer.
    /// `consistent` sees every finished write.
    async fn read(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, StoredPage>, CacheError>;

    /// Tries for the lease of a provider's prices in one currency.
    async fn take_lease(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<PriceLease, CacheError>;

    /// Reads a lease's item, with every finished write.
    async fn lease_state(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<LeaseState, CacheError>;

    /// Writes to pages and ends the lease, all at once; nothing is overwritten
    /// by something older.
    async fn write(
        &self,
        currency: Currency,
        write: &BookWrite,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);
    const MILLI: Duration = Duration::from_millis(1);
    const LENGTH: Duration = Duration::from_secs(7);

    #[test]
    fn a_lease_is_free_when_no_clock_can_take_it_for_held() {
        let until = |until| LeaseState {
            until,
            ..LeaseState::default()
        };
        assert!(until(None).is_free(NOW));
        let ended = NOW.minus(LEASE_SKEW_MARGIN);
        assert!(!until(Some(ended)).is_free(NOW));
        assert!(until(Some(ended.minus(MILLI))).is_free(NOW));
    }

    #[test]
    fn times_that_no_clock_can_have_written_do_not_count() {
        let latest = |length: Duration| NOW.plus(length).plus(MAX_CLOCK_SKEW);
        let published = |asked_at| Publication {
            asked_at,
            pages: PageSet::default(),
        };
        let state = LeaseState {
            until: Some(latest(LENGTH)),
            owner: Some(1),
            failed_until: Some(latest(MAX_FAILURE_TTL)),
            published: Some(published(NOW)),
        };
        assert_eq!(state.clone().plausible(NOW, LENGTH), state);
        let damaged = LeaseState {
            until: Some(latest(LENGTH).plus(MILLI)),
            owner: Some(1),
            failed_until: Some(latest(MAX_FAILURE_TTL).plus(MILLI)),
            published: Some(published(NOW.plus(2 * MAX_CLOCK_SKEW))),
        };
        let nothing = LeaseState {
            owner: Some(1),
            ..LeaseState::default()
        };
        assert_eq!(damaged.plausible(NOW, LENGTH), nothing);
    }

    #[test]
    fn a_write_is_empty_without_pages_and_without_an_end() {
        let page = Page {
            provider: Provider::CoinMarketCap,
            number: 3,
        };
        let pages = BookWrite {
            pages: BTreeMap::from([(page, PageWrite::default())]),
            end: None,
        };
        let end = BookWrite {
            pages: BTreeMap::new(),
            end: Some(LeaseEnd::early(Provider::CoinMarketCap, 1)),
        };
        assert!(BookWrite::default().is_empty());
        assert!(!pages.is_empty() && !end.is_empty());
    }
}
