//! Asking the price sources, and what becomes of their answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Request, Service};
use crate::{
    clock::Timestamp,
    domain::{
        belief::{self, Refusal},
        book::BookKey,
        currency::Currency,
        number::Number,
        price::{CmcId, Price, PriceSource},
        upstream::Upstream,
    },
    upstream::{Failure, Quota, UpstreamError},
};

/// A quote that its own source dates further back than this is none.
const MAX_QUOTE_AGE: Duration = Duration::from_secs(3600);
/// A source that limits requests and does not say for how long is left alone
/// for this long: all of its limits of that kind are per minute.
const REQUESTS_PAUSE: Duration = Duration::from_secs(60);
/// And for no longer than this, whatever it says.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// What a source says of a token: a price, or why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    price: Result<Number, Refusal>,
    change_24h_percent: Option<Number>,
    as_of: Timestamp,
}

/// What both sources say.
#[derive(Default)]
pub(super) struct Answers {
    /// By key; a key that was asked for and is not there is not known.
    pub said: BTreeMap<BookKey, Said>,
    /// The sources that answered.
    pub answered: Vec<PriceSource>,
    /// How each source that failed did.
    pub failed: Vec<UpstreamError>,
}

impl Answers {
    /// Whether `upstream` answered.
    pub fn came_from(&self, upstream: Upstream) -> bool {
        let source = match upstream {
            Upstream::Zerion => PriceSource::Zerion,
            Upstream::CoinMarketCap => PriceSource::CoinMarketCap,
            Upstream::DefiLlama => PriceSource::DefiLlama,
        };
        self.answered.contains(&source)
    }
}

/// Who is asked for the price of `key`.
fn source_of(key: &BookKey) -> PriceSource {
    match key {
        BookKey::Listed(_) => PriceSource::CoinMarketCap,
        BookKey::Unlisted(_) => PriceSource::DefiLlama,
    }
}

/// Until when a source that limits requests is left alone. A plan's limits end
/// with the day: the source says nothing of when a month ends for this plan,
/// and one refused request a day costs nothing.
pub(super) fn pause_until(
    now: Timestamp,
    retry_after: Option<Duration>,
    quota: Quota,
) -> Timestamp {
    let midnight = || Timestamp::from_millis((now.as_secs().div_euclid(86_400) + 1) * 86_400_000);
    match (retry_after, quota) {
        (Some(told), _) => now.plus(told.min(LONGEST_PAUSE)),
        (None, Quota::Requests) => now.plus(REQUESTS_PAUSE),
        (None, Quota::Plan) => midnight(),
    }
}

/// The price that `key` has after it was asked for.
///
/// `before` is what the book has, `own` what the asking wallet has. What the
/// source does not know, and what is not believed, keeps the price before it.
pub(super) fn settle(
    key: &BookKey,
    said: Option<&Said>,
    before: Option<&Price>,
    own: Option<&Price>,
    oldest: Timestamp,
    now: Timestamp,
) -> Price {
    let known = before.filter(|price| price.is_known() && price.usable_since(oldest));
    let kept = |refused| match before {
        Some(before) => before.checked(now, refused),
        None => Price::unknown(source_of(key), now).checked(now, refused),
    };
    let Some(said) = said else {
        return kept(None);
    };
    match said.price {
        Ok(new) if !belief::for_the_book(new, known.map(|it| it.amount), own) => {
            kept(Some(Refusal::Jump))
        }
        Ok(new) => Price {
            as_of: said.as_of,
            ..Price::new(new, said.change_24h_percent, source_of(key), now)
        },
        Err(refusal) => kept(Some(refusal)),
    }
}

