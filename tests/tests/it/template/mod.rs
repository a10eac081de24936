//! template.yaml: the API, the logs, the table, the settings. Permissions, and
//! the metrics of monitoring.yaml, have modules of their own.

mod metrics;
mod permissions;

use std::collections::{BTreeMap, BTreeSet};

use portfolio::config::Config;
use portfolio_tests::template::{Template, plain};
use serde_json::{Value, json};

/// The resources of a stack, by name.
type Stack = BTreeMap<String, Value>;

const TOKENS: [(&str, &str); 2] = [
    ("JwtIssuer", "https://issuer.example"),
    ("JwtAudience", "one,two"),
];

/// The resources of a type, with their properties.
fn of_type<'s>(stack: &'s Stack, kind: &str) -> Vec<(&'s str, &'s Value)> {
    let found = stack.iter().filter(|(_, it)| it["Type"] == kind);
    let found: Vec<_> = found
        .map(|(name, it)| (name.as_str(), &it["Properties"]))
        .collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

/// The functions, with their properties.
fn functions(stack: &Stack) -> Vec<(&str, &Value)> {
    let found = of_type(stack, "AWS::Serverless::Function");
    assert_eq!(found.len(), 5);
    found
}

/// The only resource of a type.
fn the_only<'s>(stack: &'s Stack, kind: &str) -> &'s Value {
    let found = of_type(stack, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0].1
}

/// What each route asks of a caller, by its key.
fn routes(stack: &Stack) -> BTreeMap<&str, (&str, Option<&Value>)> {
    let routes = of_type(stack, "AWS::ApiGatewayV2::Route").into_iter();
    let routes = routes.map(|(_, route)| {
        let key = route["RouteKey"].as_str().expect("a key");
        let kind = route["AuthorizationType"].as_str().expect("a type");
        (key, (kind, route.get("AuthorizerId")))
    });
    routes.collect()
}

const FORGET: &str = "DELETE /v1/wallets/{address}/cache";

#[test]
fn who_may_ask() {
    let template = Template::read();
    let open = template.stack(&[]);
    let keys: BTreeSet<&str> = routes(&open).into_keys().collect();
    let expected = [
        FORGET,
        "GET /v1/wallets/{address}/aggregate",
        "GET /v1/wallets/{address}/defi",
        "GET /v1/wallets/{address}/wallet",
        "GET /{proxy+}",
        "HEAD /v1/wallets/{address}/aggregate",
        "HEAD /v1/wallets/{address}/defi",
        "HEAD /v1/wallets/{address}/wallet",
        "HEAD /{proxy+}",
        "PATCH /{proxy+}",
        "POST /{proxy+}",
        "PUT /{proxy+}",
    ];
    // No other DELETE, and no OPTIONS: API Gateway answers preflights itself.
    assert_eq!(keys, BTreeSet::from(expected));
    assert!(!open.contains_key("TokenAuthorizer"));
    for (key, (kind, authorizer)) in routes(&open) {
        let expected = if key == FORGET { "AWS_IAM" } else { "NONE" };
        assert_eq!((kind, authorizer), (expected, None), "{key}");
    }

    let closed = template.stack(&TOKENS);
    let tokens = json!({"Ref": "TokenAuthorizer"});
    for (key, asked) in routes(&closed) {
        let expected = match key {
            FORGET => ("AWS_IAM", None),
            _ => ("JWT", Some(&tokens)),
        };
        assert_eq!(asked, expected, "{key}");
    }
    let authorizer = the_only(&closed, "AWS::ApiGatewayV2::Authorizer");
    assert_eq!(authorizer["AuthorizerType"], "JWT");
    let asked = json!({"Issuer": "https://issuer.example", "Audience": ["one", "two"]});
    assert_eq!(authorizer["JwtConfiguration"], asked);
}

#[test]
fn routes_lead_to_functions_that_may_be_called() {
    let stack = Template::read().stack(&[]);
    let permissions = of_type(&stack, "AWS::Lambda::Permission");
    for (name, route) in of_type(&stack, "AWS::ApiGatewayV2::Route") {
        let target = plain(&route["Target"]["Fn::Sub"]);
        let integration = target
            .strip_prefix("integrations/${")
            .and_then(|it| it.strip_suffix('}'))
            .expect("an integration");
        let integration = &stack[integration]["Properties"];
        assert_eq!(integration["PayloadFormatVersion"], "2.0", "{name}");
        let address = plain(&integration["IntegrationUri"]["Fn::Sub"]);
        let function = address
            .rsplit_once("function:${")
            .and_then(|(_, it)| it.strip_suffix("}/invocations"))
            .expect("a function");
        assert_eq!(stack[function]["Type"], "AWS::Serverless::Function");
        let key = plain(&route["RouteKey"]).replace("{address}", "*");
        let (method, path) = key.split_once(' ').expect("a method");
        let allowed = permissions.iter().any(|(_, permission)| {
            let source = plain(&permission["SourceArn"]["Fn::Sub"]);
            permission["FunctionName"] == json!({"Ref": function})
                && (source.ends_with("${Api}/*/*")
                    || source.ends_with(&format!("${{Api}}/*/*{path}"))
                    || source.ends_with(&format!("${{Api}}/*/{method}{path}")))
        });
        assert!(allowed, "{name}");
    }
}

