//! The book in DynamoDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream};

use super::{
    BookWrite, LeaseState, LeaseTerms, PageWrite, PriceBook, PriceLease, StoredPage,
    encoding::{pack, unpack},
    leases::Leases,
};
use crate::{
    cache::{
        CacheError, TTL_MARGIN, Table, keys,
        table::item::{EXPIRES_AT, Item, bytes, number, seconds, time},
        table::update::UpdateExpression,
    },
    clock::Timestamp,
    domain::{
        currency::Currency,
        price::Price,
        price_book::{DemandWindow, Page, QuoteKey},
        provider::Provider,
    },
    telemetry::request_cost::RequestCost,
};

/// Prices, notes and forgotten prices in one update: expressions end at 4 KB
/// and at 300 operators.
const PRICES_AT_ONCE: usize = 140;
const NOTES_AT_ONCE: usize = 100;
const FORGOTTEN_AT_ONCE: usize = 50;
/// Calls at a time: each needs a connection of its own.
const CONCURRENCY: usize = 32;
/// Tries to merge with newer prices before they are left to the next refresh.
const MERGE_ATTEMPTS: usize = 3;

/// When the newest price of a page was asked for.
const NEWEST: &str = "t";

/// What stands before the id of a price that is wanted.
const WANTED: &str = "w#";

/// The book in DynamoDB.
#[derive(Clone)]
pub struct DynamoPriceBook {
    table: Table,
    leases: Leases,
    retention: Duration,
}

/// One update of a page.
#[derive(Clone, Debug, Default)]
struct PageUpdate<'w> {
    prices: Vec<(&'w QuoteKey, &'w Price)>,
    wanted: Vec<&'w QuoteKey>,
    forget: Vec<&'w QuoteKey>,
}

impl<'w> PageUpdate<'w> {
    /// Returns what is written to a page, in as many updates as it takes.
    fn of(write: &'w PageWrite) -> Vec<Self> {
        let prices: Vec<_> = write.prices.iter().collect();
        let wanted: Vec<_> = write.wanted.iter().collect();
        let (mut prices, mut wanted) =
            (prices.chunks(PRICES_AT_ONCE), wanted.chunks(NOTES_AT_ONCE));
        // One update cannot set and remove the same attribute.
        let forget = write.forget.difference(&write.wanted);
        let mut forget: Vec<_> = forget.take(FORGOTTEN_AT_ONCE).collect();
        let mut updates = Vec::new();
        loop {
            let (some_prices, some_wanted) = (prices.next(), wanted.next());
            if some_prices.is_none() && some_wanted.is_none() {
                return updates;
            }
            updates.push(Self {
                prices: some_prices.unwrap_or_default().to_vec(),
                wanted: some_wanted.unwrap_or_default().to_vec(),
                forget: std::mem::take(&mut forget),
            });
        }
    }
}

impl DynamoPriceBook {
    /// Returns the book in `table`, whose prices are kept for `retention`.
    pub fn new(table: Table, retention: Duration) -> Self {
        let leases = Leases {
            table: table.clone(),
        };
        Self {
            table,
            leases,
            retention,
        }
    }

    /// Returns the TTL of a page that is written at `now`.
    fn expiry(&self, now: Timestamp) -> aws_sdk_dynamodb::types::AttributeValue {
        let kept = self.retention.max(DemandWindow::KEPT_FOR);
        seconds(now.plus(kept).plus(TTL_MARGIN))
    }

    /// Returns an update that notes what is wanted.
    fn noting(&self, wanted: &[&QuoteKey], now: Timestamp) -> UpdateExpression {
        let mut update = UpdateExpression::default();
        if !wanted.is_empty() {
            let window = update.value("w", number(DemandWindow::of(now).0));
            for (at, key) in wanted.iter().enumerate() {
                let name = update.name(&format!("w{at}"), &format!("{WANTED}{key}"));
                update.set(&name, &window);
            }
        }
        update.put(EXPIRES_AT, self.expiry(now));
        update
    }

