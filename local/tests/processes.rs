//! Several processes over one table, as Lambda runs them: stampedes, a holder
//! that is killed, limits that one of them meets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use futures::{StreamExt, stream};
use portfolio::domain::provider::Provider;
use portfolio_local::{
    fakes::{Fault, SAMPLES},
    services::{Ports, Services, start},
};
use reqwest::Client;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const PROCESSES: usize = 8;

/// Eight gateways with the functions in them, and all that they share.
struct Fleet {
    services: Services,
    client: Client,
    processes: Vec<(Child, String)>,
}

impl Fleet {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(variables: &[(&'static str, String)]) -> Self {
        // The client insists on one, although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ports = Ports {
            dynamodb: any_port,
            upstream: any_port,
        };
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        };
        let services = start(ports, &lookup).await.expect("services");
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            processes.push(process(&services).await);
        }
        services.fakes.reset_stats();
        Self {
            services,
            client: Client::new(),
            processes,
        }
    }

    /// A request to one of the processes: status and body.
    async fn get(&self, process: usize, path: &str) -> Option<(u16, Value)> {
        let url = format!("{}/v1/wallets/{path}", self.processes[process].1);
        let answer = self.client.get(url).send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).ok()?))
    }

    fn fault(&self, upstream: Provider, fault: Option<Fault>) {
        self.services.fakes.set_fault(upstream, fault);
    }
}

/// Starts a process and waits for a line that begins so: gives what follows.
async fn started(command: &mut Command, prefix: &str) -> (Child, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let stdout = child.stdout.take().expect("its output");
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some(rest) = line.strip_prefix(prefix) {
            let rest = rest.trim().to_owned();
            // The rest of its output is read, or the pipe would fill.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, rest);
        }
    }
    panic!("the process ended");
}

/// Starts a gateway; gives its URL.
async fn process(services: &Services) -> (Child, String) {
    let config = &services.config;
    let table = config.dynamodb_endpoint.as_ref().expect("a table");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portfolio-local"));
    command
        .args(["--port", "0"])
        .envs(services.environment.iter().cloned())
        .env("AWS_ENDPOINT_URL_DYNAMODB", table.as_str());
    started(&mut command, "Gateway").await
}

fn farmer() -> &'static str {
    let found = SAMPLES.iter().find(|sample| sample.name == "farmer");
    found.expect("a sample").address
}

