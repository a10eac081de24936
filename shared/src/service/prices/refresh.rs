//! Asking a provider for what is missing, and what becomes of its answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    book_read::{BookView, LeaseView},
    sources::{Baseline, SourceReplies},
    state::LookupState,
};
use crate::{
    cache::price_book::{LeaseEnd, PageWrite, Publication, StoredPage},
    clock::Timestamp,
    domain::{
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
        refresh_batch::{LastChecks, refresh_batch},
    },
    service::policy::PRICE_FAILURE_TTL,
    upstream::{Failure, UpstreamError},
};

/// Asks the provider, if that may be and is this lookup's to do. Returns whether
/// that ends the lookup; else another process is to be waited for.
pub(super) async fn refresh(
    state: &mut LookupState<'_>,
    mut view: BookView,
    patient: bool,
) -> bool {
    let asks = may_ask(state, &view.lease, patient);
    let owner = match view.lease {
        LeaseView::Won(owner) => Some(owner),
        _ => None,
    };
    if !asks {
        let end = owner.map(|owner| LeaseEnd::early(state.needs.provider, owner));
        state.found.write.end = end;
        let held = view.lease.of_other().is_some() && state.found.failed.is_none();
        return state.missing.is_empty() || !held;
    }
    let batch = batch(state, &view);
    let limit = state.longest_wait();
    let (shared, request) = (state.shared, state.needs.request);
    let (provider, currency) = (state.needs.provider, state.needs.currency);
    let answers = shared
        .sources
        .ask(provider, currency, &batch, limit, request)
        .await;
    if let Some(error) = answers.failed.first() {
        state.found.failed = Some(error.clone());
        shared.rate_limits.record(error, &request.cost).await;
    }
    state.found.asked = true;
    state.missing.retain(|_, missing| {
        missing.retain(|key| !batch.contains(key));
        !missing.is_empty()
    });
    state.found.answered = answers.answered;
    // What another process is refreshing is its to write.
    let other = view.lease.of_other();
    let writes = other.is_none_or(|lease| lease.is_free(state.now()));
    resolve_prices(state, &batch, &answers, &mut view.pages, writes);
    if owner.is_some() {
        forget(state, &view.pages);
    }
    end_lease(state, &batch, &answers, owner);
    true
}

/// Returns whether this lookup is to ask: it holds the lease, or has nothing to
/// answer with and no holder to wait for.
fn may_ask(state: &mut LookupState<'_>, lease: &LeaseView, patient: bool) -> bool {
    let limited = state.rate_limited_until().is_some();
    if state.missing.is_empty() || state.found.asked || !state.needs.may_ask || limited {
        return false;
    }
    let usable = |key| state.needs.keys.get(key).is_some_and(|need| need.usable);
    let mut missing = state.missing.values().flatten();
    let has_fallback = missing.all(usable);
    let now = state.now();
    match lease {
        LeaseView::Won(_) => true,
        LeaseView::Lost(lease) if lease.has_failed(now) => {
            record_recent_failure(state);
            false
        }
        LeaseView::Lost(_) => !has_fallback && !patient,
        LeaseView::Unknown if has_fallback => {
            record_recent_failure(state);
            false
        }
        LeaseView::Unknown => true,
        LeaseView::NotTried => false,
    }
}

/// Another process asked a moment ago, in vain.
fn record_recent_failure(state: &mut LookupState<'_>) {
    let failure = Failure::Unavailable("it failed a moment ago".to_owned());
    state.found.failed.get_or_insert(UpstreamError {
        upstream: state.needs.provider,
        failure,
    });
}

/// Returns what to ask for: what is needed and, where the lease is ours, what
/// else is wanted on its pages and is not young.
fn batch(state: &LookupState<'_>, view: &BookView) -> BTreeSet<QuoteKey> {
    let now = state.now();
    let window = DemandWindow::of(now);
    let last_check = |page: &StoredPage, key: &QuoteKey| {
        let known = page.prices.get(key);
        known.map(|price| price.checked_at)
    };
    let mut needed = LastChecks::new();
    for (page, keys) in &state.missing {
        for key in keys {
            let stored = view.pages.get(page);
            let stored = stored.and_then(|page| last_check(page, key));
            let own = state.needs.keys.get(key).and_then(|need| need.own);
            let own = own.map(|own| own.checked_at);
            needed.insert(key.clone(), stored.max(own));
        }
    }
    let half = state.shared.policy.price_ttl(&state.needs.terms) / 2;
    let young = |price: &Price| match price.is_unknown() {
        true => state.is_fresh(price, now),
        false => now < price.checked_at.plus(half),
    };
    let mut wanted = LastChecks::new();
    let pages = view.pages.values();
    for page in pages.filter(|_| matches!(view.lease, LeaseView::Won(_))) {
        let live = page.demand.iter().filter(|(_, at)| at.is_live_in(window));
        let due = live.filter(|(key, _)| !page.prices.get(*key).is_some_and(young));
        wanted.extend(due.map(|(key, _)| (key.clone(), last_check(page, key))));
    }
    wanted.retain(|key, _| !needed.contains_key(key));
    refresh_batch(&needed, &wanted, state.needs.terms.per_answer)
}

