//! What the cache stores: holdings in chunks, price columns, packed prices.

use std::collections::HashSet;

use arbitrary::{Arbitrary, Unstructured};
use portfolio::{
    cache::{
        book::{pack, unpack},
        codec::{CHUNK_SIZE, chunks, compress, decompress, hash, pack_prices, unpack_prices},
    },
    clock::Timestamp,
    domain::{
        belief::Refusal,
        book::{BookKey, Page},
        draft::{Draft, Implementation, Row, RowProtocol},
        holdings::Holdings,
        number::Number,
        price::{CmcId, Price, PriceKey, PriceSource, PriceTable},
        quantity::Quantity,
        scope::Part,
    },
};

use crate::{NOW, wallet};

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
        if let Some(key) = BookKey::parse(text) {
            assert_eq!(BookKey::parse(&key.to_string()), Some(key));
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
        holdings.fallback_key(token);
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
    for (part, bytes) in wallet::finished(&draft, Timestamp::default()).parts {
        let same = other_way.parts.get(&part) == Some(&bytes);
        assert!(same, "the order of rows leaves no trace");
        let compressed = compress(&bytes).expect("there is memory");
        in_chunks(&compressed);
        if let (0, times) = made_up.repeated {
            let times = usize::from(times).min(LONG / compressed.len());
            in_chunks(&compressed.repeat(times));
        }
        let unpacked = decompress(&compressed).expect("what was just compressed");
        assert_eq!(hash(&unpacked), hash(&bytes));
        let holdings = Holdings::decode(&unpacked).expect("what was just encoded decodes");
        let expected = rows.iter().filter(|row| part == part_of(row));
        same_positions(&holdings, expected);
    }

    let entries = made_up
        .prices
        .0
        .iter()
        .map(|one| (one.key.into(), one.price()));
    let table = PriceTable::new(entries.collect());
    for (_, price) in table.entries() {
        assert_eq!(unpack(&pack(price)), Ok(*price), "the book keeps a price");
    }
    prices_come_back(&table);
}

fn draft(rows: &[Row]) -> Draft {
    let mut draft = Draft::default();
    for row in rows {
        draft.push(row.clone(), None);
    }
    draft
}

fn part_of(row: &Row) -> Part {
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
fn same_positions<'r>(holdings: &Holdings<'_>, rows: impl Iterator<Item = &'r Row>) {
    let mut rows: Vec<&Row> = rows.collect();
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

fn kind(row: &Row) -> &str {
    row.kind.as_deref().unwrap_or_default()
}

/// A wallet of a fuzzer's own making.
#[derive(Arbitrary, Debug)]
pub struct MadeUp {
    /// The bytes are repeated this many times, to make a long wallet of them;
    /// mostly not, because that takes its time.
    repeated: (u8, u16),
    assets: UpTo<6, Asset>,
    protocols: UpTo<3, Protocol>,
    rows: UpTo<12, MadeUpRow>,
    prices: UpTo<12, MadeUpPrice>,
}

#[derive(Arbitrary, Debug)]
struct Asset {
    id: Id,
    symbol: Text,
    name: Text,
    icon: Option<Id>,
    verified: bool,
    places: UpTo<3, Place>,
    price: AssetPrice,
}

/// Mostly powers of two: whether assets may share an id depends on how far
/// apart their prices are.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct AssetPrice {
    kind: u8,
    other: Decimal,
}

#[derive(Arbitrary, Debug)]
struct Place {
    chain: Chain,
    address: Option<Id>,
    decimals: Option<u8>,
}