/// A path leads to its function by GET and by HEAD, and with a slash at its end,
/// which is no route of its own, to the one that answers all paths.
#[test]
fn paths_lead_to_a_function_that_answers_them() {
    let stack = Template::read().stack(&[]);
    let targets: BTreeMap<String, String> = of_type(&stack, "AWS::ApiGatewayV2::Route")
        .into_iter()
        .map(|(_, route)| {
            (
                plain(&route["RouteKey"]),
                plain(&route["Target"]["Fn::Sub"]),
            )
        })
        .collect();
    for method in ["GET", "HEAD"] {
        for (leaf, integration) in [
            ("defi", "DefiIntegration"),
            ("wallet", "WalletIntegration"),
            ("aggregate", "AggregateIntegration"),
        ] {
            let key = format!("{method} /v1/wallets/{{address}}/{leaf}");
            assert_eq!(targets[&key], format!("integrations/${{{integration}}}"));
        }
        let other = &targets[&format!("{method} /{{proxy+}}")];
        assert_eq!(other, "integrations/${AggregateIntegration}");
    }
}

#[test]
fn answers_to_tokens_are_private() {
    let template = Template::read();
    let visibility = |given: &[(&str, &str)]| {
        let stack = template.stack(given);
        let queries = ["DefiFunction", "WalletFunction", "AggregateFunction"];
        queries.map(|name| {
            let function = &stack[name]["Properties"];
            plain(&function["Environment"]["Variables"]["RESPONSE_CACHE"])
        })
    };
    assert_eq!(visibility(&[]), ["public"; 3]);
    assert_eq!(visibility(&[("ResponseCache", "private")]), ["private"; 3]);
    assert_eq!(visibility(&TOKENS), ["private"; 3]);
    let both = [TOKENS[0], TOKENS[1], ("ResponseCache", "public")];
    assert_eq!(visibility(&both), ["private"; 3]);
}

#[test]
fn the_registry_is_looked_at_often_and_a_failed_run_is_not_repeated_at_once() {
    let stack = Template::read().stack(&[]);
    let function = &stack["RegistryFunction"]["Properties"];
    let schedule = &function["Events"]["Schedule"]["Properties"]["Schedule"];
    assert_eq!(*schedule, "rate(10 minutes)");
    assert_eq!(function["EventInvokeConfig"]["MaximumRetryAttempts"], 0);
}

