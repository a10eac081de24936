//! What asset each row of a wallet is of: its contract, how it is told from
//! others, CoinMarketCap's id, and the price that the rows give it.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use crate::{
    asset::{Asset, Identity},
    chain::Chain,
    decimal::Decimal,
    identifier::Identifier,
    places::{Here, Places},
    price::{CmcId, PriceKey},
    price_guard::within_deviation,
    provider_position::{Implementation, LOAN_TYPE, ProviderPosition},
    scope::Part,
};

/// Finds CoinMarketCap's id of an asset.
pub trait AssetResolver {
    /// The id of the asset that exists under `address` on `chain`; no address
    /// means the chain's native coin.
    fn resolve(&self, chain: &str, address: Option<&str>) -> Option<CmcId>;
}

/// Resolves nothing.
pub struct NoAssets;

impl AssetResolver for NoAssets {
    fn resolve(&self, _: &str, _: Option<&str>) -> Option<CmcId> {
        None
    }
}

/// A row on its way to the holdings.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it belongs.
    pub part: Part,
    /// What it says, but for where its asset exists.
    pub row: ProviderPosition,
    /// Index of its asset's places.
    pub places: usize,
    /// Which of them is the row's.
    pub here: Here,
}

/// What is known of a row's asset.
#[derive(Debug)]
pub(super) struct Mapped<'a> {
    /// How it is told from others.
    pub identity: Identity<'a>,
    /// Its contract on the row's chain.
    pub address: Option<&'a str>,
    /// Decimal places there.
    pub decimals: Option<u16>,
    /// Whether it is the chain's native coin.
    pub native: bool,
    /// Whether its displayed amount is another than its base units.
    pub scaled: bool,
    /// CoinMarketCap's id.
    pub cmc: Option<CmcId>,
}

/// A price, and its change over 24 hours in percent.
type Told = (Decimal, Option<Decimal>);

/// The assets of a wallet's rows.
///
/// Two assets under one id share one price. Where the provider's own prices of
/// them are too far apart for that, one of them is mapped wrongly, and neither
/// has the id.
#[derive(Debug, Default)]
pub struct Mapping<'a> {
    /// In the draft's order.
    rows: Vec<Mapped<'a>>,
    /// The rows ordered by what they say.
    order: Vec<usize>,
    prices: HashMap<PriceKey, Told>,
    ambiguous: BTreeMap<CmcId, BTreeSet<String>>,
}

impl<'a> Mapping<'a> {
    pub(super) fn of(
        entries: &'a [Entry],
        places: &'a [Places],
        assets: &dyn AssetResolver,
    ) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| by_content(&entries[*a], &entries[*b]));
        let rows = entries.iter();
        let rows = rows.map(|entry| Mapped::of(entry, &places[entry.places], assets));
        let mut mapping = Self {
            rows: rows.collect(),
            order,
            ..Self::default()
        };
        mapping.number_copies(entries);
        mapping.drop_ambiguous(entries);
        mapping.collect_prices(entries);
        mapping
    }

    /// Ids that assets with very different prices resolve to, with those
    /// assets' own ids: none of them has the id.
    pub fn ambiguous(&self) -> impl Iterator<Item = (CmcId, &BTreeSet<String>)> {
        self.ambiguous.iter().map(|(id, assets)| (*id, assets))
    }

    /// The rows' places in the draft, ordered by what they say.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    pub(super) fn row(&self, at: usize) -> &Mapped<'a> {
        &self.rows[at]
    }

    pub(super) fn price(&self, key: PriceKey) -> Option<Told> {
        self.prices.get(&key).copied()
    }

    /// Numbers the rows that share id and chain among those that nothing else
    /// tells apart.
    fn number_copies(&mut self, entries: &'a [Entry]) {
        let mut seen: HashMap<(&str, &str), u32> = HashMap::new();
        for at in &self.order {
            let row = &entries[*at].row;
            if let Identity::Row { copy, .. } = &mut self.rows[*at].identity {
                let next = seen.entry((&row.id, &row.chain)).or_default();
                *copy = *next;
                *next = next.saturating_add(1);
            }
        }
    }

    fn drop_ambiguous(&mut self, entries: &[Entry]) {
        // The lowest and the highest price of each, in any order of rows.
        let mut prices: HashMap<CmcId, (Decimal, Decimal)> = HashMap::new();
        for (entry, mapped) in entries.iter().zip(&self.rows) {
            // A scaled token shares its price with nothing.
            let Some(id) = mapped.cmc.filter(|_| !mapped.scaled) else {
                continue;
            };
            let price = entry.row.price.or_else(|| price_by_value(&entry.row));
            let Some(price) = price else { continue };
            let (low, high) = prices.entry(id).or_insert((price, price));
            if price.compare(*low, 1).is_lt() {
                *low = price;
            } else if price.compare(*high, 1).is_gt() {
                *high = price;
            }
            if !within_deviation(*low, *high) {
                self.ambiguous.entry(id).or_default();
            }
        }
        for (entry, mapped) in entries.iter().zip(&mut self.rows) {
            let id = mapped.cmc.and_then(|id| self.ambiguous.get_mut(&id));
            if let Some(assets) = id {
                assets.insert(name(&entry.row));
                mapped.cmc = None;
            }
        }
    }

    /// What the rows say that each asset costs. A price goes before one that is
    /// worked out of a value, whichever row it stands in.
    fn collect_prices(&mut self, entries: &[Entry]) {
        let given: fn(&ProviderPosition) -> Option<Decimal> = |row| row.price;
        let worked_out = |row: &ProviderPosition| match row.price {
            Some(_) => None,
            None => price_by_value(row),
        };
        for told in [given, worked_out] {
            for at in &self.order {
                let row = &entries[*at].row;
                let Some(price) = told(row) else { continue };
                let key = self.rows[*at].price_key(row);
                let price = (price, row.change_24h_percent);
                self.prices.entry(key).or_insert(price);
            }
        }
    }
}

