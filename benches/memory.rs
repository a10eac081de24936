//! How much memory a process of a function needs for wallets of many
//! positions: a process of its own for each size, nothing else in it.
//!
//! ```text
//! cargo bench --workspace --profile load --bench memory -- [POSITIONS...]
//! ```
//!
//! Linux alone: the figures come from `/proc`.

use std::{process::Stdio, time::Instant};

use portfolio::{app::App, config::Config, domain::scope::Scope};
use portfolio_local::gateway::Gateway;
use portfolio_tests::{TestApp, rows, server};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

const SERVE: &str = "serve";

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve().await;
    }
    // The client insists on one, although nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    println!("positions chains   bytes from Zerion   at the start   miss   hit (MB at most)");
    let only: Vec<u32> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    for (positions, chains) in [
        (30, 3),
        (3_000, 10),
        (10_000, 10),
        (20_000, 20),
        (42_000, 200),
    ] {
        if only.is_empty() || only.contains(&positions) {
            measure(positions, chains).await;
        }
    }
}

/// The three functions, as a process of a Lambda holds one of them.
async fn serve() {
    let lookup = |name: &str| std::env::var(name).ok();
    let config = Config::from_lookup(&lookup).expect("a configuration");
    let function = |scope| {
        let function = App::new(&config).query_function(scope);
        function.expect("a function")
    };
    let gateway = Gateway::new(
        function(Scope::Defi),
        function(Scope::Wallet),
        function(Scope::Aggregate),
    );
    println!("{}", server::serve(gateway.router()).await);
    std::future::pending().await
}

async fn measure(positions: u32, chains: u32) {
    let app = TestApp::new().await;
    let address = "0x77d0a1b2c3d4e5f60718293a4b5c6d7e8f901234";
    let row = |number: u32| {
        let chain = format!("chain-{}", number % chains);
        let mut row = rows::token(number);
        row["relationships"]["chain"]["data"]["id"] = chain.clone().into();
        row["attributes"]["fungible_info"]["implementations"][0]["chain_id"] = chain.into();
        row
    };
    let held: Vec<_> = (1..=positions).map(row).collect();
    let bytes: usize = held.iter().map(|row| row.to_string().len()).sum();
    app.fakes().set_wallet(address, held);
    let table = app.config().dynamodb_endpoint.as_ref().expect("a table");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg(SERVE)
        .envs(app.services.environment.iter().cloned())
        .env("AWS_ENDPOINT_URL_DYNAMODB", table.as_str())
        .env("AWS_REGION", "us-east-1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let stdout = child.stdout.take().expect("its output");
    let mut lines = BufReader::new(stdout).lines();
    let server = lines.next_line().await.expect("text").expect("an address");
    let peak = |child: &tokio::process::Child| {
        let path = format!("/proc/{}/status", child.id().unwrap_or_default());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    };
    let start = peak(&child);
    let mut figures = Vec::new();
    for _ in 0..2 {
        let started = Instant::now();
        let url = format!("http://{server}/v1/wallets/{address}/aggregate");
        let answer = reqwest::get(url).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let body = answer.bytes().await.expect("a body");
        let millis = started.elapsed().as_millis();
        figures.push(format!(
            "{} ({millis} ms, {} bytes)",
            peak(&child),
            body.len()
        ));
    }
    println!(
        "{positions:>9} {chains:>6} {bytes:>19} {start:>14}   {}   {}",
        figures[0], figures[1]
    );
}
