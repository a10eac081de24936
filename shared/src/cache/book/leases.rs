//! The lease items of pages, and what is wanted on them.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Book, LeaseEnd, LeaseTerms, PageLease, PageState, table::MAX_SKEW};
use crate::{
    cache::{
        CacheError,
        calls::Update,
        items::{EXPIRES_AT, Item, number, time},
        keys,
    },
    clock::Timestamp,
    domain::{
        book::{BookKey, Page, Slot},
        currency::Currency,
    },
    usage::Usage,
};

/// Clocks of different machines may differ by this much.
const SKEW: Duration = Duration::from_millis(500);
/// Old slots that one update drops.
const DROP: usize = 100;

pub(super) const UNTIL: &str = "l_until";
const OWNER: &str = "l_owner";
const HELD_PAGES: &str = "l_n";
const FAILED: &str = "l_fail";
const FRESH: &str = "l_fresh";
/// Followed by the slot's number.
const WANTED: &str = "w";

impl Book {
    pub(super) async fn take(
        &self,
        currency: Currency,
        page: Page,
        wanted: &BTreeSet<BookKey>,
        terms: LeaseTerms,
        usage: &Usage,
    ) -> Result<PageLease, CacheError> {
        let token = RandomState::new().hash_one((terms.now.as_millis(), page));
        let mut update = Update {
            returned: true,
            ..Update::default()
        };
        let until = update.value("until", time(terms.now.plus(terms.length)));
        let owner = update.value("owner", number(token));
        let pages = update.value("n", number(terms.pages));
        let expires = update.value("e", self.expiry(terms.now));
        let free = update.value("free", time(terms.now.minus(SKEW)));
        let stale = update.value("stale", time(terms.fresh_after));
        let now = update.value("now", time(terms.now));
        let wrong = update.value("wrong", time(terms.now.plus(MAX_SKEW)));
        let numeric = update.value("numeric", AttributeValue::S("N".to_owned()));
        update.expression = format!(
            "SET {UNTIL} = {until}, {OWNER} = {owner}, {HELD_PAGES} = {pages}, {EXPIRES_AT} = {expires}"
        );
        self.note(&mut update, wanted, terms.now);
        // An attribute of another type is as good as none.
        update.condition = format!(
            "(NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < {free}) \
             AND (NOT attribute_type({FRESH}, {numeric}) OR {FRESH} <= {stale} OR {FRESH} > {wrong}) \
             AND (NOT attribute_type({FAILED}, {numeric}) OR {FAILED} <= {now})"
        );
        let partition = keys::page(currency, page);
        let sent = self
            .table
            .update(partition, keys::PAGE_LEASE, update, usage);
        Ok(match sent.await? {
            Ok(item) => PageLease::Won(token, read_state(&item)),
            Err(item) => {
                let state = read_state(&item);
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
    fn note(&self, update: &mut Update, wanted: &BTreeSet<BookKey>, now: Timestamp) {
        let gone = Slot::of(now)
            .gone()
            .map(|slot| format!("{WANTED}{}", slot.0));
        let gone: Vec<String> = gone.collect();
        update
            .expression
            .push_str(&format!(" REMOVE {}", gone.join(", ")));
        if wanted.is_empty() {
            return;
        }
        let texts = wanted.iter().map(ToString::to_string).collect();
        let texts = update.value("wanted", AttributeValue::Ss(texts));
        let addition = format!(" ADD {WANTED}{} {texts}", Slot::of(now).0);
        update.expression.push_str(&addition);
    }

    pub(super) async fn note_alone(
        &self,
        currency: Currency,
        page: Page,
        wanted: &BTreeSet<BookKey>,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        let mut update = Update::default();
        let expires = update.value("e", self.expiry(now));
        update.expression = format!("SET {EXPIRES_AT} = {expires}");
        self.note(&mut update, wanted, now);
        let partition = keys::page(currency, page);
        let sent = self
            .table
            .update(partition, keys::PAGE_LEASE, update, usage);
        sent.await.map(drop)
    }

    pub(super) async fn end(
        &self,
        currency: Currency,
        page: Page,
        end: &LeaseEnd,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        let mut update = Update::default();
        let mut set = Vec::new();
        for (attribute, value) in [(FRESH, end.fresh_at), (FAILED, end.failed_until)] {
            if let Some(value) = value {
                let value = update.value(attribute, time(value));
                set.push(format!("{attribute} = {value}"));
            }
        }
        let old = end.drop.iter().take(DROP);
        let mut remove: Vec<String> = old.map(|slot| format!("{WANTED}{}", slot.0)).collect();
        if let Some(owner) = end.owner {
            remove.extend([UNTIL.to_owned(), HELD_PAGES.to_owned()]);
            let owner = update.value("owner", number(owner));
            update.condition = format!("{OWNER} = {owner}");
        }
        for (word, list) in [("SET", set), ("REMOVE", remove)] {
            if !list.is_empty() {
                let clause = format!("{word} {} ", list.join(", "));
                update.expression.push_str(&clause);
            }
        }
        let partition = keys::page(currency, page);
        let sent = self
            .table
            .update(partition, keys::PAGE_LEASE, update, usage);
        // Lost already: then there is nothing to end.
        sent.await.map(drop)
    }

    /// Takes back that a page is fresh, because its prices are not there.
    pub(super) async fn not_fresh(
        &self,
        currency: Currency,
        page: Page,
        end: &LeaseEnd,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        let mut update = Update::default();
        let owner = update.value("owner", number(end.owner.unwrap_or(0)));
        update.expression = format!("REMOVE {FRESH}");
        update.condition = format!("{OWNER} = {owner}");
        let partition = keys::page(currency, page);
        let sent = self
            .table
            .update(partition, keys::PAGE_LEASE, update, usage);
        sent.await.map(drop)
    }
}

pub(super) fn read_state(item: &Item) -> PageState {
    let slot = |name: &str| {
        let slot = Slot(name.strip_prefix(WANTED)?.parse().ok()?);
        let keys = item.texts(name)?.iter();
        Some((slot, keys.filter_map(|key| BookKey::parse(key)).collect()))
    };
    PageState {
        until: item.time(UNTIL),
        owner: item.number(OWNER),
        pages: item.number(HELD_PAGES).unwrap_or(0),
        failed_until: item.time(FAILED),
        fresh_at: item.time(FRESH),
        wanted: item.names().filter_map(slot).collect(),
    }
}