    /// Merges prices into a page. The page remembers when its newest price was
    /// asked for: a writer with older ones reads what is there first.
    async fn merge(
        &self,
        currency: Currency,
        page: Page,
        write: PageUpdate<'_>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let times = || write.prices.iter().map(|(_, price)| price.checked_at);
        let partition = || keys::page(currency, page);
        let note = || self.noting(&write.wanted, now);
        let (Some(oldest), Some(mut newest)) = (times().min(), times().max()) else {
            let sent = self.table.update(partition(), keys::PAGE, note(), cost);
            return sent.await.map(drop);
        };
        let mut ours = write.prices.clone();
        let mut seen: Option<Timestamp> = None;
        for _ in 0..MERGE_ATTEMPTS {
            let mut update = note();
            for (at, (key, price)) in ours.iter().enumerate() {
                let name = update.name(&at.to_string(), &key.to_string());
                let value = update.value(&at.to_string(), bytes(&pack(price)));
                update.set(&name, value);
            }
            update.put(NEWEST, time(newest));
            match seen {
                None => {
                    // Only now: what others have written meanwhile is not
                    // looked through for what to forget.
                    for (at, key) in write.forget.iter().enumerate() {
                        let price = update.name(&format!("r{at}"), &key.to_string());
                        update.remove(price);
                        let wanted = update.name(&format!("f{at}"), &format!("{WANTED}{key}"));
                        update.remove(wanted);
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
            let sent = self.table.update(partition(), keys::PAGE, update, cost);
            let Err(there) = sent.await? else {
                return Ok(());
            };
            let stored = read_page(page.provider, &there);
            ours.retain(|(key, price)| {
                let there = stored.prices.get(*key).map(|there| there.checked_at);
                there.is_none_or(|there| there < price.checked_at || there.is_in_the_future(now))
            });
            if ours.is_empty() {
                // All that is left is what is wanted.
                let unnoted = write.wanted.is_empty();
                return match unnoted {
                    true => Ok(()),
                    false => {
                        let sent = self.table.update(partition(), keys::PAGE, note(), cost);
                        sent.await.map(drop)
                    }
                };
            }
            // Moved on with every write, so that of two that have seen the
            // same only one is made.
            seen = Some(stored.newest.unwrap_or_default());
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

/// Reads one of the provider's pages.
fn read_page(provider: Provider, item: &Item) -> StoredPage {
    let mut page = StoredPage {
        newest: item.time(NEWEST),
        ..StoredPage::default()
    };
    for name in item.names() {
        if let Some(id) = name.strip_prefix(WANTED) {
            let window = item.number(name).map(DemandWindow);
            let wanted = window.map(|window| (QuoteKey::parse(provider, id), window));
            page.demand.extend(wanted);
        } else if let Some(packed) = item.bytes(name) {
            let key = QuoteKey::parse(provider, name);
            match unpack(packed) {
                Ok(price) => {
                    page.prices.insert(key, price);
                }
                Err(error) => {
                    tracing::debug!(%key, %error, "a price of the book cannot be read");
                }
            }
        }
    }
    page
}

#[async_trait]
impl PriceBook for DynamoPriceBook {
    async fn read(
        &self,
        currency: Currency,
        pages: &BTreeSet<Page>,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<BTreeMap<Page, StoredPage>, CacheError> {
        let wanted = pages
            .iter()
            .map(|page| (keys::page(currency, *page), keys::PAGE));
        let (items, unread) = self.table.batch_get(wanted, consistent, cost).await?;
        let page_of = |item: &Item| item.text("pk").and_then(keys::read_page);
        // What does not exist is an empty page; of what was left out nothing is
        // known.
        let mut found: BTreeMap<Page, StoredPage> = pages
            .iter()
            .map(|page| (*page, StoredPage::default()))
            .collect();
        for page in unread.iter().filter_map(page_of) {
            found.remove(&page);
        }
        for item in items {
            if let Some(page) = page_of(&item) {
                found.insert(page, read_page(page.provider, &item));
            }
        }
        Ok(found)
    }

    async fn take_lease(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<PriceLease, CacheError> {
        cost.round_trip();
        self.leases.take(currency, provider, terms, cost).await
    }

    async fn lease_state(
        &self,
        currency: Currency,
        provider: Provider,
        terms: LeaseTerms,
        cost: &RequestCost,
    ) -> Result<LeaseState, CacheError> {
        self.leases.state(currency, provider, terms, cost).await
    }

    async fn write(
        &self,
        currency: Currency,
        write: &BookWrite,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut calls: Vec<BoxFuture<'_, Result<(), CacheError>>> = Vec::new();
        for (page, write) in &write.pages {
            for update in PageUpdate::of(write) {
                calls.push(Box::pin(self.merge(currency, *page, update, now, cost)));
            }
        }
        if let Some(end) = &write.end {
            calls.push(Box::pin(self.leases.end(currency, end, now, cost)));
        }
        if calls.is_empty() {
            return Ok(());
        }
        cost.round_trip();
        // Every call runs to its end, so that none is cut off half-way.
        let written = stream::iter(calls).buffer_unordered(CONCURRENCY);
        let written: Vec<_> = written.collect().await;
        written.into_iter().collect()
    }
}
