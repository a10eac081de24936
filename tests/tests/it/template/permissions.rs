//! What the functions may do, against what they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portfolio::{
    app::App,
    domain::{provider::Provider, scope::Scope},
    lambda::{Invocation, refresh::RefreshFunction},
};
use portfolio_local::fakes::{Coin, Fault, Platform};
use portfolio_tests::{
    TestApp, event, queue::FakeQueue, rows, sample, table::FaultyTable, template::Template,
};
use serde_json::{Value, json, value::to_raw_value};

use super::{Stack, functions, of_type};

/// Actions, each with what it is allowed on.
type Grants = BTreeMap<String, Value>;

/// What every function's work includes, besides the table and the queue.
const ALWAYS: [(&str, &str); 5] = [
    ("secretsmanager:GetSecretValue", "keys"),
    ("logs:CreateLogStream", "logs"),
    ("logs:PutLogEvents", "logs"),
    ("xray:PutTraceSegments", "*"),
    ("xray:PutTelemetryRecords", "*"),
];
/// What Lambda does with the role of a function that takes messages.
const TAKES_MESSAGES: [&str; 3] = [
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
];

const SECRET: (&str, &str) = (
    "UpstreamSecretArn",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:portfolio-AbCdEf",
);

/// One value, or a list of them.
fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    }
}

/// What a function's role allows.
fn granted(stack: &Stack, function: &Value) -> Grants {
    let role = function["Role"]["Fn::GetAtt"][0].as_str().expect("a role");
    assert_eq!(function.get("Policies"), None, "SAM ignores them");
    let properties = &stack[role]["Properties"];
    assert_eq!(properties.get("ManagedPolicyArns"), None, "{role}");
    let mut documents: Vec<&Value> = listed(&properties["Policies"])
        .into_iter()
        .map(|policy| &policy["PolicyDocument"])
        .collect();
    for policy in stack.values().filter(|it| it["Type"] == "AWS::IAM::Policy") {
        let policy = &policy["Properties"];
        if listed(&policy["Roles"]).contains(&&json!({"Ref": role})) {
            documents.push(&policy["PolicyDocument"]);
        }
    }
    let mut grants = Grants::new();
    for statement in documents
        .into_iter()
        .flat_map(|it| listed(&it["Statement"]))
    {
        assert_eq!(statement["Effect"], "Allow");
        for action in listed(&statement["Action"]) {
            let action = action.as_str().expect("an action").to_owned();
            let before = grants.insert(action.clone(), statement["Resource"].clone());
            assert_eq!(before, None, "{action} twice in {role}");
        }
    }
    grants
}

/// What a function is to be allowed that did `operations` with the table.
fn needed(name: &str, function: &Value, operations: &BTreeSet<String>, sends: bool) -> Grants {
    let attribute = |of: &Value| json!({"Fn::GetAtt": [of, "Arn"]});
    let mut needed = Grants::new();
    for operation in operations {
        let action = format!("dynamodb:{operation}");
        needed.insert(action, attribute(&json!("CacheTable")));
    }
    let mut queue: Vec<&str> = Vec::new();
    if name == "RefreshFunction" {
        queue.extend(TAKES_MESSAGES);
    }
    if sends {
        // SendMessageBatch has no action of its own.
        queue.push("sqs:SendMessage");
    }
    for action in queue {
        needed.insert(action.to_owned(), attribute(&json!("RefreshQueue")));
    }
    for (action, what) in ALWAYS {
        let resource = match what {
            "keys" => json!(SECRET.1),
            "logs" => attribute(&function["LoggingConfig"]["LogGroup"]["Ref"]),
            other => json!(other),
        };
        needed.insert(action.to_owned(), resource);
    }
    needed
}

/// A world of which it is seen what the functions do.
async fn watched_world() -> (TestApp, FaultyTable, FakeQueue) {
    let (mut world, table) = TestApp::with_faulty_table(&[]).await;
    let queue = FakeQueue::start(world.clock.clone()).await;
    let url: reqwest::Url = queue.url.parse().expect("a URL");
    let refresh = &mut world.services.config.refresh;
    refresh.queue_endpoint = Some(url.clone());
    refresh.queue_url = Some(url);
    refresh.often_asked = true;
    world.restart();
    (world, table, queue)
}

/// All that a query function does: it fetches, waits, renews prices, hands
/// wallets over, finds providers failing, forgets.
async fn query(scope: Scope) -> (BTreeSet<String>, bool) {
    let (mut world, table, queue) = watched_world().await;
    let (farmer, path) = (sample("farmer"), scope.as_str());
    table.take_operations();
    for _ in 0..3 {
        for seconds in [0, 65, 185, 60] {
            world.advance(seconds);
            let asked = [world.get(farmer, path), world.get(farmer, path)];
            for answer in futures::future::join_all(asked).await {
                answer.ok();
            }
        }
    }
    // What it has in memory is of no use to another process.
    world.restart();
    world.advance(70);
    world.get(farmer, path).await.ok();
    let limited = Some(Fault::status(429));
    for upstream in [Provider::Zerion, Provider::CoinMarketCap] {
        world.fakes().set_fault(upstream, limited.clone());
    }
    world.advance(400);
    world.get(farmer, path).await;
    world.restart();
    world.get(sample("small"), path).await;
    if scope == Scope::Aggregate {
        let cache = format!("/v1/wallets/{farmer}/cache");
        let forgotten = world.request("DELETE", &cache, &[]).await;
        assert_eq!(forgotten.status, 204);
    }
    (table.take_operations(), queue.take_used())
}

