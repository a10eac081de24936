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
use super::{CacheError, MAX_FAILURE_TTL};
use crate::{
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
    },
    telemetry::request_cost::RequestCost,
};

/// A page's prices.
pub type Prices = BTreeMap<QuoteKey, Price>;

/// What a page's lease item tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageState {
    /// Until when a process holds the lease.
    pub until: Option<Timestamp>,
    /// Which process took it: a random number.
    pub owner: Option<u64>,
    /// How many pages that one wanted at once.
    pub pages: usize,
    /// Until when no request should ask again, because the source just failed.
    pub failed_until: Option<Timestamp>,
    /// When the oldest price of what is wanted was asked for.
    pub fresh_at: Option<Timestamp>,
    /// What is wanted, by when it was.
    pub wanted: BTreeMap<DemandWindow, BTreeSet<QuoteKey>>,
}

impl PageState {
    /// Everything that was wanted in the last ten minutes.
    pub fn wanted(&self, now: DemandWindow) -> BTreeSet<QuoteKey> {
        let slots = self.wanted.iter();
        let recent = slots.filter(|(window, _)| window.is_live_in(now));
        recent.flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// Whether `key` is noted recently enough.
    pub fn notes(&self, key: &QuoteKey, now: DemandWindow) -> bool {
        let mut slots = self.wanted.iter();
        slots.any(|(window, keys)| window.is_current_in(now) && keys.contains(key))
    }

    /// Returns the state as far as a clock that is right at `now` can have
    /// written it, where leases are taken for `length`: a lease or a failure
    /// that ends far in the future, or prices from there, are damage and would
    /// otherwise last until then.
    pub fn without_future_timestamps(mut self, now: Timestamp, length: Duration) -> Self {
        let latest = |length: Duration| now.plus(length).plus(MAX_CLOCK_SKEW);
        self.until.take_if(|until| *until > latest(length));
        self.failed_until
            .take_if(|until| *until > latest(MAX_FAILURE_TTL));
        self.fresh_at.take_if(|at| at.is_in_the_future(now));
        self
    }

    /// Returns whether a process holds the lease.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// Under which conditions a page's lease may be had.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTerms {
    /// The time now.
    pub now: Timestamp,
    /// How long the lease is taken for.
    pub length: Duration,
    /// Only if the page's prices were asked for no later than this.
    pub fresh_after: Timestamp,
    /// How many pages are wanted at once.
    pub pages: usize,
}

/// What came of trying for a page's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageLease {
    /// It is ours, under this owner's number.
    Won(u64, PageState),
    /// It is not.
    Lost(PageState),
}

/// What is written to a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageWrite {
    /// Prices to merge.
    pub prices: Prices,
    /// What is not wanted any more.
    pub forget: BTreeSet<QuoteKey>,
    /// What to do with the lease. The page does not count as fresh if its
    /// prices could not be written.
    pub end: Option<LeaseEnd>,
    /// What to note as wanted.
    pub note: BTreeSet<QuoteKey>,
}

impl PageWrite {
    /// Nothing but the end of a lease.
    pub fn ending(end: LeaseEnd) -> Self {
        Self {
            end: Some(end),
            ..Self::default()
        }
    }
}

/// The end of a lease, or a failure without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// Whose lease; none if only a failure is to be told.
    pub owner: Option<u64>,
    /// The page is whole and as old as this.
    pub fresh_at: Option<Timestamp>,
    /// The source failed: no request should ask before this.
    pub failed_until: Option<Timestamp>,
    /// Slots that count no more.
    pub drop: Vec<DemandWindow>,
}

impl LeaseEnd {
    /// The end of a lease that nothing was done under.
    pub fn early(owner: u64) -> Self {
        Self {
            owner: Some(owner),
            fresh_at: None,
            failed_until: None,
            drop: Vec::new(),
        }
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
    ) -> Result<BTreeMap<Page, Prices>, CacheError>;

    /// Tries for the leases of pages, noting what is wanted on those that are
    /// won. A page whose lease could not be tried for is not in the answer.
    async fn lease(
        &self,
        currency: Currency,
        wanted: &BTreeMap<Page, BTreeSet<QuoteKey>>,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> BTreeMap<Page, PageLease>;

    /// Reads lease items, with every finished write.
    async fn states(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, PageState>, CacheError>;

    /// Writes to pages, all at once; nothing is overwritten by something
    /// older.
    async fn write(
        &self,
        currency: Currency,
        writes: &BTreeMap<Page, PageWrite>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError>;
}
