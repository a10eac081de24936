//! A world without a network: a cached wallet and sources that always answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use portfolio::{
    cache::{
        CacheError, CachedPart, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest, NewPrices,
        NewStructure, Release, StoreOutcome, WalletStore,
        asset_registry::{AssetStore, Assets},
        codec,
        price_book::{BookWrite, LeaseState, LeaseTerms, PriceBook, PriceLease, StoredPage},
        rate_limits::RateLimitStore,
    },
    clock::{ManualClock, Timestamp},
    config::Config,
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        decoded::StoredHoldings,
        holdings::{Holdings, Token},
        price_book::{Page, QuoteId},
        provider::Provider,
        scope::{Part, Scope},
    },
    lambda::http::HttpHandler,
    service::{Policy, Ports, Service},
    telemetry::request_cost::RequestCost,
    upstream::{
        Attempts, FetchedStructure, HoldingsProvider, Quote, QuoteProvider, QuoteTerms,
        UpstreamError, coinmarketcap,
    },
};

use crate::{NOW, wallet};

/// How old the holdings are: fresh, unless the client asks for newer ones.
const AGE: Duration = Duration::from_secs(45);

/// The handler of `scope`, new, so that no input leaves anything to the next.
pub fn handler(scope: Scope) -> HttpHandler {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Config::from_lookup(&|_| None).expect("the defaults"));
    let world = Arc::new(World);
    let ports = Ports {
        structures: world.clone(),
        quotes: vec![world.clone()],
        wallets: world.clone(),
        assets: world.clone(),
        book: world.clone(),
        rate_limits: world,
        queue: None,
        auto_watch: None,
        clock: Arc::new(ManualClock::at(NOW)),
    };
    HttpHandler::new(Service::new(ports, Policy::from(config)), scope, config)
}

/// Runs to the end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

struct World;

fn stored() -> &'static CachedWallet {
    static STORED: OnceLock<CachedWallet> = OnceLock::new();
    STORED.get_or_init(|| {
        let fetched_at = NOW.minus(AGE);
        let stored = wallet::finished(&wallet::sample(), fetched_at);
        let prices = stored.prices;
        let cached = |(part, holdings): (Part, StoredHoldings)| {
            let cached = CachedPart {
                hash: codec::hash(holdings.bytes()),
                holdings,
                fetched_at,
                currency: Currency::USD,
                prices: prices.clone(),
            };
            (part, Arc::new(cached))
        };
        CachedWallet {
            parts: stored.parts.into_iter().map(cached).collect(),
            ..CachedWallet::default()
        }
    })
}

#[async_trait]
impl HoldingsProvider for World {
    async fn fetch(
        &self,
        _: &Address,
        _: Scope,
        _: Currency,
        _: Duration,
        _: Attempts,
    ) -> Result<FetchedStructure, UpstreamError> {
        Ok(FetchedStructure {
            draft: wallet::sample(),
            complete: true,
        })
    }
}

#[async_trait]
impl QuoteProvider for World {
    fn provider(&self) -> Provider {
        Provider::CoinMarketCap
    }

    fn terms(&self) -> QuoteTerms {
        coinmarketcap::terms(1000)
    }

    fn id(&self, _: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId> {
        coinmarketcap::id_of(token)
    }

    async fn quotes(
        &self,
        ids: &[QuoteId],
        _: Currency,
        _: Duration,
    ) -> Result<Vec<Quote>, UpstreamError> {
        let quote = |id: &QuoteId| Quote {
            id: id.clone(),
            price: Ok(Decimal::ONE),
            change_24h_percent: None,
            as_of: Some(NOW),
        };
        Ok(ids.iter().map(quote).collect())
    }
}

#[async_trait]
impl WalletStore for World {
    /// Prices are there in US dollars.
    async fn load(
        &self,
        _: &Address,
        _: Currency,
        _: bool,
        _: &RequestCost,
    ) -> Result<CachedWallet, CacheError> {
        let wallet = stored().clone();
        Ok(wallet)
    }

    async fn lease(
        &self,
        _: &Address,
        wanted: LeaseRequest<'_>,
        _: &RequestCost,
    ) -> Result<LeaseOutcome, CacheError> {
        Ok(LeaseOutcome::Won(Lease {
            generations: wanted.parts.iter().map(|part| (*part, 1)).collect(),
        }))
    }

    async fn claim_refresh_ahead(
        &self,
        _: &Address,
        _: Timestamp,
        _: u32,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        Ok(true)
    }

    async fn header(&self, _: &Address, _: &RequestCost) -> Result<Header, CacheError> {
        Ok(Header::default())
    }

    async fn store(
        &self,
        _: &Address,
        _: &Lease,
        _: NewStructure<'_>,
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<StoreOutcome, CacheError> {
        Ok(StoreOutcome::Stored)
    }

    async fn renew(
        &self,
        _: &Address,
        _: &Lease,
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        Ok(true)
    }

    async fn release(
        &self,
        _: &Address,
        _: &Lease,
        _: &Release,
        _: &RequestCost,
    ) -> Result<(), CacheError> {
        Ok(())
    }

    async fn invalidate(
        &self,
        _: &Address,
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<(), CacheError> {
        Ok(())
    }

    async fn store_prices(
        &self,
        _: &Address,
        _: &Header,
        _: &[NewPrices<'_>],
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        Ok(true)
    }
}

#[async_trait]
impl AssetStore for World {
    async fn read(&self, _: &RequestCost) -> Result<Assets, CacheError> {
        Ok(wallet::assets())
    }

    async fn write(&self, _: &Assets, _: Timestamp, _: &RequestCost) -> Result<usize, CacheError> {
        Ok(0)
    }
}

/// An empty book, whose leases are free.
#[async_trait]
impl PriceBook for World {
    async fn read(
        &self,
        _: Currency,
        pages: &BTreeSet<Page>,
        _: bool,
        _: &RequestCost,
    ) -> Result<BTreeMap<Page, StoredPage>, CacheError> {
        let pages = pages.iter().map(|page| (*page, StoredPage::default()));
        Ok(pages.collect())
    }

    async fn take_lease(
        &self,
        _: Currency,
        _: Provider,
        _: LeaseTerms,
        _: &RequestCost,
    ) -> Result<PriceLease, CacheError> {
        Ok(PriceLease::Won(1, LeaseState::default()))
    }

    async fn lease_state(
        &self,
        _: Currency,
        _: Provider,
        _: LeaseTerms,
        _: &RequestCost,
    ) -> Result<LeaseState, CacheError> {
        Ok(LeaseState::default())
    }

    async fn write(
        &self,
        _: Currency,
        _: &BookWrite,
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<(), CacheError> {
        Ok(())
    }
}

#[async_trait]
impl RateLimitStore for World {
    async fn open_until(
        &self,
        _: Provider,
        _: &RequestCost,
    ) -> Result<Option<Timestamp>, CacheError> {
        Ok(None)
    }

    async fn open(&self, _: Provider, _: Timestamp, _: &RequestCost) -> Result<(), CacheError> {
        Ok(())
    }
}
