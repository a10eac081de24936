//! The book in DynamoDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream};

use super::{
    LeaseTerms, PageLease, PageState, PageWrite, PriceBook, Prices,
    encoding::{pack, unpack},
    leases::{Leases, read_state},
};
use crate::{
    cache::{
        CacheError, Table, keys,
        table::item::{EXPIRES_AT, Item, bytes, time},
        table::update::UpdateExpression,
    },
    clock::Timestamp,
    domain::{
        currency::Currency,
        price::Price,
        price_book::{Page, QuoteKey},
        provider::Provider,
    },
    telemetry::request_cost::RequestCost,
};

/// Prices in one update: expressions end at 4 KB and at 300 operators.
const UPDATE: usize = 200;
/// Forgotten prices in one update.
const FORGET: usize = 50;
/// Calls at a time: each needs a connection of its own.
const CONCURRENCY: usize = 32;
/// Tries to merge with newer prices before they are left to the next refresh.
const MERGE_ATTEMPTS: usize = 3;

/// When the newest price of a page was asked for.
const NEWEST: &str = "t";

/// The book in DynamoDB.
#[derive(Clone)]
pub struct DynamoPriceBook {
    table: Table,
    leases: Leases,
}

impl DynamoPriceBook {
    /// The book in `table`, whose prices are kept for `retention`.
    pub fn new(table: Table, retention: Duration) -> Self {
        let leases = Leases {
            table: table.clone(),
            retention,
        };
        Self { table, leases }
    }

    async fn items(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        sort: &'static str,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, Item>, CacheError> {
        let wanted = pages.iter().map(|page| (keys::page(currency, *page), sort));
        let (items, unread) = self.table.batch_get(wanted, consistent, cost).await?;
        let page_of = |item: &Item| item.text("pk").and_then(keys::read_page);
        // What does not exist is an empty item; of what was left out nothing
        // is known.
        let mut found: BTreeMap<Page, Item> =
            pages.iter().map(|page| (*page, Item::default())).collect();
        for page in unread.iter().filter_map(page_of) {
            found.remove(&page);
        }
        for item in items {
            if let Some(page) = page_of(&item) {
                found.insert(page, item);
            }
        }
        Ok(found)
    }

