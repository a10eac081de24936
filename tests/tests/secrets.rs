//! Keys from Secrets Manager.

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use portfolio::{config::Config, secrets::resolve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:portfolio-AbCdEf";

/// A Secrets Manager that holds one secret.
async fn secrets_manager(secret: &str) -> String {
    let answer = |State(secret): State<String>, headers: HeaderMap, body: String| async move {
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
        (
            StatusCode::OK,
            Json(json!({"ARN": ARN, "Name": "portfolio", "SecretString": secret})),
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .route("/", post(answer))
        .with_state(secret.to_owned());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
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
    use portfolio::secrets::ExposeSecret;

    let url = secrets_manager(r#"{"ZERION_API_KEY":"zk_1","CMC_API_KEY":"c2","other":3}"#).await;
    let mut config = config(&url, ARN);
    resolve(&mut config).await.expect("keys");
    assert_eq!(config.zerion.key.expose_secret(), "zk_1");
    assert_eq!(config.coinmarketcap.key.expose_secret(), "c2");
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_secret() {
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
