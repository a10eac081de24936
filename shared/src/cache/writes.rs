//! Writing a wallet: each write holds only if nothing newer is there.

use super::{
    CacheError, CachedPart, GRACE, Header, Lease, NewPrices, NewStructure, StoreOutcome,
    StoredPart,
    calls::Update,
    codec::{self, MAX_CACHED},
    header::{AHEAD, AHEAD_COUNT, EPOCH, attributes, read_header},
    items::{EXPIRES_AT, Item, VERSION, bytes, hash, number, seconds, text, time},
    keys,
    reads::{FROM_GENERATION, GENERATION, ITEM_EPOCH, read_prices, stored_chunks},
    table::Condition,
    wallets::Wallets,
};
use crate::{
    clock::Timestamp,
    domain::{address::Address, price::PriceTable, scope::Part},
    telemetry::request_cost::RequestCost,
};

/// What the service says where an attribute's type does not fit.
const INVALID: &str = "ValidationException";
/// Tries to merge prices before they are left to the next request.
const MERGE_ATTEMPTS: usize = 3;

/// An item that is to be put.
struct NewItem {
    sort: String,
    item: Item,
    condition: Condition,
}

/// One write of a wallet.
#[derive(Clone, Copy)]
pub(super) struct Write<'w> {
    pub store: &'w Wallets,
    pub address: &'w Address,
    pub now: Timestamp,
    pub cost: &'w RequestCost,
}

/// The change is made only while the lease is held.
pub(super) fn while_held(update: &mut Update, lease: &Lease) {
    for (part, generation) in &lease.generations {
        let name = attributes(*part).generation;
        let value = update.value(name, number(generation));
        update.require(format!("{name} = {value}"));
    }
}

/// Counts a part's generation up. Generations start from the time: a header
/// that expired and is made anew goes on above its older chunks' generations.
pub(super) fn next_generation(update: &mut Update, part: Part, now: Timestamp) {
    next(update, attributes(part).generation, now);
}

fn next(update: &mut Update, name: &str, now: Timestamp) {
    let (first, one) = (
        update.value("first", time(now)),
        update.value("one", number(1)),
    );
    update.set(name, format!("if_not_exists({name}, {first}) + {one}"));
}

