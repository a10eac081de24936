//! Keys from Secrets Manager.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use portfolio::{aws::secrets::resolve, config::Config};
use portfolio_local::fakes::SAMPLES;
use portfolio_tests::{TestApp, server::serve};
use serde_json::{Value, json};

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:portfolio-AbCdEf";

/// A Secrets Manager that holds one secret, and how often that was read.
#[derive(Clone, Default)]
struct Manager {
    secret: Arc<Mutex<String>>,
    reads: Arc<AtomicUsize>,
}

impl Manager {
    async fn start(&self) -> String {
        let router = Router::new()
            .route("/", post(answer))
            .with_state(self.clone());
        format!("http://{}", serve(router).await)
    }

    fn set(&self, zerion: &str, coinmarketcap: &str) {
        let secret = json!({"ZERION_API_KEY": zerion, "CMC_API_KEY": coinmarketcap});
        *self.secret.lock().expect("a secret") = secret.to_string();
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

async fn answer(
    State(manager): State<Manager>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    let signed = headers["authorization"]
        .to_str()
        .expect("text")
        .contains("eu-west-1");
    if headers["x-amz-target"] != "secretsmanager.GetSecretValue"
        || !signed
        || asked["SecretId"] != ARN
    {
        let refused = json!({"__type": "ResourceNotFoundException", "Message": "none"});
        return (StatusCode::BAD_REQUEST, Json(refused));
    }
    manager.reads.fetch_add(1, Ordering::SeqCst);
    let secret = manager.secret.lock().expect("a secret").clone();
    (
        StatusCode::OK,
        Json(json!({"ARN": ARN, "Name": "portfolio", "SecretString": secret})),
    )
}

/// The URL of one that holds `secret`.
async fn secrets_manager(secret: &str) -> String {
    let manager = Manager::default();
    secret.clone_into(&mut manager.secret.lock().expect("a secret"));
    manager.start().await
}

fn config(endpoint: &str, arn: &str) -> Config {
    Config::from_lookup(&|name| match name {
        "UPSTREAM_SECRET_ARN" => Some(arn.to_owned()),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some(endpoint.to_owned()),
        "ZERION_API_KEY" => Some("from-the-environment".to_owned()),
        _ => None,
    })
    .expect("a configuration")
}

#[tokio::test]
async fn keys_come_from_the_secret() {
    use portfolio::aws::secrets::ExposeSecret;

    let url = secrets_manager(r#"{"ZERION_API_KEY":"zk_1","CMC_API_KEY":"c2","other":3}"#).await;
    let mut config = config(&url, ARN);
    resolve(&mut config).await.expect("keys");
    assert_eq!(config.zerion.key.expose_secret(), "zk_1");
    assert_eq!(config.coinmarketcap.key.expose_secret(), "c2");
}

#[tokio::test]
async fn errors_do_not_contain_the_secret() {
    for secret in [
        "zk_hush",
        r#"{"ZERION_API_KEY":"zk_hush"}"#,
        r#"["zk_hush"]"#,
    ] {
        let url = secrets_manager(secret).await;
        let error = resolve(&mut config(&url, ARN))
            .await
            .expect_err("no keys")
            .to_string();
        assert!(error.starts_with("UPSTREAM_SECRET_ARN: "), "{error}");
        assert!(!error.contains("zk_hush"), "{error}");
    }
    let url = secrets_manager("{}").await;
    let other = ARN.replace("portfolio-", "another-");
    let error = resolve(&mut config(&url, &other))
        .await
        .expect_err("no secret")
        .to_string();
    assert!(error.contains("ResourceNotFoundException"), "{error}");
}

/// An app whose functions started with keys that are revoked by now, and the
/// keys that are not.
async fn with_revoked_keys(manager: &Manager) -> (TestApp, String, String) {
    let mut app = TestApp::new().await;
    let url = manager.start().await;
    let config = &mut app.services.config;
    config.secret_arn = Some(ARN.to_owned());
    config.secrets_endpoint = Some(url.parse().expect("a URL"));
    let good = |key: &str| {
        let found = app.services.environment.iter().find(|it| it.0 == key);
        found.expect("a key").1.clone()
    };
    let keys = (good("ZERION_API_KEY"), good("CMC_API_KEY"));
    let config = &mut app.services.config;
    config.zerion.key = "revoked".into();
    config.coinmarketcap.key = "revoked".into();
    app.restart();
    (app, keys.0, keys.1)
}

#[tokio::test]
async fn a_refused_key_is_looked_up_again() {
    let manager = Manager::default();
    let (app, zerion, coinmarketcap) = with_revoked_keys(&manager).await;
    manager.set(&zerion, &coinmarketcap);
    let requests = SAMPLES[..5]
        .iter()
        .map(|sample| app.get(sample.address, "aggregate"));
    for answer in futures::future::join_all(requests).await {
        answer.ok();
    }
    assert_eq!(manager.reads(), 1, "one look serves all");
    app.advance(90);
    let answer = app.get(SAMPLES[0].address, "aggregate").await.ok();
    assert_eq!(
        answer["prices"]["stale"], false,
        "the other key is the new one, too"
    );
    assert_eq!(manager.reads(), 1);
}

#[tokio::test]
async fn a_key_that_stays_refused_is_looked_up_seldom() {
    let manager = Manager::default();
    let (app, zerion, coinmarketcap) = with_revoked_keys(&manager).await;
    manager.set("revoked", "revoked");
    for sample in &SAMPLES[..5] {
        let answer = app.get(sample.address, "aggregate").await;
        assert_eq!(answer.status, 502);
        app.advance(3);
    }
    assert_eq!(manager.reads(), 1);
    manager.set(&zerion, &coinmarketcap);
    app.advance(60);
    app.get(SAMPLES[0].address, "aggregate").await.ok();
    assert_eq!(manager.reads(), 2);
}