fn slow(delay_ms: u64) -> Option<Fault> {
    Some(Fault {
        delay_ms: Some(delay_ms),
        ..Fault::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_cold_requests_cost_one_fetch() {
    let fleet = Fleet::start().await;
    fleet.fault(Provider::Zerion, slow(1000));
    let path = format!("{}/aggregate", farmer());
    let requests = (0..200).map(|number| fleet.get(number % PROCESSES, &path));
    let mut totals = Vec::new();
    for answer in futures::future::join_all(requests).await {
        let (status, body) = answer.expect("an answer");
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["structure"]["stale"], false);
        totals.push(body["totals"].clone());
    }
    assert!(totals.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(fleet.services.fakes.stats().zerion.requests, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_holder_is_replaced() {
    let mut fleet = Fleet::start().await;
    fleet.fault(Provider::Zerion, slow(3000));
    let path = format!("{}/aggregate", farmer());
    {
        let holder = fleet.get(0, &path);
        let asked = async {
            while fleet.services.fakes.stats().zerion.requests == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        futures::future::select(Box::pin(holder), Box::pin(asked)).await;
    }
    fleet.processes[0].0.kill().await.expect("killed");
    let started = tokio::time::Instant::now();
    let requests = (0..40).map(|number| fleet.get(1 + number % (PROCESSES - 1), &path));
    for answer in futures::future::join_all(requests).await {
        let (status, body) = answer.expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    // The lease's five seconds, the provider's three, and as much for this
    // machine: a bound for the recovery, not a measure of speed.
    assert!(started.elapsed() < Duration::from_secs(16));
    assert_eq!(fleet.services.fakes.stats().zerion.requests, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_met_by_one_process_pauses_all() {
    let fleet = Fleet::start().await;
    let fault = Fault {
        headers: [("retry-after".to_owned(), "30".to_owned())].into(),
        ..Fault::status(429)
    };
    fleet.fault(Provider::Zerion, Some(fault));
    for number in 0..40 {
        let path = format!("0x{number:040}/aggregate");
        let (status, body) = fleet
            .get(number % PROCESSES, &path)
            .await
            .expect("an answer");
        assert_eq!((status, &body["code"]), (429, &"rate_limited".into()));
    }
    assert_eq!(fleet.services.fakes.stats().zerion.requests, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_a_failing_provider_are_bounded() {
    let fleet = Fleet::start().await;
    fleet.fault(Provider::Zerion, Some(Fault::status(500)));
    let paths: Vec<_> = (0..1000)
        .map(|number| format!("0x{number:040}/aggregate"))
        .collect();
    let requests = paths
        .iter()
        .enumerate()
        .map(|(number, path)| fleet.get(number % PROCESSES, path));
    let answers = stream::iter(requests).buffer_unordered(32);
    let answers: Vec<_> = answers.collect().await;
    for answer in answers {
        let (status, body) = answer.expect("an answer");
        assert_eq!(
            (status, &body["code"]),
            (503, &"upstream_unavailable".into())
        );
    }
    let attempts = fleet.services.fakes.stats().zerion.requests;
    println!("1,000 wallets, 8 processes: {attempts} attempts");
    // Ten in each process, and those that were under way with the tenth.
    assert!(attempts <= 120, "{attempts}");
}

/// Starts a DynamoDB in a process of its own.
async fn database(port: u16) -> Child {
    let nowhere = "http://127.0.0.1:9";
    let mut command = Command::new(env!("CARGO_BIN_EXE_portfolio-local"));
    command
        .args(["services", "--dynamodb-port", &port.to_string()])
        .env("ZERION_BASE_URL", nowhere)
        .env("CMC_BASE_URL", nowhere)
        .env("DEFILLAMA_BASE_URL", nowhere);
    started(&mut command, "DynamoDB").await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_table_is_used_again() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let port = free.and_then(|it| it.local_addr()).expect("a port").port();
    let mut table = database(port).await;
    let fleet = Fleet::start_with(&[
        (
            "AWS_ENDPOINT_URL_DYNAMODB",
            format!("http://127.0.0.1:{port}"),
        ),
        ("DYNAMODB_TIMEOUT_MS", "2000".to_owned()),
    ])
    .await;
    let path = format!("{}/aggregate", farmer());
    let ask = async |number: usize| {
        let (status, body) = fleet
            .get(number % PROCESSES, &path)
            .await
            .expect("an answer");
        assert_eq!(status, 200, "{body}");
        assert!(
            body["totals"]["by_type"]
                .as_array()
                .is_some_and(|types| types.len() > 3)
        );
        body["structure"]["as_of"].clone()
    };
    let first = ask(0).await;
    for number in 1..PROCESSES {
        assert_eq!(ask(number).await, first);
    }
    table.kill().await.expect("killed");
    for number in 0..2 * PROCESSES {
        // Without the cache, each answer is fetched.
        assert_ne!(ask(number).await, first);
    }
    table = database(port).await;
    // Each process leaves a table that failed alone for two seconds.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let again = ask(0).await;
    for number in 0..PROCESSES {
        assert_eq!(ask(number).await, again, "{number}");
    }
    table.kill().await.expect("killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_outlasts_a_lease_keeps_it() {
    let fleet = Fleet::start().await;
    fleet.fault(Provider::Zerion, slow(8000));
    let path = format!("{}/aggregate", farmer());
    let requests = (0..16).map(|number| fleet.get(number % PROCESSES, &path));
    for answer in futures::future::join_all(requests).await {
        let (status, body) = answer.expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(fleet.services.fakes.stats().zerion.requests, 1);
}
