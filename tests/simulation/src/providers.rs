//! The providers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portfolio::{
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        holdings_builder::HoldingsBuilder,
        price::{CmcId, RejectReason},
        price_book::QuoteId,
        provider::Provider,
        scope::Scope,
    },
    upstream::{
        Attempts, Failure, FetchedStructure, HoldingsProvider, Quota, Quote, QuoteProvider,
        QuoteTerms, UpstreamError, coinmarketcap, defillama,
    },
};

use crate::{
    coins,
    ledger::{Fetch, Ledger},
    rng::{Rng, mix},
    wallet::Wallet,
    world::{Caller, Fault, Knobs, Moment, World, as_millis, millis, wall},
};

/// How a provider takes one request.
#[derive(Clone, Copy, Debug)]
struct Course {
    there: i64,
    back: i64,
    trouble: Option<Fault>,
    retry_after: Option<Duration>,
}

fn course(rng: &mut Rng, knobs: &Knobs, troubles: &[Fault]) -> Course {
    let most = rng.pick(&[20, 500, 500, 500]);
    let leg = |rng: &mut Rng| i64::try_from(rng.between(1, most)).unwrap_or(1);
    let (there, back) = (leg(rng), leg(rng));
    let mut course = Course {
        there,
        back,
        trouble: rng.chance(knobs.provider).then(|| rng.pick(troubles)),
        retry_after: rng
            .chance(700)
            .then(|| Duration::from_secs(rng.between(1, 30))),
    };
    if rng.chance(knobs.slow) {
        course.there = i64::try_from(rng.between(500, 12_000)).unwrap_or(500);
        course.back = i64::try_from(rng.between(500, 12_000)).unwrap_or(500);
    }
    course
}

/// All providers, as one process sees them.
#[derive(Clone, Debug)]
pub struct Providers {
    /// The world.
    pub world: Arc<World>,
    /// What happens is noted here.
    pub ledger: Arc<Ledger>,
    /// The wallets.
    pub wallets: Arc<Vec<Wallet>>,
    /// How far the process's clock is ahead.
    pub skew: i64,
}

impl Providers {
    /// Waits for a provider; gives the moment as of which it answered.
    async fn wait(
        &self,
        upstream: Provider,
        timeout: Duration,
        troubles: &[Fault],
    ) -> Result<(Moment, Option<Fault>), UpstreamError> {
        let began = self.world.now();
        let course = self.world.draw(|rng, knobs| course(rng, knobs, troubles));
        let failed = |failure| UpstreamError { upstream, failure };
        let took = course.there + course.back;
        if course.trouble == Some(Fault::Hung) || took > as_millis(timeout) {
            self.world.fault(Fault::Hung);
            tokio::time::sleep(timeout).await;
            return Err(failed(Failure::Timeout));
        }
        if took > 1000 {
            self.world.fault(Fault::Slow);
        }
        tokio::time::sleep(millis(took)).await;
        let at = began + course.there;
        let Some(trouble) = course.trouble else {
            return Ok((at, None));
        };
        self.world.fault(trouble);
        let retry_after = course.retry_after;
        Err(failed(match trouble {
            Fault::RateLimited => Failure::RateLimited {
                // Without a word it is taken for a minute, which is as long as
                // anything may last here.
                retry_after,
                quota: Quota::Requests,
            },
            Fault::Preparing => Failure::Preparing { retry_after },
            Fault::NotTrackable => Failure::NotTrackable,
            Fault::ProviderFailed => Failure::Unavailable("HTTP 502".to_owned()),
            other => return Ok((at, Some(other))),
        }))
    }
}

