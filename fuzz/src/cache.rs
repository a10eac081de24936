//! What the cache stores: holdings in chunks, price columns, packed prices.

use portfolio::{
    cache::{
        codec::{CHUNK_SIZE, chunks, compress, decompress, hash, pack_prices, unpack_prices},
        price_book::{pack, unpack},
    },
    clock::Timestamp,
    domain::{
        holdings::Holdings,
        holdings_builder::HoldingsBuilder,
        price::PriceTable,
        price_book::{Page, QuoteKey},
        provider::Provider,
        provider_position::ProviderPosition,
        quantity::Quantity,
        scope::Part,
    },
    upstream::defillama,
};

use crate::{
    NOW,
    made_up::{MadeUp, MadeUpPrice},
    wallet,
};

/// The longest wallet that is cut into chunks, in bytes: some more than are
/// cached.
const LONG: usize = 1 << 20;

/// Any bytes as what stands in the table: refused, or something that is stored
/// and read again as the same.
pub fn stored(bytes: &[u8]) {
    let framed = compress(bytes).expect("there is memory");
    assert_eq!(decompress(&framed).as_deref(), Ok(bytes));
    let _ = decompress(bytes);
    if let Ok(holdings) = Holdings::decode(bytes) {
        looked_at(&holdings);
        let encoded = holdings.encode();
        let again = Holdings::decode(&encoded).expect("what was just encoded decodes");
        assert_eq!(again, holdings);
    }
    for bytes in [bytes, &framed] {
        if let Ok(table) = unpack_prices(bytes) {
            prices_come_back(&table);
        }
    }
    if let Ok(price) = unpack(bytes) {
        assert_eq!(unpack(&pack(&price)), Ok(price));
    }
    if let Ok(text) = str::from_utf8(bytes) {
        for provider in Provider::ALL {
            let key = QuoteKey::parse(provider, text);
            assert_eq!(QuoteKey::parse(provider, &key.to_string()), key);
        }
        if let Ok(page) = text.parse::<Page>() {
            assert_eq!(page.to_string().parse(), Ok(page));
        }
    }
}

/// Everything that is read out of holdings before they are valued.
fn looked_at(holdings: &Holdings<'_>) {
    for position in &holdings.positions {
        let token = holdings.token(position);
        holdings.price_key(token);
        defillama::id_of(holdings, token);
        holdings.position_id(position);
        if let Some(quantity) = &position.quantity {
            quantity.mantissa();
            let _ = quantity.to_string();
        }
    }
}

fn prices_come_back(table: &PriceTable) {
    let packed = pack_prices(table).expect("there is memory");
    assert_eq!(unpack_prices(&packed).as_ref(), Ok(table));
}

/// A made-up wallet: what is stored of it is what its rows and prices say, in
/// whatever order the rows come.
pub fn round_trip(made_up: &MadeUp) {
    let rows = made_up.rows();
    let draft = draft(&rows);
    let mut reversed = rows.clone();
    reversed.reverse();
    let other_way = wallet::finished(&self::draft(&reversed), Timestamp::default());
    for (part, stored) in wallet::finished(&draft, Timestamp::default()).parts {
        let same = other_way.parts.get(&part) == Some(&stored);
        assert!(same, "the order of rows leaves no trace");
        let compressed = compress(stored.bytes()).expect("there is memory");
        in_chunks(&compressed);
        if let (0, times) = made_up.repeated {
            let times = usize::from(times).min(LONG / compressed.len());
            in_chunks(&compressed.repeat(times));
        }
        let unpacked = decompress(&compressed).expect("what was just compressed");
        assert_eq!(hash(&unpacked), hash(stored.bytes()));
        let holdings = Holdings::decode(&unpacked).expect("what was just encoded decodes");
        let expected = rows.iter().filter(|row| part == part_of(row));
        same_positions(&holdings, expected);
    }

    let entries = made_up.prices.0.iter().map(MadeUpPrice::price);
    let table = PriceTable::new(entries.collect());
    for (_, price) in table.entries() {
        assert_eq!(unpack(&pack(price)), Ok(*price), "the book keeps a price");
    }
    prices_come_back(&table);
}

fn draft(rows: &[ProviderPosition]) -> HoldingsBuilder {
    let mut draft = HoldingsBuilder::default();
    for row in rows {
        draft.push(row.clone(), None);
    }
    draft
}

fn part_of(row: &ProviderPosition) -> Part {
    match row.protocol {
        Some(_) => Part::Defi,
        None => Part::Wallet,
    }
}

/// Chunks put together are what was cut, however long it is.
fn in_chunks(bytes: &[u8]) {
    let chunks = chunks(bytes);
    assert_eq!(chunks.concat(), bytes);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_SIZE));
    assert_eq!(chunks.len(), bytes.len().div_ceil(CHUNK_SIZE).max(1));
}

