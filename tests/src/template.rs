//! template.yaml and the templates nested in it, read as CloudFormation reads
//! them: tags in their long form, loops unrolled, conditions decided, parameters
//! filled in.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Number, Value, json};

/// A template.
pub struct Template(Value);

impl Template {
    /// The project's own.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read() -> Self {
        Self::read_file("template.yaml")
    }

    /// The template at `path`, which is relative to the project's root.
    fn read_file(path: &str) -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let text = std::fs::read_to_string(format!("{root}/{path}")).expect(path);
        let documents = Yaml::load_from_str(&text).expect("YAML");
        assert_eq!(documents.len(), 1);
        Self(unrolled(&long_form(&documents[0])))
    }

    /// The template of a nested stack, by the stack's logical name.
    ///
    /// # Panics
    /// When there is no such stack, or its template cannot be read.
    pub fn nested(&self, name: &str) -> Self {
        let stack = &self.section("Resources")[name];
        assert_eq!(stack["Type"], "AWS::CloudFormation::Stack", "{name}");
        Self::read_file(&plain(&stack["Properties"]["TemplateURL"]))
    }

    /// A top-level section.
    pub fn section(&self, name: &str) -> &Map<String, Value> {
        self.0[name].as_object().expect("a section")
    }

    /// The resources, by their logical names, that a stack with these
    /// parameters has. Functions have what holds for all of them.
    ///
    /// # Panics
    /// When a parameter or a condition is not declared.
    pub fn stack(&self, given: &[(&str, &str)]) -> BTreeMap<String, Value> {
        let given = given.iter();
        self.resources(given.map(|(name, value)| ((*name).to_owned(), Value::from(*value))))
    }

    /// The resources of the nested stack `name` in a stack with these
    /// parameters. What they take from that stack's resources is named as there.
    ///
    /// # Panics
    /// As [`Template::stack`] and [`Template::nested`] do.
    pub fn nested_stack(&self, name: &str, given: &[(&str, &str)]) -> BTreeMap<String, Value> {
        let stack = &self.stack(given)[name];
        let passed = stack["Properties"]["Parameters"].as_object();
        let passed = passed.expect("parameters").clone();
        self.nested(name).resources(passed.into_iter())
    }

    fn resources(&self, given: impl Iterator<Item = (String, Value)>) -> BTreeMap<String, Value> {
        let declared = self.section("Parameters");
        let mut parameters = BTreeMap::new();
        for (name, parameter) in declared {
            parameters.insert(name.clone(), plain(&parameter["Default"]).into());
        }
        for (name, value) in given {
            let known = parameters.insert(name.clone(), value);
            assert!(known.is_some(), "there is no parameter {name}");
        }
        let stack = Stack {
            template: self,
            parameters,
        };
        let resources = self.section("Resources").iter();
        let there = resources.filter(|(_, resource)| {
            let condition = resource.get("Condition").and_then(Value::as_str);
            condition.is_none_or(|name| stack.holds(&json!({"Condition": name})))
        });
        there
            .filter_map(|(name, resource)| {
                let mut resource = resource.clone();
                if resource["Type"] == "AWS::Serverless::Function" {
                    let mut whole = self.section("Globals")["Function"].clone();
                    merge(&mut whole, &resource["Properties"]);
                    resource["Properties"] = whole;
                }
                Some((name.clone(), stack.resolve(&resource)?))
            })
            .collect()
    }
}

/// The template with values for its parameters: texts, or the outer stack's
/// references to its own resources.
struct Stack<'t> {
    template: &'t Template,
    parameters: BTreeMap<String, Value>,
}

