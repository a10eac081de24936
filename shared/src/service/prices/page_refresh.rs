//! Asking a source for what is missing, and what becomes of the pages.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    page::PageView,
    sources::{Baseline, SourceReplies},
    state::LookupState,
};
use crate::{
    cache::price_book::{LeaseEnd, PageState, PageWrite},
    clock::Timestamp,
    domain::{
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
        refresh_batch::{LeaseStatus, PageNeeds, RefreshBatch},
    },
    service::policy::PAGE_FAILURE_TTL,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// Asks the source at most once, and gives back the pages that there is no
/// room for meanwhile.
pub(super) async fn ask(
    state: &mut LookupState<'_>,
    open: &mut BTreeMap<Page, PageView>,
    patient: bool,
) {
    let plan = plan(state, open, patient);
    let back = release_leases(state, &plan.release, open);
    let (shared, request) = (state.shared, state.needs.request);
    let concurrent = RequestCost::default();
    let released = shared.write_book(state.needs.currency, &back, request, &concurrent);
    if plan.ask.is_empty() {
        released.await;
        request.cost.merge_concurrent(&concurrent);
        return;
    }
    let limit = state.longest_wait();
    let source = shared.sources.ask(
        state.needs.provider,
        state.needs.currency,
        &plan.ask,
        limit,
        request,
    );
    let (answers, ()) = futures::join!(source, released);
    request.cost.merge_concurrent(&concurrent);
    if let Some(error) = answers.failed.first() {
        state.found.failed = Some(error.clone());
        shared.rate_limits.record(error, &request.cost).await;
    }
    state.found.asked = true;
    state.missing.retain(|_, missing| {
        missing.retain(|key| !plan.ask.contains(key));
        !missing.is_empty()
    });
    state.found.answered = state.found.answered.or(answers.answered);
    resolve_prices(state, &plan.ask, &answers, open);
    end_leases(state, &plan, &answers, open);
}

/// Ends the leases of pages that there is no room for.
fn release_leases(
    state: &LookupState<'_>,
    pages: &BTreeSet<Page>,
    open: &mut BTreeMap<Page, PageView>,
) -> BTreeMap<Page, PageWrite> {
    let (page_cache, now) = (&state.shared.page_cache, state.now());
    let mut back = BTreeMap::new();
    for page in pages {
        let Some(opened) = open.get_mut(page) else {
            continue;
        };
        if let Some(owner) = opened.owner.take() {
            back.insert(*page, PageWrite::ending(LeaseEnd::early(owner)));
            let ended = |state: &mut PageState| state.until = None;
            opened.state.iter_mut().for_each(ended);
            page_cache.change_state(state.needs.currency, *page, now, ended);
        }
    }
    back
}

/// What to ask a source for: nothing if it was asked already, wants to be
/// rate limited, or is not needed.
fn plan(
    state: &mut LookupState<'_>,
    open: &BTreeMap<Page, PageView>,
    patient: bool,
) -> RefreshBatch {
    let now = state.now();
    let mut pages = BTreeMap::new();
    for (page, opened) in open {
        let needed = state.missing.get(page).cloned().unwrap_or_default();
        // A request that has nothing to answer with asks, when there is no
        // holder to wait for.
        let need = |key| state.needs.keys.get(key);
        let has_no_fallback = needed
            .iter()
            .any(|key| need(key).is_none_or(|need| !need.usable));
        let lease_status = match opened.lease_status(&needed, now, state.polls) {
            Some(LeaseStatus::HeldByOther { .. }) if has_no_fallback && !patient => {
                LeaseStatus::Unleased
            }
            Some(lease_status) => lease_status,
            None if opened.lease_unknown && has_no_fallback => LeaseStatus::Unleased,
            None => {
                record_recent_failure(state);
                continue;
            }
        };
        let checked = |key| need(key)?.own.map(|own| own.checked_at);
        let oldest = needed.iter().map(checked).min().flatten();
        let needs = PageNeeds {
            lease_status,
            wanted: wanted(state, opened, &needed, now),
            needed,
            oldest,
        };
        pages.insert(*page, needs);
    }
    let needed = pages.values().any(|page| !page.needed.is_empty());
    let rate_limited_until = state.rate_limited_until().is_some();
    if needed && !rate_limited_until && !state.found.asked && state.needs.may_ask {
        return RefreshBatch::new(&pages, state.needs.terms.per_answer);
    }
    pages.retain(|_, page| page.lease_status == LeaseStatus::Acquired);
    RefreshBatch {
        release: pages.into_keys().collect(),
        ..RefreshBatch::default()
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

/// Returns what else is wanted on a page and is not young.
fn wanted(
    state: &LookupState<'_>,
    page: &PageView,
    needed: &BTreeSet<QuoteKey>,
    now: Timestamp,
) -> BTreeSet<QuoteKey> {
    let Some(of_page) = page.state.as_ref().filter(|_| !page.read_failed) else {
        return BTreeSet::new();
    };
    let half = state.shared.policy.price_ttl(&state.needs.terms) / 2;
    let mut wanted = of_page.wanted(DemandWindow::of(now));
    wanted.retain(|key| {
        let young = |price: &Price| match price.is_unknown() {
            true => state.is_fresh(price, now),
            false => now < price.checked_at.plus(half),
        };
        let young = page.prices.get(key).is_some_and(young);
        !needed.contains(key) && !young
    });
    wanted
}

/// What becomes of every price that was asked for.
fn resolve_prices(
    state: &mut LookupState<'_>,
    keys: &BTreeSet<QuoteKey>,
    answers: &SourceReplies,
    open: &mut BTreeMap<Page, PageView>,
) {
    let now = state.now();
    let oldest = now.minus(state.shared.policy.prices.max_usable_age());
    for key in keys {
        let page = key.page();
        let Some(opened) = open.get_mut(&page) else {
            continue;
        };
        let need = state.needs.keys.get(key);
        let known = Baseline {
            before: opened.prices.get(key),
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
        let theirs = opened.owner.is_none()
            && opened
                .state
                .as_ref()
                .is_some_and(|state| state.is_held(now));
        if !theirs && !opened.read_failed {
            opened.prices.insert(key.clone(), price);
            let write = state.found.writes.entry(page).or_default();
            write.prices.insert(key.clone(), price);
        }
    }
    for (page, write) in &state.found.writes {
        let page_cache = &state.shared.page_cache;
        page_cache.keep_prices(state.needs.currency, *page, &write.prices, now);
    }
}

/// Ends the leases of the pages that were refreshed, or could not be, and
/// tells others of those that could not.
fn end_leases(
    state: &mut LookupState<'_>,
    plan: &RefreshBatch,
    answers: &SourceReplies,
    open: &mut BTreeMap<Page, PageView>,
) {
    let now = state.now();
    let window = DemandWindow::of(now);
    let oldest = now.minus(state.shared.policy.prices.max_usable_age());
    let asked = plan.ask.iter().map(QuoteKey::page);
    let pages: BTreeSet<Page> = asked.chain(plan.complete.iter().copied()).collect();
    let silent = plan
        .ask
        .iter()
        .filter(|key| !answers.said.contains_key(*key));
    let silent: BTreeSet<Page> = silent.map(QuoteKey::page).collect();
    for page in &pages {
        let Some(opened) = open.get_mut(page) else {
            continue;
        };
        let limited = state.rate_limited_until().is_some();
        let ours = answers.failed.iter().all(|error| error.failure.is_local());
        let failed = silent.contains(page) && !limited && !ours;
        let whole = plan.complete.contains(page) && !silent.contains(page);
        let owner = opened.owner.take();
        if owner.is_none() && !failed {
            continue;
        }
        let fresh_at = whole.then(|| opened.age(window).unwrap_or(now));
        let write = state.found.writes.entry(*page).or_default();
        if owner.is_some() {
            write.forget = opened.forgotten(oldest, window);
        }
        write.end = Some(LeaseEnd {
            owner,
            fresh_at: fresh_at.filter(|_| owner.is_some()),
            failed_until: failed.then(|| now.plus(PAGE_FAILURE_TTL)),
            drop: opened.expired_windows(window),
        });
        let (page_cache, currency) = (&state.shared.page_cache, state.needs.currency);
        page_cache.prune(currency, *page, oldest);
        page_cache.change_state(currency, *page, now, |state| {
            state.fresh_at = fresh_at.or(state.fresh_at);
            state.until = None;
        });
    }
}
