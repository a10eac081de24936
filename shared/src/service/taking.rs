//! Which of the prices that were found a wallet takes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{Held, Request, Service, book::Found, prices::Refreshable};
use crate::{
    cache::CachedPart,
    domain::{
        belief::{self, Refusal},
        book::BookKey,
        currency::Currency,
        holdings::Holdings,
        price::{Price, PriceKey, PriceSource, PriceTable},
        query::Query,
        rate::Rate,
        scope::Part,
    },
};

/// A wallet's own price is kept rather than one that was given later, but is
/// dated this much earlier.
const MUCH_EARLIER: Duration = Duration::from_secs(600);
impl Service {
    /// What the wallet takes of what was found, to be put over its table.
    pub(super) fn taken(
        &self,
        query: &Query,
        asked: &Refreshable,
        table: &PriceTable,
        held: &Held,
        found: &Found,
        request: &Request,
    ) -> PriceTable {
        let now = self.clock.now();
        let oldest = self.policy.oldest_prices(now);
        let elsewhere = own_elsewhere(query.currency, asked, found, held);
        let usable = |key: &PriceKey, price: &&Price| oldest.allow(*key, price);
        let mut taken = Vec::new();
        let mut refused = HashMap::new();
        for (key, book_key) in asked {
            // The best that is known to judge by: a price in another currency
            // rather than one that may not be used any more.
            let own = table.get(*key);
            let judge = own.filter(|own| usable(key, own));
            let judge = judge.or_else(|| elsewhere.get(*key).filter(|own| usable(key, own)));
            let judge = judge.or(own);
            let newer = found.prices.get(book_key).filter(|price| {
                let at = table.checked_at(*key);
                at.is_none_or(|at| at < price.checked_at || at.is_implausible(now))
            });
            let unknown = found.prices.get(book_key).filter(|it| it.is_unknown());
            if let (Some(mark), Some(own)) = (unknown, own)
                && self.is_fresh(mark, now)
                && !own.is_unknown()
            {
                // Nobody has a newer one, as was found out not long ago.
                taken.push((*key, own.checked(now, None)));
            } else if let Some(price) = newer {
                let chosen = choose(price, judge);
                if let Some(reason) = chosen.refused.filter(|_| price.refused.is_none()) {
                    request.usage.refused_price();
                    refused.insert(*key, reason);
                } else if found.refused.contains(book_key) {
                    refused.extend(chosen.refused.map(|reason| (*key, reason)));
                }
                taken.push((*key, chosen));
            } else if found.fallback_failed
                && matches!(book_key, BookKey::Unlisted(_))
                && own.is_none_or(|own| own.source == PriceSource::Zerion)
            {
                // A second opinion that is not to be had: Zerion's price stays,
                // and another is asked for in its time.
                taken.extend(table.unanswered([*key], PriceSource::Zerion, now));
            }
        }
        if !refused.is_empty() {
            report(&held.parts, &refused, asked);
        }
        PriceTable::new(taken)
    }
}

/// The wallet's prices in other currencies, converted into this one.
fn own_elsewhere(
    currency: Currency,
    asked: &Refreshable,
    found: &Found,
    held: &Held,
) -> PriceTable {
    let known = |(key, book_key): (&PriceKey, &BookKey)| {
        Some((
            *key,
            *found.prices.get(book_key).filter(|it| it.is_known())?,
        ))
    };
    let mut converted = PriceTable::default();
    let mut elsewhere = held.elsewhere().peekable();
    if elsewhere.peek().is_none() {
        return converted;
    }
    let here = PriceTable::new(asked.iter().filter_map(known).collect());
    for (other, there) in elsewhere {
        if let Some(rate) = Rate::between((*other, there), (currency, &here)) {
            converted = converted.merged(there.converted(rate));
        }
    }
    converted
}

/// What was found, unless the wallet's own price is better or does not agree.
fn choose(found: &Price, own: Option<&Price>) -> Price {
    let Some(own) = own else { return *found };
    let earlier = found.given_at < own.given_at || found.as_of.plus(MUCH_EARLIER) < own.as_of;
    if !found.is_known() || earlier {
        own.checked(found.checked_at, found.refused)
    } else if belief::for_the_wallet(found.amount, Some(own.amount)) {
        *found
    } else {
        own.checked(found.checked_at, Some(Refusal::Jump))
    }
}

/// Logs tokens whose price was just refused: a wrong mapping shows here.
fn report(
    parts: &BTreeMap<Part, CachedPart>,
    refused: &HashMap<PriceKey, Refusal>,
    asked: &Refreshable,
) {
    let decoded = parts.values().map(|part| Holdings::decode(&part.bytes));
    for holdings in decoded.filter_map(Result::ok) {
        for token in &holdings.tokens {
            let key = holdings.price_key(token);
            if let (Some(reason), Some(book_key)) = (refused.get(&key), asked.get(&key)) {
                tracing::warn!(
                    chain = holdings.chain(token),
                    address = token.address.as_ref().map(tracing::field::display),
                    symbol = token.symbol,
                    key = %book_key,
                    reason = reason.as_str(),
                    "a token's price is refused"
                );
            }
        }
    }
}