    /// Merges prices into a page. The page remembers when its newest price was
    /// asked for: a writer with older ones reads what is there first.
    async fn merge(
        &self,
        currency: Currency,
        page: Page,
        prices: &[(&QuoteKey, &Price)],
        forget: &[&QuoteKey],
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let times = || prices.iter().map(|(_, price)| price.checked_at);
        let (Some(oldest), Some(mut newest)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let mut ours = prices.to_vec();
        let mut seen: Option<Timestamp> = None;
        for _ in 0..MERGE_ATTEMPTS {
            let mut update = UpdateExpression::default();
            for (at, (key, price)) in ours.iter().enumerate() {
                let name = update.name(&at.to_string(), &key.to_string());
                let value = update.value(&at.to_string(), bytes(&pack(price)));
                update.set(&name, value);
            }
            update.put(NEWEST, time(newest));
            update.put(EXPIRES_AT, self.leases.expiry(now));
            match seen {
                None => {
                    // Only now: what others have written meanwhile is not
                    // looked through for what to forget.
                    for (at, key) in forget.iter().enumerate() {
                        let name = update.name(&format!("r{at}"), &key.to_string());
                        update.remove(name);
                    }
                    let oldest = update.value("oldest", time(oldest));
                    update.require(format!(
                        "attribute_not_exists({NEWEST}) OR {NEWEST} <= {oldest}"
                    ));
                }
                Some(seen) => {
                    let seen = update.value("seen", time(seen));
                    update.require(format!("{NEWEST} = {seen}"));
                }
            }
            let partition = keys::page(currency, page);
            let sent = self.table.update(partition, keys::PAGE, update, cost);
            let Err(there) = sent.await? else {
                return Ok(());
            };
            let stored = read_prices(page.provider, &there);
            ours.retain(|(key, price)| {
                let there = stored.get(*key).map(|there| there.checked_at);
                there.is_none_or(|there| there < price.checked_at || there.is_in_the_future(now))
            });
            if ours.is_empty() {
                return Ok(());
            }
            // Moved on with every write, so that of two that have seen the
            // same only one is made.
            seen = Some(there.time(NEWEST).unwrap_or_default());
            let next = seen
                .filter(|seen| !seen.is_in_the_future(now))
                .unwrap_or_default();
            newest = newest.max(next.plus(Duration::from_millis(1)));
        }
        Err(CacheError {
            operation: "UpdateItem",
            reason: "prices were replaced too often to be merged".to_owned(),
        })
    }
}

fn read_prices(provider: Provider, item: &Item) -> Prices {
    let price = |name: &str| {
        let key = QuoteKey::parse(provider, name);
        match unpack(item.bytes(name)?) {
            Ok(price) => Some((key, price)),
            Err(error) => {
                tracing::debug!(%key, %error, "a price of the book cannot be read");
                None
            }
        }
    };
    item.names().filter_map(price).collect()
}

#[async_trait]
impl PriceBook for DynamoPriceBook {
    async fn read(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, Prices>, CacheError> {
        let items = self.items(currency, pages, keys::PAGE, consistent, cost);
        let items = items.await?.into_iter();
        Ok(items
            .map(|(page, item)| (page, read_prices(page.provider, &item)))
            .collect())
    }

    async fn lease(
        &self,
        currency: Currency,
        wanted: &BTreeMap<Page, BTreeSet<QuoteKey>>,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> BTreeMap<Page, PageLease> {
        cost.round_trip();
        let mut tries: Vec<BoxFuture<'_, Option<(Page, PageLease)>>> = Vec::new();
        for (page, keys) in wanted {
            tries.push(Box::pin(async move {
                let taken = self.leases.take(currency, *page, keys, terms, cost).await;
                taken
                    .inspect_err(|error| tracing::warn!(%error, %page, "no lease can be taken"))
                    .ok()
                    .map(|lease| (*page, lease))
            }));
        }
        let mut tries = stream::iter(tries).buffer_unordered(CONCURRENCY);
        let mut leases = BTreeMap::new();
        while let Some(lease) = tries.next().await {
            leases.extend(lease);
        }
        leases
    }

    async fn states(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, PageState>, CacheError> {
        let items = self.items(currency, pages, keys::PAGE_LEASE, true, cost);
        let items = items.await?.into_iter();
        Ok(items
            .map(|(page, item)| (page, read_state(page.provider, &item)))
            .collect())
    }

    async fn write(
        &self,
        currency: Currency,
        writes: &BTreeMap<Page, PageWrite>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut calls: Vec<BoxFuture<'_, (Page, Result<(), CacheError>)>> = Vec::new();
        for (page, write) in writes {
            let page = *page;
            let prices: Vec<_> = write.prices.iter().collect();
            let mut forget: Vec<&QuoteKey> = write.forget.iter().take(FORGET).collect();
            for prices in prices.chunks(UPDATE) {
                let (prices, forget) = (prices.to_vec(), std::mem::take(&mut forget));
                calls.push(Box::pin(async move {
                    let merge = self.merge(currency, page, &prices, &forget, now, cost);
                    (page, merge.await)
                }));
            }
            if let Some(end) = &write.end {
                let end = self.leases.end(currency, page, end, cost);
                calls.push(Box::pin(async move { (page, end.await) }));
            }
            if !write.note.is_empty() {
                let note = self
                    .leases
                    .note_alone(currency, page, &write.note, now, cost);
                calls.push(Box::pin(async move { (page, note.await) }));
            }
        }
        if calls.is_empty() {
            return Ok(());
        }
        cost.round_trip();
        // Every call runs to its end, so that none is cut off half-way.
        let mut done = stream::iter(calls).buffer_unordered(CONCURRENCY);
        let mut result = Ok(());
        let mut failed = BTreeSet::new();
        while let Some((page, written)) = done.next().await {
            if let Err(error) = written {
                failed.insert(page);
                result = Err(error);
            }
        }
        for page in failed {
            let end = writes.get(&page).and_then(|write| write.end.as_ref());
            if let Some(end) = end.filter(|end| end.fresh_at.is_some())
                && let Some(owner) = end.owner
            {
                self.leases
                    .invalidate_page(currency, page, owner, cost)
                    .await?;
            }
        }
        result
    }
}