#[test]
fn the_stage_is_throttled_and_its_log_has_no_wallets() {
    let given = [("ApiRateLimit", "7"), ("ApiBurstLimit", "9")];
    let stack = Template::read().stack(&given);
    let stage = the_only(&stack, "AWS::ApiGatewayV2::Stage");
    let limits = json!({"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "9"});
    assert_eq!(stage["DefaultRouteSettings"], limits);
    let log = &stage["AccessLogSettings"];
    assert_eq!(
        log["DestinationArn"],
        json!({"Fn::GetAtt": ["AccessLogs", "Arn"]})
    );
    let format = log["Format"].as_str().expect("text");
    assert!(!format.contains('\n'));
    let format: BTreeMap<String, String> = serde_json::from_str(format).expect("JSON");
    let logged: BTreeSet<&str> = format.values().map(String::as_str).collect();
    let expected = [
        "$context.authorizer.error",
        "$context.error.responseType",
        "$context.integrationErrorMessage",
        "$context.integrationLatency",
        "$context.requestId",
        "$context.requestTime",
        "$context.responseLatency",
        "$context.responseLength",
        "$context.routeKey",
        "$context.status",
    ];
    assert_eq!(logged, BTreeSet::from(expected));
}

#[test]
fn pages_of_named_origins_may_read_answers() {
    let template = Template::read();
    let stack = template.stack(&[]);
    let api = the_only(&stack, "AWS::ApiGatewayV2::Api");
    assert_eq!(api.get("CorsConfiguration"), None);
    let origins = [("AllowedOrigins", "https://a.example,https://b.example")];
    let stack = template.stack(&origins);
    let cors = &the_only(&stack, "AWS::ApiGatewayV2::Api")["CorsConfiguration"];
    let expected = json!({
        "AllowOrigins": ["https://a.example", "https://b.example"],
        "AllowMethods": ["GET", "HEAD", "OPTIONS"],
        "AllowHeaders": ["authorization", "cache-control", "if-none-match"],
        "ExposeHeaders": ["cache-status", "etag", "retry-after", "server-timing", "x-request-id"],
        "MaxAge": 3600,
    });
    assert_eq!(*cors, expected);
}

#[test]
fn every_log_ends() {
    let stack = Template::read().stack(&[("LogRetentionDays", "3"), ("LogLevel", "WARN")]);
    for (name, group) in of_type(&stack, "AWS::Logs::LogGroup") {
        assert_eq!(group["RetentionInDays"], "3", "{name}");
    }
    let mut groups = BTreeSet::new();
    for (name, function) in functions(&stack) {
        let logging = &function["LoggingConfig"];
        assert_eq!(logging["LogFormat"], "JSON", "{name}");
        assert_eq!(logging["ApplicationLogLevel"], "WARN", "{name}");
        let group = logging["LogGroup"]["Ref"].as_str().expect("a group");
        assert_eq!(stack[group]["Type"], "AWS::Logs::LogGroup");
        assert!(groups.insert(group), "{name} has another's log");
    }
}

#[test]
fn the_table_expires_its_items_and_costs_what_is_used() {
    let stack = Template::read().stack(&[]);
    let table = the_only(&stack, "AWS::DynamoDB::Table");
    let ttl = json!({"AttributeName": "expires_at", "Enabled": true});
    assert_eq!(table["TimeToLiveSpecification"], ttl);
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["SSESpecification"], json!({"SSEEnabled": true}));
    let backups = &table["PointInTimeRecoverySpecification"];
    assert_eq!(*backups, json!({"PointInTimeRecoveryEnabled": false}));
}

#[test]
fn limits_on_processes_are_optional() {
    let template = Template::read();
    let limits = |given: &[(&str, &str)]| {
        let stack = template.stack(given);
        let limit = |(name, function): (&str, &Value)| {
            let limit = function.get("ReservedConcurrentExecutions")?;
            Some(format!("{name} {}", plain(limit)))
        };
        functions(&stack)
            .into_iter()
            .filter_map(limit)
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(&[]), [""; 0]);
    assert_eq!(
        limits(&[("RefreshConcurrency", "3")]),
        ["RefreshFunction 3"]
    );
    let queries = ["AggregateFunction 4", "DefiFunction 4", "WalletFunction 4"];
    assert_eq!(limits(&[("QueryConcurrency", "4")]), queries);
}

#[test]
fn keys_are_in_the_secret_alone() {
    let template = Template::read();
    let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:portfolio-AbCdEf";
    let stack = template.stack(&[("UpstreamSecretArn", secret)]);
    for (name, function) in functions(&stack) {
        let variables = &function["Environment"]["Variables"];
        assert_eq!(variables["ZERION_API_KEY"], "", "{name}");
        assert_eq!(variables["CMC_API_KEY"], "", "{name}");
        assert_eq!(variables["UPSTREAM_SECRET_ARN"], secret, "{name}");
    }
    let parameters = template.section("Parameters").keys();
    let keys: Vec<_> = parameters.filter(|name| name.contains("Key")).collect();
    assert_eq!(keys, [""; 0]);
}

/// Whether functions with these parameters start.
fn starts(template: &Template, given: &[(&str, &str)]) {
    for (name, function) in functions(&template.stack(given)) {
        let variables = &function["Environment"]["Variables"];
        let lookup = |name: &str| match &variables[name] {
            Value::Object(_) if name == "TABLE_NAME" => Some("table".to_owned()),
            // The addresses of what AWS makes.
            Value::Object(_) => Some("https://aws.example/queue".to_owned()),
            value => Some(plain(value)),
        };
        let config = Config::from_lookup(&lookup);
        assert!(config.is_ok(), "{name} with {given:?}: {:?}", config.err());
    }
}

#[test]
fn functions_start_with_whatever_the_parameters_allow() {
    let template = Template::read();
    starts(&template, &[]);
    for (name, parameter) in template.section("Parameters") {
        let bounds = [parameter.get("MinValue"), parameter.get("MaxValue")];
        let allowed = parameter["AllowedValues"].as_array().into_iter().flatten();
        for value in bounds.into_iter().flatten().chain(allowed) {
            starts(&template, &[(name, &plain(value))]);
        }
    }
}

#[test]
fn samconfig_has_two_environments_of_parameters_that_there_are() {
    let text = include_str!("../../../../samconfig.toml");
    let template = Template::read();
    let mut stacks = BTreeSet::new();
    let mut environments: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name;
        } else if let Some(name) = line.strip_prefix("stack_name = ") {
            stacks.insert(name);
        } else if let Some(pair) = line.strip_prefix('"') {
            let pair = pair.trim_end_matches(['"', ',']);
            let environment = section.strip_suffix(".deploy.parameters");
            let environment = environment.expect("parameters of a deployment");
            let pairs = environments.entry(environment).or_default();
            pairs.push(pair.split_once('=').expect("a name and a value"));
        }
    }
    assert_eq!(stacks.len(), 2);
    let names: Vec<_> = environments.keys().copied().collect();
    assert_eq!(names, ["default", "production"]);
    for (_, pairs) in environments {
        starts(&template, &pairs);
        for (name, value) in pairs {
            let parameter = &template.section("Parameters")[name];
            if let Some(allowed) = parameter["AllowedValues"].as_array() {
                assert!(
                    allowed.iter().any(|it| plain(it) == value),
                    "{name}={value}"
                );
            }
        }
    }
}
