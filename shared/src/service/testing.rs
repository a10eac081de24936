//! Ports in memory, for the tests that stand beside components.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    cache::{
        CacheError, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest, NewPrices,
        NewStructure, Release, StoreOutcome, WalletStore,
        price_book::{BookWrite, LeaseState, LeaseTerms, PriceBook, PriceLease, StoredPage},
        rate_limits::RateLimitStore,
    },
    clock::{Clock, Timestamp},
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        price_book::{DemandWindow, Page, QuoteId, QuoteKey},
        provider::Provider,
    },
    sync::locked,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, Quote, QuoteProvider, QuoteTerms, UpstreamError, coinmarketcap},
};

/// Tells tokio's time, which tests pause, as wall-clock time.
#[derive(Clone, Copy, Debug)]
pub(super) struct VirtualClock(Instant);

impl VirtualClock {
    /// Starts in November 2026.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests pause this time and move it"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_254_046_007).plus(self.0.elapsed())
    }
}

/// No provider is rate limited, and none can be.
pub(super) struct NoRateLimits;

#[async_trait]
impl RateLimitStore for NoRateLimits {
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

/// Stores nothing, and counts what it is given.
#[derive(Default)]
pub(super) struct NoWallets {
    pub prices_stored: AtomicUsize,
    /// Times of holdings whose refresh ahead was claimed.
    pub claimed: Mutex<BTreeSet<Timestamp>>,
}

#[async_trait]
impl WalletStore for NoWallets {
    async fn load(
        &self,
        _: &Address,
        _: Currency,
        _: bool,
        _: &RequestCost,
    ) -> Result<CachedWallet, CacheError> {
        Ok(CachedWallet::default())
    }

    async fn lease(
        &self,
        _: &Address,
        _: LeaseRequest<'_>,
        _: &RequestCost,
    ) -> Result<LeaseOutcome, CacheError> {
        Ok(LeaseOutcome::Lost(Header::default()))
    }

    async fn claim_refresh_ahead(
        &self,
        _: &Address,
        fetched_at: Timestamp,
        _: u32,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        Ok(locked(&self.claimed).insert(fetched_at))
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
        Ok(StoreOutcome::LeaseLost)
    }

    async fn renew(
        &self,
        _: &Address,
        _: &Lease,
        _: Timestamp,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        Ok(false)
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
        self.prices_stored.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

/// A price book in memory, of US dollars and CoinMarketCap alone.
#[derive(Default)]
pub(super) struct MemoryBook {
    pub pages: Mutex<BTreeMap<Page, StoredPage>>,
    pub lease: Mutex<LeaseState>,
    owners: AtomicUsize,
}

#[async_trait]
impl PriceBook for MemoryBook {
    async fn read(
        &self,
        _: Currency,
        pages: &BTreeSet<Page>,
        _: bool,
        _: &RequestCost,
    ) -> Result<BTreeMap<Page, StoredPage>, CacheError> {
        let stored = locked(&self.pages);
        let page = |page: &Page| (*page, stored.get(page).cloned().unwrap_or_default());
        Ok(pages.iter().map(page).collect())
    }

    async fn take_lease(
        &self,
        _: Currency,
        _: Provider,
        terms: LeaseTerms,
        _: &RequestCost,
    ) -> Result<PriceLease, CacheError> {
        let mut lease = locked(&self.lease);
        if !lease.is_free(terms.now) || lease.has_failed(terms.now) {
            return Ok(PriceLease::Lost(lease.clone()));
        }
        let owner = self.owners.fetch_add(1, Ordering::Relaxed) as u64;
        lease.until = Some(terms.now.plus(terms.length));
        lease.owner = Some(owner);
        Ok(PriceLease::Won(owner, lease.clone()))
    }

    async fn lease_state(
        &self,
        _: Currency,
        _: Provider,
        _: LeaseTerms,
        _: &RequestCost,
    ) -> Result<LeaseState, CacheError> {
        Ok(locked(&self.lease).clone())
    }

    async fn write(
        &self,
        _: Currency,
        write: &BookWrite,
        now: Timestamp,
        _: &RequestCost,
    ) -> Result<(), CacheError> {
        let mut pages = locked(&self.pages);
        for (page, write) in &write.pages {
            let stored = pages.entry(*page).or_default();
            stored.prices.extend(write.prices.clone());
            let window = DemandWindow::of(now);
            let wanted = write.wanted.iter().cloned();
            stored.demand.extend(wanted.map(|key| (key, window)));
            let times = stored.prices.values().map(|price| price.checked_at);
            stored.newest = times.max();
        }
        if let Some(end) = &write.end {
            let mut lease = locked(&self.lease);
            if end.owner.is_some() && end.owner == lease.owner {
                lease.until = None;
                lease.published = end.published.or(lease.published);
            }
            lease.failed_until = end.failed_until.or(lease.failed_until);
        }
        Ok(())
    }
}

/// Quotes every coin at one dollar, after some time.
pub(super) struct DollarQuotes {
    pub took: Duration,
    pub failure: Mutex<Option<Failure>>,
    /// What each request asked for.
    pub requests: Mutex<Vec<BTreeSet<QuoteKey>>>,
}

impl DollarQuotes {
    /// Returns quotes that take 300 ms.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            took: Duration::from_millis(300),
            failure: Mutex::default(),
            requests: Mutex::default(),
        })
    }
}

#[async_trait]
impl QuoteProvider for DollarQuotes {
    fn provider(&self) -> Provider {
        Provider::CoinMarketCap
    }

    fn terms(&self) -> QuoteTerms {
        coinmarketcap::terms(100)
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
        let key = |id: &QuoteId| QuoteKey {
            provider: self.provider(),
            id: id.clone(),
        };
        locked(&self.requests).push(ids.iter().map(key).collect());
        tokio::time::sleep(self.took).await;
        if let Some(failure) = locked(&self.failure).clone() {
            let upstream = self.provider();
            return Err(UpstreamError { upstream, failure });
        }
        let quote = |id: &QuoteId| Quote {
            id: id.clone(),
            price: Ok(Decimal::ONE),
            change_24h_percent: None,
            as_of: None,
        };
        Ok(ids.iter().map(quote).collect())
    }
}
