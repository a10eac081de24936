//! What fits into the envelopes of HTTP, with a wallet that fills them.

use std::collections::HashSet;

use portfolio::domain::scope::Scope;
use portfolio_tests::{Answer, TestApp, positions, rows, sample, v2_event};
use serde_json::{Value, json};

/// What carries a request: a name, and the most that its answer may be.
const CARRIERS: [(&str, usize); 3] = [
    ("http-api", 6_000_000),
    ("rest-api", 6_000_000),
    ("balancer", 1_000_000),
];

/// A wallet whose names are long, hardly compress, and have many quotes, so that
/// they grow in a JSON string.
const WORDY: &str = "0x88d0a1b2c3d4e5f60718293a4b5c6d7e8f904321";
const WORDY_ROWS: u32 = 5200;

fn wordy(app: &TestApp) {
    let row = |number: u32| {
        let mut row = rows::token(number);
        let name: String = (0..20)
            .map(|part| rows::contract(number * 20 + part) + "\"\"\"\"")
            .collect();
        row["attributes"]["fungible_info"]["name"] = name.into();
        row
    };
    let held = (1..=WORDY_ROWS).map(row).collect();
    app.fakes().set_wallet(WORDY, held);
}

/// A request for the whale's whole portfolio.
fn request(carrier: &str, method: &str, query: &[(&str, &str)], accepted: &str) -> Value {
    request_of(sample("whale"), carrier, method, query, accepted)
}

fn request_of(
    wallet: &str,
    carrier: &str,
    method: &str,
    query: &[(&str, &str)],
    accepted: &str,
) -> Value {
    let path = format!("/v1/wallets/{wallet}/aggregate");
    let parameters: Value = query
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!([value])))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let headers = json!({"accept-encoding": [accepted]});
    match carrier {
        "http-api" => {
            let pairs: Vec<_> = query
                .iter()
                .map(|(name, it)| format!("{name}={it}"))
                .collect();
            v2_event(
                method,
                &path,
                &pairs.join("&"),
                &[("accept-encoding", accepted)],
            )
        }
        "rest-api" => json!({
            "httpMethod": method, "path": path, "resource": "/{proxy+}",
            "multiValueHeaders": headers, "multiValueQueryStringParameters": parameters,
            "requestContext": {"stage": "prod", "requestId": "request-1", "httpMethod": method},
        }),
        _ => json!({
            "httpMethod": method, "path": path,
            "multiValueHeaders": headers, "multiValueQueryStringParameters": parameters,
            "requestContext": {"elb": {"targetGroupArn": "arn"}}, "body": "",
        }),
    }
}

async fn ask(app: &TestApp, carrier: &str, query: &[(&str, &str)], accepted: &str) -> Answer {
    let event = request(carrier, "GET", query, accepted);
    app.invoke(Scope::Aggregate, &event).await
}

/// How large the answer was when it left.
fn size(answer: &Answer) -> usize {
    answer.envelope.to_string().len()
}

#[tokio::test]
async fn a_page_fits_into_each_envelope() {
    let app = TestApp::with(&[("REST_API_BINARY", "true")]).await;
    for (carrier, most) in CARRIERS {
        let mut listed = Vec::new();
        for accepted in ["identity", "gzip", "zstd"] {
            let answer = ask(&app, carrier, &[("limit", "5000")], accepted).await;
            let expected = accepted.trim_start_matches("identity");
            assert_eq!(answer.header("content-encoding"), expected, "{carrier}");
            assert_eq!(answer.envelope["isBase64Encoded"], !expected.is_empty());
            assert!(
                size(&answer) <= most,
                "{carrier} {accepted}: {}",
                size(&answer)
            );
            assert!(answer.bytes.len() <= 5_000_000, "{carrier} {accepted}");
            let body = answer.ok();
            assert!(body["page"]["next"].is_string());
            listed.push(positions(&body).len());
        }
        println!("{carrier}: {listed:?} positions");
        // Cut to what is there, and no more than needed.
        let few = if carrier == "balancer" { 500 } else { 3000 };
        assert!(
            listed.iter().all(|count| *count > few),
            "{carrier}: {listed:?}"
        );
        if carrier == "balancer" {
            assert!(listed[0] < 1000 && listed[1] > 3 * listed[0], "{listed:?}");
        }
    }
}