async fn ask(function: &RefreshFunction, event: &Value) -> Value {
    let event = to_raw_value(event).expect("JSON");
    let answer = function.handle(&event, &Invocation::default()).await;
    let answer = answer.map_err(|error| error.error_message);
    serde_json::from_str(answer.expect("an answer").get()).expect("JSON")
}

/// All that the refresh function does: the list, a run that hands over, one
/// that fetches by itself, messages.
async fn refresh() -> (BTreeSet<String>, bool) {
    let (mut world, table, queue) = watched_world().await;
    let function = |world: &TestApp| {
        let function = App::with_clock(world.config(), world.clock.clone()).refresh_function();
        function.expect("a function")
    };
    let handing_over = function(&world);
    table.take_operations();
    ask(&handing_over, &event("refresh-watch")).await;
    ask(&handing_over, &event("refresh-list")).await;
    for _ in 0..3 {
        ask(&handing_over, &event("refresh-schedule")).await;
        for _ in 0..30 {
            world.advance(10);
            while let Some(batch) = queue.deliver(world.now()) {
                ask(&handing_over, &batch).await;
            }
        }
    }
    let sends = queue.take_used();
    world.services.config.refresh.queue_url = None;
    world.advance(400);
    ask(&function(&world), &event("refresh-schedule")).await;
    ask(&handing_over, &event("refresh-unwatch")).await;
    (table.take_operations(), sends)
}

/// All that the registry function does: it adds a chain, and removes it when
/// its only coin is gone.
async fn registry() -> (BTreeSet<String>, bool) {
    let (world, table, _) = watched_world().await;
    let update = App::new(world.config())
        .registry_update()
        .expect("an update");
    table.take_operations();
    let mut coin = Coin::new(700_001, "Made up", "MADE", 1.0);
    coin.platform = Some(Platform {
        id: 700_002,
        name: "Cronos zkEVM".to_owned(),
        symbol: "ZKCRO".to_owned(),
        slug: "cronos-zkevm".to_owned(),
        token_address: rows::contract(1),
    });
    world.fakes().set_coin(coin);
    assert_eq!(update.run().await.expect("a summary").changes.added, 1);
    world.fakes().remove_coin(700_001);
    assert_eq!(update.run().await.expect("a summary").changes.removed, 1);
    (table.take_operations(), false)
}

#[tokio::test]
async fn each_function_may_do_what_it_does_and_nothing_else() {
    let template = Template::read();
    let refreshing = template.stack(&[SECRET, ("RefreshEnabled", "true")]);
    let idle = template.stack(&[SECRET]);
    for ((name, function), (_, without)) in functions(&refreshing).into_iter().zip(functions(&idle))
    {
        let (operations, sends) = match name {
            "DefiFunction" => query(Scope::Defi).await,
            "WalletFunction" => query(Scope::Wallet).await,
            "AggregateFunction" => query(Scope::Aggregate).await,
            "RefreshFunction" => refresh().await,
            "RegistryFunction" => registry().await,
            other => panic!("what does {other} do?"),
        };
        println!("{name}: {operations:?}, sends {sends}");
        let needs = needed(name, function, &operations, sends);
        let actions = |grants: &Grants| grants.keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            actions(&granted(&refreshing, function)),
            actions(&needs),
            "{name}"
        );
        assert_eq!(granted(&refreshing, function), needs, "{name}");
        // No function sends messages to a queue that is not used.
        let needs = needed(name, without, &operations, false);
        assert_eq!(granted(&idle, without), needs, "{name}");
    }
}

#[test]
fn nobody_may_do_everything_or_anything_everywhere() {
    let stack = Template::read().stack(&[SECRET, ("RefreshEnabled", "true")]);
    for (name, function) in functions(&stack) {
        for (action, resource) in granted(&stack, function) {
            assert!(!action.contains('*'), "{name}: {action}");
            // X-Ray has no resources.
            let anywhere = resource.to_string().contains('*');
            assert!(!anywhere || action.starts_with("xray:"), "{name}: {action}");
        }
    }
    // Without traces there is nothing left that knows no resource.
    let stack = Template::read().stack(&[("TracingMode", "PassThrough")]);
    for (_, function) in functions(&stack) {
        assert_eq!(function["Tracing"], "PassThrough");
        let grants = granted(&stack, function);
        assert!(grants.keys().all(|action| !action.starts_with("xray:")));
    }
    for (name, role) in of_type(&stack, "AWS::IAM::Role") {
        let trusted = &role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"];
        assert_eq!(
            *trusted,
            json!({"Service": "lambda.amazonaws.com"}),
            "{name}"
        );
    }
}

/// A message comes back only after the function has surely ended.
#[test]
fn the_queue_waits_for_the_function() {
    let stack = Template::read().stack(&[]);
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let refresh = &stack["RefreshFunction"]["Properties"];
    let visibility = seconds(&stack["RefreshQueue"]["Properties"]["VisibilityTimeout"]);
    assert!(visibility >= 6 * seconds(&refresh["Timeout"]));
    let source = &stack["RefreshMessages"]["Properties"];
    assert_eq!(
        source["FunctionResponseTypes"],
        json!(["ReportBatchItemFailures"])
    );
    assert_eq!(
        source["EventSourceArn"],
        json!({"Fn::GetAtt": ["RefreshQueue", "Arn"]})
    );
}
