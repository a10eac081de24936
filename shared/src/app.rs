//! Puts the functions together from the configuration.

use std::sync::Arc;

use crate::{
    aws::secrets::KeyRing,
    aws::sqs::{Queue, Sqs},
    cache::{
        DynamoAssetStore, DynamoPriceBook, DynamoRateLimits, DynamoWalletStore, DynamoWatchlist,
        Retention, Table, watchlist::WatchList,
    },
    clock::{Clock, SystemClock},
    config::Config,
    domain::scope::Scope,
    jobs::refresh_watchlist::{Refresh, RefreshTerms},
    jobs::update_registry::RegistryUpdate,
    lambda::{QueryFunction, http::HttpHandler, refresh::RefreshFunction},
    service::{Policy, Ports, Service},
    upstream::{
        self, Failure, HttpClient, QuoteProvider, coinmarketcap::CoinMarketCap, zerion::Zerion,
    },
};

/// Builds the functions over one table from one configuration.
pub struct App<'c> {
    config: &'c Config,
    table: Table,
}

impl<'c> App<'c> {
    /// Builds on the configured table, by the system's clock.
    pub fn new(config: &'c Config) -> Self {
        Self::with_clock(config, Arc::new(SystemClock))
    }

    /// Builds on the configured table, by any clock.
    pub fn with_clock(config: &'c Config, clock: Arc<dyn Clock>) -> Self {
        Self::on_table(Table::connect(config, clock), config)
    }

    /// Builds on a table, by the table's clock.
    pub fn on_table(table: Table, config: &'c Config) -> Self {
        Self { config, table }
    }

    /// Returns the query function of `scope`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn query_function(&self, scope: Scope) -> Result<QueryFunction, Failure> {
        let handler = HttpHandler::new(self.service()?, scope, self.config);
        Ok(QueryFunction::new(handler))
    }

    /// Returns the function that keeps watched wallets fresh.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn refresh_function(&self) -> Result<RefreshFunction, Failure> {
        let config = self.config;
        let terms = RefreshTerms {
            ttl: config.structure.ttl,
            period: config.refresh.period,
            budget: config.refresh.budget,
            concurrency: config.upstream_concurrency,
            deadline: config.request_deadline,
            log_addresses: config.log_addresses,
        };
        Ok(RefreshFunction::new(Refresh {
            service: Arc::new(self.service()?),
            watched: self.watchlist(),
            queue: self.queue(),
            terms,
            clock: self.table.clock(),
        }))
    }

    /// Returns the update of the asset registry.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn registry_update(&self) -> Result<RegistryUpdate, Failure> {
        let map = self.coinmarketcap(HttpClient::new()?, self.keys());
        let store = Arc::new(DynamoAssetStore::new(self.table.clone()));
        Ok(RegistryUpdate::new(map, store, self.table.clock()))
    }

    /// Returns the read path, with its adapters.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn service(&self) -> Result<Service, Failure> {
        let (config, table, clock) = (self.config, &self.table, self.table.clock());
        let http = HttpClient::new()?;
        let retention = Retention {
            structure: config.structure.max_usable_age(),
            prices: config.prices.max_usable_age(),
        };
        let keys = self.keys();
        let mut quotes: Vec<Arc<dyn QuoteProvider>> =
            vec![Arc::new(self.coinmarketcap(http.clone(), keys.clone()))];
        quotes.extend(upstream::fallback(&http, config, &clock));
        let ports = Ports {
            structures: Arc::new(Zerion::new(http, config, keys, clock.clone())),
            quotes,
            wallets: Arc::new(DynamoWalletStore::new(table.clone(), retention)),
            assets: Arc::new(DynamoAssetStore::new(table.clone())),
            book: Arc::new(DynamoPriceBook::new(table.clone(), retention.prices)),
            rate_limits: Arc::new(DynamoRateLimits::new(table.clone())),
            queue: self.queue(),
            auto_watch: config.refresh.often_asked.then(|| self.watchlist()),
            clock,
        };
        Ok(Service::new(ports, Policy::from(config)))
    }

    fn coinmarketcap(&self, http: HttpClient, keys: Arc<KeyRing>) -> CoinMarketCap {
        CoinMarketCap::new(http, self.config, keys, self.table.clock())
    }

    fn keys(&self) -> Arc<KeyRing> {
        Arc::new(KeyRing::new(self.config, self.table.clock()))
    }

    fn queue(&self) -> Option<Arc<dyn Queue>> {
        Sqs::configured(self.config).map(|queue| -> Arc<dyn Queue> { Arc::new(queue) })
    }

    fn watchlist(&self) -> Arc<dyn WatchList> {
        Arc::new(DynamoWatchlist::new(self.table.clone()))
    }
}