/// However large positions are, and however badly they compress.
#[tokio::test]
async fn long_pages_are_cut_to_fit_their_envelope() {
    let app = TestApp::with(&[("REST_API_BINARY", "true"), ("PRICE_FALLBACK", "none")]).await;
    wordy(&app);
    for (carrier, most) in CARRIERS {
        for accepted in ["identity", "gzip", "zstd"] {
            let event = request_of(WORDY, carrier, "GET", &[("limit", "5000")], accepted);
            let answer = app.invoke(Scope::Aggregate, &event).await;
            let (size, body) = (size(&answer), answer.ok());
            let (length, listed) = (answer.bytes.len(), positions(&body).len());
            println!("{carrier} {accepted}: {listed} positions, {length} bytes, {size} in all");
            assert!(size <= most && length <= 5_000_000, "{carrier} {accepted}");
            // One of the two limits is made use of.
            assert!(size > most * 7 / 10 || length > 3_500_000);
            assert!(body["page"]["next"].is_string());
        }
    }
    let payload = json!({"address": WORDY, "limit": 5000});
    let body = app.try_invoke(Scope::Aggregate, &payload).await;
    let length = body.expect("a body").to_string().len();
    assert!((3_500_000..=5_000_000).contains(&length), "{length}");
}

#[tokio::test]
async fn pages_cut_for_a_balancer_cover_every_position_once() {
    let app = TestApp::new().await;
    let (mut seen, mut cursor) = (HashSet::new(), String::new());
    let mut totals = None;
    loop {
        let mut query = vec![("limit", "5000")];
        if !cursor.is_empty() {
            query.push(("cursor", &cursor));
        }
        let answer = ask(&app, "balancer", &query, "identity").await;
        assert!(size(&answer) <= 1_000_000, "{}", size(&answer));
        let body = answer.ok();
        for one in positions(&body) {
            let id = one["id"].as_str().expect("an id").to_owned();
            assert!(seen.insert(id), "{} twice", one["id"]);
        }
        let first = totals.get_or_insert_with(|| body["totals"].clone());
        assert_eq!(*first, body["totals"]);
        match body["page"]["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen.len(), 10_000);
}

#[tokio::test]
async fn a_rest_api_gets_text_unless_it_has_binary_media_types() {
    let app = TestApp::new().await;
    let answer = ask(&app, "rest-api", &[("limit", "3")], "gzip, zstd").await;
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.envelope["isBase64Encoded"], false);
    answer.ok();
    // The others decode base64 by themselves.
    for carrier in ["http-api", "balancer"] {
        let answer = ask(&app, carrier, &[("limit", "3")], "gzip").await;
        assert_eq!(answer.header("content-encoding"), "gzip", "{carrier}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_in_every_envelope() {
    let app = TestApp::with(&[("REST_API_BINARY", "true")]).await;
    ask(&app, "http-api", &[], "gzip").await.ok();
    for (carrier, _) in CARRIERS {
        for accepted in ["identity", "gzip"] {
            let query = [("limit", "40")];
            let get = ask(&app, carrier, &query, accepted).await;
            let head = request(carrier, "HEAD", &query, accepted);
            let head = app.invoke(Scope::Aggregate, &head).await;
            assert_eq!((get.status, head.status), (200, 200), "{carrier}");
            assert!(head.envelope["body"].is_null(), "{carrier}");
            assert_eq!(head.envelope["isBase64Encoded"], false, "{carrier}");
            let sent = get.envelope["body"].as_str().expect("a body");
            let length = match get.envelope["isBase64Encoded"] == true {
                true => sent.trim_end_matches('=').len() * 3 / 4,
                false => sent.len(),
            };
            assert_eq!(head.header("content-length"), length.to_string());
            for name in get.headers.keys().filter(|name| *name != "server-timing") {
                assert_eq!(head.header(name), get.header(name), "{carrier}: {name}");
            }
        }
    }
}
