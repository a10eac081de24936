//! Asking the providers of quotes, and what becomes of their answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Clock, Timestamp},
    domain::{
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        price::{Price, RejectReason},
        price_book::{QuoteId, QuoteKey},
        price_guard,
        provider::Provider,
    },
    service::{
        context::Request,
        policy::{FREEZE_TOLERANCE, RECENT_QUOTE},
    },
    upstream::{Failure, Quote, QuoteProvider, UpstreamError},
};

/// What a source says of a token: a price, or why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceQuote {
    price: Result<Decimal, RejectReason>,
    change_24h_percent: Option<Decimal>,
    as_of: Timestamp,
}

/// What a source says.
pub(super) struct SourceReplies {
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When it had answered.
    pub quoted_at: Timestamp,
    /// By key; nothing for a key that it was asked for and does not know. A key
    /// whose request failed is not there at all.
    pub said: BTreeMap<QuoteKey, Option<SourceQuote>>,
    /// The source, if it answered.
    pub answered: Option<Provider>,
    /// How each request that failed did.
    pub failed: Vec<UpstreamError>,
}

/// What is known of a price before its source is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline<'k> {
    /// What the book has.
    pub before: Option<&'k Price>,
    /// What the asking wallet has, if that may still be used.
    pub own: Option<&'k Price>,
    /// The book's price counts if it was given after this.
    pub oldest: Timestamp,
}

impl SourceReplies {
    /// The price that `key` has now. What its source does not know, and what
    /// is not believed, keeps the price before it. `None` for a key whose
    /// request failed.
    pub fn resolve(&self, key: &QuoteKey, known: Baseline<'_>) -> Option<Price> {
        let said = self.said.get(key)?;
        let kept = |refused| {
            let before = known.before.copied();
            let kept = before.unwrap_or(Price::unknown(key.provider, self.asked_at));
            // Not news: it gives way to a price that was quoted meanwhile.
            kept.checked(self.asked_at, refused)
        };
        let Some(said) = said else {
            return Some(kept(None));
        };
        let recent = |price: &&Price| price.usable_since(known.oldest);
        let before = known.before.filter(recent);
        let amount = before.filter(|price| price.is_known());
        let amount = amount.map(|price| price.amount);
        let previously_rejected =
            before.is_some_and(|price| price.refused == Some(RejectReason::Outlier));
        Some(match said.price {
            Ok(new)
                if !price_guard::accept_for_book(new, amount, previously_rejected, known.own) =>
            {
                kept(Some(RejectReason::Outlier))
            }
            Ok(new) => Price {
                as_of: said.as_of,
                ..Price::new(new, said.change_24h_percent, key.provider, self.quoted_at)
            },
            Err(refusal) => kept(Some(refusal)),
        })
    }
}

/// The providers of quotes, the one that is asked first at the front.
pub(in crate::service) struct Sources {
    pub providers: Vec<Arc<dyn QuoteProvider>>,
    pub clock: Arc<dyn Clock>,
}

impl Sources {
    /// Returns the providers, each once.
    pub fn iter(&self) -> impl Iterator<Item = &dyn QuoteProvider> {
        self.providers.iter().map(|provider| &**provider)
    }

    /// Returns the place of the first provider that knows a token.
    pub fn first_for(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> Option<u8> {
        let mut places = (0..).zip(self.iter());
        let (place, _) = places.find(|(_, it)| it.knows(holdings, token))?;
        Some(place)
    }

    /// Returns the provider in a place.
    pub fn at(&self, place: u8) -> Option<&dyn QuoteProvider> {
        self.iter().nth(usize::from(place))
    }

    /// Returns the first provider that tells what a dollar costs in other
    /// currencies.
    pub fn of_rates(&self) -> Option<&dyn QuoteProvider> {
        self.iter().find(|it| !it.dollars().is_empty())
    }

    /// Returns a provider by its name.
    pub fn get(&self, provider: Provider) -> Option<&dyn QuoteProvider> {
        self.iter().find(|it| it.provider() == provider)
    }

    /// Asks a provider, in as many requests as it takes, and waits no longer
    /// than `limit`.
    pub(super) async fn ask(
        &self,
        provider: Provider,
        currency: Currency,
        keys: &BTreeSet<QuoteKey>,
        limit: Duration,
        request: &Request,
    ) -> SourceReplies {
        let asked_at = self.clock.now();
        let ids: Vec<QuoteId> = keys.iter().map(|key| key.id.clone()).collect();
        let source = self.get(provider);
        let per_request = source.map_or(1, |it| it.terms().per_request.max(1));
        let batches = source.into_iter().flat_map(|source| {
            ids.chunks(per_request)
                .map(move |ids| batch(source, ids, currency, limit, request))
        });
        let replies = futures::future::join_all(batches).await;
        let quoted_at = self.clock.now();
        let took = quoted_at.since(asked_at);
        request.cost.phase("prices", took);
        let mut answers = SourceReplies {
            asked_at,
            quoted_at,
            said: BTreeMap::new(),
            answered: None,
            failed: Vec::new(),
        };
        let max_age = source.map_or(Duration::ZERO, |it| it.terms().max_quote_age);
        for (ids, reply) in replies {
            // A process that was frozen meanwhile has an old answer.
            let reply = match took > limit + FREEZE_TOLERANCE {
                true => Err(UpstreamError {
                    upstream: provider,
                    failure: Failure::Timeout,
                }),
                false => reply,
            };
            match reply {
                Ok(quotes) => {
                    answers.answered = Some(provider);
                    let key = |id: &QuoteId| QuoteKey {
                        provider,
                        id: id.clone(),
                    };
                    answers.said.extend(ids.iter().map(|id| (key(id), None)));
                    let quotes = quotes.into_iter().map(|quote| {
                        let said = classify(
                            quote.price,
                            quote.change_24h_percent,
                            quote.as_of,
                            quoted_at,
                            max_age,
                        );
                        (key(&quote.id), Some(said))
                    });
                    let quotes = quotes.filter(|(key, _)| keys.contains(key));
                    answers.said.extend(quotes);
                }
                Err(error) => {
                    tracing::warn!(%error, "prices cannot be refreshed");
                    answers.failed.push(error);
                }
            }
        }
        answers
    }
}

/// Makes one request.
async fn batch<'i>(
    source: &dyn QuoteProvider,
    ids: &'i [QuoteId],
    currency: Currency,
    limit: Duration,
    request: &Request,
) -> (&'i [QuoteId], Result<Vec<Quote>, UpstreamError>) {
    request.cost.upstream_call();
    (ids, source.quotes(ids, currency, limit).await)
}

