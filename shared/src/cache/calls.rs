//! Calls for many items, and changes of single attributes.

use std::{collections::HashMap, fmt::Display, time::Duration};

use aws_sdk_dynamodb::{
    operation::{batch_get_item::BatchGetItemError, update_item::UpdateItemError},
    types::{
        AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue,
        ReturnValuesOnConditionCheckFailure,
    },
};

use super::{
    CacheError, Table,
    dynamodb::{failed, is_conditional, units},
    items::Item,
};
use crate::usage::Usage;

/// Keys in one BatchGetItem, its documented maximum.
const BATCH: usize = 100;
/// Pauses before what a BatchGetItem left unprocessed is asked for again.
const PAUSES_MS: [u64; 4] = [20, 40, 80, 160];

/// The SDK's form of an item.
type Attributes = HashMap<String, AttributeValue>;

/// An item's two keys.
pub(super) type ItemKey = (String, &'static str);

/// A change of some attributes of an item.
#[derive(Clone, Default)]
pub(super) struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    returned: bool,
}

impl Update {
    /// Adds a value under the name `:name`, and gives that.
    pub(super) fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let name = format!(":{name}");
        self.values.insert(name.clone(), value);
        name
    }

    /// The value that stands for numbers in `attribute_type`.
    pub(super) fn numeric(&mut self) -> String {
        self.value("numeric", AttributeValue::S("N".to_owned()))
    }

    /// Adds an attribute's name as `#alias`, and gives that.
    pub(super) fn name(&mut self, alias: &str, name: &str) -> String {
        let alias = format!("#{alias}");
        self.names.insert(alias.clone(), name.to_owned());
        alias
    }

    /// Sets an attribute to what an expression gives.
    pub(super) fn set(&mut self, attribute: &str, expression: impl Display) {
        self.set.push(format!("{attribute} = {expression}"));
    }

    /// Sets an attribute to a value, under the attribute's own name.
    pub(super) fn put(&mut self, attribute: &str, value: AttributeValue) {
        let value = self.value(attribute, value);
        self.set(attribute, value);
    }

    /// Removes an attribute, if it is there.
    pub(super) fn remove(&mut self, attribute: impl Into<String>) {
        self.remove.push(attribute.into());
    }

    /// Adds to a set.
    pub(super) fn add(&mut self, attribute: impl Display, value: impl Display) {
        self.add.push(format!("{attribute} {value}"));
    }

    /// Adds a condition; all of them must hold.
    pub(super) fn require(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Wants the item back as it is afterwards.
    pub(super) fn returned(mut self) -> Self {
        self.returned = true;
        self
    }

    fn expression(&self) -> String {
        let clauses = [
            ("SET", &self.set),
            ("REMOVE", &self.remove),
            ("ADD", &self.add),
        ];
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

impl Table {
    /// Items by their keys, in one round trip, and those keys of which nothing
    /// is known because the service left them out each time.
    pub(super) async fn batch_get(
        &self,
        keys: impl IntoIterator<Item = ItemKey>,
        consistent: bool,
        usage: &Usage,
    ) -> Result<(Vec<Item>, Vec<Item>), CacheError> {
        usage.round_trip();
        let key = |(partition, sort): ItemKey| {
            HashMap::from([
                ("pk".to_owned(), AttributeValue::S(partition)),
                ("sk".to_owned(), AttributeValue::S(sort.to_owned())),
            ])
        };
        let keys: Vec<_> = keys.into_iter().map(key).collect();
        let batches = keys.chunks(BATCH);
        let batches = batches.map(|keys| self.batch(keys.to_vec(), consistent, usage));
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        for batch in futures::future::join_all(batches).await {
            let (read, left) = batch?;
            items.extend(read.into_iter().map(Item::new));
            unread.extend(left.into_iter().map(Item::new));
        }
        Ok((items, unread))
    }

    async fn batch(
        &self,
        mut keys: Vec<Attributes>,
        consistent: bool,
        usage: &Usage,
    ) -> Result<(Vec<Attributes>, Vec<Attributes>), CacheError> {
        let mut items = Vec::new();
        let mut pauses = PAUSES_MS.into_iter();
        loop {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(consistent)
                .build()
                .map_err(|_| bad_request("BatchGetItem"))?;
            let call = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send();
            let answer = self.guarded("BatchGetItem", call).await?;
            let answer =
                answer.map_err(|error| failed::<BatchGetItemError>("BatchGetItem", &error))?;
            usage.read(
                answer
                    .consumed_capacity()
                    .iter()
                    .map(|it| units(Some(it)))
                    .sum(),
            );
            items.extend(answer.responses.unwrap_or_default().into_values().flatten());
            let mut left = answer.unprocessed_keys.unwrap_or_default().into_values();
            keys = left.next().map(|it| it.keys).unwrap_or_default();
            match pauses.next() {
                Some(pause) if !keys.is_empty() => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                _ => return Ok((items, keys)),
            }
        }
    }

    /// Changes an item. `Ok` holds it as it is afterwards, if that was wanted;
    /// `Err` as it was when the condition did not hold.
    pub(super) async fn update(
        &self,
        partition: String,
        sort: &str,
        update: Update,
        usage: &Usage,
    ) -> Result<Result<Item, Item>, CacheError> {
        let (expression, condition) = (update.expression(), update.condition());
        let call = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(partition))
            .key("sk", AttributeValue::S(sort.to_owned()))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names((!update.names.is_empty()).then_some(update.names))
            .set_expression_attribute_values((!update.values.is_empty()).then_some(update.values))
            .return_values(match update.returned {
                true => ReturnValue::AllNew,
                false => ReturnValue::None,
            })
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match self.guarded("UpdateItem", call).await? {
            Ok(answer) => {
                usage.wrote(units(answer.consumed_capacity()));
                Ok(Ok(Item::new(answer.attributes.unwrap_or_default())))
            }
            Err(error) if is_conditional(&error) => {
                let old = match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
                    _ => None,
                };
                let old = Item::new(old.unwrap_or_default());
                usage.wrote(old.write_units());
                Ok(Err(old))
            }
            Err(error) => Err(failed("UpdateItem", &error)),
        }
    }
}

/// A request that the SDK would not even send.
fn bad_request(operation: &'static str) -> CacheError {
    CacheError {
        operation,
        reason: "bad request".to_owned(),
    }
}