/// What becomes of every price that was asked for.
fn resolve_prices(
    state: &mut LookupState<'_>,
    keys: &BTreeSet<QuoteKey>,
    answers: &SourceReplies,
    pages: &mut BTreeMap<Page, StoredPage>,
    writes: bool,
) {
    let now = state.now();
    let oldest = now.minus(state.shared.policy.prices.max_usable_age());
    for key in keys {
        let page = key.page();
        let stored = pages.get_mut(&page);
        let need = state.needs.keys.get(key);
        let known = Baseline {
            before: stored.as_ref().and_then(|page| page.prices.get(key)),
            own: need
                .filter(|need| need.usable)
                .and_then(|need| need.own.as_ref()),
            oldest,
        };
        let Some(price) = answers.resolve(key, known) else {
            continue;
        };
        if let Some(refused) = price.refused {
            let (reason, said) = (refused.as_str(), answers.said.get(key));
            tracing::warn!(%key, reason, ?said, kept = %price.amount, "a price is refused");
            state.needs.request.cost.refused_price();
            state.found.refused.insert(key.clone());
        }
        if need.is_some() {
            state.found.prices.insert(key.clone(), price);
        }
        // Nothing is known of what stands on a page that cannot be read.
        if let Some(stored) = stored.filter(|_| writes) {
            stored.prices.insert(key.clone(), price);
            let write = state.found.write.pages.entry(page).or_default();
            write.prices.insert(key.clone(), price);
        }
    }
    for (page, write) in &state.found.write.pages {
        let page_cache = &state.shared.page_cache;
        page_cache.keep_prices(state.needs.currency, *page, &write.prices, now);
    }
}

/// Forgets what is neither wanted nor usable any more, of the pages that are
/// written.
fn forget(state: &mut LookupState<'_>, pages: &BTreeMap<Page, StoredPage>) {
    let now = state.now();
    let window = DemandWindow::of(now);
    let oldest = now.minus(state.shared.policy.prices.max_usable_age());
    for (page, write) in &mut state.found.write.pages {
        if let Some(stored) = pages.get(page) {
            write.forget = forgotten(stored, oldest, window);
        }
        let page_cache = &state.shared.page_cache;
        page_cache.prune(state.needs.currency, *page, oldest);
    }
}

/// Returns what of a page is older than `oldest` and not wanted any more.
fn forgotten(page: &StoredPage, oldest: Timestamp, now: DemandWindow) -> BTreeSet<QuoteKey> {
    let is_wanted = |key: &QuoteKey| page.demand.get(key).is_some_and(|at| at.is_live_in(now));
    let is_usable = |key: &QuoteKey| {
        let price = page.prices.get(key);
        price.is_some_and(|price| price.checked_at >= oldest)
    };
    let all = page.prices.keys().chain(page.demand.keys());
    all.filter(|key| !is_wanted(key) && !is_usable(key))
        .cloned()
        .collect()
}

/// Ends the lease with what is published, and tells others if the provider
/// failed.
fn end_lease(
    state: &mut LookupState<'_>,
    batch: &BTreeSet<QuoteKey>,
    answers: &SourceReplies,
    owner: Option<u64>,
) {
    let silent = batch.iter().any(|key| !answers.said.contains_key(key));
    let limited = state.rate_limited_until().is_some();
    let local = answers.failed.iter().all(|error| error.failure.is_local());
    let failed = silent && !limited && !local;
    if owner.is_none() && !failed {
        return;
    }
    let pages = &state.found.write.pages;
    let written = |(_, write): &(&Page, &PageWrite)| !write.prices.is_empty();
    let written = pages.iter().filter(written).map(|(page, _)| *page);
    let published = Publication {
        asked_at: answers.asked_at,
        pages: written.collect(),
    };
    state.found.write.end = Some(LeaseEnd {
        provider: state.needs.provider,
        owner,
        published: owner.map(|_| published),
        failed_until: failed.then(|| state.now().plus(PRICE_FAILURE_TTL)),
    });
}
