//! Alarms and the dashboard, against the metrics that there are.

use std::collections::{BTreeMap, BTreeSet};

use metrics::Unit;
use portfolio::{
    domain::{provider::Provider, scope::Scope},
    metrics as ours,
};
use portfolio_tests::template::{Template, plain};
use serde_json::{Map, Value, json};

use super::{Stack, functions, of_type, the_only};

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

/// Where a metric is used, and how.
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
    let dimensions = metric["Dimensions"].as_array().expect("dimensions");
    assert_eq!(dimensions.len(), 1, "{place}");
    Use {
        place: place.to_owned(),
        namespace: text(&metric["Namespace"]),
        metric: plain(&metric["MetricName"]),
        dimension: plain(&dimensions[0]["Name"]),
        of: plain(&dimensions[0]["Value"]),
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
        ours::Dimension::Provider => {
            let all = [
                Provider::Zerion,
                Provider::CoinMarketCap,
                Provider::DefiLlama,
            ];
            all.map(Provider::as_str).to_vec()
        }
    }
}

fn max_usable_age() -> Stack {
    let given = [("CmcDailyCredits", "1000"), ("AlarmTopicArn", "topic")];
    Template::read().stack(&given)
}

#[test]
fn only_metrics_that_there_are() {
    let stack = max_usable_age();
    let mut uses = shown(&stack);
    uses.extend(alarms(&stack).into_values().flat_map(|it| it.uses));
    for it in &uses {
        if it.namespace != NAMESPACE {
            let other = OTHERS
                .iter()
                .find(|(namespace, ..)| *namespace == it.namespace);
            let (_, dimension, names) = other.unwrap_or_else(|| panic!("{it:?}"));
            assert_eq!(it.dimension, *dimension, "{it:?}");
            assert!(names.contains(&it.metric.as_str()), "{it:?}");
            continue;
        }
        let metric = ours::ALL.iter().find(|metric| metric.name == it.metric);
        let metric = metric.unwrap_or_else(|| panic!("{}: no {}", it.place, it.metric));
        assert_eq!(it.dimension, metric.dimension.name(), "{it:?}");
        assert!(known(metric.dimension).contains(&it.of.as_str()), "{it:?}");
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
}

#[test]
fn the_dashboard_shows_all_metrics() {
    let stack = max_usable_age();
    let shown: BTreeSet<String> = shown(&stack).into_iter().map(|it| it.metric).collect();
    let missing: Vec<_> = ours::ALL
        .iter()
        .filter(|it| !shown.contains(it.name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// An alarm's name, how its value compares to which threshold, and the metrics
/// that it is about, each with a dimension's value.
type Told = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

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
    (
        "dynamodb-errors",
        ">",
        "10",
        &[
            ("DynamoDbErrors", "aggregate"),
            ("DynamoDbErrors", "defi"),
            ("DynamoDbErrors", "refresh"),
            ("DynamoDbErrors", "registry"),
            ("DynamoDbErrors", "wallet"),
        ],
    ),
    ("refresh-errors", ">", "0", &[("Errors", "RefreshFunction")]),
    (
        "refresh-throttles",
        ">",
        "0",
        &[("Throttles", "RefreshFunction")],
    ),
    (
        "registry-empty",
        ">",
        "0",
        &[
            ("RegistryEmpty", "aggregate"),
            ("RegistryEmpty", "defi"),
            ("RegistryEmpty", "refresh"),
            ("RegistryEmpty", "registry"),
            ("RegistryEmpty", "wallet"),
        ],
    ),
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
        &[
            ("Requests", "aggregate"),
            ("Requests", "defi"),
            ("Requests", "wallet"),
            ("StaleAnswers", "aggregate"),
            ("StaleAnswers", "defi"),
            ("StaleAnswers", "wallet"),
        ],
    ),
    (
        "structure-hit-rate",
        "<",
        "60",
        &[
            ("StructureExpired", "aggregate"),
            ("StructureExpired", "defi"),
            ("StructureExpired", "wallet"),
            ("StructureHits", "aggregate"),
            ("StructureHits", "defi"),
            ("StructureHits", "wallet"),
            ("StructureMisses", "aggregate"),
            ("StructureMisses", "defi"),
            ("StructureMisses", "wallet"),
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
    let stack = max_usable_age();
    let alarms = alarms(&stack);
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
            .map(|it| (it.metric.clone(), resource(&it.of)))
            .collect();
        let expected = metrics
            .iter()
            .map(|(metric, of)| ((*metric).to_owned(), (*of).to_owned()));
        assert_eq!(found, expected.collect(), "{name}");
        let description = plain(&properties["AlarmDescription"]);
        let page = format!(" docs/OPERATIONS.md, {name}.");
        assert!(description.ends_with(&page), "{name}: {description}");
        assert_eq!(properties["TreatMissingData"], "notBreaching", "{name}");
        assert_eq!(properties["AlarmActions"], json!(["topic"]), "{name}");
    }
}

/// The resource that a dimension's value names, or the value itself.
fn resource(value: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(value) else {
        return value.to_owned();
    };
    let named = [&value["Ref"], &value["Fn::GetAtt"][0]];
    named.into_iter().map(plain).collect()
}

#[test]
fn alarms_tell_nobody_and_watch_no_credits_by_default() {
    let stack = Template::read().stack(&[]);
    let alarms = alarms(&stack);
    assert_eq!(alarms.len(), ALARMS.len() - 1);
    assert!(!alarms.contains_key("coinmarketcap-credits"));
    for (name, alarm) in alarms {
        assert_eq!(alarm.properties.get("AlarmActions"), None, "{name}");
    }
}
