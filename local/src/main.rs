//! `cargo run`: the whole product on one machine.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use clap::{Parser, Subcommand};
use portfolio::telemetry::Output;
use portfolio_local::{
    fakes::SAMPLES,
    services::{Ports, Services, start},
};
use tokio::net::TcpListener;

/// The portfolio API on one machine: an embedded DynamoDB, fakes of the
/// upstream services (real ones where their keys are in the environment), and
/// a gateway for the three functions.
#[derive(Parser)]
#[command(name = "portfolio-local")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port of the gateway.
    #[arg(long, default_value_t = 3000, global = true)]
    port: u16,
    /// Port of the embedded DynamoDB.
    #[arg(long, default_value_t = 8000, global = true)]
    dynamodb_port: u16,
    /// Port of the fakes of the upstream services.
    #[arg(long, default_value_t = 8001, global = true)]
    upstream_port: u16,
    /// Address to listen on; containers need one that they can reach.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), global = true)]
    host: IpAddr,
}

#[derive(Subcommand)]
enum Command {
    /// Only DynamoDB and the fakes, for functions that run elsewhere (SAM
    /// local, cargo lambda).
    Services,
    /// Only prints the description of the HTTP API (OpenAPI 3.1).
    Openapi,
}

/// A wallet that is known to hold something, for the real services.
const WELL_KNOWN: &str = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    portfolio::telemetry::init(Output::Terminal)?;
    let arguments = Arguments::parse();
    if let Some(Command::Openapi) = arguments.command {
        print!("{}", portfolio::openapi::json()?);
        return Ok(());
    }
    let ports = Ports {
        dynamodb: SocketAddr::new(arguments.host, arguments.dynamodb_port),
        upstream: SocketAddr::new(arguments.host, arguments.upstream_port),
    };
    let services = start(ports, &|name| std::env::var(name).ok()).await?;
    print_services(&services);
    if let Some(Command::Services) = arguments.command {
        println!("\nSet these for functions that run elsewhere:");
        for (name, value) in &services.environment {
            println!("  export {name}={value}");
        }
        end().await?;
        return Ok(());
    }
    let listener = TcpListener::bind(SocketAddr::new(arguments.host, arguments.port)).await?;
    let address = listener.local_addr()?;
    let router = services.gateway()?.router();
    print_gateway(address, &services);
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served?,
        ended = end() => ended?,
    }
    Ok(())
}

fn print_services(services: &Services) {
    let config = &services.config;
    println!("Zerion         {}", config.zerion.base);
    println!("CoinMarketCap  {}", config.coinmarketcap.base);
    if let Some(url) = &config.dynamodb_endpoint {
        println!("DynamoDB       {url} (table {})", config.table);
    }
    if services.mixed {
        println!("\nNote: one provider is real and the other a fake, whose prices are made up.");
    }
}

fn print_gateway(address: SocketAddr, services: &Services) {
    println!("Gateway        http://{address}\n");
    let wallet = if services.uses_fakes {
        println!("Sample wallets (any other address gets a made-up portfolio):");
        for sample in SAMPLES {
            println!("  {:<44}  {}", sample.address, sample.description);
        }
        println!(
            "Requests to the upstreams are counted at {}__stats\n",
            services.config.zerion.base
        );
        SAMPLES
            .iter()
            .find(|sample| sample.name == "farmer")
            .map_or(WELL_KNOWN, |sample| sample.address)
    } else {
        WELL_KNOWN
    };
    println!("Try:");
    for scope in ["aggregate", "defi", "wallet"] {
        println!("  curl -s --compressed http://{address}/v1/wallets/{wallet}/{scope}");
    }
}

/// Waits for Ctrl-C or a request to terminate.
async fn end() -> std::io::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}
