//! Writing a wallet: each write holds only if nothing newer is there.

use futures::future::BoxFuture;

use super::{
    CacheError, CachedPart, CachedPrices, GRACE, Header, Lease, NewStructure, PartHeader,
    WalletStore,
    calls::Update,
    codec::{self, MAX_CACHED},
    header::{AHEAD, AHEAD_COUNT, attributes, read_header},
    items::{EXPIRES_AT, Item, VERSION, bytes, hash, number, seconds, text, time},
    keys,
    table::{Condition, together},
    wallets::{Wallets, read_prices},
};
use crate::{
    clock::Timestamp,
    domain::{address::Address, currency::Currency, price::PriceTable, scope::Part},
    usage::Usage,
};

/// What the service says where an attribute's type does not fit.
const INVALID: &str = "ValidationException";
/// Tries to merge prices before they are left to the next request.
const MERGE_ATTEMPTS: usize = 3;

type Pending<'w> = BoxFuture<'w, Result<bool, CacheError>>;

/// One write of a wallet.
#[derive(Clone, Copy)]
pub(super) struct Write<'w> {
    pub store: &'w Wallets,
    pub address: &'w Address,
    pub now: Timestamp,
    pub usage: &'w Usage,
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
    let name = attributes(part).generation;
    let (first, one) = (
        update.value("first", time(now)),
        update.value("one", number(1)),
    );
    update.set(name, format!("if_not_exists({name}, {first}) + {one}"));
}

