//! Answers one kind of request so many times, for `scripts/instructions.sh` to count
//! its instructions:
//!
//! ```text
//! requests KIND POSITIONS TIMES
//! ```
//!
//! Everything from the event to the envelope is there but the network: the table is
//! the simulation's, in virtual time, and providers answer from memory (the provider of
//! holdings with JSON that is read).

use std::{process::ExitCode, sync::Arc, time::Duration};

use async_trait::async_trait;
use portfolio::{
    cache::{
        DynamoAssetStore, DynamoPriceBook, DynamoRateLimits, DynamoWalletStore, Retention, Table,
        asset_registry::{AssetStore, Assets},
    },
    clock::Clock,
    config::Config,
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        holdings_builder::HoldingsBuilder,
        price::CmcId,
        price_book::QuoteId,
        provider::Provider,
        scope::Scope,
    },
    lambda::{Invocation, QueryFunction, http::HttpHandler},
    service::{Policy, Ports, Service},
    telemetry::request_cost::RequestCost,
    upstream::{
        Attempts, FetchedStructure, HoldingsProvider, Quote, QuoteProvider, QuoteTerms,
        UpstreamError, coinmarketcap, zerion::read_page,
    },
};
use portfolio_simulation::{
    table::SimTable,
    world::{TrueClock, World},
};
use portfolio_tests::{rows, v2_event};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

const WALLET: &str = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
/// A page of a query ends at 1 MB.
const PAGE: usize = 1 << 20;
/// CoinMarketCap's ids of made-up tokens begin here.
const LISTED: u32 = 900_000;
/// Holdings stay fresh all the time.
const LONG: &str = "100000";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, positions, times] = &arguments[..] else {
        // As `cargo bench` starts it, with all others.
        return ExitCode::SUCCESS;
    };
    let (Ok(positions), Ok(times)) = (positions.parse(), times.parse::<u64>()) else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = Functions::new(positions).await;
        let function = world.process();
        world.get(&function, "", &[]).await;
        let reply = world.get(&function, "", &[]).await;
        let etag = reply["headers"]["etag"].as_str().expect("a validator");
        for time in 0..times {
            match kind.as_str() {
                "distinct" => world.get(&world.process(), "", &[]).await,
                "repeated" => world.get(&function, "", &[]).await,
                "unmodified" => world.get(&function, "", &[("if-none-match", etag)]).await,
                // Each of another length, or it would be found.
                "page" => {
                    world
                        .get(&function, &format!("limit={}", 500 + time), &[])
                        .await
                }
                "price-miss" => {
                    tokio::time::advance(Duration::from_secs(61)).await;
                    world.get(&function, "", &[]).await
                }
                "structure-miss" => {
                    world.delete(&function).await;
                    world.get(&function, "", &[]).await
                }
                _ => return ExitCode::FAILURE,
            };
        }
        ExitCode::SUCCESS
    })
}

/// What functions are built from.
struct Functions {
    config: Config,
    table: Table,
    clock: Arc<dyn Clock>,
    providers: Arc<Providers>,
}

impl Functions {
    async fn new(positions: u32) -> Self {
        let world = Arc::new(World::new(1, false));
        let clock: Arc<dyn Clock> = Arc::new(TrueClock(world.clone()));
        let table = Table::new(SimTable::new(world, PAGE).client(), clock.clone());
        let mut assets = Assets::default();
        for number in 1..=positions {
            let id = CmcId(LISTED + number);
            assets.insert("ethereum", Some(&rows::contract(number)), id);
        }
        let registry = DynamoAssetStore::new(table.clone());
        let cost = RequestCost::default();
        let written = registry.write(&assets, clock.now(), &cost).await;
        written.expect("a registry");
        let lookup = |name: &str| (name == "STRUCTURE_TTL_SECONDS").then(|| LONG.to_owned());
        Self {
            config: Config::from_lookup(&lookup).expect("a configuration"),
            table,
            clock,
            providers: Arc::new(Providers {
                body: rows::body(positions).into_bytes(),
            }),
        }
    }

    /// Starts a process.
    fn process(&self) -> QueryFunction {
        let (config, table) = (&self.config, &self.table);
        let retention = Retention {
            structure: config.structure.max_usable_age(),
            prices: config.prices.max_usable_age(),
        };
        let ports = Ports {
            structures: self.providers.clone(),
            quotes: vec![self.providers.clone()],
            wallets: Arc::new(DynamoWalletStore::new(table.clone(), retention)),
            assets: Arc::new(DynamoAssetStore::new(table.clone())),
            book: Arc::new(DynamoPriceBook::new(table.clone(), retention.prices)),
            rate_limits: Arc::new(DynamoRateLimits::new(table.clone())),
            queue: None,
            auto_watch: None,
            clock: self.clock.clone(),
        };
        let service = Service::new(ports, Policy::from(config));
        QueryFunction::new(HttpHandler::new(service, Scope::Aggregate, config))
    }

    async fn get(&self, function: &QueryFunction, query: &str, headers: &[(&str, &str)]) -> Value {
        let mut all = vec![("accept-encoding", "zstd")];
        all.extend(headers);
        let path = format!("/v1/wallets/{WALLET}/aggregate");
        let reply = handled(function, &v2_event("GET", &path, query, &all)).await;
        let reply: Value = serde_json::from_str(reply.get()).expect("JSON");
        let expected = if headers.is_empty() { 200 } else { 304 };
        assert_eq!(reply["statusCode"], expected);
        reply
    }

    async fn delete(&self, function: &QueryFunction) {
        let path = format!("/v1/wallets/{WALLET}/cache");
        handled(function, &v2_event("DELETE", &path, "", &[])).await;
    }
}

async fn handled(function: &QueryFunction, event: &Value) -> Box<RawValue> {
    let event = to_raw_value(event).expect("JSON");
    let reply = function.handle(&event, &Invocation::default()).await;
    reply.expect("a reply")
}

/// Providers that answer at once.
struct Providers {
    body: Vec<u8>,
}

#[async_trait]
impl HoldingsProvider for Providers {
    async fn fetch(
        &self,
        _: &Address,
        _: Scope,
        _: Currency,
        _: Duration,
        _: Attempts,
    ) -> Result<FetchedStructure, UpstreamError> {
        let mut draft = HoldingsBuilder::default();
        read_page(&self.body, None, &mut draft).expect("a page");
        Ok(FetchedStructure {
            draft,
            complete: true,
        })
    }
}

#[async_trait]
impl QuoteProvider for Providers {
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
        let quote = |id: &QuoteId| {
            let QuoteId::Number(number) = id else {
                return None;
            };
            Some(Quote {
                id: id.clone(),
                // Near to the holdings' own.
                price: Ok(Decimal::new(i64::from((number - LISTED) % 997 + 1), 0)),
                change_24h_percent: Some(Decimal::new(-235, -2)),
                as_of: None,
            })
        };
        Ok(ids.iter().filter_map(quote).collect())
    }
}
