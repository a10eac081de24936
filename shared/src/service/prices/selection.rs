//! Which of the prices that were found a wallet takes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    known::Checks,
    look_up_all::{FoundAt, LookupResults},
    pricing::{Pricing, rates_needed},
    shared::is_fresh,
    wanted::Wanted,
};
use crate::{
    cache::CachedPart,
    domain::{
        currency::Currency,
        decimal::Decimal,
        exchange_rate,
        price::{Price, PriceKey, PriceTable, RejectReason},
        price_guard,
        provider::Provider,
        scope::Part,
        wallet_prices::WalletPrices,
    },
    service::policy::MAX_AS_OF_REGRESSION,
};

/// What is known of an asset when another price of it is found.
struct Judges {
    /// The wallet's price in the source's currency.
    own: Option<Price>,
    /// The prices that a new one must agree with.
    amounts: Vec<Decimal>,
    /// The provider's price, if the token's amounts are scaled.
    scaled: Option<Option<Decimal>>,
}

/// Returns what the wallet takes of what was found, by currency, and puts it
/// over what is known.
pub(super) fn select_prices(
    pricing: &mut Pricing<'_>,
    checks: &Checks,
    due: &BTreeSet<PriceKey>,
    found: &LookupResults,
) -> BTreeMap<Currency, PriceTable> {
    let mut fresh = take_rates(pricing, found);
    let mut refused = HashMap::new();
    for at in &found.by_provider {
        let taken = select_from_source(pricing, checks, due, at, &mut refused);
        fresh.entry(at.currency).or_default().extend(taken);
    }
    if !refused.is_empty() {
        log_rejected(&pricing.held.parts, &refused, &pricing.wanted);
    }
    let tables = fresh.into_iter();
    let tables = tables.map(|(currency, taken)| (currency, PriceTable::new(taken)));
    let fresh: BTreeMap<Currency, PriceTable> = tables.collect();
    for (currency, table) in &fresh {
        pricing.known.put(*currency, table);
    }
    fresh
}

/// Takes exchange rates, which are kept among the asked currency's prices.
fn take_rates(
    pricing: &mut Pricing<'_>,
    found: &LookupResults,
) -> BTreeMap<Currency, Vec<(PriceKey, Price)>> {
    let now = pricing.now();
    let oldest = pricing.policy.oldest_prices(now);
    let asked = pricing.query.currency;
    let mut fresh: BTreeMap<Currency, Vec<(PriceKey, Price)>> = BTreeMap::new();
    for currency in Currency::all().filter(|it| *it != Currency::USD) {
        let rate = found.rate(currency);
        let rate = rate.filter(|rate| rate.usable_since(oldest.listed));
        if let Some(rate) = rate.filter(|rate| !rate.quoted_at.is_in_the_future(now)) {
            let key = PriceKey::of_dollar(currency);
            fresh.entry(asked).or_default().push((key, rate));
            pricing.known.rates.insert(currency, rate);
        }
    }
    // Without a rate of its own, a currency's is told by coins that are
    // known in both.
    let prices: WalletPrices = pricing.known.select(oldest);
    for currency in rates_needed(asked, &prices) {
        if pricing.known.rates.get(currency).is_none() {
            let dollars = pricing.known.direct(Currency::USD);
            let there = pricing.known.direct(currency);
            if let Some(rate) = exchange_rate::rate_by_coins(&dollars, &there) {
                pricing.known.rates.insert(currency, rate);
            }
        }
    }
    fresh
}

