//! monitoring.yaml: alarms and the dashboard, against the metrics and the
//! resources that there are.

use std::collections::{BTreeMap, BTreeSet};

use metrics::Unit;
use portfolio::{
    domain::{provider::Provider, scope::Scope},
    telemetry::metrics as ours,
};
use portfolio_tests::template::{Template, plain};
use serde_json::{Map, Value, json};

use super::{Stack, functions, of_type, the_only};

/// The nested stack of alarms and the dashboard.
const MONITORING: &str = "Monitoring";

const NAMESPACE: &str = "Portfolio/${AWS::StackName}";
/// AWS's metrics that are used, by namespace and dimension.
const OTHERS: [(&str, &str, &[&str]); 3] = [
    ("AWS/ApiGateway", "ApiId", &["Count", "4xx", "5xx"]),
    (
        "AWS/Lambda",
        "FunctionName",
        &["Errors", "Throttles", "ConcurrentExecutions"],
    ),
    (
        "AWS/SQS",
        "QueueName",
        &[
            "ApproximateNumberOfMessagesVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    ),
];

/// Where a metric is used, and how. A total has neither a dimension nor
/// anything that it is of.
#[derive(Debug)]
struct Use {
    place: String,
    namespace: String,
    metric: String,
    dimension: String,
    of: String,
    statistic: String,
}

/// An alarm's parts.
struct Alarm<'s> {
    properties: &'s Value,
    uses: Vec<Use>,
}

/// A name that may be made from the stack's.
fn text(value: &Value) -> String {
    plain(value.get("Fn::Sub").unwrap_or(value))
}

/// A metric as alarms name it, at `place`.
fn used(place: &str, metric: &Value, statistic: &Value) -> Use {
    let dimensions = metric["Dimensions"].as_array();
    let dimensions = dimensions.map(|it| (it.len(), &it[0]));
    assert!(dimensions.is_none_or(|(count, _)| count == 1), "{place}");
    let (dimension, of) = dimensions
        .map(|(_, it)| (plain(&it["Name"]), text(&it["Value"])))
        .unwrap_or_default();
    Use {
        place: place.to_owned(),
        namespace: text(&metric["Namespace"]),
        metric: plain(&metric["MetricName"]),
        dimension,
        of,
        statistic: plain(statistic),
    }
}

/// The words of an expression that stand for other metrics.
fn words(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words = words.filter(|word| word.starts_with(|it: char| it.is_ascii_lowercase()));
    words.map(str::to_owned).collect()
}

/// Alarms by their name without the stack's.
fn alarms(stack: &Stack) -> BTreeMap<String, Alarm<'_>> {
    let mut alarms = BTreeMap::new();
    for (place, properties) in of_type(stack, "AWS::CloudWatch::Alarm") {
        let mut uses = Vec::new();
        match properties["Metrics"].as_array() {
            None => {
                let simple = properties.get("Statistic");
                let statistic = simple.unwrap_or(&properties["ExtendedStatistic"]);
                uses.push(used(place, properties, statistic));
            }
            Some(list) => {
                let ids: BTreeSet<String> = list.iter().map(|it| plain(&it["Id"])).collect();
                let shown = list.iter().filter(|it| it["ReturnData"] != false).count();
                assert_eq!(shown, 1, "{place}");
                for entry in list {
                    match entry.get("MetricStat") {
                        Some(one) => uses.push(used(place, &one["Metric"], &one["Stat"])),
                        None => {
                            let asked = words(&plain(&entry["Expression"]));
                            assert!(asked.is_subset(&ids), "{place}: {asked:?}");
                        }
                    }
                }
            }
        }
        let name = text(&properties["AlarmName"]);
        let name = name.strip_prefix("${AWS::StackName}-").expect("a name");
        alarms.insert(name.to_owned(), Alarm { properties, uses });
    }
    alarms
}

/// What the dashboard shows.
fn shown(stack: &Stack) -> Vec<Use> {
    let dashboard = the_only(stack, "AWS::CloudWatch::Dashboard");
    let body: Value = serde_json::from_str(&text(&dashboard["DashboardBody"])).expect("JSON");
    let mut uses = Vec::new();
    for widget in body["widgets"].as_array().expect("widgets") {
        let properties = &widget["properties"];
        let place = plain(&properties["title"]);
        assert_eq!(properties["region"], "${AWS::Region}", "{place}");
        let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let lines = properties["metrics"].as_array().into_iter().flatten();
        for line in lines {
            let line = line.as_array().expect("a line");
            let none = Map::new();
            let options = line.last().and_then(Value::as_object).unwrap_or(&none);
            ids.extend(options.get("id").map(plain));
            if let Some(expression) = options.get("expression") {
                asked.extend(words(&plain(expression)));
                continue;
            }
            uses.push(Use {
                place: place.clone(),
                namespace: plain(&line[0]),
                metric: plain(&line[1]),
                dimension: plain(&line[2]),
                of: plain(&line[3]),
                statistic: plain(options.get("stat").unwrap_or(&properties["stat"])),
            });
        }
        assert!(asked.is_subset(&ids), "{place}: {asked:?} of {ids:?}");
    }
    uses
}