impl<'a> Mapped<'a> {
    fn of(entry: &'a Entry, places: &'a Places, assets: &dyn AssetResolver) -> Self {
        let row = &entry.row;
        let here = places.at(&row.chain, entry.here);
        let address = here.and_then(|here| here.address.as_deref());
        let native =
            here.is_some_and(|here| here.address.is_none()) && is_native_coin(&row.chain, row);
        let located = address.is_some() || native;
        let several = places.are_several_on(&row.chain);
        let identity = match (&row.fungible, located) {
            (Some(_), true) if several => Identity::Contract,
            (Some(_), _) if !several => Identity::Asset,
            (None, true) => Identity::Asset,
            _ => Identity::Row {
                id: &row.id,
                copy: 0,
            },
        };
        let quantity = row.quantity.as_ref();
        let mut mapped = Self {
            identity,
            address,
            decimals: here.and_then(|here| here.decimals),
            native,
            scaled: quantity.is_some_and(|quantity| quantity.is_scaled(row.decimals)),
            cmc: None,
        };
        mapped.cmc = mapped.resolve(row, places, assets);
        mapped
    }

    /// CoinMarketCap's id by the row's own chain, else by any chain of the
    /// asset: the lowest of several, which was listed first.
    fn resolve(
        &self,
        row: &ProviderPosition,
        places: &Places,
        assets: &dyn AssetResolver,
    ) -> Option<CmcId> {
        let on_other_chains = |place: &Implementation| match &place.address {
            Some(address) => assets.resolve(&place.chain, Some(address)),
            None if is_native_coin(&place.chain, row) => assets.resolve(&place.chain, None),
            None => None,
        };
        let anywhere = || {
            places
                .on_other_chains(&row.chain)
                .filter_map(on_other_chains)
                .min()
        };
        let here = || match (self.address, self.native) {
            (Some(address), _) => assets.resolve(&row.chain, Some(address)),
            (None, true) => assets.resolve(&row.chain, None),
            (None, false) => None,
        };
        match self.identity {
            Identity::Asset => here().or_else(anywhere),
            Identity::Contract => here(),
            Identity::Row { .. } => None,
        }
    }

    fn price_key(&self, row: &ProviderPosition) -> PriceKey {
        let packed =
            |text: Option<&'_ str>| text.map(|text| Identifier::pack(text.to_owned().into()));
        let (id, address) = (packed(row.fungible.as_deref()), packed(self.address));
        let asset = Asset {
            identity: &self.identity,
            cmc: self.cmc,
            id: id.as_ref(),
            chain: &row.chain,
            address: address.as_ref(),
            scaled: self.scaled,
        };
        asset.price_key()
    }
}

/// Whether an asset that has no contract on `chain` is its native coin: by its
/// symbol, or, where that is not known, by the provider's id.
fn is_native_coin(chain: &str, row: &ProviderPosition) -> bool {
    let natives = Chain::by_id(chain).map_or(&[][..], Chain::natives);
    let called = |symbol: &str| symbol.eq_ignore_ascii_case(row.symbol.trim());
    match natives.is_empty() || row.symbol.is_empty() {
        true => row.fungible.is_some(),
        false => natives.iter().any(|native| called(native.symbol())),
    }
}

/// What one token costs by the row's value. Loans are written with either
/// sign; on_other_chains a value or an amount below zero tells nothing.
fn price_by_value(row: &ProviderPosition) -> Option<Decimal> {
    let (value, quantity) = (row.value?, row.quantity.as_ref()?);
    let value = match row.kind.as_deref() {
        Some(LOAN_TYPE) => value.magnitude(),
        _ if quantity.is_negative() => return None,
        _ => value,
    };
    Decimal::ratio(value, &quantity.mantissa())
}

/// The asset as logs call it.
fn name(row: &ProviderPosition) -> String {
    match &row.fungible {
        Some(id) => id.clone(),
        None => format!("{} on {}", row.id, row.chain),
    }
}

/// An order of rows that hangs on nothing but what they say.
fn by_content(a: &Entry, b: &Entry) -> Ordering {
    let (one, other) = (&a.row, &b.row);
    let shown = |row: &ProviderPosition| row.quantity.as_ref().map(ToString::to_string);
    let number = |number: Option<Decimal>| number.map(|it| (it.coefficient(), it.exponent()));
    (
        &one.id,
        &one.chain,
        &one.name,
        &one.kind,
        &one.symbol,
        &one.fungible,
    )
        .cmp(&(
            &other.id,
            &other.chain,
            &other.name,
            &other.kind,
            &other.symbol,
            &other.fungible,
        ))
        .then_with(|| shown(one).cmp(&shown(other)))
        .then_with(|| {
            let rest = |row: &ProviderPosition| (number(row.price), number(row.value));
            rest(one).cmp(&rest(other)).then(a.part.cmp(&b.part))
        })
        .then_with(|| one.token_name.cmp(&other.token_name))
}

#[cfg(test)]
mod tests;
