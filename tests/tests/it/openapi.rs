//! The description of the HTTP API: as committed, and as answered.

use std::path::Path;

use boon::{Compiler, Schemas};
use portfolio::{domain::provider::Provider, lambda::problem::Code, openapi};
use portfolio_local::fakes::Fault;
use portfolio_tests::{Answer, TestApp, positions, sample};
use serde_json::{Value, json};

const BURNED: &str = "0x000000000000000000000000000000000000dead";

/// The description, with every object closed: what an answer has must be
/// described, though the description tells clients to expect more.
struct Description {
    document: Value,
    seen: Vec<String>,
}

impl Description {
    fn new() -> Self {
        let text = openapi::json().expect("a description");
        let mut document: Value = serde_json::from_str(&text).expect("JSON");
        for schema in document["components"]["schemas"]
            .as_object_mut()
            .expect("schemas")
            .values_mut()
        {
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = false.into();
            }
        }
        Self {
            document,
            seen: Vec::new(),
        }
    }

    /// What stands at a pointer, or where that refers to, and its pointer.
    fn resolve(&self, pointer: &str) -> (&Value, String) {
        let found = self.document.pointer(pointer).expect(pointer);
        match found.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(reference.trim_start_matches('#')),
            None => (found, pointer.to_owned()),
        }
    }

    /// What a schema says against a value.
    fn against(&self, pointer: &str, value: &Value) -> Option<String> {
        const HERE: &str = "http://localhost/openapi.json";
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler
            .add_resource(HERE, self.document.clone())
            .expect("a resource");
        let index = compiler
            .compile(&format!("{HERE}#{pointer}"), &mut schemas)
            .unwrap_or_else(|error| panic!("{pointer}: {error}"));
        let refused = schemas.validate(value, index).err();
        refused.map(|error| error.to_string())
    }

    /// Whether an answer is as described.
    fn check(&mut self, method: &str, leaf: &str, answer: &Answer) {
        let path = format!("~1v1~1wallets~1{{address}}~1{leaf}");
        let status = answer.status;
        let kind = format!("{method} {leaf} {status}");
        let (response, at) = self.resolve(&format!("/paths/{path}/{method}/responses/{status}"));
        for (name, header) in response["headers"].as_object().expect("headers") {
            let reference = header["$ref"].as_str().expect("a reference");
            let (_, header) = self.resolve(reference.trim_start_matches('#'));
            let text = answer.header(&name.to_lowercase());
            assert!(!text.is_empty(), "{kind} has no {name}");
            let value = text.parse::<u64>().map_or(json!(text), Value::from);
            let refused = self.against(&format!("{header}/schema"), &value);
            assert_eq!(refused, None, "{kind}: {name}: {text}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{kind}");
        for name in answer.headers.keys() {
            let described = response["headers"].as_object().expect("headers");
            let own = ["content-type", "content-encoding"];
            assert!(
                own.contains(&name.as_str())
                    || described.keys().any(|known| known.to_lowercase() == *name),
                "{kind} has {name}, which is not described"
            );
        }
        match response.get("content").and_then(Value::as_object) {
            // HEAD has the headers of what it leaves out.
            None => assert!(answer.bytes.is_empty(), "{kind} has a body"),
            Some(content) => {
                let (of, _) = content.iter().next().expect("a type");
                assert_eq!(answer.header("content-type"), of, "{kind}");
                let schema = format!("{at}/content/{}/schema", of.replace('/', "~1"));
                let refused = self.against(&schema, &answer.json());
                assert_eq!(refused, None, "{kind}");
            }
        }
        self.seen.push(kind);
    }
}