/// Identifiers as providers write them.
#[derive(Arbitrary, Debug)]
enum Id {
    Contract([u8; 20]),
    Uuid([u8; 16]),
    /// One that the registry knows.
    Known(bool),
    Text(Text),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Chain {
    Ethereum,
    Base,
    Solana,
    Unknown,
}

#[derive(Arbitrary, Debug)]
struct Protocol {
    name: Text,
    url: Option<Text>,
}

#[derive(Arbitrary, Debug)]
struct MadeUpRow {
    id: RowId,
    name: Text,
    chain: Chain,
    asset: u8,
    units: Option<Units>,
    protocol: Option<u8>,
    kind: u8,
    group: Option<Text>,
    displayable: bool,
    trash: bool,
}

#[derive(Arbitrary, Debug)]
enum RowId {
    /// The forms that are packed.
    Asset,
    Native,
    Named,
    Text(Text),
}

#[derive(Arbitrary, Debug)]
enum Units {
    Small(u128, u8),
    Negative(u64, u8),
    /// Digits, and where the point stands.
    Long(UpTo<90, u8>, u8),
    /// Base units and another decimal amount.
    Scaled(u64, u8, u32, UpTo<30, u8>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Decimal {
    coefficient: i64,
    exponent: i16,
}

#[derive(Arbitrary, Debug)]
struct MadeUpPrice {
    key: Key,
    amount: Decimal,
    change: Option<Decimal>,
    source: u8,
    as_of: i64,
    given_at: i64,
    checked_at: i64,
    refused: Option<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    Listed(u32),
    Other(u64),
}

/// Up to `MOST` of something. The lists and texts that come with the crate
/// take most of the bytes that are left, and leave none to what follows.
#[derive(Debug)]
struct UpTo<const MOST: usize, T>(Vec<T>);

impl<'a, const MOST: usize, T: Arbitrary<'a>> Arbitrary<'a> for UpTo<MOST, T> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let count = bytes.int_in_range(0..=MOST)?;
        let list: arbitrary::Result<_> = (0..count).map(|_| bytes.arbitrary()).collect();
        list.map(Self)
    }
}

/// A short text.
#[derive(Debug)]
struct Text(String);

impl<'a> Arbitrary<'a> for Text {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let UpTo::<12, u8>(text) = bytes.arbitrary()?;
        Ok(Self(String::from_utf8_lossy(&text).into_owned()))
    }
}

impl MadeUp {
    /// The rows, each with an id of its own. Rows of one asset or protocol
    /// agree on what it is, as a provider's do.
    fn rows(&self) -> Vec<Row> {
        let mut ids = HashSet::new();
        let rows = self.rows.0.iter().enumerate();
        let rows = rows.map(|(at, row)| self.row(at, row));
        rows.filter(|row| ids.insert(row.id.clone())).collect()
    }

    fn row(&self, at: usize, row: &MadeUpRow) -> Row {
        let asset_at = usize::from(row.asset) % self.assets.0.len().max(1);
        let asset = self.assets.0.get(asset_at);
        let protocol = row.protocol.and_then(|at| {
            let at = usize::from(at) % self.protocols.0.len().max(1);
            Some((at, self.protocols.0.get(at)?))
        });
        let kind = match protocol {
            None => "wallet",
            Some(_) => ["deposit", "loan", "staked", "reward"][usize::from(row.kind % 4)],
        };
        let chain = row.chain.as_str();
        let places = asset.map_or(&[][..], |asset| &asset.places.0);
        let contract = places.iter().find(|place| place.chain.as_str() == chain);
        let contract = contract.and_then(|place| Some(place.address.as_ref()?.to_text()));
        let base = contract.as_deref().unwrap_or("base");
        let id = match &row.id {
            RowId::Asset => format!("{base}-{chain}-asset-asset"),
            RowId::Native => format!("base-{chain}-asset-asset"),
            RowId::Named => format!("{base}-{chain}-{}-{kind}", row.name.0.to_lowercase()),
            RowId::Text(Text(text)) => format!("{text}{at}"),
        };
        let implementation = |place: &Place| Implementation {
            chain: place.chain.as_str().to_owned(),
            address: place.address.as_ref().map(Id::to_text),
            decimals: place.decimals.map(u16::from),
        };
        Row {
            id,
            kind: Some(kind.to_owned()),
            name: row.name.0.clone(),
            chain: chain.to_owned(),
            // Two assets of one id would be one asset.
            fungible: asset.map(|asset| match &asset.id {
                Id::Text(Text(text)) => format!("{text}{asset_at}"),
                Id::Known(_) => format!("known{asset_at}"),
                Id::Contract(bytes) => Id::Contract(marked(*bytes, asset_at)).to_text(),
                Id::Uuid(bytes) => Id::Uuid(marked(*bytes, asset_at)).to_text(),
            }),
            symbol: asset
                .map(|asset| asset.symbol.0.clone())
                .unwrap_or_default(),
            token_name: asset.map(|asset| asset.name.0.clone()).unwrap_or_default(),
            icon: asset.and_then(|asset| {
                let name = asset.icon.as_ref()?.to_text();
                Some(format!("https://cdn.zerion.io/{name}.png"))
            }),
            verified: asset.is_some_and(|asset| asset.verified),
            implementations: places.iter().map(implementation).collect(),
            quantity: row.units.as_ref().and_then(Units::quantity),
            protocol: protocol.map(|(at, protocol)| RowProtocol {
                id: format!("protocol-{at}"),
                name: protocol.name.0.clone(),
                url: protocol.url.as_ref().map(|url| url.0.clone()),
                icon: None,
            }),
            group: row.group.as_ref().map(|group| group.0.clone()),
            displayable: row.displayable,
            trash: row.trash,
            price: asset.and_then(|asset| asset.price.number()),
            ..Row::default()
        }
    }
}

