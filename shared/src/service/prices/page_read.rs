//! Reading pages: what is on them, which requests refresh them, and whether the
//! source may be asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{page::PageView, state::LookupState};
use crate::{
    cache::price_book::{LeaseTerms, PageLease},
    clock::Timestamp,
    domain::price_book::{Page, QuoteKey},
    service::rate_limits::rate_limited_error,
    telemetry::request_cost::RequestCost,
};

/// Reads the pages of what is missing, tries for their leases and checks
/// whether the sources may be asked, all at once.
pub(super) async fn open(state: &mut LookupState<'_>) -> BTreeMap<Page, PageView> {
    let (shared, currency) = (state.shared, state.needs.currency);
    let now = state.now();
    let to_read: BTreeSet<Page> = state.missing.keys().copied().collect();
    let may_be_leased = |page: &&Page| may_be_leased(state, **page, now);
    let pages = to_read.iter().filter(may_be_leased);
    let tracked = |key: &&QuoteKey| state.needs.keys.get(*key).is_some_and(|need| need.tracked);
    let pages = pages.map(|page| {
        let keys = state.missing[page].iter().filter(tracked);
        (*page, keys.cloned().collect())
    });
    let pages: BTreeMap<Page, BTreeSet<QuoteKey>> = pages.collect();
    let cost = &state.needs.request.cost;
    let concurrent = RequestCost::default();
    let consistent = state.polls > 0;
    let (read, mut leases, ()) = futures::join!(
        shared.book.read(currency, &to_read, consistent, cost),
        lease(state, &pages, now, &concurrent),
        read_rate_limit(state, &to_read, &concurrent),
    );
    cost.merge_concurrent(&concurrent);
    state.polls += 1;
    let mut read = read
        .inspect_err(|error| tracing::warn!(%error, "the price book cannot be read"))
        .unwrap_or_default();
    let mut open = BTreeMap::new();
    for page in to_read {
        let there = read.remove(&page);
        let mut opened = PageView {
            read_failed: there.is_none(),
            prices: there.unwrap_or_default(),
            ..PageView::default()
        };
        let state = match leases.remove(&page) {
            Some(PageLease::Won(owner, state)) => {
                opened.owner = Some(owner);
                Some(state)
            }
            Some(PageLease::Lost(state)) => Some(state),
            None => {
                opened.lease_unknown = pages.contains_key(&page);
                None
            }
        };
        shared
            .page_cache
            .keep_prices(currency, page, &opened.prices, now);
        if let Some(state) = &state {
            shared
                .page_cache
                .keep_state(currency, page, state.clone(), now);
        }
        opened.state = state.or_else(|| shared.page_cache.state(currency, page));
        open.insert(page, opened);
    }
    record_skipped_source(state, now);
    open
}

/// Returns whether a page's lease is tried for: not where it is known to have
/// been refreshed, or its source may not be asked (again).
fn may_be_leased(state: &LookupState<'_>, page: Page, now: Timestamp) -> bool {
    let fresh_at = state.shared.page_cache.fresh_at(state.needs.currency, page);
    let due = state.refresh_due(now);
    state.needs.may_ask
        && !state.found.asked
        && state.rate_limited_until().is_none()
        && fresh_at.is_none_or(|at| at <= due)
}

async fn lease(
    state: &LookupState<'_>,
    pages: &BTreeMap<Page, BTreeSet<QuoteKey>>,
    now: Timestamp,
    cost: &RequestCost,
) -> BTreeMap<Page, PageLease> {
    if pages.is_empty() {
        return BTreeMap::new();
    }
    let terms = LeaseTerms {
        now,
        length: state.shared.policy.page_lease(),
        fresh_after: state.refresh_due(now),
        pages: pages.len(),
    };
    let book = &state.shared.book;
    book.lease(state.needs.currency, pages, terms, cost).await
}

/// Reads whether the source may be asked.
async fn read_rate_limit(state: &LookupState<'_>, pages: &BTreeSet<Page>, cost: &RequestCost) {
    if !state.found.asked && !pages.is_empty() {
        let provider = state.needs.provider;
        state.shared.rate_limits.refresh(provider, cost).await;
    }
}

/// Records the failure of a source that is not asked because it is rate
/// limited.
fn record_skipped_source(state: &mut LookupState<'_>, now: Timestamp) {
    if state.missing.is_empty() {
        return;
    }
    if let Some(until) = state.rate_limited_until() {
        let error = rate_limited_error(state.needs.provider, until, now);
        state.found.failed.get_or_insert(error);
    }
}