#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi::json().unwrap(),
        "docs/openapi.json is out of date; renew it: cargo run -- openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn answers_are_as_described() {
    let app = TestApp::new().await;
    let mut description = Description::new();
    for name in ["small", "farmer", "solana", "empty", "dust"] {
        for leaf in ["defi", "wallet", "aggregate"] {
            for query in [
                "",
                "?hidden=true",
                "?currency=eur&limit=3",
                "?min_value=100",
            ] {
                // A miss, then hits.
                let rest = format!("{leaf}{query}");
                let answer = app.get(sample(name), &rest).await;
                description.check("get", leaf, &answer);
                let path = format!("/v1/wallets/{}/{rest}", sample(name));
                let answer = app.request("HEAD", &path, &[]).await;
                description.check("head", leaf, &answer);
            }
        }
    }
    // Something of each kind was there to be checked.
    let hidden = app.get(sample("dust"), "wallet?hidden=true").await.ok();
    let all = positions(&hidden);
    assert!(all.iter().any(|one| one["trash"] == true));
    assert!(all.iter().any(|one| one["unpriced_reason"] == "no_price"));
    assert!(all.iter().any(|one| one["token"]["id"].is_null()));
    let solana = app.get(sample("solana"), "defi").await.ok();
    assert_eq!(solana["coverage"]["complete"], false);

    // Prices of another source, then what is known already.
    app.advance(90);
    let path = format!("/v1/wallets/{}/aggregate", sample("farmer"));
    let newer = app.get(sample("farmer"), "aggregate").await;
    assert!(newer.header("cache-status").contains("coinmarketcap"));
    description.check("get", "aggregate", &newer);
    let etag = newer.header("etag");
    let known = app.request("GET", &path, &[("if-none-match", etag)]).await;
    assert_eq!(known.status, 304);
    description.check("get", "aggregate", &known);

    // Old data, which stands in for what fails.
    for upstream in [Provider::Zerion, Provider::CoinMarketCap] {
        app.fakes().set_fault(upstream, Some(Fault::status(500)));
    }
    app.advance(400);
    let stale = app.get(sample("farmer"), "aggregate").await;
    assert_eq!(stale.ok()["structure"]["stale"], true);
    description.check("get", "aggregate", &stale);

    let path = format!("/v1/wallets/{}/cache", sample("farmer"));
    let forgotten = app.request("DELETE", &path, &[]).await;
    assert_eq!(forgotten.status, 204);
    description.check("delete", "cache", &forgotten);
}

#[tokio::test]
async fn pages_of_a_large_wallet_are_as_described() {
    let app = TestApp::new().await;
    let mut description = Description::new();
    let first = app.get(sample("whale"), "aggregate?limit=700").await;
    description.check("get", "aggregate", &first);
    let next = first.ok()["page"]["next"].as_str().unwrap().to_owned();
    let rest = format!("aggregate?limit=700&cursor={next}");
    let second = app.get(sample("whale"), &rest).await;
    assert_eq!(positions(&second.ok()).len(), 700);
    description.check("get", "aggregate", &second);
}

#[tokio::test]
async fn problems_are_as_described() {
    let mut description = Description::new();
    let app = TestApp::new().await;
    for (method, leaf, path) in [
        ("get", "defi", "/v1/wallets/0x12/defi".to_owned()),
        (
            "get",
            "wallet",
            format!("/v1/wallets/{BURNED}/wallet?limit=0"),
        ),
        ("get", "wallet", format!("/v1/wallets/{BURNED}/wallet")),
        ("get", "aggregate", format!("/v1/wallet/{BURNED}/aggregate")),
        ("head", "defi", "/v1/wallets/0x12/defi".to_owned()),
        ("head", "wallet", format!("/v1/wallets/{BURNED}/wallet")),
        ("delete", "cache", "/v1/wallets/0x12/cache".to_owned()),
        ("delete", "cache", format!("/v1/{BURNED}/cache")),
    ] {
        let answer = app.request(&method.to_uppercase(), &path, &[]).await;
        description.check(method, leaf, &answer);
    }
    for (method, leaf, allowed) in [("get", "defi", "GET, HEAD"), ("delete", "cache", "DELETE")] {
        let path = format!("/v1/wallets/{BURNED}/{leaf}");
        let answer = app.request("POST", &path, &[]).await;
        assert_eq!(answer.header("allow"), allowed);
        description.check(method, leaf, &answer);
    }
    for status in [401, 429, 500, 503] {
        let app = TestApp::new().await;
        let fault = Some(Fault::status(status));
        app.fakes().set_fault(Provider::Zerion, fault);
        let answer = app.get(sample("small"), "aggregate").await;
        description.check("get", "aggregate", &answer);
    }
    let hurried = TestApp::with(&[
        ("REQUEST_DEADLINE_MS", "1000"),
        ("ZERION_TIMEOUT_MS", "1000"),
        ("PRICE_TIMEOUT_MS", "1000"),
    ])
    .await;
    let fault = Fault {
        delay_ms: Some(5000),
        ..Fault::default()
    };
    hurried.fakes().set_fault(Provider::Zerion, Some(fault));
    let answer = hurried.get(sample("small"), "aggregate").await;
    description.check("get", "aggregate", &answer);

    for status in [400, 404, 405, 422, 429, 502, 503, 504] {
        let such = format!(" {status}");
        let seen = description.seen.iter().any(|kind| kind.ends_with(&such));
        assert!(seen, "no {status} was checked");
    }
}

