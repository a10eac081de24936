//! Reading the book: what is on its pages, which process refreshes them, and
//! whether the provider may be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::state::LookupState;
use crate::{
    cache::price_book::{LeaseState, PriceLease, Publication, StoredPage},
    domain::price_book::Page,
    service::rate_limits::rate_limited_error,
    telemetry::request_cost::RequestCost,
};

/// What the holder before has published is read again after these pauses, in
/// milliseconds, until it is seen.
const REREAD_PAUSES_MS: [u64; 5] = [0, 40, 80, 120, 200];

/// The book as one lookup sees it.
pub(super) struct BookView {
    /// Its pages, without those that could not be read.
    pub pages: BTreeMap<Page, StoredPage>,
    /// The lease of the refresh.
    pub lease: LeaseView,
}

/// The lease as one lookup sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseView {
    /// It was not tried for: the provider may not be asked.
    NotTried,
    /// It was tried for, and what came of it is not known.
    Unknown,
    /// It is ours, under this owner's number.
    Won(u64),
    /// It is not.
    Lost(LeaseState),
}

impl LeaseView {
    /// Returns the lease where another process has it, or has just failed.
    pub fn of_other(&self) -> Option<&LeaseState> {
        match self {
            Self::Lost(lease) => Some(lease),
            _ => None,
        }
    }
}

/// Reads the book where something is missing, tries for the lease of their refresh and
/// checks whether the provider may be asked, all at once. A lookup that has
/// waited for another process tries for the lease only if it still lacks
/// something then.
pub(super) async fn read(state: &mut LookupState<'_>) -> BookView {
    let first = state.polls == 0;
    let cost = &state.needs.request.cost;
    let concurrent = RequestCost::default();
    let ((), (mut lease, mut published), mut pages) = futures::join!(
        read_rate_limit(state, &concurrent),
        async {
            match first {
                true => take_lease(state, &concurrent).await,
                false => (LeaseView::NotTried, None),
            }
        },
        read_pages(state, Page::all(state.needs.provider).collect(), !first),
    );
    cost.merge_concurrent(&concurrent);
    state.polls += 1;
    state.take(&pages);
    if !first && !state.missing.is_empty() {
        (lease, published) = take_lease(state, cost).await;
    }
    if let (LeaseView::Won(_), Some(published)) = (&lease, published) {
        see_published(state, &mut pages, published).await;
    }
    record_skipped_provider(state);
    BookView { pages, lease }
}

/// Reads pages into the process's copy as well.
async fn read_pages(
    state: &LookupState<'_>,
    pages: BTreeSet<Page>,
    consistent: bool,
) -> BTreeMap<Page, StoredPage> {
    let (shared, currency) = (state.shared, state.needs.currency);
    let cost = &state.needs.request.cost;
    let read = shared.book.read(currency, &pages, consistent, cost).await;
    let read = read
        .inspect_err(|error| tracing::warn!(%error, "the price book cannot be read"))
        .unwrap_or_default();
    let now = state.now();
    for (page, stored) in &read {
        shared.page_cache.keep(currency, *page, stored, now);
    }
    read
}

/// Tries for the lease, if the provider may be asked. Returns what the holder
/// before has published as well.
async fn take_lease(
    state: &LookupState<'_>,
    cost: &RequestCost,
) -> (LeaseView, Option<Publication>) {
    let may_ask = state.needs.may_ask && !state.found.asked;
    if !may_ask || state.rate_limited_until().is_some() {
        return (LeaseView::NotTried, None);
    }
    let (book, terms) = (&state.shared.book, state.lease_terms());
    let (currency, provider) = (state.needs.currency, state.needs.provider);
    match book.take_lease(currency, provider, terms, cost).await {
        Ok(PriceLease::Won(owner, before)) => (LeaseView::Won(owner), before.published),
        Ok(PriceLease::Lost(lease)) => (LeaseView::Lost(lease), None),
        Err(error) => {
            tracing::warn!(%error, %provider, "the lease of a price refresh cannot be taken");
            (LeaseView::Unknown, None)
        }
    }
}

/// Reads pages again on which the holder before has published prices that were
/// not seen: it wrote them while it ended its lease.
async fn see_published(
    state: &mut LookupState<'_>,
    pages: &mut BTreeMap<Page, StoredPage>,
    published: Publication,
) {
    if state.now() > published.asked_at.plus(state.lease_terms().length) {
        return;
    }
    for pause in REREAD_PAUSES_MS {
        let unseen = |page: &&Page| {
            let newest = pages.get(*page).and_then(|page| page.newest);
            published.pages.contains(**page) && newest < Some(published.asked_at)
        };
        let unseen: BTreeSet<Page> = state.missing.keys().filter(unseen).copied().collect();
        if unseen.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let read = read_pages(state, unseen, true).await;
        state.take(&read);
        pages.extend(read);
    }
}

/// Reads whether the provider may be asked.
async fn read_rate_limit(state: &LookupState<'_>, cost: &RequestCost) {
    if !state.found.asked {
        let provider = state.needs.provider;
        state.shared.rate_limits.refresh(provider, cost).await;
    }
}

/// Records the failure of a provider that is not asked because it is rate
/// limited.
fn record_skipped_provider(state: &mut LookupState<'_>) {
    if state.missing.is_empty() {
        return;
    }
    if let Some(until) = state.rate_limited_until() {
        let error = rate_limited_error(state.needs.provider, until, state.now());
        state.found.failed.get_or_insert(error);
    }
}
