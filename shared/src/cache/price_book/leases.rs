//! The lease items of pages, and what is wanted on them.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{LeaseEnd, LeaseTerms, PageLease, PageState};
use crate::{
    cache::{
        CacheError, LEASE_SKEW_MARGIN, MAX_FAILURE_TTL, TTL_MARGIN, Table, keys,
        table::{
            item::{EXPIRES_AT, Item, number, seconds, time},
            update::UpdateExpression,
        },
    },
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{
        currency::Currency,
        price_book::{DemandWindow, Page, QuoteKey},
        provider::Provider,
    },
    sync::random,
    telemetry::request_cost::RequestCost,
};

/// Old slots that one update drops.
const DROP: usize = 100;

pub(super) const UNTIL: &str = "l_until";
const OWNER: &str = "l_owner";
const HELD_PAGES: &str = "l_n";
const FAILED: &str = "l_fail";
const FRESH: &str = "l_fresh";
/// Followed by the slot's number.
const WANTED: &str = "w";

/// The lease items of all pages.
#[derive(Clone)]
pub(super) struct Leases {
    pub table: Table,
    /// How long prices are kept.
    pub retention: Duration,
}

impl Leases {
    /// Returns the TTL of what is written at `now`.
    pub fn expiry(&self, now: Timestamp) -> AttributeValue {
        let wanted = Duration::from_secs(900);
        seconds(now.plus(self.retention.max(wanted)).plus(TTL_MARGIN))
    }

    /// Tries for a page's lease, noting what is wanted if it is won.
    pub(super) async fn take(
        &self,
        currency: Currency,
        page: Page,
        wanted: &BTreeSet<QuoteKey>,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<PageLease, CacheError> {
        let token = random();
        let now = terms.now;
        let mut update = UpdateExpression::default().returned();
        update.put(UNTIL, time(now.plus(terms.length)));
        update.put(OWNER, number(token));
        update.put(HELD_PAGES, number(terms.pages));
        self.note(&mut update, wanted, now);
        let free = update.value("free", time(now.minus(LEASE_SKEW_MARGIN)));
        let stale = update.value("stale", time(terms.fresh_after));
        let wrong = update.value("wrong", time(now.plus(MAX_CLOCK_SKEW)));
        let latest = |length: Duration| time(now.plus(length).plus(MAX_CLOCK_SKEW));
        let too_long = update.value("too_long", latest(terms.length));
        let failed_too_long = update.value("failed_too_long", latest(MAX_FAILURE_TTL));
        let first = update.value("now", time(now));
        // An attribute of another type is as good as none, and so is a time
        // that no right clock can have written.
        let numeric = update.numeric();
        update.require(format!(
            "NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < {free} OR {UNTIL} > {too_long}"
        ));
        update.require(format!(
            "NOT attribute_type({FRESH}, {numeric}) OR {FRESH} <= {stale} OR {FRESH} > {wrong}"
        ));
        update.require(format!(
            "NOT attribute_type({FAILED}, {numeric}) OR {FAILED} <= {first} \
             OR {FAILED} > {failed_too_long}"
        ));
        let read = |item: &Item| {
            read_state(page.provider, item).without_future_timestamps(now, terms.length)
        };
        Ok(match self.change(currency, page, update, cost).await? {
            Ok(item) => PageLease::Won(token, read(&item)),
            Err(item) => {
                let state = read(&item);
                // A retry within the client, after an attempt that was carried
                // out but not heard of.
                if state.owner == Some(token) {
                    PageLease::Won(token, state)
                } else {
                    PageLease::Lost(state)
                }
            }
        })
    }

    /// Adds what is wanted to the present slot's set, and drops slots that
    /// count no more: an item that is only ever noted to must not grow.
    fn note(&self, update: &mut UpdateExpression, wanted: &BTreeSet<QuoteKey>, now: Timestamp) {
        let window = DemandWindow::of(now);
        update.put(EXPIRES_AT, self.expiry(now));
        for gone in window.expired() {
            update.remove(wanted_in(gone));
        }
        if !wanted.is_empty() {
            let texts = wanted.iter().map(ToString::to_string).collect();
            let texts = update.value("wanted", AttributeValue::Ss(texts));
            update.add(wanted_in(window), texts);
        }
    }

    /// Notes what is wanted on a page that is not ours.
    pub(super) async fn note_alone(
        &self,
        currency: Currency,
        page: Page,
        wanted: &BTreeSet<QuoteKey>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        self.note(&mut update, wanted, now);
        self.change(currency, page, update, cost).await.map(drop)
    }

    /// Ends a lease; one that is lost already stays as it is.
    pub(super) async fn end(
        &self,
        currency: Currency,
        page: Page,
        end: &LeaseEnd,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        for (attribute, moment) in [(FRESH, end.fresh_at), (FAILED, end.failed_until)] {
            if let Some(moment) = moment {
                update.put(attribute, time(moment));
            }
        }
        for window in end.drop.iter().take(DROP) {
            update.remove(wanted_in(*window));
        }
        if let Some(owner) = end.owner {
            update.remove(UNTIL);
            update.remove(HELD_PAGES);
            only_of(&mut update, owner);
        }
        self.change(currency, page, update, cost).await.map(drop)
    }

    /// Takes back that a page is fresh, because its prices are not there.
    pub(super) async fn invalidate_page(
        &self,
        currency: Currency,
        page: Page,
        owner: u64,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        update.remove(FRESH);
        only_of(&mut update, owner);
        self.change(currency, page, update, cost).await.map(drop)
    }

    /// Changes a page's lease item.
    async fn change(
        &self,
        currency: Currency,
        page: Page,
        update: UpdateExpression,
        cost: &RequestCost,
    ) -> Result<Result<Item, Item>, CacheError> {
        let partition = keys::page(currency, page);
        let sent = self.table.update(partition, keys::PAGE_LEASE, update, cost);
        sent.await
    }
}

/// The change is made only while `owner` was the last to take the lease.
fn only_of(update: &mut UpdateExpression, owner: u64) {
    let owner = update.value("owner", number(owner));
    update.require(format!("{OWNER} = {owner}"));
}

/// The attribute that holds what was wanted in a slot.
fn wanted_in(window: DemandWindow) -> String {
    format!("{WANTED}{}", window.0)
}

/// Reads a lease item of one of the provider's pages.
pub(super) fn read_state(provider: Provider, item: &Item) -> PageState {
    let window = |name: &str| {
        let window = DemandWindow(name.strip_prefix(WANTED)?.parse().ok()?);
        let keys = item.texts(name)?.iter();
        Some((
            window,
            keys.map(|key| QuoteKey::parse(provider, key)).collect(),
        ))
    };
    PageState {
        until: item.time(UNTIL),
        owner: item.number(OWNER),
        pages: item.number(HELD_PAGES).unwrap_or(0),
        failed_until: item.time(FAILED),
        fresh_at: item.time(FRESH),
        wanted: item.names().filter_map(window).collect(),
    }
}
