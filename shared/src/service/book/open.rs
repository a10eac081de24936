//! Opening pages: what is on them, who refreshes them, and whether the sources
//! may be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Search;
use crate::{
    cache::price_book::{LeaseTerms, PageLease, PageState, Prices},
    clock::Timestamp,
    domain::{
        price_book::{DemandWindow, Page, QuoteKey, Shelf},
        provider::Provider,
        refresh_batch::Standing,
    },
    service::limits::left_alone,
    telemetry::request_cost::RequestCost,
};

/// A lease outlives the request that it covers by this much.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(3);
/// A page's lease and its prices are written at once, so it may be seen to end
/// before its prices are seen.
const SETTLING: Duration = Duration::from_secs(2);
/// Where the clock stands still: after this many looks, about two seconds,
/// they are not on their way.
const SETTLING_LOOKS: usize = 12;

/// A page as one answer sees it.
#[derive(Default)]
pub(super) struct OpenPage {
    pub prices: Prices,
    pub state: Option<PageState>,
    /// Our lease's number, while we hold it.
    pub owner: Option<u64>,
    /// Nothing is known of its prices: they could not be read.
    pub unread: bool,
    /// Its lease was tried for, and nobody knows what came of it.
    pub unclear: bool,
}

impl OpenPage {
    /// Whether somebody else refreshes it, or has just done so.
    pub fn is_held(&self, needed: &BTreeSet<QuoteKey>, now: Timestamp, looks: usize) -> bool {
        matches!(
            self.standing(needed, now, looks),
            Some(Standing::Held { .. })
        )
    }

    /// How it stands; `None` if its source just failed somebody else, or
    /// nothing is known.
    pub fn standing(
        &self,
        needed: &BTreeSet<QuoteKey>,
        now: Timestamp,
        looks: usize,
    ) -> Option<Standing> {
        if self.owner.is_some() {
            return Some(Standing::Won);
        }
        if self.unclear {
            return None;
        }
        let Some(state) = &self.state else {
            return Some(Standing::Free);
        };
        if state.failed_until.is_some_and(|until| now < until) {
            return None;
        }
        let pages = state.pages;
        if state.is_held(now) {
            return Some(Standing::Held { pages });
        }
        let just_refreshed = state.fresh_at.is_some_and(|at| now < at.plus(SETTLING));
        let covers = |key: &QuoteKey| state.notes(key, DemandWindow::of(now));
        if just_refreshed && looks < SETTLING_LOOKS && needed.iter().any(covers) {
            return Some(Standing::Held { pages: 0 });
        }
        Some(Standing::Free)
    }

    /// When the oldest price was asked for of what is wanted on it.
    pub fn age(&self, now: DemandWindow) -> Option<Timestamp> {
        let wanted = self.state.as_ref()?.wanted(now);
        let prices = wanted.iter().filter_map(|key| self.prices.get(key));
        let known = prices.filter(|price| !price.is_unknown());
        known.map(|price| price.checked_at).min()
    }

    /// Slots of its lease item that count no more.
    pub fn old_slots(&self, now: DemandWindow) -> Vec<DemandWindow> {
        let slots = self.state.iter().flat_map(|state| state.wanted.keys());
        slots.filter(|slot| !slot.counts_in(now)).copied().collect()
    }

    /// Prices that are older than `oldest` and that nobody wants.
    pub fn forgotten(&self, oldest: Timestamp, now: DemandWindow) -> BTreeSet<QuoteKey> {
        let wanted = self.state.as_ref().map(|state| state.wanted(now));
        let wanted = wanted.unwrap_or_default();
        let old = self
            .prices
            .iter()
            .filter(|(key, price)| price.checked_at < oldest && !wanted.contains(*key));
        old.map(|(key, _)| key.clone()).collect()
    }
}

/// Who is asked for the prices of a shelf.
pub(super) fn upstream_of(shelf: Shelf) -> Provider {
    match shelf {
        Shelf::Listed => Provider::CoinMarketCap,
        Shelf::Unlisted => Provider::DefiLlama,
    }
}