impl Stack<'_> {
    /// A value without conditions and parameters; `None` if there is to be none.
    fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(list) => {
                let list = list.iter().filter_map(|it| self.resolve(it));
                Some(list.collect())
            }
            Value::Object(map) => match only(map) {
                Some(("Ref", name)) => {
                    let name = name.as_str().expect("a name");
                    match self.parameters.get(name) {
                        _ if name == "AWS::NoValue" => None,
                        Some(given) => Some(given.clone()),
                        None => Some(value.clone()),
                    }
                }
                Some(("Fn::Sub", Value::String(text))) => {
                    let mut text = text.clone();
                    for (name, given) in &self.parameters {
                        text = text.replace(&format!("${{{name}}}"), &in_text(given));
                    }
                    Some(json!({"Fn::Sub": text}))
                }
                Some(("Fn::If", choice)) => {
                    let holds = self.holds(&json!({"Condition": choice[0]}));
                    self.resolve(&choice[if holds { 1 } else { 2 }])
                }
                Some(("Fn::Split", parts)) => {
                    let text = plain(&self.resolve(&parts[1])?);
                    let separator = parts[0].as_str().expect("a separator");
                    Some(text.split(separator).collect())
                }
                _ => {
                    let entries = map.iter();
                    let entries = entries
                        .filter_map(|(name, value)| Some((name.clone(), self.resolve(value)?)));
                    Some(Value::Object(entries.collect()))
                }
            },
            _ => Some(value.clone()),
        }
    }

    /// Whether a condition holds.
    fn holds(&self, condition: &Value) -> bool {
        let map = condition.as_object().expect("a condition");
        let (function, argument) = only(map).expect("one function");
        let list = || argument.as_array().expect("a list").iter();
        match function {
            "Condition" => {
                let name = argument.as_str().expect("a name");
                let declared = self.template.section("Conditions").get(name);
                self.holds(declared.unwrap_or_else(|| panic!("there is no condition {name}")))
            }
            "Fn::Equals" => {
                let sides: Vec<String> = list()
                    .map(|it| plain(&self.resolve(it).expect("a value")))
                    .collect();
                sides[0] == sides[1]
            }
            "Fn::Not" => !self.holds(&argument[0]),
            "Fn::And" => list().all(|it| self.holds(it)),
            "Fn::Or" => list().any(|it| self.holds(it)),
            other => panic!("{other} is not known here"),
        }
    }
}

/// A parameter's value where it stands in a text.
fn in_text(value: &Value) -> String {
    match value.as_object().and_then(only) {
        Some(("Ref", name)) => format!("${{{}}}", plain(name)),
        Some(("Fn::GetAtt", path)) => format!("${{{}.{}}}", plain(&path[0]), plain(&path[1])),
        Some((other, _)) => panic!("{other} is not known here"),
        None => plain(value),
    }
}

/// A value with its loops (`Fn::ForEach`) unrolled.
fn unrolled(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(unrolled).collect(),
        Value::Object(map) => {
            let mut whole = Map::new();
            for (name, value) in map {
                if !name.starts_with("Fn::ForEach::") {
                    whole.insert(name.clone(), unrolled(value));
                    continue;
                }
                let variable = value[0].as_str().expect("a variable");
                for item in value[1].as_array().expect("a list of what it stands for") {
                    let body = substituted(&value[2], variable, item.as_str().expect("a text"));
                    for (name, value) in unrolled(&body).as_object().expect("a map") {
                        let other = whole.insert(name.clone(), value.clone());
                        assert_eq!(other, None, "two {name}");
                    }
                }
            }
            Value::Object(whole)
        }
        one => one.clone(),
    }
}

/// A loop's body for one item.
fn substituted(body: &Value, variable: &str, item: &str) -> Value {
    let in_text = |text: &str| text.replace(&format!("${{{variable}}}"), item);
    match body {
        Value::String(text) => in_text(text).into(),
        Value::Array(list) => {
            let list = list.iter();
            list.map(|it| substituted(it, variable, item)).collect()
        }
        Value::Object(map) if only(map) == Some(("Ref", &json!(variable))) => item.into(),
        Value::Object(map) => {
            let entries = map.iter();
            let entries =
                entries.map(|(name, it)| (in_text(name), substituted(it, variable, item)));
            Value::Object(entries.collect())
        }
        one => one.clone(),
    }
}

/// As SAM does it: maps entry by entry, everything else as a whole.
fn merge(common: &mut Value, own: &Value) {
    match (common, own) {
        (Value::Object(common), Value::Object(own)) => {
            for (name, value) in own {
                merge(common.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (common, own) => *common = own.clone(),
    }
}

/// The only entry of a map that has one.
fn only(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((name, value)), None) => Some((name, value)),
        _ => None,
    }
}

/// A scalar as CloudFormation compares it: as text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// YAML as JSON, `!Sub x` as `{"Fn::Sub": x}`.
fn long_form(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => {
            Number::from_f64(value.into_inner()).map_or(Value::Null, Value::Number)
        }
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(list) => list.iter().map(long_form).collect(),
        Yaml::Mapping(map) => {
            let entries = map.iter().map(|(name, value)| {
                let name = name.as_str().expect("a name");
                (name.to_owned(), long_form(value))
            });
            Value::Object(entries.collect())
        }
        Yaml::Tagged(tag, node) => match (tag.suffix.as_str(), long_form(node)) {
            (name @ ("Ref" | "Condition"), value) => json!({name: value}),
            ("GetAtt", Value::String(path)) => {
                let (resource, attribute) = path.split_once('.').expect("an attribute");
                json!({"Fn::GetAtt": [resource, attribute]})
            }
            (function, value) => json!({format!("Fn::{function}"): value}),
        },
        other => panic!("{other:?} is not what a template has"),
    }
}