/// Each row is a position, ordered by id, and nothing else is.
fn same_positions<'r>(holdings: &Holdings<'_>, rows: impl Iterator<Item = &'r ProviderPosition>) {
    let mut rows: Vec<&ProviderPosition> = rows.collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(holdings.positions.len(), rows.len());
    for (position, row) in holdings.positions.iter().zip(rows) {
        let token = holdings.token(position);
        assert_eq!(holdings.position_id(position), row.id);
        assert_eq!(holdings.types[position.kind as usize], kind(row));
        assert_eq!(holdings.names[position.name as usize], row.name);
        assert_eq!(holdings.chain(token), row.chain);
        let id = token.id.as_ref().map(ToString::to_string);
        assert_eq!(id, row.fungible);
        assert_eq!((token.symbol, token.name), (&*row.symbol, &*row.token_name));
        assert_eq!(token.verified, row.verified);
        let shown = |quantity: &Quantity<'_>| {
            let raw = quantity.raw().map(|raw| raw.into_owned());
            (quantity.to_string(), raw, quantity.is_negative())
        };
        let (here, there) = (position.quantity.as_ref(), row.quantity.as_ref());
        assert_eq!(here.map(shown), there.map(shown));
        assert_eq!(position.displayable, row.displayable);
        assert_eq!(position.trash, row.trash);
        let group = position.group.map(|at| &holdings.groups[at as usize]);
        let protocol = group.map(|group| &holdings.protocols[group.protocol as usize]);
        let told = row.protocol.as_ref();
        assert_eq!(protocol.map(|it| it.id), told.map(|it| &*it.id));
        assert_eq!(protocol.map(|it| it.name), told.map(|it| &*it.name));
        if let (Some(group), Some(id)) = (group, &row.group) {
            assert_eq!(group.id, id);
        }
    }
}

fn kind(row: &ProviderPosition) -> &str {
    row.kind.as_deref().unwrap_or_default()
}

/// What the cache stores of the sample: seeds of [`stored`].
///
/// # Panics
/// When memory runs out.
pub fn stored_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let wallet::Stored { parts, prices } = wallet::finished(&wallet::sample(), NOW);
    let mut parts = parts.into_values().map(|stored| stored.bytes().to_vec());
    let frame = pack_prices(&prices).expect("there is memory");
    let columns = decompress(&frame).expect("what was just compressed");
    let entries = prices.entries().iter();
    let price = entries.map(|(_, price)| pack(price)).next();
    vec![
        ("holdings-wallet.bin", parts.next().unwrap_or_default()),
        ("holdings-defi.bin", parts.next().unwrap_or_default()),
        ("holdings-none.bin", Holdings::default().encode()),
        ("columns.bin", columns),
        ("frame-columns.bin", frame),
        ("price.bin", price.unwrap_or_default()),
        ("key-listed.txt", b"1027".to_vec()),
        ("key-unlisted.txt", b"base:0x22".to_vec()),
        ("key-page.txt", b"u07".to_vec()),
    ]
}

/// Bytes without a meaning, enough for wallets of some rows: seeds of
/// [`round_trip`].
pub fn made_up_seeds() -> Vec<(String, Vec<u8>)> {
    let seed = |number: u64| {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes = (0..256 * number).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        });
        (format!("made-up-{number}.bin"), bytes.collect())
    };
    (1..=8).map(seed).collect()
}

#[cfg(test)]
mod tests {
    use arbitrary::Unstructured;

    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_of_stored_bytes_are_read() {
        for (name, bytes) in seeds::of("cache_stored") {
            stored(&bytes);
            let framed = compress(&bytes).expect("there is memory");
            let read = match name.split(['-', '.']).next() {
                Some("holdings") => Holdings::decode(&bytes).is_ok(),
                Some("columns") => unpack_prices(&framed).is_ok(),
                Some("frame") => unpack_prices(&bytes).is_ok(),
                Some("price") => unpack(&bytes).is_ok(),
                Some("key") => true,
                _ => false,
            };
            assert!(
                read,
                "{name} is of an older format: run the example `seeds`"
            );
        }
    }

    #[test]
    fn seeds_of_wallets_have_rows_and_prices() {
        let (mut rows, mut prices) = (0, 0);
        for (_, bytes) in seeds::of("cache_round_trip") {
            let made_up: MadeUp = Unstructured::new(&bytes)
                .arbitrary()
                .expect("bytes suffice");
            round_trip(&made_up);
            rows += made_up.rows().len();
            prices += made_up.prices.0.len();
        }
        assert!(rows > 10 && prices > 10, "{rows} rows, {prices} prices");
    }

    #[test]
    fn the_sample_comes_back() {
        let stored = wallet::finished(&wallet::sample(), NOW);
        prices_come_back(&stored.prices);
        assert_eq!(stored.parts.len(), Part::ALL.len());
    }
}
