//! Wallets that are kept fresh before they are requested, and the one run at a time
//! that does it.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::{
    CacheError, Header, LEASE_SKEW_MARGIN, TTL_MARGIN, Table, keys,
    table::Condition,
    table::item::{EXPIRES_AT, Item, number, seconds, text, time},
    table::update::UpdateExpression,
    wallets::header::read_header,
};
use crate::{
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{address::Address, currency::Currency},
    telemetry::request_cost::RequestCost,
};

const CURRENCY: &str = "cur";
const ENDS: &str = "ends";
const UNTIL: &str = "run_until";
const OWNER: &str = "run_owner";
/// Writes at a time.
const CONCURRENCY: usize = 16;

/// A wallet that is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedWallet {
    /// Whose.
    pub address: Address,
    /// In which currency its prices come.
    pub currency: Currency,
    /// Until when, if it was put on the list by itself.
    pub until: Option<Timestamp>,
}

/// Keeps the list of watched wallets, and the lease of the run.
#[async_trait]
pub trait WatchList: Send + Sync {
    /// Adds wallets; one that is there takes the new currency. One that is to
    /// be watched until some time does not replace one without an end.
    async fn watch(&self, wallets: &[WatchedWallet], cost: &RequestCost) -> Result<(), CacheError>;

    /// Removes wallets; those that are not there do not matter.
    async fn unwatch(&self, wallets: &[Address], cost: &RequestCost) -> Result<(), CacheError>;

    /// All that are watched at `now`, by address.
    async fn list(
        &self,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<Vec<WatchedWallet>, CacheError>;

    /// The headers of wallets, those that could be read.
    async fn headers(
        &self,
        wallets: &[WatchedWallet],
        cost: &RequestCost,
    ) -> Result<BTreeMap<Address, Header>, CacheError>;

    /// Takes or keeps the lease of the run for `length`; `false` while another
    /// run has it.
    async fn acquire_run_lease(
        &self,
        owner: u64,
        now: Timestamp,
        length: Duration,
        cost: &RequestCost,
    ) -> Result<bool, CacheError>;

    /// Ends the lease, if it is still `owner`'s.
    async fn release(&self, owner: u64, cost: &RequestCost) -> Result<(), CacheError>;
}

/// The list in DynamoDB.
#[derive(Clone)]
pub struct DynamoWatchlist(Table);

impl DynamoWatchlist {
    /// The list in `table`.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

/// Writes at the same time, but not all of them at once.
async fn each<F>(writes: impl Iterator<Item = F>, cost: &RequestCost) -> Result<(), CacheError>
where
    F: Future<Output = Result<(), CacheError>>,
{
    use futures::StreamExt;
    cost.round_trip();
    let mut writes = futures::stream::iter(writes).buffer_unordered(CONCURRENCY);
    let mut result = Ok(());
    while let Some(written) = writes.next().await {
        result = result.and(written);
    }
    result
}

#[async_trait]
impl WatchList for DynamoWatchlist {
    async fn watch(&self, wallets: &[WatchedWallet], cost: &RequestCost) -> Result<(), CacheError> {
        let put = |wallet: &WatchedWallet| {
            let mut item = Item::keyed(keys::WATCHED.to_owned(), wallet.address.to_string())
                .with(CURRENCY, text(wallet.currency.as_str()));
            // Without one there is no TTL either: it is watched until an operator
            // says otherwise.
            let mut condition = Condition::default();
            if let Some(until) = wallet.until {
                item = item
                    .with(ENDS, time(until))
                    .with(EXPIRES_AT, seconds(until.plus(TTL_MARGIN)));
                let free = format!("attribute_not_exists(pk) OR attribute_exists({ENDS})");
                condition = Condition::new(&free, []);
            }
            async move { self.0.put(item, condition, cost).await.map(drop) }
        };
        each(wallets.iter().map(put), cost).await
    }

    async fn unwatch(&self, wallets: &[Address], cost: &RequestCost) -> Result<(), CacheError> {
        let delete = |address: &Address| {
            let (partition, address) = (keys::WATCHED.to_owned(), address.to_string());
            let always = Condition::default();
            async move { self.0.delete(partition, &address, always, cost).await }
        };
        each(wallets.iter().map(delete), cost).await
    }

    async fn list(
        &self,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<Vec<WatchedWallet>, CacheError> {
        let items = self.0.query(keys::WATCHED.to_owned(), true, cost).await?;
        let wallet = |item: &Item| {
            Some(WatchedWallet {
                address: Address::parse(item.sort_key()).ok()?,
                currency: item.text(CURRENCY).and_then(Currency::parse)?,
                until: item.time(ENDS),
            })
        };
        let mut wallets: Vec<_> = items.iter().filter_map(wallet).collect();
        wallets.retain(|wallet| wallet.until.is_none_or(|until| now < until));
        wallets.sort();
        Ok(wallets)
    }

    async fn headers(
        &self,
        wallets: &[WatchedWallet],
        cost: &RequestCost,
    ) -> Result<BTreeMap<Address, Header>, CacheError> {
        let wanted = wallets
            .iter()
            .map(|wallet| (keys::wallet(&wallet.address), keys::HEADER));
        let (items, _) = self.0.batch_get(wanted, true, cost).await?;
        let header = |item: Item| {
            let address = item.text("pk").and_then(keys::read_wallet)?;
            Some((address, read_header(&item)))
        };
        Ok(items.into_iter().filter_map(header).collect())
    }

    async fn acquire_run_lease(
        &self,
        owner: u64,
        now: Timestamp,
        length: Duration,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        let mut update = UpdateExpression::default();
        let until = now.plus(length);
        update.put(UNTIL, time(until));
        update.put(OWNER, number(owner));
        update.put(EXPIRES_AT, seconds(until.plus(TTL_MARGIN)));
        let numeric = update.numeric();
        let free = update.value("free", time(now.minus(LEASE_SKEW_MARGIN)));
        let too_long = update.value("too_long", time(until.plus(MAX_CLOCK_SKEW)));
        update.require(format!(
            "NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < {free} OR {UNTIL} > {too_long} \
             OR {OWNER} = :{OWNER}"
        ));
        cost.round_trip();
        let partition = keys::REFRESH.to_owned();
        let sent = self.0.update(partition, keys::RUN, update, cost);
        Ok(sent.await?.is_ok())
    }

    async fn release(&self, owner: u64, cost: &RequestCost) -> Result<(), CacheError> {
        let condition = Condition::new("run_owner = :owner", [(":owner", number(owner))]);
        let partition = keys::REFRESH.to_owned();
        self.0.delete(partition, keys::RUN, condition, cost).await
    }
}
