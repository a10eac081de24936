//! Asking the price sources, and what becomes of their answers.

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
        price::{CmcId, Price, PriceSource, RejectReason},
        price_book::{QuoteKey, Shelf},
        price_guard,
        provider::Provider,
    },
    service::{
        context::Request,
        policy::{FREEZE_TOLERANCE, RECENT_QUOTE},
    },
    upstream::{
        Failure, FallbackQuote, FallbackSource, PriceSource as Quotes, Quote, UpstreamError,
    },
};

/// A quote that its own source dates further back than this is none.
const MAX_QUOTE_AGE: Duration = Duration::from_secs(3600);
/// And one of the fallback's, which prices thinly traded tokens.
const MAX_FALLBACK_AGE: Duration = Duration::from_secs(4 * 3600);
/// Most tokens that the fallback is asked for in one answer; the others are
/// asked for by the next.
const MAX_FALLBACK: usize = 300;

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
    pub answered: Option<PriceSource>,
    /// How each request that failed did.
    pub failed: Vec<UpstreamError>,
}

/// Who is asked for the price of `key`.
fn source_of(key: &QuoteKey) -> PriceSource {
    match key {
        QuoteKey::Listed(_) => PriceSource::CoinMarketCap,
        QuoteKey::Unlisted(_) => PriceSource::DefiLlama,
    }
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
            let kept = before.unwrap_or(Price::unknown(source_of(key), self.asked_at));
            // Not news: it gives way to whatever was given meanwhile.
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
                ..Price::new(new, said.change_24h_percent, source_of(key), self.quoted_at)
            },
            Err(refusal) => kept(Some(refusal)),
        })
    }
}

/// The price sources.
pub(in crate::service) struct Sources {
    pub quotes: Arc<dyn Quotes>,
    pub fallback: Option<Arc<dyn FallbackSource>>,
    pub clock: Arc<dyn Clock>,
}

impl Sources {
    /// Returns whether there is a source of prices that CoinMarketCap does not
    /// list.
    pub fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns for how many keys a shelf's source may be asked in one answer.
    pub fn capacity(&self, shelf: Shelf) -> usize {
        match shelf {
            Shelf::Listed => self.quotes.max_ids(),
            Shelf::Unlisted => MAX_FALLBACK,
        }
    }

    /// Asks a shelf's source, and waits no longer than `limit`.
    pub(super) async fn ask(
        &self,
        shelf: Shelf,
        currency: Currency,
        keys: &BTreeSet<QuoteKey>,
        limit: Duration,
        request: &Request,
    ) -> SourceReplies {
        let asked_at = self.clock.now();
        let (mut listed, mut unlisted) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                QuoteKey::Listed(id) => listed.push(*id),
                QuoteKey::Unlisted(name) => unlisted.push(name.clone()),
            }
        }
        let heard: Vec<Option<BatchReply>> = match shelf {
            Shelf::Listed => vec![self.listed(currency, &listed, limit, request).await],
            Shelf::Unlisted => {
                let batch = self.fallback.as_ref().map_or(1, |source| source.max_keys());
                let batches = unlisted.chunks(batch.max(1));
                let batches = batches.map(|names| self.unlisted(names, limit, request));
                futures::future::join_all(batches).await
            }
        };
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
        for (source, asked, answer) in heard.into_iter().flatten() {
            // A process that was frozen meanwhile has an old answer.
            let answer = match took > limit + FREEZE_TOLERANCE {
                true => Err(UpstreamError {
                    upstream: source.1,
                    failure: Failure::Timeout,
                }),
                false => answer,
            };
            match answer {
                Ok(heard) => {
                    answers.answered = Some(source.0);
                    answers
                        .said
                        .extend(asked.into_iter().map(|key| (key, None)));
                    let asked = heard.into_iter().filter(|(key, _)| keys.contains(key));
                    answers
                        .said
                        .extend(asked.map(|(key, said)| (key, Some(said))));
                }
                Err(error) => {
                    tracing::warn!(%error, "prices cannot be refreshed");
                    answers.failed.push(error);
                }
            }
        }
        answers
    }

    /// One CoinMarketCap request; `None` when there is nothing to ask for.
    async fn listed(
        &self,
        currency: Currency,
        ids: &[CmcId],
        limit: Duration,
        request: &Request,
    ) -> Option<BatchReply> {
        if ids.is_empty() {
            return None;
        }
        request.cost.upstream_call();
        let quotes = self.quotes.quotes(ids, currency, limit).await;
        let now = self.clock.now();
        let read = |quote: Quote| {
            (
                QuoteKey::Listed(quote.id),
                classify(
                    quote.price,
                    quote.change_24h_percent,
                    quote.as_of,
                    now,
                    MAX_QUOTE_AGE,
                ),
            )
        };
        let asked = ids.iter().copied().map(QuoteKey::Listed).collect();
        let source = (PriceSource::CoinMarketCap, Provider::CoinMarketCap);
        let quotes = quotes.map(|quotes| quotes.into_iter().map(read).collect());
        Some((source, asked, quotes))
    }

    /// One request to the fallback.
    async fn unlisted(
        &self,
        names: &[String],
        limit: Duration,
        request: &Request,
    ) -> Option<BatchReply> {
        let source = self.fallback.as_ref()?;
        request.cost.upstream_call();
        let quotes = source.prices(names, limit).await;
        let now = self.clock.now();
        let read = |quote: FallbackQuote| {
            (
                QuoteKey::Unlisted(quote.key),
                classify(quote.price, None, quote.as_of, now, MAX_FALLBACK_AGE),
            )
        };
        let asked = names.iter().cloned().map(QuoteKey::Unlisted).collect();
        let source = (PriceSource::DefiLlama, Provider::DefiLlama);
        let quotes = quotes.map(|quotes| quotes.into_iter().map(read).collect());
        Some((source, asked, quotes))
    }
}

/// Who was asked in one request, for what, and what it said.
type BatchReply = (
    (PriceSource, Provider),
    Vec<QuoteKey>,
    Result<Vec<(QuoteKey, SourceQuote)>, UpstreamError>,
);

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

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    #[test]
    fn what_is_not_answered_or_not_believed_keeps_the_price_before() {
        let key = QuoteKey::Listed(CmcId(1));
        let number = |text| Decimal::parse(text).unwrap();
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let price = |text, at| Price::new(number(text), None, PriceSource::CoinMarketCap, at);
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
        // What was previously_rejected once stays out until somebody vouches for it.
        let doubt = Price::unknown(PriceSource::CoinMarketCap, ago(60));
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
