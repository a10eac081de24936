//! Stored bytes: compression, chunks and the packed price table.

use std::{cell::RefCell, collections::HashMap};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;
use zstd::bulk::Decompressor;

use crate::{
    clock::Timestamp,
    domain::{
        decimal::Decimal,
        price::RejectReason,
        price::{CmcId, Price, PriceKey, PriceTable},
        provider::Provider,
    },
};

/// Version of all stored formats. An item of another version counts as not
/// there: postcard does not describe itself.
pub const FORMAT: u8 = 5;
/// Largest chunk in bytes: DynamoDB's items end at 400 KB.
pub const CHUNK_SIZE: usize = 350 * 1024;
/// Compressed holdings of one fetch larger than this are answered, but not
/// cached.
pub const MAX_CACHED: usize = 4 * 1024 * 1024;

/// No part has more chunks than this, whatever its header claims.
pub(crate) const MAX_CHUNKS: u32 = MAX_CACHED.div_ceil(CHUNK_SIZE) as u32;

const ZSTD_LEVEL: i32 = 3;
/// No stored value unpacks to more than this, whatever its bytes claim.
const MAX_UNPACKED: usize = 64 * 1024 * 1024;

/// Stored bytes that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("stored bytes are corrupt: {0}")]
pub struct CorruptItem(pub String);

/// The hash that stored bytes are checked and compared by.
pub fn hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Compresses.
///
/// # Errors
/// Only when memory runs out.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, CorruptItem> {
    zstd::bulk::compress(bytes, ZSTD_LEVEL).map_err(|error| CorruptItem(error.to_string()))
}

/// Decompresses what [`compress`] made.
///
/// # Errors
/// When the bytes are damaged, or unpack to more than 64 MB.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, CorruptItem> {
    let size = match zstd::zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
        _ => return Err(CorruptItem("no frame".to_owned())),
    };
    if size > MAX_UNPACKED {
        return Err(CorruptItem(format!("claims {size} bytes")));
    }
    let unpacked = DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = match decompressor {
            Some(decompressor) => decompressor,
            None => decompressor.insert(Decompressor::new()?),
        };
        decompressor.decompress(bytes, size)
    });
    unpacked.map_err(|error| CorruptItem(error.to_string()))
}

thread_local! {
    /// To make one takes longer than to decompress an item.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Cuts compressed holdings into items. Nothing is one empty chunk.
pub fn chunks(bytes: &[u8]) -> Vec<&[u8]> {
    if bytes.is_empty() {
        return vec![&[]];
    }
    bytes.chunks(CHUNK_SIZE).collect()
}

/// A price table, column by column: equal columns compress to almost nothing.
#[derive(Default, Serialize, Deserialize)]
struct Columns {
    cmc_ids: Vec<u32>,
    assets: Vec<u64>,
    coefficients: Vec<u64>,
    exponents: Vec<i16>,
    /// Index into `provenances`.
    provenance: Vec<u16>,
    changes: Vec<Option<Change>>,
    provenances: Vec<Provenance>,
}

#[derive(Serialize, Deserialize)]
struct Change {
    coefficient: i64,
    exponent: i16,
}

/// Who said it and when; a handful per table, save for times of a provider's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Provenance {
    source: Provider,
    as_of: i64,
    quoted_at: i64,
    checked_at: i64,
    refused: Option<RejectReason>,
}

/// Packs a price table.
///
/// # Errors
/// Only when memory runs out.
pub fn pack_prices(table: &PriceTable) -> Result<Vec<u8>, CorruptItem> {
    let mut columns = Columns::default();
    let mut known: HashMap<Provenance, usize> = HashMap::new();
    let mut previous = 0;
    for (key, price) in table.entries() {
        match key {
            // Ascending: differences are smaller than the ids.
            PriceKey::Cmc(id) => {
                columns.cmc_ids.push(id.0 - previous);
                previous = id.0;
            }
            PriceKey::Asset(hash) => columns.assets.push(*hash),
        }
        columns
            .coefficients
            .push(price.amount.coefficient().unsigned_abs());
        columns.exponents.push(price.amount.exponent());
        columns
            .changes
            .push(price.change_24h_percent.map(|change| Change {
                coefficient: change.coefficient(),
                exponent: change.exponent(),
            }));
        let provenance = Provenance {
            source: price.source,
            as_of: price.as_of.as_millis(),
            quoted_at: price.quoted_at.as_millis(),
            checked_at: price.checked_at.as_millis(),
            refused: price.refused,
        };
        let index = *known.entry(provenance).or_insert_with(|| {
            columns.provenances.push(provenance);
            columns.provenances.len() - 1
        });
        columns
            .provenance
            .push(u16::try_from(index).unwrap_or(u16::MAX));
    }
    let bytes = postcard::to_allocvec(&columns).map_err(|error| CorruptItem(error.to_string()))?;
    compress(&bytes)
}

