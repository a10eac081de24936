//! The lease items of the book: one for each provider and currency.

use std::time::Duration;

use super::{LeaseEnd, LeaseState, LeaseTerms, PriceLease, Publication};
use crate::{
    cache::{
        CacheError, LEASE_SKEW_MARGIN, MAX_FAILURE_TTL, TTL_MARGIN, Table, keys,
        table::{
            item::{EXPIRES_AT, Item, number, seconds, time},
            update::UpdateExpression,
        },
    },
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{currency::Currency, price_book::PageSet, provider::Provider},
    sync::random,
    telemetry::request_cost::RequestCost,
};

const UNTIL: &str = "l_until";
const OWNER: &str = "l_owner";
const FAILED: &str = "l_fail";
const ASKED: &str = "l_asked";
const PAGES: &str = "l_pages";

/// The leases of the book.
#[derive(Clone)]
pub(super) struct Leases {
    pub table: Table,
}

impl Leases {
    /// Tries for a lease.
    pub async fn take(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<PriceLease, CacheError> {
        let token = random();
        let LeaseTerms { now, length } = terms;
        let mut update = UpdateExpression::default().returned();
        update.put(UNTIL, time(now.plus(length)));
        update.put(OWNER, number(token));
        update.put(EXPIRES_AT, expiry(now));
        let free = update.value("free", time(now.minus(LEASE_SKEW_MARGIN)));
        let latest = |length: Duration| time(now.plus(length).plus(MAX_CLOCK_SKEW));
        let too_long = update.value("too_long", latest(length));
        let failed_too_long = update.value("failed_too_long", latest(MAX_FAILURE_TTL));
        let first = update.value("now", time(now));
        // An attribute of another type is as good as none, and so is a time
        // that no right clock can have written.
        let numeric = update.numeric();
        update.require(format!(
            "NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < {free} OR {UNTIL} > {too_long}"
        ));
        update.require(format!(
            "NOT attribute_type({FAILED}, {numeric}) OR {FAILED} <= {first} \
             OR {FAILED} > {failed_too_long}"
        ));
        let partition = keys::price_lease(currency, provider);
        let sent = self
            .table
            .update(partition, keys::PRICE_LEASE, update, cost);
        Ok(match sent.await? {
            Ok(item) => PriceLease::Won(token, read_state(&item, terms)),
            Err(item) => {
                let state = read_state(&item, terms);
                // A retry within the client, after an attempt that was carried
                // out but not heard of.
                match state.owner == Some(token) {
                    true => PriceLease::Won(token, state),
                    false => PriceLease::Lost(state),
                }
            }
        })
    }

    /// Ends a lease; one that is lost already stays as it is.
    pub async fn end(
        &self,
        currency: Currency,
        end: &LeaseEnd,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        update.put(EXPIRES_AT, expiry(now));
        if let Some(published) = end.published {
            update.put(ASKED, time(published.asked_at));
            update.put(PAGES, number(published.pages.0));
        }
        if let Some(until) = end.failed_until {
            update.put(FAILED, time(until));
        }
        if let Some(owner) = end.owner {
            update.remove(UNTIL);
            let owner = update.value("owner", number(owner));
            update.require(format!("{OWNER} = {owner}"));
        }
        let partition = keys::price_lease(currency, end.provider);
        let sent = self
            .table
            .update(partition, keys::PRICE_LEASE, update, cost);
        sent.await.map(drop)
    }

    /// Reads a lease's item.
    pub async fn state(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<LeaseState, CacheError> {
        let partition = keys::price_lease(currency, provider);
        let item = self.table.get(partition, keys::PRICE_LEASE, cost).await?;
        Ok(read_state(&item.unwrap_or_default(), terms))
    }
}

/// Returns the TTL of a lease's item.
fn expiry(now: Timestamp) -> aws_sdk_dynamodb::types::AttributeValue {
    seconds(now.plus(TTL_MARGIN))
}

/// Returns what an item tells, without times that no right clock can have
/// written.
fn read_state(item: &Item, terms: LeaseTerms) -> LeaseState {
    let published = item.time(ASKED).zip(item.number(PAGES));
    let state = LeaseState {
        until: item.time(UNTIL),
        owner: item.number(OWNER),
        failed_until: item.time(FAILED),
        published: published.map(|(asked_at, pages)| Publication {
            asked_at,
            pages: PageSet(pages),
        }),
    };
    state.plausible(terms.now, terms.length)
}