/// A quote at `now`. Coins that are no longer traded keep their last quote:
/// one that its source dates further back than `oldest` is none.
fn classify(
    price: Result<Decimal, RejectReason>,
    change_24h_percent: Option<Decimal>,
    dated: Option<Timestamp>,
    now: Timestamp,
    oldest: Duration,
) -> SourceQuote {
    let age = dated.map_or(Duration::ZERO, |at| now.since(at));
    SourceQuote {
        price: match age > oldest {
            true => price.and(Err(RejectReason::Outdated)),
            false => price,
        },
        change_24h_percent,
        as_of: match age > RECENT_QUOTE {
            true => now.minus(age),
            false => now,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::price::CmcId;

    const MAX_QUOTE_AGE: Duration = Duration::from_secs(3600);

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    #[test]
    fn what_is_not_answered_or_not_believed_keeps_the_price_before() {
        let key = QuoteKey::cmc(CmcId(1));
        let number = |text| Decimal::parse(text).unwrap();
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let price = |text, at| Price::new(number(text), None, Provider::CoinMarketCap, at);
        let quoted = |price| Some(classify(price, None, None, NOW, MAX_QUOTE_AGE));
        let settled = |said: Option<SourceQuote>, before: Option<Price>| {
            let answers = SourceReplies {
                asked_at: ago(1),
                quoted_at: NOW,
                said: BTreeMap::from([(key.clone(), said)]),
                answered: None,
                failed: Vec::new(),
            };
            let known = Baseline {
                before: before.as_ref(),
                own: None,
                oldest: ago(960),
            };
            answers.resolve(&key, known).unwrap()
        };
        let before = price("10", ago(60));
        let new = settled(quoted(Ok(number("11"))), Some(before));
        assert_eq!(
            (new.amount, new.quoted_at, new.refused),
            (number("11"), NOW, None)
        );
        assert_eq!(new.checked_at, NOW);
        for (said, refused) in [
            (None, None),
            (quoted(Ok(number("51"))), Some(RejectReason::Outlier)),
            (
                quoted(Err(RejectReason::Outdated)),
                Some(RejectReason::Outdated),
            ),
        ] {
            let kept = settled(said, Some(before));
            assert_eq!((kept.amount, kept.quoted_at), (before.amount, ago(60)));
            // When it was asked for, so that anything given since is newer.
            assert_eq!((kept.checked_at, kept.refused), (ago(1), refused));
        }
        let none = settled(quoted(Err(RejectReason::NotPositive)), None);
        assert_eq!(
            (none.is_known(), none.refused),
            (false, Some(RejectReason::NotPositive))
        );
        // A price from long ago does not stand in the way of a new one.
        let ancient = price("1", ago(961));
        assert_eq!(
            settled(quoted(Ok(number("51"))), Some(ancient)).amount,
            number("51")
        );
        // What was rejected once stays out until a wallet's price agrees.
        let doubt = Price::unknown(Provider::CoinMarketCap, ago(60));
        let doubt = doubt.checked(ago(60), Some(RejectReason::Outlier));
        assert!(!settled(quoted(Ok(number("51"))), Some(doubt)).is_known());
    }

    #[test]
    fn quotes_are_dated_by_their_source_where_that_matters() {
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let quoted = |seconds| {
            classify(
                Ok(Decimal::ONE),
                None,
                Some(ago(seconds)),
                NOW,
                MAX_QUOTE_AGE,
            )
        };
        assert_eq!(quoted(90).as_of, NOW);
        assert_eq!(quoted(1200).as_of, ago(1200));
        assert_eq!(quoted(3601).price, Err(RejectReason::Outdated));
    }
}