impl Search<'_> {
    /// Reads the pages of what is missing, tries for their leases and looks
    /// whether the sources may be asked, all at once.
    pub(super) async fn open(&mut self) -> BTreeMap<Page, OpenPage> {
        let (service, currency) = (self.service, self.needs.currency);
        let now = self.now();
        let to_read: BTreeSet<Page> = self.missing.keys().copied().collect();
        let may_be_leased = |page: &&Page| self.may_be_leased(**page, now);
        let pages = to_read.iter().filter(may_be_leased);
        let notable = |key: &&QuoteKey| self.needs.keys.get(*key).is_some_and(|need| need.notable);
        let pages = pages.map(|page| {
            let keys = self.missing[page].iter().filter(notable);
            (*page, keys.cloned().collect())
        });
        let pages: BTreeMap<Page, BTreeSet<QuoteKey>> = pages.collect();
        let cost = &self.needs.request.cost;
        let concurrent = RequestCost::default();
        let consistent = self.looks > 0;
        let (read, mut leases, ()) = futures::join!(
            service.book.read(currency, &to_read, consistent, cost),
            self.lease(&pages, now, &concurrent),
            self.read_breakers(&to_read, &concurrent),
        );
        cost.merge_concurrent(&concurrent);
        self.looks += 1;
        let mut read = read
            .inspect_err(|error| tracing::warn!(%error, "the price book cannot be read"))
            .unwrap_or_default();
        let mut open = BTreeMap::new();
        for page in to_read {
            let there = read.remove(&page);
            let mut opened = OpenPage {
                unread: there.is_none(),
                prices: there.unwrap_or_default(),
                ..OpenPage::default()
            };
            let state = match leases.remove(&page) {
                Some(PageLease::Won(owner, state)) => {
                    opened.owner = Some(owner);
                    Some(state)
                }
                Some(PageLease::Lost(state)) => Some(state),
                None => {
                    opened.unclear = pages.contains_key(&page);
                    None
                }
            };
            service
                .copies
                .keep_prices(currency, page, &opened.prices, now);
            if let Some(state) = &state {
                service
                    .copies
                    .keep_state(currency, page, state.clone(), now);
            }
            opened.state = state.or_else(|| service.copies.state(currency, page));
            open.insert(page, opened);
        }
        self.explain_silence(now);
        open
    }

    /// Nobody tries for a page that is known to have been refreshed, or whose
    /// source may not be asked (again).
    fn may_be_leased(&self, page: Page, now: Timestamp) -> bool {
        let fresh_at = self.service.copies.fresh_at(self.needs.currency, page);
        let due = self.service.renewal_due(page.shelf, now);
        self.needs.may_ask
            && !self.found.asked
            && self.blocked(page.shelf).is_none()
            && fresh_at.is_none_or(|at| at <= due)
    }

    async fn lease(
        &self,
        pages: &BTreeMap<Page, BTreeSet<QuoteKey>>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> BTreeMap<Page, PageLease> {
        if pages.is_empty() {
            return BTreeMap::new();
        }
        let terms = LeaseTerms {
            now,
            length: self.service.page_lease(),
            fresh_after: self.service.renewal_due(self.needs.shelf, now),
            pages: pages.len(),
        };
        let book = &self.service.book;
        book.lease(self.needs.currency, pages, terms, cost).await
    }

    /// Looks whether the sources may be asked.
    async fn read_breakers(&self, pages: &BTreeSet<Page>, cost: &RequestCost) {
        if !self.found.asked && !pages.is_empty() {
            let upstream = upstream_of(self.needs.shelf);
            self.service.look_at_breaker(upstream, cost).await;
        }
    }

    /// Until when a shelf's source is known to want to be left alone.
    pub(super) fn blocked(&self, shelf: Shelf) -> Option<Timestamp> {
        self.service.blocked(upstream_of(shelf))
    }

    /// What it means that a source is not asked because it wants to be left
    /// alone.
    fn explain_silence(&mut self, now: Timestamp) {
        if self.missing.is_empty() {
            return;
        }
        if let Some(until) = self.blocked(self.needs.shelf) {
            let error = left_alone(upstream_of(self.needs.shelf), until, now);
            self.found.failed.get_or_insert(error);
        }
    }
}
