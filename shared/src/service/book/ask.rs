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
    cache::book::{LeaseEnd, PageWrite},
    clock::Timestamp,
    domain::{
        book::{BookKey, Page, PageNeeds, Plan, Shelf, Slot, Standing},
        upstream::Upstream,
    },
    service::quotes::{Answers, settle},
    upstream::{Failure, UpstreamError},
    usage::Usage,
};

/// Most tokens that the fallback is asked for in one answer; the others are
/// taken by the next.
const MAX_FALLBACK: usize = 300;
/// After a source failed it is not asked for the same page again for this
/// long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

type Plans = BTreeMap<Shelf, Plan>;

impl Search<'_> {
    /// Asks each source at most once, and gives back the pages that there is
    /// no room for meanwhile.
    pub(super) async fn ask(&mut self, open: &mut BTreeMap<Page, OpenPage>, patient: bool) {
        let plans: Plans = [Shelf::Listed, Shelf::Unlisted]
            .into_iter()
            .map(|shelf| (shelf, self.plan(shelf, open, patient)))
            .collect();
        let keys: BTreeSet<BookKey> = plans.values().flat_map(|it| it.ask.clone()).collect();
        let mut back = BTreeMap::new();
        for page in plans.values().flat_map(|plan| &plan.give_back) {
            let owner = open.get_mut(page).and_then(|opened| opened.owner.take());
            let end = owner.map(LeaseEnd::early);
            back.extend(end.map(|end| (*page, PageWrite::ending(end))));
        }
        let (service, request) = (self.service, self.needs.request);
        let aside = Usage::default();
        let give_back = service.write_book(self.needs.currency, &back, &aside);
        if keys.is_empty() {
            give_back.await;
            request.usage.add_aside(&aside);
            return;
        }
        let sources = service.ask_sources(self.needs.currency, &keys, request);
        let (answers, ()) = futures::join!(sources, give_back);
        request.usage.add_aside(&aside);
        for error in &answers.failed {
            service.respect(error, request).await;
            match error.upstream {
                Upstream::DefiLlama => self.found.fallback_failed = true,
                _ => self.found.failed = Some(error.clone()),
            }
        }
        self.asked.extend(keys.iter().map(|key| key.page().shelf));
        self.missing.retain(|_, missing| {
            missing.retain(|key| !keys.contains(key));
            !missing.is_empty()
        });
        let answered = answers.answered.first().copied();
        self.found.answered = self.found.answered.or(answered);
        self.settle_prices(&keys, &answers, open);
        self.end_leases(&plans, &answers, open);
    }

    /// What to ask a source for: nothing if it was asked already, wants to be
    /// left alone, or is not needed.
    fn plan(&mut self, shelf: Shelf, open: &BTreeMap<Page, OpenPage>, patient: bool) -> Plan {
        let now = self.now();
        let mut pages = BTreeMap::new();
        for (page, opened) in open.iter().filter(|(page, _)| page.shelf == shelf) {
            let needed = self.missing.get(page).cloned().unwrap_or_default();
            let Some(mut standing) = opened.standing(&needed, now, self.looks) else {
                self.just_failed(shelf);
                continue;
            };
            // Whoever cannot wait any longer and has nothing asks anyway.
            let has_price = |key| self.needs.keys.get(key).is_some_and(|need| need.usable);
            if !patient && !needed.iter().all(has_price) && standing != Standing::Won {
                standing = Standing::Free;
            }
            let wanted = self.wanted(opened, &needed, now);
            let needs = PageNeeds {
                standing,
                needed,
                wanted,
            };
            pages.insert(*page, needs);
        }
        let needed = pages.values().any(|page| !page.needed.is_empty());
        let blocked = self.service.blocked(shelf, now).is_some();
        if needed && !blocked && !self.asked.contains(&shelf) {
            return Plan::new(&pages, self.room(shelf));
        }
        pages.retain(|_, page| page.standing == Standing::Won);
        Plan {
            give_back: pages.into_keys().collect(),
            ..Plan::default()
        }
    }

    fn room(&self, shelf: Shelf) -> usize {
        match shelf {
            Shelf::Listed => self.service.quotes.max_ids(),
            Shelf::Unlisted => MAX_FALLBACK,
        }
    }

    /// Somebody else asked a moment ago, in vain.
    fn just_failed(&mut self, shelf: Shelf) {
        if shelf == Shelf::Unlisted {
            self.found.fallback_failed = true;
            return;
        }
        let failure = Failure::Unavailable("it failed a moment ago".to_owned());
        self.found.failed.get_or_insert(UpstreamError {
            upstream: Upstream::CoinMarketCap,
            failure,
        });
    }

    /// What else somebody wants on a page and is not young.
    fn wanted(
        &self,
        page: &OpenPage,
        needed: &BTreeSet<BookKey>,
        now: Timestamp,
    ) -> BTreeSet<BookKey> {
        let Some(state) = &page.state else {
            return BTreeSet::new();
        };
        let half = self.service.policy.prices.ttl / 2;
        let mut wanted = state.wanted(Slot::of(now));
        wanted.retain(|key| {
            let young = page
                .prices
                .get(key)
                .is_some_and(|price| match price.is_known() {
                    true => now < price.checked_at.plus(half),
                    false => self.service.is_fresh(price, now),
                });
            !needed.contains(key) && !young
        });
        wanted
    }

    /// What becomes of every price that was asked for.
    fn settle_prices(
        &mut self,
        keys: &BTreeSet<BookKey>,
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
            if !answers.came_from(upstream_of(page.shelf)) {
                continue;
            }
            let need = self.needs.keys.get(key);
            let own = need.and_then(|need| need.own.as_ref());
            let said = answers.said.get(key);
            let price = settle(key, said, opened.prices.get(key), own, oldest, now);
            if let Some(refused) = price.refused {
                let reason = refused.as_str();
                tracing::warn!(%key, reason, ?said, kept = %price.amount, "a price is refused");
                self.needs.request.usage.refused_price();
            }
            if need.is_some() {
                self.found.prices.insert(key.clone(), price);
            }
            let alone = BTreeSet::from([key.clone()]);
            let theirs = opened.is_held(&alone, now, self.looks);
            // Of what nobody vouches for, the book keeps prices only.
            if !theirs && (price.is_known() || need.is_none_or(|need| need.notable)) {
                opened.prices.insert(key.clone(), price);
                let write = self.found.writes.entry(page).or_default();
                write.prices.insert(key.clone(), price);
                let kept = [(key, &price)];
                let copies = &self.service.copies;
                copies.keep_prices(self.needs.currency, page, kept, now);
            }
        }
    }

    /// Ends the leases of the pages that were refreshed, or could not be.
    fn end_leases(
        &mut self,
        plans: &Plans,
        answers: &Answers,
        open: &mut BTreeMap<Page, OpenPage>,
    ) {
        let now = self.now();
        let slot = Slot::of(now);
        let oldest = now.minus(self.service.policy.prices.whole());
        let won = plans.values().flat_map(|plan| {
            let whole = plan.complete.iter().map(|page| (*page, true));
            whole.chain(plan.partial.iter().map(|page| (*page, false)))
        });
        for (page, whole) in won {
            let Some(opened) = open.get_mut(&page) else {
                continue;
            };
            let Some(owner) = opened.owner.take() else {
                continue;
            };
            let upstream = upstream_of(page.shelf);
            let answered = answers.came_from(upstream);
            let limited = self.service.blocked(page.shelf, now).is_some();
            let fresh_at = (whole && answered).then(|| opened.age(slot).unwrap_or(now));
            let write = self.found.writes.entry(page).or_default();
            write.forget = opened.forgotten(oldest, slot);
            write.end = Some(LeaseEnd {
                owner,
                fresh_at,
                failed_until: (!answered && !limited).then(|| now.plus(FAILURE_PAUSE)),
                drop: opened.old_slots(slot),
            });
            let (copies, currency) = (&self.service.copies, self.needs.currency);
            copies.prune(currency, page, oldest);
            copies.change_state(currency, page, now, |state| {
                state.fresh_at = fresh_at.or(state.fresh_at);
                state.until = None;
            });
        }
    }
}