#[async_trait]
impl HoldingsProvider for Providers {
    async fn fetch(
        &self,
        address: &Address,
        scope: Scope,
        currency: Currency,
        timeout: Duration,
        _: Attempts,
    ) -> Result<FetchedStructure, UpstreamError> {
        let begin = self.world.now();
        let wallet = self.wallets.iter().find(|it| it.address == *address);
        let wallet = wallet.unwrap_or_else(|| panic!("{address} is no wallet of the scenario"));
        self.world.count(|stats| stats.fetches += 1);
        let number = self.ledger.begin_fetch(Fetch {
            wallet: wallet.index,
            scope,
            currency,
            caller: Caller::current(),
            skew: self.skew,
            begin,
            at: begin,
            end: None,
            version: 0,
            complete: false,
        });
        self.world.note(mix(number as u64), || {
            format!("ZERION {number} asked: wallet {} {scope}", wallet.index)
        });
        let troubles = [
            Fault::ProviderFailed,
            Fault::ProviderFailed,
            Fault::RateLimited,
            Fault::Preparing,
            Fault::NotTrackable,
            Fault::Hung,
            Fault::Incomplete,
        ];
        let answered = self.wait(Provider::Zerion, timeout, &troubles).await;
        let (at, trouble) = answered.inspect_err(|error| {
            self.world.note(mix(number as u64 ^ 1 << 40), || {
                format!("ZERION {number} failed: {}", error.failure)
            });
        })?;
        let version = wallet.version(at, number);
        let complete = trouble != Some(Fault::Incomplete);
        let end = self.world.now();
        self.ledger.end_fetch(number, (at, end), version, complete);
        self.world.note(mix(number as u64 ^ 1 << 41), || {
            format!("ZERION {number} answered: version {version} complete {complete}")
        });
        let mut draft = HoldingsBuilder::default();
        for part in scope.parts() {
            for asset in wallet.brought(*part, version, complete) {
                let price = coins::price(asset.index, Provider::Zerion, at, currency);
                let price = asset.priced.then_some(price);
                draft.push(wallet.row(*part, version, asset, price), Some(*part));
            }
        }
        Ok(FetchedStructure { draft, complete })
    }
}

const PRICE_TROUBLES: [Fault; 5] = [
    Fault::ProviderFailed,
    Fault::RateLimited,
    Fault::Hung,
    Fault::LeftOut,
    Fault::LeftOut,
];

impl Providers {
    /// Whether one of what a request asked for is left out.
    fn leaves_out(&self, trouble: Option<Fault>) -> bool {
        trouble.is_some() && self.world.draw(|rng, _| rng.chance(300))
    }

    /// A quote, or in trouble perhaps none.
    fn quoted(&self, trouble: Option<Fault>, price: Decimal) -> Result<Decimal, RejectReason> {
        match trouble.is_some() && self.world.draw(|rng, _| rng.chance(200)) {
            true => Err(RejectReason::NotPositive),
            false => Ok(price),
        }
    }
}

/// The simulated CoinMarketCap.
pub struct CoinMarketCap(pub Arc<Providers>);

#[async_trait]
impl QuoteProvider for CoinMarketCap {
    fn provider(&self) -> Provider {
        Provider::CoinMarketCap
    }

    fn terms(&self) -> QuoteTerms {
        coinmarketcap::terms(1000)
    }

    fn id(&self, _: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        coinmarketcap::id_of(token)
    }

    fn dollars(&self) -> &[QuoteId] {
        &coinmarketcap::DOLLARS
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        currency: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        let Self(of) = self;
        of.world.count(|stats| stats.quotes += 1);
        of.ledger.quote(Caller::current());
        of.world.note(ids.len() as u64, || {
            format!("CMC asked: {ids:?} {currency}")
        });
        let upstream = Provider::CoinMarketCap;
        let (at, trouble) = of.wait(upstream, timeout, &PRICE_TROUBLES).await?;
        let quote = |id: &QuoteId| {
            let QuoteId::Number(number) = id else {
                return None;
            };
            let asset = coins::by_cmc(CmcId(*number))?;
            let price = coins::price(asset.index, Provider::CoinMarketCap, at, currency);
            (!of.leaves_out(trouble)).then(|| Quote {
                id: id.clone(),
                price: of.quoted(trouble, price),
                change_24h_percent: None,
                as_of: Some(wall(at)),
            })
        };
        Ok(ids.iter().filter_map(quote).collect())
    }
}

/// The simulated DeFiLlama.
pub struct DefiLlama(pub Arc<Providers>);

#[async_trait]
impl QuoteProvider for DefiLlama {
    fn provider(&self) -> Provider {
        Provider::DefiLlama
    }

    fn terms(&self) -> QuoteTerms {
        defillama::TERMS
    }

    fn id(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        defillama::id_of(holdings, token)
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        _: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        let Self(of) = self;
        of.world.count(|stats| stats.quotes += 1);
        of.world
            .note(ids.len() as u64, || format!("LLAMA asked: {ids:?}"));
        let upstream = Provider::DefiLlama;
        let (at, trouble) = of.wait(upstream, timeout, &PRICE_TROUBLES).await?;
        let quote = |id: &QuoteId| {
            let asset = coins::by_llama(&id.to_string())?;
            let price = coins::price(asset.index, Provider::DefiLlama, at, Currency::USD);
            (!of.leaves_out(trouble)).then(|| Quote {
                id: id.clone(),
                price: of.quoted(trouble, price),
                change_24h_percent: None,
                as_of: Some(wall(at)),
            })
        };
        Ok(ids.iter().filter_map(quote).collect())
    }
}
