//! Asking the sources for what is missing, and what becomes of the pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Search,
    open::{OpenPage, upstream_of},
};
use crate::{
    cache::price_book::{LeaseEnd, PageState, PageWrite},
    clock::Timestamp,
    domain::{
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey, Shelf},
        refresh_batch::{PageNeeds, RefreshBatch, Standing},
    },
    service::quotes::{Answers, Known},
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// Most tokens that the fallback is asked for in one answer; the others are
/// taken by the next.
const MAX_FALLBACK: usize = 300;
/// After a source failed it is not asked for the same page again for this
/// long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

impl Search<'_> {
    /// Asks the source at most once, and gives back the pages that there is no
    /// room for meanwhile.
    pub(super) async fn ask(&mut self, open: &mut BTreeMap<Page, OpenPage>, patient: bool) {
        let plan = self.plan(open, patient);
        let back = self.give_back(&plan.give_back, open);
        let (service, request) = (self.service, self.needs.request);
        let concurrent = RequestCost::default();
        let give_back = service.write_book(self.needs.currency, &back, request, &concurrent);
        if plan.ask.is_empty() {
            give_back.await;
            request.cost.merge_concurrent(&concurrent);
            return;
        }
        let limit = self.longest_wait();
        let source = service.ask_source(
            self.needs.shelf,
            self.needs.currency,
            &plan.ask,
            limit,
            request,
        );
        let (answers, ()) = futures::join!(source, give_back);
        request.cost.merge_concurrent(&concurrent);
        if let Some(error) = answers.failed.first() {
            self.found.failed = Some(error.clone());
            service.respect(error, request).await;
        }
        self.found.asked = true;
        self.missing.retain(|_, missing| {
            missing.retain(|key| !plan.ask.contains(key));
            !missing.is_empty()
        });
        self.found.answered = self.found.answered.or(answers.answered);
        self.settle_prices(&plan.ask, &answers, open);
        self.end_leases(&plan, &answers, open);
    }

    /// Ends the leases of pages that there is no room for.
    fn give_back(
        &self,
        pages: &BTreeSet<Page>,
        open: &mut BTreeMap<Page, OpenPage>,
    ) -> BTreeMap<Page, PageWrite> {
        let (copies, now) = (&self.service.copies, self.now());
        let mut back = BTreeMap::new();
        for page in pages {
            let Some(opened) = open.get_mut(page) else {
                continue;
            };
            if let Some(owner) = opened.owner.take() {
                back.insert(*page, PageWrite::ending(LeaseEnd::early(owner)));
                let ended = |state: &mut PageState| state.until = None;
                opened.state.iter_mut().for_each(ended);
                copies.change_state(self.needs.currency, *page, now, ended);
            }
        }
        back
    }

    /// What to ask a source for: nothing if it was asked already, wants to be
    /// left alone, or is not needed.
    fn plan(&mut self, open: &BTreeMap<Page, OpenPage>, patient: bool) -> RefreshBatch {
        let (now, shelf) = (self.now(), self.needs.shelf);
        let mut pages = BTreeMap::new();
        for (page, opened) in open {
            let needed = self.missing.get(page).cloned().unwrap_or_default();
            // Whoever has nothing asks, when there is nobody to wait for.
            let need = |key| self.needs.keys.get(key);
            let hopeless = needed
                .iter()
                .any(|key| need(key).is_none_or(|need| !need.usable));
            let standing = match opened.standing(&needed, now, self.looks) {
                Some(Standing::Held { .. }) if hopeless && !patient => Standing::Free,
                Some(standing) => standing,
                None if opened.unclear && hopeless => Standing::Free,
                None => {
                    self.just_failed();
                    continue;
                }
            };
            let checked = |key| need(key)?.own.map(|own| own.checked_at);
            let oldest = needed.iter().map(checked).min().flatten();
            let needs = PageNeeds {
                standing,
                wanted: self.wanted(opened, &needed, now),
                needed,
                oldest,
            };
            pages.insert(*page, needs);
        }
        let needed = pages.values().any(|page| !page.needed.is_empty());
        let blocked = self.blocked(shelf).is_some();
        if needed && !blocked && !self.found.asked && self.needs.may_ask {
            return RefreshBatch::new(&pages, self.room(shelf));
        }
        pages.retain(|_, page| page.standing == Standing::Won);
        RefreshBatch {
            give_back: pages.into_keys().collect(),
            ..RefreshBatch::default()
        }
    }

    fn room(&self, shelf: Shelf) -> usize {
        match shelf {
            Shelf::Listed => self.service.quotes.max_ids(),
            Shelf::Unlisted => MAX_FALLBACK,
        }
    }

    /// Another process asked a moment ago, in vain.
    fn just_failed(&mut self) {
        let failure = Failure::Unavailable("it failed a moment ago".to_owned());
        self.found.failed.get_or_insert(UpstreamError {
            upstream: upstream_of(self.needs.shelf),
            failure,
        });
    }

    /// What else somebody wants on a page and is not young.
    fn wanted(
        &self,
        page: &OpenPage,
        needed: &BTreeSet<QuoteKey>,
        now: Timestamp,
    ) -> BTreeSet<QuoteKey> {
        let Some(state) = page.state.as_ref().filter(|_| !page.unread) else {
            return BTreeSet::new();
        };
        let half = self.service.ttl(self.needs.shelf) / 2;
        let mut wanted = state.wanted(DemandWindow::of(now));
        wanted.retain(|key| {
            let young = |price: &Price| match price.is_unknown() {
                true => self.service.is_fresh(price, self.needs.shelf, now),
                false => now < price.checked_at.plus(half),
            };
            let young = page.prices.get(key).is_some_and(young);
            !needed.contains(key) && !young
        });
        wanted
    }

    /// What becomes of every price that was asked for.
    fn settle_prices(
        &mut self,
        keys: &BTreeSet<QuoteKey>,
        answers: &Answers,
        open: &mut BTreeMap<Page, OpenPage>,
    ) {
        let now = self.now();
        let oldest = now.minus(self.service.policy.prices.whole());
        for key in keys {
            let page = key.page();
            let Some(opened) = open.get_mut(&page) else {
                continue;
            };
            let need = self.needs.keys.get(key);
            let known = Known {
                before: opened.prices.get(key),
                own: need
                    .filter(|need| need.usable)
                    .and_then(|need| need.own.as_ref()),
                oldest,
            };
            let Some(price) = answers.settle(key, known) else {
                continue;
            };
            if let Some(refused) = price.refused {
                let (reason, said) = (refused.as_str(), answers.said.get(key));
                tracing::warn!(%key, reason, ?said, kept = %price.amount, "a price is refused");
                self.needs.request.cost.refused_price();
                self.found.refused.insert(key.clone());
            }
            if need.is_some() {
                self.found.prices.insert(key.clone(), price);
            }
            let theirs = opened.owner.is_none()
                && opened
                    .state
                    .as_ref()
                    .is_some_and(|state| state.is_held(now));
            if !theirs && !opened.unread {
                opened.prices.insert(key.clone(), price);
                let write = self.found.writes.entry(page).or_default();
                write.prices.insert(key.clone(), price);
            }
        }
        for (page, write) in &self.found.writes {
            let copies = &self.service.copies;
            copies.keep_prices(self.needs.currency, *page, &write.prices, now);
        }
    }

    /// Ends the leases of the pages that were refreshed, or could not be, and
    /// tells others of those that could not.
    fn end_leases(
        &mut self,
        plan: &RefreshBatch,
        answers: &Answers,
        open: &mut BTreeMap<Page, OpenPage>,
    ) {
        let now = self.now();
        let slot = DemandWindow::of(now);
        let oldest = now.minus(self.service.policy.prices.whole());
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
            let limited = self.blocked(page.shelf).is_some();
            let ours = answers.failed.iter().all(|error| error.failure.is_ours());
            let failed = silent.contains(page) && !limited && !ours;
            let whole = plan.complete.contains(page) && !silent.contains(page);
            let owner = opened.owner.take();
            if owner.is_none() && !failed {
                continue;
            }
            let fresh_at = whole.then(|| opened.age(slot).unwrap_or(now));
            let write = self.found.writes.entry(*page).or_default();
            if owner.is_some() {
                write.forget = opened.forgotten(oldest, slot);
            }
            write.end = Some(LeaseEnd {
                owner,
                fresh_at: fresh_at.filter(|_| owner.is_some()),
                failed_until: failed.then(|| now.plus(FAILURE_PAUSE)),
                drop: opened.old_slots(slot),
            });
            let (copies, currency) = (&self.service.copies, self.needs.currency);
            copies.prune(currency, *page, oldest);
            copies.change_state(currency, *page, now, |state| {
                state.fresh_at = fresh_at.or(state.fresh_at);
                state.until = None;
            });
        }
    }
}
