//! What must hold of the prices in an answer.

use portfolio::{
    domain::{
        currency::Currency,
        holdings::{Holdings, Token},
        price::Price,
        provider::Provider,
        scope::Part,
    },
    service::Snapshot,
};

use super::{Asked, Checker, Invariant};
use crate::{
    coins::{self, Asset},
    ledger::Fetch,
    world::{Moment, moment},
};

/// Prices of tokens that CoinMarketCap does not list are fresh for so many
/// milliseconds.
const UNLISTED_TTL: Moment = 300_000;

impl Checker {
    /// A token's price is one of its asset, and there is one if one came with
    /// the holdings.
    pub(super) fn check_price(
        &self,
        asked: &Asked,
        part: Part,
        token: &Token<'_>,
        holdings: &Holdings<'_>,
        fetches: &[Fetch],
        snapshot: &Snapshot,
    ) {
        let fail = |invariant, found| self.violated(invariant, asked.request, found);
        let id = token.id.as_ref().map(ToString::to_string);
        let Some(asset) = id.as_deref().and_then(coins::by_fungible) else {
            fail(
                Invariant::HoldingsAreOneFetch,
                format!("{id:?} is no asset"),
            );
            return;
        };
        let key = holdings.price_key(token);
        let price = snapshot.prices.table.get(key);
        let usable = price.filter(|price| snapshot.oldest_prices.permits(key, price));
        let Some(price) = usable else {
            // Only as long as prices that came with the holdings may be used,
            // and while the holdings are fresh.
            let listed = token.cmc.is_some();
            let most = self.prices.1 + if listed { 0 } else { self.structure.0 };
            let priced = |fetch: &Fetch| {
                let usable = fetch.at + most - self.apart > asked.end;
                usable && fetch.currency == asked.currency
            };
            let came = asset.priced && fetches.iter().all(priced) && !fetches.is_empty();
            if came && !snapshot.structure.stale {
                let since = fetches.iter().map(|it| it.begin).min().unwrap_or(0);
                let found = format!(
                    "{part:?}: asset {} has no price ({price:?}); a DELETE since the fetch began: {}",
                    asset.index,
                    self.ledger.may_be_deleted_since(asked.wallet, since)
                );
                fail(Invariant::PricesCameWithHoldings, found);
            }
            return;
        };
        let given = self.given(asked, asset, price);
        let Some(given) = given else {
            // Converted: only where there is something to convert from.
            let resembles = coins::resembles(price.amount, asset.index, asked.currency);
            if self.one_currency || !resembles {
                let told = coins::told(price.amount, asked.currency);
                let found = format!("asset {} has {price:?}, which tells {told:?}", asset.index);
                fail(Invariant::PricesAreTrue, found);
            }
            return;
        };
        self.check_price_age(asked, asset, token, price, given, snapshot);
    }

    /// When a price was given, if it is one of this asset as its source gave
    /// it, about when it says. The answer may have been under way for as long
    /// as a request may take. By a rate that an asset's own prices tell, its
    /// converted price looks like one that another source gave.
    fn given(&self, asked: &Asked, asset: &Asset, price: &Price) -> Option<Moment> {
        let told = coins::told(price.amount, asked.currency)?;
        let delay = match price.source {
            Provider::Zerion => self.structure_delay,
            _ => self.price_delay,
        };
        let waited = moment(price.quoted_at, 0) - told.at;
        let in_time = (-self.apart..=delay + self.apart).contains(&waited);
        let dated = price.as_of <= price.quoted_at;
        let same = told.asset == asset.index && told.source == price.source;
        (same && in_time && dated).then_some(told.at)
    }

    /// No price is older than its level allows. Where nothing fails, what a
    /// price source knows is as young as the level says; but what Zerion has no
    /// price of counts as asked for with every fetch, so that its price from
    /// elsewhere may grow older.
    fn check_price_age(
        &self,
        asked: &Asked,
        asset: &Asset,
        token: &Token<'_>,
        price: &Price,
        given: Moment,
        snapshot: &Snapshot,
    ) {
        let age = asked.begin - given;
        let listed = token.cmc.is_some();
        let most = self.prices.1 + if listed { 0 } else { self.structure.0 };
        let dollars = asked.currency == Currency::USD;
        let known = asset.quoted && listed || asset.llama.is_some() && self.fallback && dollars;
        let answers = known && asset.priced && self.profile.never_fails();
        let fresh = match listed {
            true => self.prices.0,
            // Other tokens' prices live longer, and the provider's word that it
            // has none counts as a check.
            false => self.prices.0.max(UNLISTED_TTL) + self.structure.0,
        };
        let most = match answers && !snapshot.price_level.stale {
            true => fresh,
            false => most.max(fresh),
        };
        if age > most + self.structure_delay + 2 * self.apart {
            let found = format!("asset {} is {age} ms old, {price:?}", asset.index);
            self.violated(Invariant::PricesAreYoung, asked.request, found);
        }
    }
}