/// What a metric of a dimension may be about.
fn known(dimension: ours::Dimension) -> Vec<&'static str> {
    match dimension {
        ours::Dimension::Function => {
            let scopes = Scope::ALL.map(Scope::as_str).into_iter();
            scopes.chain(["refresh", "registry"]).collect()
        }
        ours::Dimension::Provider => Provider::ALL.map(Provider::as_str).to_vec(),
    }
}

/// A stack with all alarms, and the one nested in it that has them.
fn whole() -> (Stack, Stack) {
    let given = [("CmcDailyCredits", "1000"), ("AlarmTopicArn", "topic")];
    let template = Template::read();
    let monitoring = template.nested_stack(MONITORING, &given);
    (template.stack(&given), monitoring)
}

#[test]
fn the_nested_stack_gets_all_its_parameters() {
    let template = Template::read();
    let stack = template.stack(&[]);
    let passed = stack[MONITORING]["Properties"]["Parameters"].as_object();
    let passed: BTreeSet<&String> = passed.expect("parameters").keys().collect();
    let nested = template.nested(MONITORING);
    let declared = nested.section("Parameters");
    assert_eq!(passed, declared.keys().collect());
    for (name, parameter) in declared {
        // One that is not passed is to fail a deployment.
        assert_eq!(parameter.get("Default"), None, "{name}");
    }
}

#[test]
fn only_metrics_that_there_are() {
    let (stack, monitoring) = whole();
    let mut uses = shown(&monitoring);
    uses.extend(alarms(&monitoring).into_values().flat_map(|it| it.uses));
    for it in &uses {
        if it.namespace != NAMESPACE {
            let other = OTHERS
                .iter()
                .find(|(namespace, ..)| *namespace == it.namespace);
            let (_, dimension, names) = other.unwrap_or_else(|| panic!("{it:?}"));
            assert_eq!(it.dimension, *dimension, "{it:?}");
            assert!(names.contains(&it.metric.as_str()), "{it:?}");
            assert!(stack.contains_key(&resource(&stack, &it.of)), "{it:?}");
            continue;
        }
        let metric = ours::ALL.iter().find(|metric| metric.name == it.metric);
        let metric = metric.unwrap_or_else(|| panic!("{}: no {}", it.place, it.metric));
        if it.dimension.is_empty() {
            assert!(metric.total, "{it:?} has no total");
        } else {
            assert_eq!(it.dimension, metric.dimension.name(), "{it:?}");
            assert!(known(metric.dimension).contains(&it.of.as_str()), "{it:?}");
        }
        // A percentile needs single values; a time's sum says nothing.
        let percentile = it.statistic.starts_with('p');
        let right = match (metric.values, metric.unit) {
            (false, _) => it.statistic == "Sum",
            (true, Unit::Milliseconds) => percentile,
            (true, _) => percentile || it.statistic == "Sum",
        };
        assert!(right, "{it:?}");
    }
    let namespace = |(_, function): (&str, &Value)| {
        text(&function["Environment"]["Variables"]["METRICS_NAMESPACE"])
    };
    let namespaces: Vec<String> = functions(&stack).into_iter().map(namespace).collect();
    assert_eq!(namespaces, [NAMESPACE; 5]);
    // A total is paid for.
    for metric in ours::ALL.iter().filter(|it| it.total) {
        let mut totals = uses.iter().filter(|it| it.dimension.is_empty());
        assert!(totals.any(|it| it.metric == metric.name), "{metric:?}");
    }
}