fn select_from_source(
    pricing: &Pricing<'_>,
    checks: &Checks,
    due: &BTreeSet<PriceKey>,
    at: &FoundAt,
    refused: &mut HashMap<PriceKey, RejectReason>,
) -> Vec<(PriceKey, Price)> {
    let now = pricing.now();
    let (currency, found) = (at.currency, &at.found);
    let direct = pricing.known.direct(currency);
    let mut taken = Vec::new();
    let assets = pricing.wanted.iter().filter(|(key, _)| due.contains(key));
    for (key, asset) in assets {
        if !pricing.wanted.is_asked(at.provider, asset) {
            continue;
        }
        let Some(quote) = pricing.wanted.quote(asset) else {
            continue;
        };
        let judges = judges(pricing, key, asset.scaled, currency, &direct);
        let own = judges.own;
        let check = checks.entries.entry(key);
        let checked_at = check.map(|check| check.checked_at);
        let price = found.prices.get(&quote);
        let newer = price.filter(|price| {
            checked_at.is_none_or(|at| at < price.checked_at || at.is_in_the_future(now))
        });
        let unknown = price.filter(|price| price.is_unknown());
        if let (Some(mark), Some(own)) = (unknown, own)
            && is_fresh(pricing.policy, mark, &at.terms, now)
        {
            // No source has a newer one, as was found out not long ago.
            taken.push((key, own.checked(now, None)));
        } else if let Some(price) = newer {
            let chosen = prefer(price, &judges);
            if let Some(reason) = chosen.refused.filter(|_| price.refused.is_none()) {
                pricing.request.cost.refused_price();
                refused.insert(key, reason);
            } else if found.refused.contains(&quote) {
                refused.extend(chosen.refused.map(|reason| (key, reason)));
            }
            taken.push((key, chosen));
        } else if !at.terms.curated
            && found.failed.is_some()
            && own.is_none_or(|own| own.source == Provider::Zerion)
        {
            // A second opinion that is not to be had: Zerion's price stays,
            // and another is asked for in its time.
            let stays = own.unwrap_or(Price::unknown(Provider::Zerion, now));
            taken.push((key, stays.checked(now, None)));
        }
    }
    taken
}

/// What a found price is judged by: the wallet's own and the provider's, as
/// far as they may be used; if neither may, the wallet's own all the same.
fn judges(
    pricing: &Pricing<'_>,
    key: PriceKey,
    scaled: bool,
    currency: Currency,
    direct: &PriceTable,
) -> Judges {
    let oldest = pricing.policy.oldest_prices(pricing.now());
    let own = direct.get(key).copied();
    let provider = pricing.known.provider_price(key, currency);
    let candidates = [own, provider].into_iter().flatten();
    let usable = candidates.filter(|price| match price.source {
        // Of holdings that are as old as they may be.
        Provider::Zerion => price.usable_since(oldest.unlisted),
        _ => oldest.permits(key, price),
    });
    let mut amounts: Vec<Decimal> = usable.map(|price| price.amount).collect();
    if amounts.is_empty() {
        amounts.extend(own.or(provider).map(|price| price.amount));
    }
    Judges {
        own,
        amounts,
        scaled: scaled.then_some(provider.map(|price| price.amount)),
    }
}

/// What was found, unless the wallet's own price is better or does not agree.
fn prefer(found: &Price, judges: &Judges) -> Price {
    let own = judges.own.as_ref();
    let earlier = own.is_some_and(|own| {
        found.quoted_at < own.quoted_at || found.as_of.plus(MAX_AS_OF_REGRESSION) < own.as_of
    });
    let keep = |refused| {
        let mark = Price::unknown(found.source, found.checked_at);
        own.copied()
            .unwrap_or(mark)
            .checked(found.checked_at, refused)
    };
    if !found.is_known() {
        return own.map_or(*found, |own| own.checked(found.checked_at, found.refused));
    }
    if earlier {
        return keep(found.refused);
    }
    if let Some(provider) = judges.scaled {
        return match price_guard::accept_for_scaled_token(found.amount, provider) {
            true => *found,
            false => keep(None),
        };
    }
    let agrees = |amount: &Decimal| price_guard::accept_for_wallet(found.amount, Some(*amount));
    match judges.amounts.iter().all(agrees) {
        true => *found,
        false => keep(Some(RejectReason::Outlier)),
    }
}

/// Logs tokens whose price was just refused: a wrong mapping shows here.
fn log_rejected(
    parts: &BTreeMap<Part, Arc<CachedPart>>,
    refused: &HashMap<PriceKey, RejectReason>,
    wanted: &Wanted<'_>,
) {
    for part in parts.values() {
        let (decoded, holdings) = (part.holdings.decoded(), part.holdings.holdings());
        for (token, key) in holdings.tokens.iter().zip(decoded.keys()) {
            if let (Some(reason), Some(asset)) = (refused.get(key), wanted.get(*key)) {
                tracing::warn!(
                    chain = holdings.chain(token),
                    address = token.address.as_ref().map(tracing::field::display),
                    symbol = token.symbol,
                    key = wanted.quote(asset).map(tracing::field::display),
                    reason = reason.as_str(),
                    "a token's price is refused"
                );
            }
        }
    }
}