/// Bytes that tell assets apart by their place in the list.
fn marked<const N: usize>(mut bytes: [u8; N], at: usize) -> [u8; N] {
    bytes[..2].copy_from_slice(&u16::try_from(at).unwrap_or(u16::MAX).to_be_bytes());
    bytes
}

impl Id {
    fn to_text(&self) -> String {
        let hex = |bytes: &[u8]| -> String {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            digits.collect()
        };
        match self {
            Self::Contract(bytes) => format!("0x{}", hex(bytes)),
            Self::Uuid(bytes) => [0..4, 4..6, 6..8, 8..10, 10..16]
                .map(|part| hex(&bytes[part]))
                .join("-"),
            Self::Known(false) => format!("0x{}", "11".repeat(20)),
            Self::Known(true) => format!("0x{}", "22".repeat(20)),
            Self::Text(Text(text)) => text.clone(),
        }
    }
}

impl Chain {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ethereum => "ethereum",
            Self::Base => "base",
            Self::Solana => "solana",
            Self::Unknown => "later",
        }
    }
}

impl Units {
    fn quantity(&self) -> Option<Quantity<'static>> {
        let digits = |bytes: &[u8]| -> String {
            let digits = bytes.iter().map(|byte| char::from(b'0' + byte % 10));
            digits.collect()
        };
        let (int, decimals, numeric) = match self {
            Self::Small(units, decimals) => (units.to_string(), *decimals, None),
            Self::Negative(units, decimals) => (format!("-{units}"), *decimals, None),
            Self::Long(UpTo(bytes), decimals) => (digits(bytes), *decimals, None),
            Self::Scaled(units, decimals, whole, UpTo(bytes)) => {
                let shown = format!("{whole}.{}", digits(bytes));
                (units.to_string(), *decimals, Some(shown))
            }
        };
        let quantity = Quantity::parse(Some(&int), Some(decimals.into()), numeric.as_deref());
        quantity.map(Quantity::into_owned)
    }
}

impl AssetPrice {
    /// A positive number, as all prices in rows are.
    fn number(self) -> Option<Number> {
        let Decimal {
            coefficient,
            exponent,
        } = self.other;
        match self.kind % 16 {
            0 => None,
            1 => Some(Number::new(
                coefficient.saturating_abs().max(1),
                exponent % 400,
            )),
            power => Some(Number::new(1 << (power % 6), 0)),
        }
    }
}

impl From<Key> for PriceKey {
    fn from(key: Key) -> Self {
        match key {
            Key::Listed(id) => Self::Cmc(CmcId(id)),
            Key::Other(hash) => Self::Asset(hash),
        }
    }
}

impl MadeUpPrice {
    /// Zero, which stands for none, is among the amounts.
    fn price(&self) -> Price {
        let any = |decimal: Decimal| Number::new(decimal.coefficient, decimal.exponent);
        let amount = self.amount.coefficient.saturating_abs();
        // Differences of two such times always fit.
        let time = |millis: i64| Timestamp::from_millis(millis >> 2);
        let sources = [
            PriceSource::Zerion,
            PriceSource::CoinMarketCap,
            PriceSource::DefiLlama,
        ];
        let refusals = [
            Refusal::Jump,
            Refusal::Outdated,
            Refusal::NotPositive,
            Refusal::Unsure,
        ];
        Price {
            amount: Number::new(amount, self.amount.exponent),
            change_24h_percent: self.change.map(any),
            source: sources[usize::from(self.source) % sources.len()],
            as_of: time(self.as_of),
            given_at: time(self.given_at),
            checked_at: time(self.checked_at),
            refused: self
                .refused
                .map(|at| refusals[usize::from(at) % refusals.len()]),
        }
    }
}

/// What the cache stores of the sample: seeds of [`stored`].
///
/// # Panics
/// When memory runs out.
pub fn stored_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let wallet::Stored { parts, prices } = wallet::finished(&wallet::sample(), NOW);
    let mut parts = parts.into_values();
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