/// Unpacks what [`pack_prices`] made.
///
/// # Errors
/// When the bytes are damaged.
pub fn unpack_prices(bytes: &[u8]) -> Result<PriceTable, CorruptItem> {
    let bytes = decompress(bytes)?;
    let columns: Columns =
        postcard::from_bytes(&bytes).map_err(|error| CorruptItem(error.to_string()))?;
    let count = columns.cmc_ids.len() + columns.assets.len();
    let lengths = [
        columns.coefficients.len(),
        columns.exponents.len(),
        columns.provenance.len(),
        columns.changes.len(),
    ];
    if lengths.into_iter().any(|length| length != count) {
        return Err(CorruptItem("columns of different lengths".to_owned()));
    }
    let mut id = 0_u32;
    let cmc = columns.cmc_ids.iter().map(|step| {
        id = id.wrapping_add(*step);
        PriceKey::Cmc(CmcId(id))
    });
    let keys: Vec<PriceKey> = cmc
        .chain(columns.assets.iter().copied().map(PriceKey::Asset))
        .collect();
    let mut entries = Vec::with_capacity(count);
    for (at, key) in keys.into_iter().enumerate() {
        let provenance = columns
            .provenances
            .get(usize::from(columns.provenance[at]))
            .ok_or_else(|| CorruptItem("a price of no provider".to_owned()))?;
        let coefficient = i64::try_from(columns.coefficients[at])
            .map_err(|_| CorruptItem("a price out of range".to_owned()))?;
        entries.push((
            key,
            Price {
                amount: Decimal::new(coefficient, columns.exponents[at]),
                change_24h_percent: columns.changes[at]
                    .as_ref()
                    .map(|change| Decimal::new(change.coefficient, change.exponent)),
                source: provenance.source,
                as_of: Timestamp::from_millis(provenance.as_of),
                quoted_at: Timestamp::from_millis(provenance.quoted_at),
                checked_at: Timestamp::from_millis(provenance.checked_at),
                refused: provenance.refused,
            },
        ));
    }
    Ok(PriceTable::new(entries))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_price() -> impl Strategy<Value = Price> {
        (
            1_i64..i64::MAX,
            -300_i16..300,
            any::<Option<(i64, i16)>>(),
            0_i64..3,
            0_i64..3,
            any::<bool>(),
        )
            .prop_map(
                |(coefficient, exponent, change, as_of, checked, refused)| Price {
                    amount: Decimal::new(coefficient, exponent),
                    change_24h_percent: change.map(|(c, e)| Decimal::new(c, e % 300)),
                    source: Provider::CoinMarketCap,
                    as_of: Timestamp::from_millis(as_of),
                    quoted_at: Timestamp::from_millis(checked),
                    checked_at: Timestamp::from_millis(as_of + checked),
                    refused: refused.then_some(RejectReason::Outlier),
                },
            )
    }

    fn any_key() -> impl Strategy<Value = PriceKey> {
        prop_oneof![
            any::<u32>().prop_map(|id| PriceKey::Cmc(CmcId(id))),
            any::<u64>().prop_map(PriceKey::Asset),
        ]
    }

    proptest! {
        #[test]
        fn prices_come_back(entries in proptest::collection::vec((any_key(), any_price()), 0..60)) {
            let table = PriceTable::new(entries);
            let packed = pack_prices(&table).unwrap();
            prop_assert_eq!(unpack_prices(&packed).unwrap(), table);
        }

        #[test]
        fn damage_is_noticed_or_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack_prices(&bytes);
            let _ = decompress(&bytes);
            if let Ok(framed) = compress(&bytes) {
                let _ = unpack_prices(&framed);
                prop_assert_eq!(decompress(&framed).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn the_hash_is_that_of_xxh3() {
        // Of its specification's test vectors.
        assert_eq!(hash(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_ne!(hash(b"a"), hash(b"b"));
    }

    #[test]
    fn nothing_unpacks_to_more_than_its_limit() {
        let most = compress(&vec![0; MAX_UNPACKED]).unwrap();
        assert_eq!(decompress(&most).map(|bytes| bytes.len()), Ok(MAX_UNPACKED));
        let more = compress(&vec![0; MAX_UNPACKED + 1]).unwrap();
        let error = decompress(&more).unwrap_err();
        assert_eq!(error.0, format!("claims {} bytes", MAX_UNPACKED + 1));
    }

    #[test]
    fn chunks_fit_items() {
        let bytes = vec![7; CHUNK_SIZE * 2 + 1];
        let chunks = chunks(&bytes);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks.concat(), bytes);
        assert_eq!(super::chunks(&[]).len(), 1);
    }
}
