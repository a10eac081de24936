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

/// The query function of `scope`, on any clock.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn query_function_with(
    config: &Config,
    scope: Scope,
    clock: Arc<dyn Clock>,
) -> Result<QueryFunction, Failure> {
    query_function_on(&Table::connect(config, clock), config, scope)
}

/// The query function of `scope`, on a table and its clock.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn query_function_on(
    table: &Table,
    config: &Config,
    scope: Scope,
) -> Result<QueryFunction, Failure> {
    let service = service_on(table, config)?;
    Ok(QueryFunction::new(HttpHandler::new(service, scope, config)))
}

/// The function that keeps watched wallets fresh, on any clock.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn refresh_function_with(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<RefreshFunction, Failure> {
    refresh_function_on(&Table::connect(config, clock), config)
}

/// The function that keeps watched wallets fresh, on a table and its clock.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn refresh_function_on(table: &Table, config: &Config) -> Result<RefreshFunction, Failure> {
    let terms = RefreshTerms {
        ttl: config.structure.ttl,
        period: config.refresh.period,
        budget: config.refresh.budget,
        concurrency: config.upstream_concurrency,
        deadline: config.request_deadline,
        log_addresses: config.log_addresses,
    };
    Ok(RefreshFunction::new(Refresh {
        service: Arc::new(service_on(table, config)?),
        watched: Arc::new(DynamoWatchlist::new(table.clone())),
        queue: queue(config),
        terms,
        clock: table.clock(),
    }))
}

fn queue(config: &Config) -> Option<Arc<dyn Queue>> {
    Sqs::configured(config).map(|queue| -> Arc<dyn Queue> { Arc::new(queue) })
}

/// The read path, with its adapters.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn service(config: &Config, clock: Arc<dyn Clock>) -> Result<Service, Failure> {
    service_on(&Table::connect(config, clock), config)
}

fn service_on(table: &Table, config: &Config) -> Result<Service, Failure> {
    let clock = table.clock();
    let http = HttpClient::new()?;
    let retention = Retention {
        structure: config.structure.max_usable_age(),
        prices: config.prices.max_usable_age(),
    };
    let auto_watch = config
        .refresh
        .often_asked
        .then(|| -> Arc<dyn WatchList> { Arc::new(DynamoWatchlist::new(table.clone())) });
    let keys = Arc::new(KeyRing::new(config, clock.clone()));
    let mut quotes: Vec<Arc<dyn QuoteProvider>> = vec![Arc::new(CoinMarketCap::new(
        http.clone(),
        config,
        keys.clone(),
        clock.clone(),
    ))];
    quotes.extend(upstream::fallback(&http, config, &clock));
    let ports = Ports {
        structures: Arc::new(Zerion::new(http, config, keys, clock.clone())),
        quotes,
        wallets: Arc::new(DynamoWalletStore::new(table.clone(), retention)),
        assets: Arc::new(DynamoAssetStore::new(table.clone())),
        book: Arc::new(DynamoPriceBook::new(table.clone(), retention.prices)),
        rate_limits: Arc::new(DynamoRateLimits::new(table.clone())),
        queue: queue(config),
        auto_watch,
        clock,
    };
    Ok(Service::new(ports, Policy::from(config)))
}

/// The update of the asset registry.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn registry_update(config: &Config) -> Result<RegistryUpdate, Failure> {
    registry_update_on(&Table::connect(config, Arc::new(SystemClock)), config)
}

/// The update of the asset registry, on a table and its clock.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn registry_update_on(table: &Table, config: &Config) -> Result<RegistryUpdate, Failure> {
    let clock = table.clock();
    let keys = Arc::new(KeyRing::new(config, clock.clone()));
    let map = CoinMarketCap::new(HttpClient::new()?, config, keys, clock.clone());
    let store = Arc::new(DynamoAssetStore::new(table.clone()));
    Ok(RegistryUpdate::new(map, store, clock))
}
