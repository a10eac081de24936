//! Storing a fetch: chunks and prices first, then the header that refers to
//! them, then what they replace goes.

use super::{
    header::attributes,
    read::{FROM_GENERATION, GENERATION, stored_chunks},
    write::{Write, corrupt, older_than, require_lease},
};
use crate::{
    cache::{
        CacheError, CachedPart, Lease, NewStructure, StoreOutcome, StoredPart,
        codec::{self, MAX_CACHED},
        keys,
        table::{
            Condition,
            item::{EXPIRES_AT, Item, VERSION, bytes, hash, number, seconds, text, time},
            update::UpdateExpression,
        },
    },
    clock::Timestamp,
    domain::scope::Part,
};

/// An item that is to be put.
struct NewItem {
    sort: String,
    item: Item,
    condition: Condition,
}

impl Write<'_> {
    /// Chunks outlive the header, so that an unchanged structure need not be
    /// written again with every fetch.
    fn chunk_expiry(&self) -> Timestamp {
        self.expiry().plus(self.retention.structure)
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
            packed.push((
                *part,
                new,
                codec::compress(new.holdings.bytes()).map_err(corrupt)?,
            ));
        }
        let size: usize = packed.iter().map(|(.., bytes)| bytes.len()).sum();
        if size > MAX_CACHED {
            tracing::info!(bytes = size, "holdings are too large to be cached");
            return Ok(StoreOutcome::TooLarge);
        }
        let mut header = UpdateExpression::default();
        header.put(VERSION, number(codec::FORMAT));
        header.put(EXPIRES_AT, seconds(self.expiry()));
        require_lease(&mut header, lease);
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
        let table = self.table;
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
            let table = self.table;
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
                price.quoted_at >= before.fetched_at && new.prices.get(*key).is_none()
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
}