/// Holds for an item of an earlier generation.
fn older_than(generation: u64) -> Condition {
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

fn corrupt(error: codec::CorruptItem) -> CacheError {
    CacheError {
        operation: "PutItem",
        reason: error.to_string(),
    }
}

impl<'w> Write<'w> {
    /// The TTL of what is written now: after its last use, with a margin.
    pub(super) fn expiry(&self) -> Timestamp {
        let retention = self.store.retention;
        let longest = retention.structure.max(retention.prices);
        self.now.plus(longest).plus(GRACE)
    }

    /// Chunks outlive the header, so that an unchanged structure need not be
    /// written again with every fetch.
    fn chunk_expiry(&self) -> Timestamp {
        self.expiry().plus(self.store.retention.structure)
    }

    /// The TTL of refreshed prices: they are of no use for as long as holdings.
    fn prices_expiry(&self) -> Timestamp {
        self.now.plus(self.store.retention.prices).plus(GRACE)
    }

    /// Stores what a fetch brought. Chunks are written under keys of the lease's
    /// generation, and prices beside them, before the header that refers to
    /// them; its condition tells whether the lease still holds. So readers see
    /// the fetch before or this one, whole. What is replaced goes last.
    pub(super) async fn structure(
        self,
        lease: &Lease,
        structure: NewStructure<'_>,
    ) -> Result<StoreOutcome, CacheError> {
        let mut packed = Vec::new();
        for (part, new) in structure.parts {
            packed.push((*part, new, codec::compress(&new.bytes).map_err(corrupt)?));
        }
        let size: usize = packed.iter().map(|(.., bytes)| bytes.len()).sum();
        if size > MAX_CACHED {
            tracing::info!(bytes = size, "holdings are too large to be cached");
            return Ok(StoreOutcome::TooLarge);
        }
        let mut header = Update::default();
        header.put(VERSION, number(codec::FORMAT));
        header.put(EXPIRES_AT, seconds(self.expiry()));
        while_held(&mut header, lease);
        let (mut items, mut written, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for (part, new, bytes) in &packed {
            let generation = lease.generations.get(part).copied().unwrap_or(0);
            let names = attributes(*part);
            let (prices, chunks) = self.provider_prices(*part, new, structure, generation)?;
            header.put(names.price_chunks, number(chunks));
            items.extend(prices);
            if let Some(kept) = self.kept_chunks(*part, new, structure) {
                header.put(names.written, number(kept.written));
                header.put(names.chunks, number(kept.chunks));
                header.put(names.chunks_expire, time(kept.chunks_expire));
            } else {
                let chunks = self.chunks(*part, new.hash, bytes, generation);
                written.extend(chunks.iter().map(|chunk| (*part, chunk.sort.clone())));
                header.put(names.written, number(generation));
                header.put(names.chunks, number(chunks.len()));
                header.put(names.chunks_expire, time(self.chunk_expiry()));
                items.extend(chunks);
                replaced.extend(
                    stored_chunks(structure.previous, *part)
                        .into_iter()
                        .map(|sort| (*part, sort)),
                );
            }
            header.put(names.hash, hash(new.hash));
            header.put(names.fetched_at, time(new.fetched_at));
            header.put(names.currency, text(new.currency.as_str()));
            header.put(names.fetch, number(generation));
            header.put(names.took, number(structure.took.as_millis()));
            for ended in [
                names.lease_until,
                names.failed_until,
                names.failure,
                names.uncacheable_until,
            ] {
                header.remove(ended);
            }
            replaced.extend(self.superseded(*part, new, structure));
        }
        self.cost.round_trip();
        let puts = items.into_iter().map(|item| self.put(item));
        // Every call runs to its end, so that none is cut off half-way.
        let puts = futures::future::join_all(puts).await;
        let visible = match puts.into_iter().collect::<Result<Vec<bool>, _>>() {
            Ok(puts) if !puts.contains(&false) => {
                self.cost.round_trip();
                self.header(header).await.map(|changed| changed.is_ok())
            }
            // A later fetch has stored its own.
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        match visible {
            Ok(true) => {
                self.delete_older(lease, replaced, 0).await;
                Ok(StoreOutcome::Stored)
            }
            Ok(false) => {
                // No header refers to this generation any more.
                self.delete_older(lease, written, 1).await;
                Ok(StoreOutcome::LeaseLost)
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, item: NewItem) -> Result<bool, CacheError> {
        let table = &self.store.table;
        table.put(item.item, item.condition, self.cost).await
    }

    /// Deletes items of earlier generations than the lease's (`beyond`: or its
    /// own). What cannot be deleted now expires.
    async fn delete_older(&self, lease: &Lease, items: Vec<(Part, String)>, beyond: u64) {
        if items.is_empty() {
            return;
        }
        self.cost.round_trip();
        let partition = keys::wallet(self.address);
        let deletes = items.iter().map(|(part, sort)| {
            let generation = lease.generations.get(part).map_or(0, |it| it + beyond);
            let condition = older_than(generation);
            let table = &self.store.table;
            table.delete_item(partition.clone(), sort, condition, self.cost)
        });
        for deleted in futures::future::join_all(deletes).await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "a replaced item cannot be deleted");
            }
        }
    }

    /// What else a part's new fetch makes useless: items that no header refers
    /// to, and prices of the fetch before in another currency.
    fn superseded(
        &self,
        part: Part,
        new: &CachedPart,
        structure: NewStructure<'_>,
    ) -> Vec<(Part, String)> {
        let stays = keys::provider_prices(part, new.currency);
        let leftovers = structure.previous.leftovers.iter();
        let leftovers = leftovers
            .filter(|left| left.part == part && left.sort != stays)
            .map(|left| left.sort.clone());
        let header = structure.previous.header.parts.get(&part);
        let before = header.and_then(|read| read.stored);
        let before = before
            .filter(|stored| stored.currency != new.currency)
            .map(|stored| keys::provider_prices(part, stored.currency));
        leftovers.chain(before).map(|sort| (part, sort)).collect()
    }

    /// The prices of a part's fetch, and in how many chunks of their own they
    /// are: none if they replace the item of the fetch before.
    fn provider_prices(
        &self,
        part: Part,
        new: &CachedPart,
        structure: NewStructure<'_>,
        generation: u64,
    ) -> Result<(Vec<NewItem>, usize), CacheError> {
        let header = structure.previous.header.parts.get(&part);
        let unread = header.is_none_or(|read| read.stored.is_some())
            && !structure.previous.parts.contains_key(&part);
        // It replaces the prices of the fetch before while that one's header is
        // still read, so it holds them as well of what is no longer held.
        let before = structure.previous.parts.get(&part);
        let before = before.filter(|before| before.currency == new.currency);
        let gone = before.into_iter().flat_map(|before| {
            let entries = before.prices.entries().iter();
            entries.filter(|(key, price)| {
                price.given_at >= before.fetched_at && new.prices.get(*key).is_none()
            })
        });
        let both = codec::pack_prices(&new.prices.merged(gone.copied())).map_err(corrupt)?;
        // What could not be read must not be replaced: until the new header is
        // there, readers need its prices.
        if unread || both.len() > codec::CHUNK_SIZE {
            let packed = codec::pack_prices(&new.prices).map_err(corrupt)?;
            let chunks = (0_u32..).zip(codec::chunks(&packed));
            let item = |(index, chunk): (u32, &[u8])| {
                let sort = keys::provider_price_chunk(part, generation, index);
                self.prices_item(sort, chunk, (generation, generation), Condition::default())
            };
            let items: Vec<NewItem> = chunks.map(item).collect();
            let count = items.len();
            return Ok((items, count));
        }
        let sort = keys::provider_prices(part, new.currency);
        let condition = Condition::new(
            "attribute_not_exists(pk) OR NOT attribute_type(g, :numeric) OR g <= :g",
            [(":g", number(generation)), (":numeric", text("N"))],
        );
        let replaced = before.and_then(|_| header?.stored);
        let from = replaced.map_or(generation, |stored| stored.fetch);
        let item = self.prices_item(sort, &both, (from, generation), condition);
        Ok((vec![item], 0))
    }

    /// An item of prices for the headers of fetches `from` the first generation
    /// to the last, which is that of the prices' own fetch.
    fn prices_item(
        &self,
        sort: String,
        packed: &[u8],
        (from, generation): (u64, u64),
        condition: Condition,
    ) -> NewItem {
        let item = Item::keyed(keys::wallet(self.address), sort.clone())
            .with(GENERATION, number(generation))
            .with(FROM_GENERATION, number(from))
            .with("b", bytes(packed))
            .with(EXPIRES_AT, seconds(self.expiry()));
        NewItem {
            sort,
            item,
            condition,
        }
    }

    /// Forgets the wallet: first the header, so that no reader finds holdings
    /// any more and no fetch that is under way can store any; then the rest, as
    /// far as it is not newer.
    pub(super) async fn forget(self) -> Result<(), CacheError> {
        let mut update = Update::default();
        update.put(EXPIRES_AT, seconds(self.expiry()));
        next(&mut update, EPOCH, self.now);
        update.remove(AHEAD);
        update.remove(AHEAD_COUNT);
        for part in Part::ALL {
            next_generation(&mut update, part, self.now);
            for gone in attributes(part).forgettable() {
                update.remove(gone);
            }
        }
        self.cost.round_trip();
        // Without a condition there is nothing that could fail it.
        let (Ok(header) | Err(header)) = self.counting(&Part::ALL, update).await?;
        let partition = keys::wallet(self.address);
        let table = &self.store.table;
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

    /// The chunks that are there, if they hold the same and stay long enough.
    fn kept_chunks(
        &self,
        part: Part,
        new: &CachedPart,
        structure: NewStructure<'_>,
    ) -> Option<StoredPart> {
        // Their header may be there without them.
        structure.previous.parts.get(&part)?;
        let stored = structure.previous.header.parts.get(&part)?.stored?;
        let same = stored.hash == new.hash && stored.chunks_expire >= self.expiry();
        same.then_some(stored)
    }

    /// A part's chunks. No other fetch writes to keys of this generation.
    fn chunks(&self, part: Part, of: u128, packed: &[u8], generation: u64) -> Vec<NewItem> {
        let chunks = codec::chunks(packed);
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let expire = self.chunk_expiry();
        let item = |(index, chunk): (u32, &[u8])| {
            let sort = keys::chunk(part, generation, index, count);
            let item = Item::keyed(keys::wallet(self.address), sort.clone())
                .with("h", hash(of))
                .with(GENERATION, number(generation))
                .with("b", bytes(chunk))
                .with(EXPIRES_AT, seconds(expire));
            NewItem {
                sort,
                item,
                condition: Condition::default(),
            }
        };
        (0_u32..).zip(chunks).map(item).collect()
    }

    /// Replaces refreshed prices only as they were read; when another process
    /// was faster, merges with its. Per id the later checked price stays.
    pub(super) async fn merge_prices(
        &self,
        epoch: u64,
        prices: &NewPrices<'_>,
    ) -> Result<bool, CacheError> {
        let key = keys::prices(prices.currency);
        let mut before: Option<PriceTable> = prices.previous.map(|read| read.table.clone());
        let mut condition = match prices.previous {
            Some(read) => Condition::new("h = :h", [(":h", hash(read.hash))]),
            None => Condition::new("attribute_not_exists(pk)", []),
        };
        let kept = self.store.retention.prices;
        for _ in 0..MERGE_ATTEMPTS {
            let fresh = prices.fresh;
            let mut merged = match &before {
                Some(read) => read.merged(fresh.entries().iter().copied()),
                None => fresh.clone(),
            };
            merged.prune(|price| price.checked_at.plus(kept) >= self.now);
            let packed = codec::pack_prices(&merged).map_err(corrupt)?;
            if packed.len() > codec::CHUNK_SIZE {
                tracing::info!(bytes = packed.len(), "prices too large to be cached");
                return Ok(false);
            }
            let item = Item::keyed(keys::wallet(self.address), key.clone())
                .with("h", hash(codec::hash(&packed)))
                .with(ITEM_EPOCH, number(epoch))
                .with("b", bytes(&packed))
                .with(EXPIRES_AT, seconds(self.prices_expiry()));
            let table = &self.store.table;
            if table.put(item, condition, self.cost).await? {
                return Ok(true);
            }
            let there = table
                .get(keys::wallet(self.address), &key, self.cost)
                .await?;
            let theirs = there.as_ref().and_then(|item| item.number(ITEM_EPOCH));
            let theirs: u64 = theirs.unwrap_or(0);
            if theirs > epoch {
                // The wallet was invalidated meanwhile.
                return Ok(false);
            }
            let current = there.as_ref().filter(|_| theirs == epoch);
            before = current.and_then(read_prices).map(|read| read.table);
            condition = match there.as_ref().map(|item| item.hash("h")) {
                None => Condition::new("attribute_not_exists(pk)", []),
                // Even if it cannot be read: then it is replaced.
                Some(Some(seen)) => Condition::new("h = :h", [(":h", hash(seen))]),
                Some(None) => {
                    Condition::new("NOT attribute_type(h, :binary)", [(":binary", text("B"))])
                }
            };
        }
        tracing::info!("prices were replaced too often to be merged");
        Ok(false)
    }

    /// Changes the header and counts generations of `parts` up. One that is no
    /// number, or too large a one, would let nothing be stored any more: then
    /// they start anew.
    pub(super) async fn counting(
        &self,
        parts: &[Part],
        update: Update,
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
        let mut anew = Update::default();
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
        update: Update,
    ) -> Result<Result<Header, Header>, CacheError> {
        let (partition, update) = (keys::wallet(self.address), update.returned());
        let table = &self.store.table;
        let sent = table.update(partition, keys::HEADER, update, self.cost);
        Ok(match sent.await? {
            Ok(item) => Ok(read_header(&item)),
            Err(item) => Err(read_header(&item)),
        })
    }
}
