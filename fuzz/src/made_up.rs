//! Wallets of a fuzzer's own making.

use std::collections::HashSet;

use arbitrary::{Arbitrary, Unstructured};
use portfolio::{
    clock::Timestamp,
    domain::{
        decimal::Decimal,
        price::RejectReason,
        price::{CmcId, Price, PriceKey},
        provider::Provider,
        provider_position::{Implementation, ProviderPosition, ProviderProtocol},
        quantity::Quantity,
    },
};

/// A wallet of a fuzzer's own making.
#[derive(Arbitrary, Debug)]
pub struct MadeUp {
    /// The bytes are repeated this many times, to make a long wallet of them;
    /// mostly not, because that takes its time.
    pub(crate) repeated: (u8, u16),
    assets: UpTo<6, Asset>,
    protocols: UpTo<3, Protocol>,
    rows: UpTo<12, MadeUpRow>,
    pub(crate) prices: UpTo<12, MadeUpPrice>,
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
    other: AnyDecimal,
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
struct AnyDecimal {
    coefficient: i64,
    exponent: i16,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct MadeUpPrice {
    key: Key,
    amount: AnyDecimal,
    change: Option<AnyDecimal>,
    source: u8,
    as_of: i64,
    quoted_at: i64,
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
pub(crate) struct UpTo<const MOST: usize, T>(pub(crate) Vec<T>);

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
    pub(crate) fn rows(&self) -> Vec<ProviderPosition> {
        let mut ids = HashSet::new();
        let rows = self.rows.0.iter().enumerate();
        let rows = rows.map(|(at, row)| self.row(at, row));
        rows.filter(|row| ids.insert(row.id.clone())).collect()
    }

    fn row(&self, at: usize, row: &MadeUpRow) -> ProviderPosition {
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
        ProviderPosition {
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
            protocol: protocol.map(|(at, protocol)| ProviderProtocol {
                id: format!("protocol-{at}"),
                name: protocol.name.0.clone(),
                url: protocol.url.as_ref().map(|url| url.0.clone()),
                icon: None,
            }),
            group: row.group.as_ref().map(|group| group.0.clone()),
            displayable: row.displayable,
            trash: row.trash,
            price: asset.and_then(|asset| asset.price.number()),
            ..ProviderPosition::default()
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
    fn number(self) -> Option<Decimal> {
        let AnyDecimal {
            coefficient,
            exponent,
        } = self.other;
        match self.kind % 16 {
            0 => None,
            1 => Some(Decimal::new(
                coefficient.saturating_abs().max(1),
                exponent % 400,
            )),
            power => Some(Decimal::new(1 << (power % 6), 0)),
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
    pub(crate) fn price(&self) -> (PriceKey, Price) {
        let any = |decimal: AnyDecimal| Decimal::new(decimal.coefficient, decimal.exponent);
        let amount = self.amount.coefficient.saturating_abs();
        // Differences of two such times always fit.
        let time = |millis: i64| Timestamp::from_millis(millis >> 2);
        let sources = [
            Provider::Zerion,
            Provider::CoinMarketCap,
            Provider::DefiLlama,
        ];
        let refusals = [
            RejectReason::Outlier,
            RejectReason::Outdated,
            RejectReason::NotPositive,
            RejectReason::LowConfidence,
        ];
        let price = Price {
            amount: Decimal::new(amount, self.amount.exponent),
            change_24h_percent: self.change.map(any),
            source: sources[usize::from(self.source) % sources.len()],
            as_of: time(self.as_of),
            quoted_at: time(self.quoted_at),
            checked_at: time(self.checked_at),
            refused: self
                .refused
                .map(|at| refusals[usize::from(at) % refusals.len()]),
        };
        (self.key.into(), price)
    }
}
