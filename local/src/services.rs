//! What `cargo run` starts, and what it leaves to the environment.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use portfolio::{
    app::App, cache::DynamoDb, clock::SystemClock, config::Config, domain::scope::Scope,
};
use tokio::net::TcpListener;

use crate::{
    dynamodb,
    fakes::{FakeProviders, Options},
    gateway::Gateway,
};

/// Environment variables that fakes and the embedded DynamoDB override.
type Overrides = HashMap<&'static str, String>;

/// The services that were started, and how to reach the others.
pub struct Services {
    /// The configuration of the functions, as if all of it came from the
    /// environment.
    pub config: Config,
    /// What a process must have in its environment to use the same services.
    pub environment: Vec<(&'static str, String)>,
    /// The fakes, for tests.
    pub fakes: FakeProviders,
    /// Whether Zerion and CoinMarketCap are both fakes.
    pub uses_fakes: bool,
    /// Whether one of them is and the other is not.
    pub mixed: bool,
}

/// Where to listen; port 0 takes any free one.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The embedded DynamoDB.
    pub dynamodb: SocketAddr,
    /// The fakes.
    pub upstream: SocketAddr,
}

/// Starts what the environment does not name: DynamoDB unless
/// AWS_ENDPOINT_URL_DYNAMODB is set, an upstream's fake unless its base
/// URL or key is. Creates the table and fills the asset registry.
///
/// # Errors
/// When a port is taken, the configuration is bad, or the table cannot be
/// created.
pub async fn start(ports: Ports, env: &dyn Fn(&str) -> Option<String>) -> io::Result<Services> {
    let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let fakes = FakeProviders::new(Options::default());
    let mut overrides = Overrides::new();
    if env("AWS_ENDPOINT_URL_DYNAMODB").is_none() {
        let listener = listen(ports.dynamodb).await?;
        let address = listener.local_addr()?;
        dynamodb::serve(listener)?;
        overrides.insert("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{address}"));
        // It shares this machine's processors with everything else.
        let patient = env("DYNAMODB_TIMEOUT_MS").unwrap_or_else(|| "10000".to_owned());
        overrides.insert("DYNAMODB_TIMEOUT_MS", patient);
    }
    let unnamed = |base, key| env(base).is_none() && env(key).is_none();
    let zerion = unnamed("ZERION_BASE_URL", "ZERION_API_KEY");
    let coinmarketcap = unnamed("CMC_BASE_URL", "CMC_API_KEY");
    // DeFiLlama needs no key: it is real where both others are.
    let real = |base, key| env(base).is_none() && env(key).is_some();
    let all_real = real("ZERION_BASE_URL", "ZERION_API_KEY") && real("CMC_BASE_URL", "CMC_API_KEY");
    let defillama = env("DEFILLAMA_BASE_URL").is_none() && !all_real;
    if zerion || coinmarketcap || defillama {
        let listener = listen(ports.upstream).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = fakes.router();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the fakes ended");
            }
        });
        let keys = Options::default();
        if zerion {
            overrides.insert("ZERION_BASE_URL", url.clone());
            overrides.insert("ZERION_API_KEY", keys.zerion_key);
        }
        if coinmarketcap {
            overrides.insert("CMC_BASE_URL", url.clone());
            overrides.insert("CMC_API_KEY", keys.coinmarketcap_key);
        }
        if defillama {
            overrides.insert("DEFILLAMA_BASE_URL", url);
        }
    }
    let config = Config::from_lookup(&|name| overrides.get(name).cloned().or_else(|| env(name)))
        .map_err(io::Error::other)?;
    prepare(&config).await?;
    let mut environment: Vec<_> = overrides.into_iter().collect();
    environment.push(("TABLE_NAME", config.table.clone()));
    environment.sort();
    Ok(Services {
        config,
        environment,
        fakes,
        uses_fakes: zerion && coinmarketcap,
        mixed: zerion != coinmarketcap,
    })
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// The table and the registry, as a deployment would have them.
async fn prepare(config: &Config) -> io::Result<()> {
    let table = DynamoDb::connect(config, Arc::new(SystemClock));
    dynamodb::create_table(&table)
        .await
        .map_err(io::Error::other)?;
    let update = App::new(config)
        .registry_update()
        .map_err(io::Error::other)?;
    if let Err(error) = update.run().await {
        // Everything else works; prices then stay those of the structure.
        tracing::warn!(%error, "the asset registry could not be filled");
    }
    Ok(())
}

impl Services {
    /// The gateway in front of the handlers that the Lambdas run.
    ///
    /// # Errors
    /// When a handler cannot be built.
    pub fn gateway(&self) -> io::Result<Gateway> {
        let function = |scope| {
            App::new(&self.config)
                .query_function(scope)
                .map_err(io::Error::other)
        };
        Ok(Gateway::new(
            function(Scope::Defi)?,
            function(Scope::Wallet)?,
            function(Scope::Aggregate)?,
        ))
    }
}