#[test]
fn examples_are_as_described() {
    let description = Description::new();
    let mut checked = 0;
    for (path, item) in description.document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = path.replace('/', "~1");
            for status in operation["responses"].as_object().unwrap().keys() {
                let at = format!("/paths/{path}/{method}/responses/{status}");
                checked += check_examples(&description, &at);
            }
        }
    }
    for name in description.document["components"]["parameters"]
        .as_object()
        .unwrap()
        .keys()
    {
        let at = format!("/components/parameters/{name}");
        if let Some(example) = description.resolve(&at).0.get("example") {
            let refused = description.against(&format!("{at}/schema"), example);
            assert_eq!(refused, None, "{name}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

/// How many examples of a response were checked.
fn check_examples(description: &Description, at: &str) -> usize {
    let (response, at) = description.resolve(at);
    let mut checked = 0;
    for (of, content) in response["content"].as_object().into_iter().flatten() {
        let schema = format!("{at}/content/{}/schema", of.replace('/', "~1"));
        let several = content["examples"].as_object().into_iter().flatten();
        let values = several.map(|(_, example)| &example["value"]);
        for value in values.chain(content.get("example")) {
            let refused = description.against(&schema, value);
            assert_eq!(refused, None, "{at}");
            checked += 1;
        }
    }
    checked
}

#[test]
fn an_undescribed_field_fails_validation() {
    let description = Description::new();
    let at = "/components/schemas/Portfolio";
    let (_, sample) = description.document["paths"]["/v1/wallets/{address}/defi"]["get"]
        ["responses"]["200"]["content"]["application/json"]["examples"]
        .as_object()
        .and_then(|examples| examples.iter().next())
        .unwrap();
    let right = &sample["value"];
    assert_eq!(description.against(at, right), None);
    let position = "/defi/protocols/0/groups/0/positions/0";
    for (pointer, wrong) in [
        ("/currency", json!("xyz")),
        ("/totals/net_worth", json!(1.5)),
        ("/totals/net_worth", json!("1e5")),
        ("/structure/as_of", json!("yesterday")),
        (
            "/page",
            json!({ "limit": 1, "total": 5, "next": null, "previous": null }),
        ),
        (&format!("{position}/value"), json!("1.0000000000000000001")),
        (&format!("{position}/token"), json!({ "symbol": "WETH" })),
        (&format!("{position}/unpriced_reason"), json!("unknown")),
        (&format!("{position}/price/source"), json!("another")),
        (&format!("{position}/kind"), Value::Null),
    ] {
        let mut body = right.clone();
        *body.pointer_mut(pointer).unwrap() = wrong;
        assert!(description.against(at, &body).is_some(), "{pointer}");
    }
}

#[test]
fn every_code_has_its_status() {
    let document = Description::new().document;
    for code in Code::ALL {
        let described = document["components"]["responses"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(|response| {
                let of = &response["content"]["application/problem+json"];
                of["examples"].get(code.as_str())
            })
            .any(|example| example["value"]["status"] == code.status().as_u16());
        assert!(described, "{} has no example", code.as_str());
    }
}