impl Service {
    /// Asks both sources at once for what each is to be asked.
    pub(super) async fn ask_sources(
        &self,
        currency: Currency,
        keys: &BTreeSet<BookKey>,
        request: &Request,
    ) -> Answers {
        let started = self.clock.now();
        let (mut listed, mut unlisted) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                BookKey::Listed(id) => listed.push(*id),
                BookKey::Unlisted(name) => unlisted.push(name.clone()),
            }
        }
        let (quoted, fallback) = futures::join!(
            self.listed(currency, &listed, request),
            self.unlisted(&unlisted, request)
        );
        let now = self.clock.now();
        request.usage.phase("prices", now.since(started));
        let mut answers = Answers::default();
        for (source, answer) in [
            (PriceSource::CoinMarketCap, quoted),
            (PriceSource::DefiLlama, fallback),
        ] {
            match answer {
                None => {}
                Some(Ok(said)) => {
                    answers.answered.push(source);
                    let asked = said.into_iter().filter(|(key, _)| keys.contains(key));
                    answers.said.extend(asked);
                }
                Some(Err(error)) => {
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
        request: &Request,
    ) -> Option<Result<Heard, UpstreamError>> {
        if ids.is_empty() {
            return None;
        }
        let timeout = self.upstream_timeout(self.policy.price_timeout, request);
        request.usage.upstream_call();
        let quotes = self.quotes.quotes(ids, currency, timeout).await;
        let now = self.clock.now();
        let read = |quote: crate::upstream::Quote| {
            // Coins that are no longer traded keep their last quote.
            let outdated = |at: &Timestamp| now.since(*at) > MAX_QUOTE_AGE;
            let price = match quote.as_of.filter(outdated) {
                Some(_) => quote.price.and(Err(Refusal::Outdated)),
                None => quote.price,
            };
            let said = Said {
                price,
                change_24h_percent: quote.change_24h_percent,
                as_of: now,
            };
            (BookKey::Listed(quote.id), said)
        };
        Some(quotes.map(|quotes| quotes.into_iter().map(read).collect()))
    }

    /// The fallback's requests, a hundred tokens each.
    async fn unlisted(
        &self,
        names: &[String],
        request: &Request,
    ) -> Option<Result<Heard, UpstreamError>> {
        let source = self.fallback.as_ref().filter(|_| !names.is_empty())?;
        let timeout = self.upstream_timeout(self.policy.price_timeout, request);
        request.usage.upstream_call();
        let quotes = source.prices(names, timeout).await;
        let now = self.clock.now();
        let read = |quote: crate::upstream::FallbackQuote| {
            let as_of = quote.as_of.unwrap_or(now).min(now);
            let outdated = as_of.plus(PriceSource::DefiLlama.tolerance()) < now;
            let said = Said {
                price: match outdated {
                    true => quote.price.and(Err(Refusal::Outdated)),
                    false => quote.price,
                },
                change_24h_percent: None,
                as_of,
            };
            (BookKey::Unlisted(quote.key), said)
        };
        Some(quotes.map(|quotes| quotes.into_iter().map(read).collect()))
    }

    /// Tells all processes to leave a source alone that limits requests, and
    /// until when.
    pub(super) async fn respect(&self, error: &UpstreamError, request: &Request) {
        let Failure::RateLimited { retry_after, quota } = error.failure else {
            return;
        };
        let until = pause_until(self.clock.now(), retry_after, quota);
        tracing::warn!(upstream = %error.upstream, %until, "left alone");
        self.copies.keep_open(error.upstream, until);
        let told = self.breakers.open(error.upstream, until, &request.usage);
        if let Err(error) = told.await {
            tracing::warn!(%error, "other processes cannot be told");
        }
    }
}

/// What one source says, by key.
type Heard = BTreeMap<BookKey, Said>;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    #[test]
    fn pauses_end_when_the_source_says_or_its_limit_does() {
        let until = |told: Option<u64>, quota| {
            let told = told.map(Duration::from_secs);
            pause_until(NOW, told, quota).to_string()
        };
        assert_eq!(until(Some(5), Quota::Plan), "2026-11-21T09:40:51.007Z");
        assert_eq!(until(None, Quota::Requests), "2026-11-21T09:41:46.007Z");
        assert_eq!(until(None, Quota::Plan), "2026-11-22T00:00:00.000Z");
        assert_eq!(
            until(Some(1 << 40), Quota::Plan),
            "2026-11-22T09:40:46.007Z"
        );
    }

    #[test]
    fn what_is_not_answered_or_not_believed_keeps_the_price_before() {
        let key = BookKey::Listed(CmcId(1));
        let number = |text| Number::parse(text).unwrap();
        let earlier = NOW.minus(Duration::from_secs(60));
        let before = Price::new(number("10"), None, PriceSource::CoinMarketCap, earlier);
        let said = |price| Said {
            price,
            change_24h_percent: None,
            as_of: NOW,
        };
        let oldest = NOW.minus(Duration::from_secs(960));
        let settled = |said: Option<Said>, before: Option<&Price>| {
            settle(&key, said.as_ref(), before, None, oldest, NOW)
        };
        let new = settled(Some(said(Ok(number("11")))), Some(&before));
        assert_eq!(
            (new.amount, new.as_of, new.refused),
            (number("11"), NOW, None)
        );
        for (said, refused) in [
            (None, None),
            (Some(said(Ok(number("51")))), Some(Refusal::Jump)),
            (Some(said(Err(Refusal::Outdated))), Some(Refusal::Outdated)),
        ] {
            let kept = settled(said, Some(&before));
            assert_eq!((kept.amount, kept.as_of), (before.amount, earlier));
            assert_eq!((kept.checked_at, kept.refused), (NOW, refused));
        }
        let none = settled(Some(said(Err(Refusal::NotPositive))), None);
        assert!(!none.is_known());
        assert_eq!(none.refused, Some(Refusal::NotPositive));
        // A price from long ago does not stand in the way of a new one.
        let ancient = Price::new(
            number("1"),
            None,
            PriceSource::CoinMarketCap,
            oldest.minus(Duration::from_secs(1)),
        );
        assert_eq!(
            settled(Some(said(Ok(number("51")))), Some(&ancient)).amount,
            number("51")
        );
    }
}
