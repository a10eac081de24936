//! Changes of single attributes of an item.

use std::{collections::HashMap, fmt::Display};

use aws_sdk_dynamodb::types::AttributeValue;

use super::client::UpdateCall;

/// A change of some attributes of an item.
#[derive(Clone, Default)]
pub(in crate::cache) struct UpdateExpression {
    set: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    returned: bool,
}

impl UpdateExpression {
    /// Adds a value under the name `:name`, and gives that.
    pub(in crate::cache) fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let name = format!(":{name}");
        self.values.insert(name.clone(), value);
        name
    }

    /// The value that stands for numbers in `attribute_type`.
    pub(in crate::cache) fn numeric(&mut self) -> String {
        self.value("numeric", AttributeValue::S("N".to_owned()))
    }

    /// Adds an attribute's name as `#alias`, and gives that.
    pub(in crate::cache) fn name(&mut self, alias: &str, name: &str) -> String {
        let alias = format!("#{alias}");
        self.names.insert(alias.clone(), name.to_owned());
        alias
    }

    /// Sets an attribute to what an expression gives.
    pub(in crate::cache) fn set(&mut self, attribute: &str, expression: impl Display) {
        self.set.push(format!("{attribute} = {expression}"));
    }

    /// Sets an attribute to a value, under the attribute's own name.
    pub(in crate::cache) fn put(&mut self, attribute: &str, value: AttributeValue) {
        let value = self.value(attribute, value);
        self.set(attribute, value);
    }

    /// Removes an attribute, if it is there.
    pub(in crate::cache) fn remove(&mut self, attribute: impl Into<String>) {
        self.remove.push(attribute.into());
    }

    /// Adds a condition; all of them must hold.
    pub(in crate::cache) fn require(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Wants the item back as it is afterwards.
    pub(in crate::cache) fn returned(mut self) -> Self {
        self.returned = true;
        self
    }

    /// The operation that makes the change.
    pub(in crate::cache) fn into_call(self) -> UpdateCall {
        UpdateCall {
            expression: self.expression(),
            condition: self.condition(),
            names: self.names,
            values: self.values,
            returned: self.returned,
        }
    }

    fn expression(&self) -> String {
        let clauses = [("SET", &self.set), ("REMOVE", &self.remove)];
        let clauses = clauses.iter().filter(|(_, list)| !list.is_empty());
        let clauses = clauses.map(|(word, list)| format!("{word} {}", list.join(", ")));
        clauses.collect::<Vec<_>>().join(" ")
    }

    fn condition(&self) -> Option<String> {
        match self.conditions.as_slice() {
            [] => None,
            // The service refuses parentheses that are not needed.
            [only] => Some(only.clone()),
            several => Some(format!("({})", several.join(") AND ("))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::table::item::{number, text};

    #[test]
    fn a_change_becomes_one_call() {
        let mut update = UpdateExpression::default();
        update.put("n", number(7));
        let alias = update.name("price", "a price");
        let one = update.value("one", number(1));
        update.set(&alias, format!("if_not_exists({alias}, {one})"));
        update.remove("old");
        update.remove("older");
        let numeric = update.numeric();
        update.require(format!("attribute_type(n, {numeric})"));

        let call = update.clone().into_call();
        let set = "SET n = :n, #price = if_not_exists(#price, :one)";
        assert_eq!(call.expression, format!("{set} REMOVE old, older"));
        let condition = "attribute_type(n, :numeric)";
        assert_eq!(call.condition.as_deref(), Some(condition));
        let names = [("#price".to_owned(), "a price".to_owned())];
        assert_eq!(call.names, names.into());
        let values = [
            (":n", number(7)),
            (":one", number(1)),
            (":numeric", text("N")),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(call.values, values.into());
        assert!(!call.returned);
        assert!(update.clone().returned().into_call().returned);

        update.require("n < :n");
        let both = format!("({condition}) AND (n < :n)");
        assert_eq!(update.into_call().condition, Some(both));
    }

    #[test]
    fn clauses_that_are_empty_are_left_out() {
        let mut removal = UpdateExpression::default();
        removal.remove("old");
        let call = removal.into_call();
        assert_eq!((&*call.expression, call.condition), ("REMOVE old", None));
        assert_eq!(UpdateExpression::default().into_call().expression, "");
    }
}
