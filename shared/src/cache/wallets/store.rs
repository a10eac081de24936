//! Wallets in the table: one read brings everything, writes are conditioned
//! on generations.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    header::{REFRESH_AHEAD_OF, REFRESH_AHEAD_STREAK, attributes, read_header},
    read::read_wallet,
    write::{Write, next_generation, require_lease},
};
use crate::{
    cache::{
        CacheError, CachedWallet, Header, LEASE_SKEW_MARGIN, Lease, LeaseOutcome, LeaseRequest,
        MAX_FAILURE_TTL, NewPrices, NewStructure, Release, Retention, StoreOutcome, Table,
        WalletStore, codec, keys,
        table::{
            item::{EXPIRES_AT, VERSION, number, seconds, time},
            update::UpdateExpression,
        },
    },
    clock::{MAX_CLOCK_SKEW, Timestamp},
    domain::{address::Address, currency::Currency},
    sync::random,
    telemetry::request_cost::RequestCost,
};

/// Wallets in DynamoDB.
#[derive(Clone)]
pub struct DynamoWalletStore {
    table: Table,
    retention: Retention,
}

impl DynamoWalletStore {
    /// Wallets in `table`, kept as long as `retention` says.
    pub fn new(table: Table, retention: Retention) -> Self {
        Self { table, retention }
    }

    fn write<'w>(
        &'w self,
        address: &'w Address,
        now: Timestamp,
        cost: &'w RequestCost,
    ) -> Write<'w> {
        Write {
            table: &self.table,
            retention: self.retention,
            address,
            now,
            cost,
        }
    }
}

/// The change that takes a lease. An attribute of another type is as good as
/// none, and so is a time that no clock can have told.
fn take(write: &Write<'_>, wanted: LeaseRequest<'_>, token: u64) -> UpdateExpression {
    let now = wanted.now;
    let mut update = UpdateExpression::default();
    let numeric = update.numeric();
    let latest = |length: Duration| time(now.plus(length).plus(MAX_CLOCK_SKEW));
    let until = update.value("until", time(now.plus(wanted.length)));
    let free = update.value("free", time(now.minus(LEASE_SKEW_MARGIN)));
    let too_long = update.value("too_long", latest(wanted.length));
    let first = update.value("first", time(now));
    let failed_too_long = update.value("failed_too_long", latest(MAX_FAILURE_TTL));
    let stale = update.value("stale", time(wanted.fresh_after));
    let future = update.value("future", latest(Duration::ZERO));
    let owner = update.value("owner", number(token));
    let version = update.value("v", number(codec::FORMAT));
    update.put(EXPIRES_AT, seconds(write.expiry()));
    let outside = |name: &str, low: &str, least: &str, high: &str| {
        format!("NOT attribute_type({name}, {numeric}) OR {name} {low} {least} OR {name} > {high}")
    };
    // What another format holds is of no use here, however fresh.
    let mut due = vec![format!("{VERSION} <> {version}")];
    let mut asked = Vec::new();
    for part in wanted.parts {
        let names = attributes(*part);
        update.set(names.lease_until, &until);
        update.set(names.owner, &owner);
        update.set(names.asked_at, &first);
        next_generation(&mut update, *part, now);
        update.require(outside(names.lease_until, "<", &free, &too_long));
        update.require(outside(names.failed_until, "<=", &first, &failed_too_long));
        due.push(outside(names.fetched_at, "<=", &stale, &future));
        if let Some(again) = wanted.again {
            let expired = update.value("expired", time(again.expired));
            let tried = update.value("tried", time(again.tried));
            asked.push(outside(names.fetched_at, "<=", &expired, &future));
            asked.push(outside(names.asked_at, "<=", &tried, &future));
        }
    }
    update.require(due.join(" OR "));
    if !asked.is_empty() {
        update.require(asked.join(" OR "));
    }
    update
}