/// An item as it was read: what was stored since by a later fetch stays.
fn unchanged(item: &Item, forgotten: &Header) -> Condition {
    if let Some(part) = keys::part_of_chunk(item.sort_key()) {
        let generation = forgotten.parts.get(&part).map_or(0, |it| it.generation);
        return Condition::new(
            "NOT attribute_type(g, :numeric) OR g <= :g",
            [(":g", number(generation)), (":numeric", text("N"))],
        );
    }
    match item.hash("h") {
        Some(seen) => Condition::new("h = :h", [(":h", hash(seen))]),
        None => Condition::new("NOT attribute_type(h, :binary)", [(":binary", text("B"))]),
    }
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

    /// Stores what a fetch brought: the header, whose condition tells whether
    /// the lease still holds, and only then the chunks. A late holder stores
    /// prices at most; a reader that sees the header before its chunks takes the
    /// part for missing, never for something else.
    pub(super) async fn structure(
        self,
        lease: &Lease,
        structure: NewStructure<'_>,
    ) -> Result<bool, CacheError> {
        let mut packed = Vec::new();
        for (part, new) in structure.parts {
            packed.push((*part, new, codec::compress(&new.bytes).map_err(corrupt)?));
        }
        let size: usize = packed.iter().map(|(.., bytes)| bytes.len()).sum();
        if size > MAX_CACHED {
            tracing::info!(bytes = size, "too large to be cached");
            self.store
                .release(self.address, lease, None, self.usage)
                .await?;
            return Ok(false);
        }
        let mut update = Update::default();
        update.put(VERSION, number(codec::FORMAT));
        update.put(EXPIRES_AT, seconds(self.expiry()));
        while_held(&mut update, lease);
        let mut chunks: Vec<Pending<'_>> = Vec::new();
        for (part, new, bytes) in &packed {
            let generation = lease.generations.get(part).copied().unwrap_or(0);
            let kept = self.kept_until(structure.previous.parts.get(part), new);
            if kept.is_none() {
                chunks.extend(self.chunks(*part, new.hash, bytes, generation));
            }
            let expire = kept.unwrap_or_else(|| self.chunk_expiry());
            let names = attributes(*part);
            update.put(names.hash, hash(new.hash));
            update.put(names.chunks, number(codec::chunks(bytes).len()));
            update.put(names.fetched_at, time(new.fetched_at));
            update.put(names.chunks_expire, time(expire));
            update.put(names.took, number(structure.took.as_millis()));
            for ended in [names.lease_until, names.failed_until, names.failure] {
                update.remove(ended);
            }
        }
        let (currency, fresh, previous) = structure.prices;
        // Whoever finds fresh holdings must find their prices as well, or would
        // ask for them: they are there before the last write that makes the
        // holdings whole. Of a lost lease they are no more than prices.
        self.usage.round_trip();
        let header = self.header(update);
        let prices = self.merge_prices(currency, fresh, previous);
        if chunks.is_empty() {
            let prices = prices.await;
            self.usage.round_trip();
            return Ok(header.await?.is_ok() && prices?);
        }
        let (header, prices) = futures::join!(header, prices);
        if header?.is_err() {
            return Ok(false);
        }
        let Ok(written) = together(chunks, self.usage)
            .await
            .inspect_err(|error| tracing::warn!(%error, "holdings are not whole"))
        else {
            self.not_whole(lease).await?;
            return Ok(false);
        };
        Ok(!written.contains(&false) && prices?)
    }

    /// Takes back that holdings are there: not all of them could be written.
    /// Somebody else may fetch them now.
    async fn not_whole(&self, lease: &Lease) -> Result<(), CacheError> {
        let mut update = Update::default();
        while_held(&mut update, lease);
        for part in lease.generations.keys() {
            let names = attributes(*part);
            for gone in [names.hash, names.fetched_at] {
                update.remove(gone);
            }
            // A lease that is over, unlike none, tells those who wait for it
            // to try for it themselves.
            update.put(names.lease_until, time(Timestamp::default()));
        }
        self.usage.round_trip();
        self.header(update).await.map(drop)
    }

    /// Forgets the wallet: first the header, so that nobody finds holdings any
    /// more and no fetch that is under way can store any; then the rest.
    pub(super) async fn forget(self) -> Result<(), CacheError> {
        let mut update = Update::default();
        update.put(EXPIRES_AT, seconds(self.expiry()));
        update.remove(AHEAD);
        update.remove(AHEAD_COUNT);
        for part in Part::ALL {
            let names = attributes(part);
            next_generation(&mut update, part, self.now);
            for gone in [
                names.hash,
                names.chunks,
                names.fetched_at,
                names.chunks_expire,
                names.lease_until,
                names.owner,
                names.took,
                names.failed_until,
                names.failure,
                names.asked_at,
            ] {
                update.remove(gone);
            }
        }
        self.usage.round_trip();
        // Without a condition there is nothing that could fail it.
        let (Ok(header) | Err(header)) = self.counting(&Part::ALL, update).await?;
        let partition = keys::wallet(self.address);
        let table = &self.store.table;
        let items = table.query(partition.clone(), true, self.usage).await?;
        for item in items.iter().filter(|item| item.sort_key() != keys::HEADER) {
            let condition = unchanged(item, &header);
            table
                .delete(partition.clone(), item.sort_key(), condition, self.usage)
                .await?;
        }
        Ok(())
    }

    /// Until when the chunks that are there stay, if they are these and stay
    /// long enough.
    fn kept_until(&self, previous: Option<&PartHeader>, new: &CachedPart) -> Option<Timestamp> {
        let previous = previous.filter(|old| old.hash == Some(new.hash))?;
        previous
            .chunks_expire
            .filter(|until| *until >= self.expiry())
    }

    fn chunks(&self, part: Part, of: u128, packed: &[u8], generation: u64) -> Vec<Pending<'w>> {
        let chunks = codec::chunks(packed);
        let count = chunks.len();
        let expire = self.chunk_expiry();
        let put = |(index, chunk): (u32, &[u8])| -> Pending<'w> {
            let item = Item::keyed(keys::wallet(self.address), keys::chunk(part, index))
                .with("h", hash(of))
                .with("i", number(index))
                .with("n", number(count))
                .with("g", number(generation))
                .with("b", bytes(chunk))
                .with(EXPIRES_AT, seconds(expire));
            let condition = Condition::new(
                "attribute_not_exists(pk) OR NOT attribute_type(g, :numeric) OR g <= :g",
                [(":g", number(generation)), (":numeric", text("N"))],
            );
            Box::pin(self.store.table.put(item, condition, self.usage))
        };
        (0_u32..).zip(chunks).map(put).collect()
    }

    /// Puts `fresh` over the prices that were read, as a round trip of its
    /// own.
    pub(super) async fn prices(
        self,
        currency: Currency,
        fresh: &PriceTable,
        previous: Option<&CachedPrices>,
    ) -> Result<bool, CacheError> {
        self.usage.round_trip();
        self.merge_prices(currency, fresh, previous).await
    }

    /// Replaces the prices only as they were read; when somebody else was
    /// faster, merges with theirs. Per id the later checked price stays.
    async fn merge_prices(
        &self,
        currency: Currency,
        fresh: &PriceTable,
        previous: Option<&CachedPrices>,
    ) -> Result<bool, CacheError> {
        let key = keys::prices(currency);
        let mut before = previous.map(|read| read.table.clone());
        let mut condition = match previous {
            Some(read) => Condition::new("h = :h", [(":h", hash(read.hash))]),
            None => Condition::new("attribute_not_exists(pk)", []),
        };
        let kept = self
            .store
            .retention
            .structure
            .max(self.store.retention.prices);
        for _ in 0..MERGE_ATTEMPTS {
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
                .with("b", bytes(&packed))
                .with(EXPIRES_AT, seconds(self.expiry()));
            let table = &self.store.table;
            if table.put(item, condition, self.usage).await? {
                return Ok(true);
            }
            let there = table
                .get(keys::wallet(self.address), &key, self.usage)
                .await?;
            before = there.as_ref().and_then(read_prices).map(|read| read.table);
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
        anew.require(conditions.join(" OR "));
        self.usage.round_trip();
        let _ = self.header(anew).await?;
        self.usage.round_trip();
        self.header(update).await
    }

    /// Changes the header. `Err` holds the header when a condition failed.
    pub(super) async fn header(
        &self,
        update: Update,
    ) -> Result<Result<Header, Header>, CacheError> {
        let (partition, update) = (keys::wallet(self.address), update.returned());
        let table = &self.store.table;
        let sent = table.update(partition, keys::HEADER, update, self.usage);
        Ok(match sent.await? {
            Ok(item) => Ok(read_header(&item)),
            Err(item) => Err(read_header(&item)),
        })
    }
}
