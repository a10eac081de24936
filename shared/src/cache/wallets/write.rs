//! Changes of a wallet's header: each is made only if nothing newer is there.

use super::header::{EPOCH, REFRESH_AHEAD_OF, REFRESH_AHEAD_STREAK, attributes, read_header};
use crate::{
    cache::{
        CacheError, Header, Lease, Retention, TTL_MARGIN, codec, keys,
        table::{
            Condition, Table,
            item::{EXPIRES_AT, Item, number, seconds, text, time},
            update::UpdateExpression,
        },
    },
    clock::Timestamp,
    domain::{address::Address, scope::Part},
    telemetry::request_cost::RequestCost,
};

/// What the service says where an attribute's type does not fit.
const INVALID: &str = "ValidationException";
/// One write of a wallet.
#[derive(Clone, Copy)]
pub(super) struct Write<'w> {
    pub table: &'w Table,
    pub retention: Retention,
    pub address: &'w Address,
    pub now: Timestamp,
    pub cost: &'w RequestCost,
}

/// The change is made only while the lease is held.
pub(super) fn require_lease(update: &mut UpdateExpression, lease: &Lease) {
    for (part, generation) in &lease.generations {
        let name = attributes(*part).generation;
        let value = update.value(name, number(generation));
        update.require(format!("{name} = {value}"));
    }
}

/// Counts a part's generation up. Generations start from the time: a header
/// that expired and is made anew goes on above its older chunks' generations.
pub(super) fn next_generation(update: &mut UpdateExpression, part: Part, now: Timestamp) {
    next(update, attributes(part).generation, now);
}

fn next(update: &mut UpdateExpression, name: &str, now: Timestamp) {
    let (first, one) = (
        update.value("first", time(now)),
        update.value("one", number(1)),
    );
    update.set(name, format!("if_not_exists({name}, {first}) + {one}"));
}

/// Holds for an item of an earlier generation.
pub(super) fn older_than(generation: u64) -> Condition {
    Condition::new(
        "NOT attribute_type(g, :numeric) OR g < :g",
        [(":g", number(generation)), (":numeric", text("N"))],
    )
}

/// Holds for refreshed prices of an earlier epoch.
fn before_epoch(epoch: u64) -> Condition {
    Condition::new(
        "NOT attribute_type(e, :numeric) OR e < :e",
        [(":e", number(epoch)), (":numeric", text("N"))],
    )
}

pub(super) fn corrupt(error: codec::CorruptItem) -> CacheError {
    CacheError {
        operation: "PutItem",
        reason: error.to_string(),
    }
}

impl Write<'_> {
    /// The TTL of what is written now: after its last use, with a margin.
    pub(super) fn expiry(&self) -> Timestamp {
        let longest = self.retention.structure.max(self.retention.prices);
        self.now.plus(longest).plus(TTL_MARGIN)
    }

    /// Forgets the wallet: first the header, so that no reader finds holdings
    /// any more and no fetch that is under way can store any; then the rest, as
    /// far as it is not newer.
    pub(super) async fn invalidate(self) -> Result<(), CacheError> {
        let mut update = UpdateExpression::default();
        update.put(EXPIRES_AT, seconds(self.expiry()));
        next(&mut update, EPOCH, self.now);
        update.remove(REFRESH_AHEAD_OF);
        update.remove(REFRESH_AHEAD_STREAK);
        for part in Part::ALL {
            next_generation(&mut update, part, self.now);
            for gone in attributes(part).forgettable() {
                update.remove(gone);
            }
        }
        self.cost.round_trip();
        // Without a condition there is nothing that could fail it.
        let (Ok(header) | Err(header)) =
            self.update_with_new_generation(&Part::ALL, update).await?;
        let partition = keys::wallet(self.address);
        let table = self.table;
        let items = table.query(partition.clone(), true, self.cost).await?;
        let sorts = items.iter().map(Item::sort_key);
        let sorts: Vec<&str> = sorts.filter(|sort| *sort != keys::HEADER).collect();
        if sorts.is_empty() {
            return Ok(());
        }
        self.cost.round_trip();
        let deletes = sorts.into_iter().map(|sort| {
            let condition = match keys::part_of(sort) {
                Some(part) => older_than(header.parts.get(&part).map_or(0, |it| it.generation)),
                None => before_epoch(header.epoch),
            };
            table.delete_item(partition.clone(), sort, condition, self.cost)
        });
        let deletes = futures::future::join_all(deletes).await;
        deletes.into_iter().collect()
    }

    /// Changes the header and counts generations of `parts` up. One that is no
    /// number, or too large a one, would let nothing be stored any more: then
    /// they start anew.
    pub(super) async fn update_with_new_generation(
        &self,
        parts: &[Part],
        update: UpdateExpression,
    ) -> Result<Result<Header, Header>, CacheError> {
        let uncounted = |header: &Header| {
            let part = |part| header.parts.get(part);
            parts
                .iter()
                .any(|it| part(it).is_none_or(|it| it.generation == 0))
        };
        let changed = self.header(update.clone()).await;
        match &changed {
            Ok(Ok(header)) if uncounted(header) => {}
            Err(error) if error.reason == INVALID => {}
            _ => return changed,
        }
        tracing::warn!("a wallet's generations are damaged");
        let mut anew = UpdateExpression::default();
        let damaged = (anew.numeric(), anew.value("most", number(i64::MAX)));
        let mut conditions = Vec::new();
        for part in Part::ALL {
            let name = attributes(part).generation;
            anew.put(name, time(self.now));
            conditions.push(format!(
                "(attribute_exists({name}) AND NOT attribute_type({name}, {})) OR {name} > {}",
                damaged.0, damaged.1
            ));
            for lease in [attributes(part).lease_until, attributes(part).owner] {
                anew.remove(lease);
            }
        }
        anew.put(EPOCH, time(self.now));
        conditions.push(format!(
            "attribute_exists({EPOCH}) AND NOT attribute_type({EPOCH}, {})",
            damaged.0
        ));
        anew.require(conditions.join(" OR "));
        self.cost.round_trip();
        let _ = self.header(anew).await?;
        self.cost.round_trip();
        self.header(update).await
    }

    /// Changes the header. `Err` holds the header when a condition failed.
    pub(super) async fn header(
        &self,
        update: UpdateExpression,
    ) -> Result<Result<Header, Header>, CacheError> {
        let (partition, update) = (keys::wallet(self.address), update.returned());
        let table = self.table;
        let sent = table.update(partition, keys::HEADER, update, self.cost);
        Ok(match sent.await? {
            Ok(item) => Ok(read_header(&item)),
            Err(item) => Err(read_header(&item)),
        })
    }
}
