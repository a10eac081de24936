//! What happens before the first event: certificates, and the connection to
//! the table.

use std::time::{Duration, Instant};

use portfolio::{app::App, cache::Table, config::Config, domain::scope::Scope};
use portfolio_tests::{TestApp, sample, table::TableFault, tls::TlsFront};

/// The app's configuration with a table elsewhere.
fn at(app: &TestApp, url: &str) -> Config {
    let mut config = app.config().clone();
    config.dynamodb_endpoint = Some(url.parse().expect("a URL"));
    config
}

/// A process as Lambda starts it.
async fn started(app: &TestApp, config: &Config) -> portfolio::lambda::QueryFunction {
    let table = Table::connect(config, app.clock.clone());
    table.open().await;
    App::on_table(table.clone(), config)
        .query_function(Scope::Aggregate)
        .expect("a function")
}

fn with_bundle(path: &str) -> Result<Config, portfolio::config::ConfigError> {
    Config::from_lookup(&|name| (name == "AWS_CA_BUNDLE").then(|| path.to_owned()))
}

#[tokio::test]
async fn a_function_starts_without_a_table() {
    let (app, faulty) = TestApp::with_faulty_table(&[]).await;
    faulty.set(Some(TableFault::Slow(60_000)), None);
    // Nothing listens at the second one.
    for url in [faulty.url.as_str(), "http://127.0.0.1:9"] {
        let mut config = at(&app, url);
        config.dynamodb_timeout = Duration::from_millis(300);
        let began = Instant::now();
        let process = started(&app, &config).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{url}");
        let answer = app.get_from(&process, sample("farmer")).await;
        assert_eq!(answer.status, 200);
        let status = answer.header("cache-status");
        assert!(status.contains("detail=uncached"), "{status}");
    }
}

#[tokio::test]
async fn the_first_request_reuses_the_connections_of_the_init_phase() {
    let (app, faulty) = TestApp::with_faulty_table(&[]).await;
    app.get(sample("farmer"), "aggregate").await.ok();
    let front = TlsFront::proxying(&faulty.url).await;
    let mut config = at(&app, front.url.as_str());
    let bundle = front.bundle("");
    let read = with_bundle(bundle.to_str().expect("a path of text"));
    config.ca_bundle = read.expect("certificates").ca_bundle;
    let (before, _) = faulty.counts();

    // Slow enough that neither read can use the connection of the other.
    faulty.set(Some(TableFault::Slow(300)), None);
    let process = started(&app, &config).await;
    faulty.set(None, None);
    let (opened, _) = faulty.counts();
    assert_eq!((opened - before, front.connections()), (2, 2));
    let fakes = app.stats();

    let answer = app.get_from(&process, sample("farmer")).await;
    let status = answer.header("cache-status");
    assert!(status.starts_with("structure; hit"), "{status}");
    let (answered, _) = faulty.counts();
    assert_eq!((answered - opened, front.connections()), (2, 2));
    assert_eq!(app.stats().zerion.requests, fakes.zerion.requests);
    std::fs::remove_file(bundle).expect("a file");
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let app = TestApp::new().await;
    let table = app.config().dynamodb_endpoint.as_ref().expect("a table");
    let (front, other) = (
        TlsFront::proxying(table).await,
        TlsFront::proxying(table).await,
    );
    let bundle = other.bundle("");
    let read = with_bundle(bundle.to_str().expect("a path of text"));
    let mut config = at(&app, front.url.as_str());
    config.ca_bundle = read.expect("certificates").ca_bundle;
    let process = started(&app, &config).await;
    let answer = app.get_from(&process, sample("farmer")).await;
    let status = answer.header("cache-status");
    assert!(status.contains("detail=uncached"), "{status}");
    std::fs::remove_file(bundle).expect("a file");
}

#[test]
fn an_unusable_ca_bundle_fails_the_start_and_is_named() {
    let reason = |path: &str| with_bundle(path).expect_err("no configuration").to_string();
    let missing = reason("/nowhere/ca.pem");
    assert!(
        missing.starts_with("AWS_CA_BUNDLE: /nowhere/ca.pem: No such file"),
        "{missing}"
    );
    let empty = reason("/dev/null");
    assert_eq!(empty, "AWS_CA_BUNDLE: /dev/null has no certificate");
    let path = std::env::temp_dir().join(format!("portfolio-{}.pem", std::process::id()));
    for (content, told) in [
        ("-----BEGIN CERTIFICATE-----\n", "is no PEM file"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "has a certificate that cannot be used",
        ),
    ] {
        std::fs::write(&path, content).expect("a file");
        let said = reason(path.to_str().expect("a path of text"));
        assert!(
            said.starts_with("AWS_CA_BUNDLE: ") && said.ends_with(told),
            "{said}"
        );
    }
    std::fs::remove_file(path).expect("a file");
}
