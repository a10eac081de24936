//! The HTTP contract: validation, headers, encodings, problems.

use portfolio::domain::scope::Scope;
use portfolio_tests::{TestApp, positions, sample, units, v2_event};
use serde_json::Value;

const FARMER_PATH: &str = "/v1/wallets/0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002";

async fn problem(app: &TestApp, path: &str) -> Value {
    let answer = app.request("GET", path, &[]).await;
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{path}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["status"], answer.status);
    assert_eq!(body["request_id"], "request-1");
    assert_eq!(answer.header("x-request-id"), "request-1");
    for field in ["type", "title", "detail", "code"] {
        assert!(
            body[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    body
}

#[tokio::test]
async fn bad_addresses_are_refused() {
    let app = TestApp::new().await;
    for address in [
        "0x2002def1c8a94b7e60d3f5a2197bc4e8d60f200",
        "0x2002def1c8a94b7e60d3f5a2197bc4e8d60f20021",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "0xzz02def1c8a94b7e60d3f5a2197bc4e8d60f2002",
        "vitalik.eth",
        "%20",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1vEPjFWdd5",
    ] {
        let body = problem(&app, &format!("/v1/wallets/{address}/defi")).await;
        assert_eq!(
            (body["status"].as_u64(), &body["code"]),
            (Some(400), &"invalid_address".into()),
            "{address}"
        );
    }
    assert_eq!(app.stats().zerion.requests, 0);
}

#[tokio::test]
async fn bad_parameters_are_refused_by_name() {
    let app = TestApp::new().await;
    for (name, value) in [
        ("currency", "doge"),
        ("chains", "not%20a%20chain"),
        ("chains", ""),
        ("min_value", "-1"),
        ("min_value", "abc"),
        ("hidden", "yes"),
        ("limit", "0"),
        ("limit", "5001"),
        ("limit", "1.5"),
        ("cursor", "Zm9yZ2Vk"),
        ("offset", "3"),
        ("Currency", "usd"),
    ] {
        let body = problem(&app, &format!("{FARMER_PATH}/aggregate?{name}={value}")).await;
        assert_eq!(body["status"], 400);
        assert_eq!(body["code"], "invalid_parameter");
        assert!(body["detail"].as_str().unwrap().contains(name), "{body}");
    }
    assert_eq!(app.stats().zerion.requests, 0);
    // A well-formed chain id that neither the table nor the wallet knows.
    let body = problem(&app, &format!("{FARMER_PATH}/aggregate?chains=etherium")).await;
    assert!(body["detail"].as_str().unwrap().contains("etherium"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let app = TestApp::new().await;
    for path in [
        "/",
        "/v1",
        "/v1/wallets",
        "/v1/wallets/x",
        "/v2/wallets/x/defi",
        "/v1/wallets/x/defi/more",
        "/v1/wallets//x/defi",
    ] {
        let body = problem(&app, path).await;
        assert_eq!(
            (body["status"].as_u64(), &body["code"]),
            (Some(404), &"not_found".into()),
            "{path}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = app
            .request(method, &format!("{FARMER_PATH}/defi"), &[])
            .await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), "GET, HEAD");
        assert_eq!(answer.json()["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let app = TestApp::new().await;
    for scope in ["aggregate", "defi", "wallet"] {
        let path = format!("{FARMER_PATH}/{scope}");
        let get = app.request("GET", &path, &[]).await;
        let head = app.request("HEAD", &path, &[]).await;
        assert_eq!((get.status, head.status), (200, 200), "{scope}");
        assert!(head.bytes.is_empty(), "{scope}");
        assert_eq!(head.header("content-length"), get.bytes.len().to_string());
        assert_eq!(head.header("etag"), get.header("etag"));
        let etag = head.header("etag").to_owned();
        let known = app
            .request("HEAD", &path, &[("if-none-match", &etag)])
            .await;
        assert_eq!((known.status, known.header("content-length")), (304, ""));
    }
    // The whole miss cost one request, and HEAD none.
    assert_eq!(app.stats().zerion.requests, 1);
    for (path, status) in [
        ("/v1/wallets/0x12/defi", 400),
        ("/v1/nothing", 404),
        (&*format!("{FARMER_PATH}/cache"), 405),
    ] {
        let problem = app.request("HEAD", path, &[]).await;
        assert_eq!(problem.status, status, "{path}");
        assert!(problem.bytes.is_empty(), "{path}");
        assert_eq!(problem.header("content-type"), "application/problem+json");
        assert_ne!(problem.header("content-length"), "");
    }
    let cache = format!("{FARMER_PATH}/cache");
    let refused = app.request("HEAD", &cache, &[]).await;
    assert_eq!(refused.header("allow"), "DELETE");
}

#[tokio::test]
async fn a_trailing_slash_is_ignored() {
    let app = TestApp::new().await;
    // Through `aggregate`, which gets what an API has no route for, and through
    // the function that the path belongs to.
    for scope in Scope::ALL {
        let path = format!("{FARMER_PATH}/{scope}/");
        let event = v2_event("GET", &path, "limit=3", &[]);
        let plain = app.get(sample("farmer"), &format!("{scope}?limit=3")).await;
        for function in [Scope::Aggregate, scope] {
            let answer = app.invoke(function, &event).await;
            assert_eq!(answer.ok(), plain.ok(), "{scope} by {function}");
        }
    }
    for path in ["/defi//", "/cache/x", "//"] {
        let answer = app
            .request("GET", &format!("{FARMER_PATH}{path}"), &[])
            .await;
        assert_eq!(answer.status, 404, "{path}");
    }
    // A function of its own answers its own path only.
    let event = v2_event("GET", &format!("{FARMER_PATH}/wallet"), "", &[]);
    assert_eq!(app.invoke(Scope::Defi, &event).await.status, 404);
}

#[tokio::test]
async fn answers_forbid_content_sniffing() {
    let app = TestApp::new().await;
    let aggregate = format!("{FARMER_PATH}/aggregate");
    let first = app.request("GET", &aggregate, &[]).await;
    let etag = first.header("etag").to_owned();
    for (method, path, status) in [
        ("GET", &*aggregate, 200),
        ("HEAD", &aggregate, 200),
        ("GET", "/v1/wallets/0x12/defi", 400),
        ("GET", "/", 404),
        ("POST", &aggregate, 405),
        ("DELETE", &format!("{FARMER_PATH}/cache"), 204),
    ] {
        let answer = app.request(method, path, &[]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    app.request("GET", &aggregate, &[]).await.ok();
    let known = app
        .request("GET", &aggregate, &[("if-none-match", &etag)])
        .await;
    assert_eq!(known.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn a_matching_etag_is_answered_without_a_body() {
    let app = TestApp::new().await;
    let path = format!("{FARMER_PATH}/aggregate");
    let first = app.request("GET", &path, &[]).await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("W/\""));
    app.advance(10);
    let second = app.request("GET", &path, &[("if-none-match", &etag)]).await;
    assert_eq!(second.status, 304);
    assert!(second.bytes.is_empty());
    assert_eq!(second.header("etag"), etag);
    assert_eq!(
        second.header("cache-control"),
        "public, max-age=50, stale-if-error=900"
    );
    assert!(second.header("vary").contains("Accept-Encoding"));

    let other = app
        .request(
            "GET",
            &format!("{path}?limit=3"),
            &[("if-none-match", &etag)],
        )
        .await;
    assert_eq!(other.status, 200);
    // New prices are a new answer.
    app.advance(55);
    let third = app.request("GET", &path, &[("if-none-match", &etag)]).await;
    assert_eq!(third.status, 200);
    assert_ne!(third.header("etag"), etag);
}

#[tokio::test]
async fn the_same_body_has_the_same_etag() {
    let app = TestApp::new().await;
    let path = format!("{FARMER_PATH}/aggregate");
    let first = app.request("GET", &path, &[]).await;
    app.advance(20);
    let second = app
        .request("GET", &path, &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(first.header("etag"), second.header("etag"));
    assert_eq!(first.bytes, second.bytes);
}

#[tokio::test]
async fn answers_say_how_long_they_may_be_cached() {
    let app = TestApp::new().await;
    let path = format!("{FARMER_PATH}/aggregate");
    let answer = app.request("GET", &path, &[]).await;
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=60, stale-if-error=900"
    );
    assert_eq!(
        answer.header("cache-status"),
        "structure; fwd=miss; stored; ttl=300, prices; fwd=miss; stored; ttl=60; detail=zerion"
    );
    assert_eq!(answer.header("vary"), "Accept-Encoding, Origin");
    assert!(answer.header("server-timing").contains("total;dur="));
    assert!(answer.header("age").is_empty());
    app.advance(35);
    let answer = app.request("GET", &path, &[]).await;
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=25, stale-if-error=900"
    );
    assert_eq!(
        answer.header("cache-status"),
        "structure; hit; ttl=265, prices; hit; ttl=25"
    );

    let private = TestApp::with(&[("RESPONSE_CACHE", "private")]).await;
    let answer = private.request("GET", &path, &[]).await;
    assert!(answer.header("cache-control").starts_with("private, "));
}

#[tokio::test]
async fn answers_are_compressed_as_the_client_accepts() {
    let app = TestApp::new().await;
    let path = format!("{FARMER_PATH}/aggregate");
    let plain = app.request("GET", &path, &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.envelope["isBase64Encoded"], false);
    for (accepted, expected) in [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("br", ""),
    ] {
        let answer = app
            .request("GET", &path, &[("accept-encoding", accepted)])
            .await;
        assert_eq!(answer.header("content-encoding"), expected);
        assert_eq!(answer.bytes, plain.bytes);
    }
}

#[tokio::test]
async fn any_spelling_of_an_address_is_one_wallet() {
    let app = TestApp::new().await;
    let lower = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
    for spelling in [
        lower.to_owned(),
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned(),
        format!("0x{}", lower[2..].to_uppercase()),
    ] {
        let body = app.get(&spelling, "wallet").await.ok();
        assert_eq!(body["address"], lower);
    }
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn filters_select_from_what_is_cached() {
    let app = TestApp::new().await;
    let farmer = sample("farmer");
    let all = app.get(farmer, "aggregate").await.ok();
    let base = app.get(farmer, "aggregate?chains=base").await.ok();
    assert!(positions(&base).iter().all(|one| one["chain"] == "base"));
    let share = all["totals"]["by_chain"].as_array().unwrap();
    let share = share.iter().find(|share| share["id"] == "base").unwrap();
    assert_eq!(base["totals"]["net_worth"], share["value"]);
    let nothing = app.get(farmer, "aggregate?chains=zora").await.ok();
    assert_eq!(nothing["totals"]["net_worth"], "0");
    assert_eq!(nothing["coverage"]["missing"][0]["chain"], "zora");
    assert_eq!(nothing["coverage"]["complete"], false);

    let large = app.get(farmer, "aggregate?min_value=1000").await.ok();
    assert_eq!(large["totals"], all["totals"]);
    let listed = positions(&large);
    assert!(!listed.is_empty() && listed.len() < positions(&all).len());
    assert!(
        listed
            .iter()
            .all(|one| units(&one["value"]) >= 1000 * 10_i128.pow(18))
    );
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn hidden_positions_are_listed_on_demand_and_never_counted() {
    let app = TestApp::new().await;
    let dust = sample("dust");
    let shown = app.get(dust, "aggregate").await.ok();
    let all = app.get(dust, "aggregate?hidden=true").await.ok();
    let hidden = shown["coverage"]["hidden"].as_u64().unwrap();
    assert!(hidden >= 3);
    assert_eq!(shown["totals"], all["totals"]);
    let count = |body: &Value| positions(body).len() as u64;
    assert_eq!(count(&all), count(&shown) + hidden);
    assert!(
        positions(&shown)
            .iter()
            .all(|one| one["displayable"] == true && one["trash"] == false)
    );
    assert!(positions(&all).iter().any(|one| one["trash"] == true));
    assert!(
        positions(&all)
            .iter()
            .any(|one| one["displayable"] == false)
    );
    assert_eq!(app.stats().zerion.requests, 1);
}

#[tokio::test]
async fn solana_has_no_defi_and_says_so() {
    let app = TestApp::new().await;
    let solana = sample("solana");
    let body = app.get(solana, "aggregate").await.ok();
    assert_eq!(body["address"], solana);
    assert!(positions(&body).len() >= 10);
    let gap = serde_json::json!([{"what": "defi", "chain": "solana", "reason": "not_covered_by_provider"}]);
    assert_eq!(body["coverage"]["missing"], gap);
    assert_eq!(body["coverage"]["complete"], false);
    let wallet = app.get(solana, "wallet").await.ok();
    assert_eq!(wallet["coverage"]["complete"], true);
    let asked = app.stats().zerion;
    assert_eq!((asked.requests, asked.by_filter.only_simple), (1, 1));

    let defi = app.get(solana, "defi").await.ok();
    assert_eq!(defi["coverage"]["missing"], gap);
    assert_eq!(defi["totals"]["net_worth"], "0");
    assert_eq!(app.stats().zerion.requests, 1);
}