#[test]
fn the_dashboard_shows_all_metrics() {
    let (_, monitoring) = whole();
    let shown: BTreeSet<String> = shown(&monitoring).into_iter().map(|it| it.metric).collect();
    let missing: Vec<_> = ours::ALL
        .iter()
        .filter(|it| !shown.contains(it.name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_dashboard_reads_the_logs_of_all_functions() {
    let (stack, monitoring) = whole();
    let dashboard = the_only(&monitoring, "AWS::CloudWatch::Dashboard");
    let body = text(&dashboard["DashboardBody"]);
    for (name, function) in functions(&stack) {
        let group = plain(&function["LoggingConfig"]["LogGroup"]["Ref"]);
        let group = text(&stack[&group]["Properties"]["LogGroupName"]);
        assert!(body.contains(&format!("SOURCE '{group}'")), "{name}");
    }
}

/// An alarm's name, how its value compares to which threshold, and the metrics
/// that it is about, each with a dimension's value, or [`TOTAL`].
type Told = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// A metric without a dimension.
const TOTAL: &str = "";

/// All alarms.
const ALARMS: [Told; 21] = [
    (
        "aggregate-latency",
        ">",
        "5000",
        &[("Latency", "aggregate")],
    ),
    (
        "aggregate-throttles",
        ">",
        "0",
        &[("Throttles", "AggregateFunction")],
    ),
    ("api-errors", ">", "5", &[("5xx", "Api"), ("Count", "Api")]),
    (
        "coinmarketcap-breaker",
        ">",
        "0",
        &[("BreakerOpen", "coinmarketcap")],
    ),
    (
        "coinmarketcap-credits",
        ">",
        "1000",
        &[("CreditsUsed", "coinmarketcap")],
    ),
    (
        "dead-letters",
        ">",
        "0",
        &[("ApproximateNumberOfMessagesVisible", "RefreshDeadLetters")],
    ),
    ("defi-latency", ">", "5000", &[("Latency", "defi")]),
    ("defi-throttles", ">", "0", &[("Throttles", "DefiFunction")]),
    (
        "defillama-breaker",
        ">",
        "0",
        &[("BreakerOpen", "defillama")],
    ),
    ("dynamodb-errors", ">", "10", &[("DynamoDbErrors", TOTAL)]),
    ("refresh-errors", ">", "0", &[("Errors", "RefreshFunction")]),
    (
        "refresh-throttles",
        ">",
        "0",
        &[("Throttles", "RefreshFunction")],
    ),
    ("registry-empty", ">", "0", &[("RegistryEmpty", TOTAL)]),
    (
        "registry-errors",
        ">=",
        "3",
        &[("Errors", "RegistryFunction")],
    ),
    (
        "registry-throttles",
        ">",
        "0",
        &[("Throttles", "RegistryFunction")],
    ),
    (
        "stale-answers",
        ">",
        "5",
        &[("Requests", TOTAL), ("StaleAnswers", TOTAL)],
    ),
    (
        "structure-hit-rate",
        "<",
        "60",
        &[
            ("StructureExpired", TOTAL),
            ("StructureHits", TOTAL),
            ("StructureMisses", TOTAL),
        ],
    ),
    ("wallet-latency", ">", "5000", &[("Latency", "wallet")]),
    (
        "wallet-throttles",
        ">",
        "0",
        &[("Throttles", "WalletFunction")],
    ),
    ("zerion-breaker", ">", "0", &[("BreakerOpen", "zerion")]),
    (
        "zerion-latency",
        ">",
        "10000",
        &[("UpstreamLatency", "zerion")],
    ),
];

#[test]
fn what_alarms_tell() {
    let operations = include_str!("../../../../docs/OPERATIONS.md");
    let headings = operations.lines().filter_map(|it| it.strip_prefix("### "));
    let headings: BTreeSet<&str> = headings.flat_map(|it| it.split(", ")).collect();
    let (stack, monitoring) = whole();
    let alarms = alarms(&monitoring);
    let names: Vec<&str> = alarms.keys().map(String::as_str).collect();
    assert_eq!(names, ALARMS.map(|(name, ..)| name));
    for (name, comparison, threshold, metrics) in ALARMS {
        let Alarm { properties, uses } = &alarms[name];
        let operator = match comparison {
            ">" => "GreaterThanThreshold",
            "<" => "LessThanThreshold",
            _ => "GreaterThanOrEqualToThreshold",
        };
        assert_eq!(properties["ComparisonOperator"], operator, "{name}");
        assert_eq!(plain(&properties["Threshold"]), threshold, "{name}");
        let found: BTreeSet<(String, String)> = uses
            .iter()
            .map(|it| (it.metric.clone(), resource(&stack, &it.of)))
            .collect();
        let expected = metrics
            .iter()
            .map(|(metric, of)| ((*metric).to_owned(), (*of).to_owned()));
        assert_eq!(found, expected.collect(), "{name}");
        let description = text(&properties["AlarmDescription"]);
        let page = format!(" docs/OPERATIONS.md, {name}.");
        assert!(description.ends_with(&page), "{name}: {description}");
        assert!(headings.contains(name), "docs/OPERATIONS.md has no {name}");
        assert_eq!(properties["TreatMissingData"], "notBreaching", "{name}");
        assert_eq!(properties["AlarmActions"], json!(["topic"]), "{name}");
    }
}

/// The resource that a dimension's value names, or the value itself. Functions
/// are known by the names that they are given.
fn resource(stack: &Stack, value: &str) -> String {
    if let Ok(reference) = serde_json::from_str::<Value>(value) {
        let named = [&reference["Ref"], &reference["Fn::GetAtt"][0]];
        return named.into_iter().map(plain).collect();
    }
    let mut functions = functions(stack).into_iter();
    if let Some((name, _)) = functions.find(|(_, it)| text(&it["FunctionName"]) == value) {
        return name.to_owned();
    }
    let reference = value.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
    let named = reference.map(|it| it.split('.').next().unwrap_or(it));
    named.unwrap_or(value).to_owned()
}

#[test]
fn alarms_tell_nobody_and_watch_no_credits_by_default() {
    let monitoring = Template::read().nested_stack(MONITORING, &[]);
    let alarms = alarms(&monitoring);
    assert_eq!(alarms.len(), ALARMS.len() - 1);
    assert!(!alarms.contains_key("coinmarketcap-credits"));
    for (name, alarm) in alarms {
        assert_eq!(alarm.properties.get("AlarmActions"), None, "{name}");
    }
}