#[async_trait]
impl WalletStore for DynamoWalletStore {
    async fn load(
        &self,
        address: &Address,
        currency: Currency,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<CachedWallet, CacheError> {
        read_wallet(&self.table, address, currency, consistent, cost).await
    }

    async fn lease(
        &self,
        address: &Address,
        wanted: LeaseRequest<'_>,
        cost: &RequestCost,
    ) -> Result<LeaseOutcome, CacheError> {
        let LeaseRequest { parts, now, .. } = wanted;
        let token = random();
        let write = self.write(address, now, cost);
        let update = take(&write, wanted, token);
        cost.round_trip();
        let outcome = write.update_with_new_generation(parts, update).await?;
        let won = |header: &Header| Lease {
            generations: parts
                .iter()
                .map(|part| (*part, header.parts[part].generation))
                .collect(),
        };
        let ours = |header: &Header| {
            let mut parts = parts.iter();
            parts.all(|part| header.parts[part].owner == Some(token))
        };
        Ok(match outcome {
            Ok(header) => LeaseOutcome::Won(won(&header)),
            // A retry within the client, after an attempt that was carried out
            // but not heard of.
            Err(header) if ours(&header) => LeaseOutcome::Won(won(&header)),
            Err(header) => LeaseOutcome::Lost(header),
        })
    }

    async fn claim_refresh_ahead(
        &self,
        address: &Address,
        fetched_at: Timestamp,
        count: u32,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        let mut update = UpdateExpression::default();
        update.put(REFRESH_AHEAD_OF, time(fetched_at));
        update.put(REFRESH_AHEAD_STREAK, number(count));
        let numeric = update.numeric();
        // A header that is gone is not made anew: it would stay for ever.
        update.require("attribute_exists(pk)");
        update.require(format!(
            "NOT attribute_type({REFRESH_AHEAD_OF}, {numeric}) OR {REFRESH_AHEAD_OF} <> :{REFRESH_AHEAD_OF}"
        ));
        cost.round_trip();
        let write = self.write(address, fetched_at, cost);
        Ok(write.header(update).await?.is_ok())
    }

    async fn header(&self, address: &Address, cost: &RequestCost) -> Result<Header, CacheError> {
        let item = self
            .table
            .get(keys::wallet(address), keys::HEADER, cost)
            .await?;
        Ok(read_header(&item.unwrap_or_default()))
    }

    async fn store(
        &self,
        address: &Address,
        lease: &Lease,
        structure: NewStructure<'_>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<StoreOutcome, CacheError> {
        self.write(address, now, cost)
            .structure(lease, structure)
            .await
    }

    async fn renew(
        &self,
        address: &Address,
        lease: &Lease,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        let mut update = UpdateExpression::default();
        let until = update.value("until", time(until));
        let numeric = update.numeric();
        require_lease(&mut update, lease);
        for part in lease.generations.keys() {
            let name = attributes(*part).lease_until;
            update.set(name, &until);
            // One that has ended meanwhile does not begin again.
            update.require(format!("attribute_type({name}, {numeric})"));
        }
        let write = self.write(address, Timestamp::default(), cost);
        Ok(write.header(update).await?.is_ok())
    }

    async fn release(
        &self,
        address: &Address,
        lease: &Lease,
        release: &Release,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        require_lease(&mut update, lease);
        for part in lease.generations.keys() {
            let names = attributes(*part);
            update.remove(names.lease_until);
            if let Some(until) = release.uncacheable_until {
                update.put(names.uncacheable_until, time(until));
            }
            if let Some(failed) = &release.failed {
                update.put(names.failed_until, time(failed.until));
                update.put(names.failure, AttributeValue::S(failed.reason.clone()));
                if let Some(waited) = failed.elapsed {
                    update.put(names.took, number(waited.as_millis()));
                }
            }
        }
        cost.round_trip();
        let write = self.write(address, Timestamp::default(), cost);
        // Lost already: then there is nothing to end.
        write.header(update).await.map(drop)
    }

    async fn invalidate(
        &self,
        address: &Address,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        self.write(address, now, cost).invalidate().await
    }

    async fn store_prices(
        &self,
        address: &Address,
        header: &Header,
        prices: &[NewPrices<'_>],
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        cost.round_trip();
        let write = self.write(address, now, cost);
        let writes = prices
            .iter()
            .map(|prices| write.merge_prices(header.epoch, prices));
        let stored = futures::future::join_all(writes).await;
        let stored: Vec<bool> = stored.into_iter().collect::<Result<_, _>>()?;
        Ok(!stored.contains(&false))
    }
}
