//! The operations of the table, as the adapters call them.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::cache::{
    CacheError,
    table::{Attributes, Condition, Consumed, Key, QueryCall, QueryPage, TableClient, UpdateCall},
};

use super::{SimClient, SimTable, read_units, size, text, write_units};
use crate::{
    expression::{self, Terms},
    rng::mix,
    world::{Fault, Moment},
};

fn allowed(
    condition: Option<&str>,
    terms: Terms<'_>,
    item: Option<&Arc<Attributes>>,
    nothing: &Attributes,
) -> bool {
    let item = item.map_or(nothing, |item| item);
    condition.is_none_or(|condition| expression::condition(condition).holds(item, terms))
}

/// What an operation is called where overlaps are counted: what it does to
/// which kind of item.
fn label(operation: &str, partition: &str, sort: &str, expression: &str) -> u64 {
    let kind = partition.split('#').next().unwrap_or_default();
    let sort = sort.split('#').next().unwrap_or_default();
    // Pages of the book have expressions of any length.
    let expression = if kind == "W" { expression } else { "" };
    let bytes = [operation, kind, sort, expression];
    bytes
        .iter()
        .flat_map(|text| text.bytes().chain([0]))
        .fold(0, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[async_trait]
impl TableClient for SimClient {
    async fn query(&self, call: QueryCall) -> Result<Consumed<QueryPage>, CacheError> {
        let partition = call.partition.clone();
        let label = label("Query", &partition, "", "");
        let happen = move |table: &SimTable, began: Moment| {
            let page = table.read_page(&call, began);
            table
                .world
                .note(label ^ mix(page.value.items.len() as u64), || {
                    let sorts: Vec<_> = page
                        .value
                        .items
                        .iter()
                        .map(|item| text(item, "sk"))
                        .collect();
                    format!("Query {} {sorts:?}", call.partition)
                });
            Ok(page)
        };
        self.0
            .perform("Query", (&partition, ""), label, happen)
            .await
    }

    async fn get(
        &self,
        key: Key,
        consistent: bool,
    ) -> Result<Consumed<Option<Attributes>>, CacheError> {
        let of = key.clone();
        let label = label("GetItem", &key.partition, &key.sort, "");
        let happen = move |table: &SimTable, began: Moment| {
            let item = table.read_one(&key.partition, &key.sort, consistent, began);
            table.world.note(label ^ u64::from(item.is_some()), || {
                let there = if item.is_some() { "there" } else { "missing" };
                format!("GetItem {} {} {there}", key.partition, key.sort)
            });
            let bytes = item.as_ref().map_or(0, size);
            Ok(Consumed {
                units: read_units(bytes, consistent),
                value: item,
            })
        };
        let of = (of.partition.as_str(), of.sort.as_str());
        self.0.perform("GetItem", of, label, happen).await
    }

    async fn batch_get(
        &self,
        keys: Vec<Attributes>,
        consistent: bool,
    ) -> Result<Consumed<(Vec<Attributes>, Vec<Attributes>)>, CacheError> {
        let first = keys.first().map(|key| (text(key, "pk"), text(key, "sk")));
        let (partition, sort) = first.unwrap_or_default();
        let label = label("BatchGetItem", &partition, &sort, "");
        let happen = move |table: &SimTable, began: Moment| {
            let (mut found, mut left) = (Vec::new(), Vec::new());
            let mut units = Vec::new();
            for key in &keys {
                if table.world.draw(|rng, knobs| rng.chance(knobs.unprocessed)) {
                    table.world.fault(Fault::Unprocessed);
                    left.push(key.clone());
                    continue;
                }
                let (partition, sort) = (text(key, "pk"), text(key, "sk"));
                let item = table.read_one(&partition, &sort, consistent, began);
                units.push(read_units(item.as_ref().map_or(0, size), consistent));
                found.extend(item);
            }
            table.world.note(label ^ mix(found.len() as u64), || {
                let asked: Vec<_> = keys.iter().map(|key| text(key, "pk")).collect();
                format!("BatchGetItem {asked:?} found {}", found.len())
            });
            Ok(Consumed {
                value: (found, left),
                units: units.iter().sum(),
            })
        };
        let of = (partition.as_str(), sort.as_str());
        self.0.perform("BatchGetItem", of, label, happen).await
    }

    async fn put(
        &self,
        item: Attributes,
        condition: Condition,
    ) -> Result<Consumed<bool>, CacheError> {
        let (partition, sort) = (text(&item, "pk"), text(&item, "sk"));
        let expression = condition.expression.as_deref().unwrap_or_default();
        let label = label("PutItem", &partition, &sort, expression);
        let of = (partition.clone(), sort.clone());
        let happen = move |table: &SimTable, _: Moment| {
            let terms = Terms {
                names: None,
                values: condition.values.as_ref(),
            };
            let done = table.change(&partition, &sort, |before| {
                let holds = allowed(
                    condition.expression.as_deref(),
                    terms,
                    before,
                    &Attributes::new(),
                );
                let units = write_units(before.map_or(0, |it| size(it)), size(&item));
                let value = holds;
                (holds.then(|| Some(item.clone())), Consumed { value, units })
            });
            table.world.note(label ^ u64::from(done.value), || {
                format!("PutItem {partition} {sort} {}", word(done.value))
            });
            Ok(done)
        };
        self.0
            .perform("PutItem", (&of.0, &of.1), label, happen)
            .await
    }

    async fn delete(&self, key: Key, condition: Condition) -> Result<Consumed<bool>, CacheError> {
        let of = key.clone();
        let expression = condition.expression.as_deref().unwrap_or_default();
        let label = label("DeleteItem", &key.partition, &key.sort, expression);
        let happen = move |table: &SimTable, _: Moment| {
            let terms = Terms {
                names: None,
                values: condition.values.as_ref(),
            };
            let done = table.change(&key.partition, &key.sort, |before| {
                let holds = allowed(
                    condition.expression.as_deref(),
                    terms,
                    before,
                    &Attributes::new(),
                );
                let units = write_units(before.map_or(0, |it| size(it)), 0);
                let value = holds;
                let after = (holds && before.is_some()).then_some(None);
                (after, Consumed { value, units })
            });
            table.world.note(label ^ u64::from(done.value), || {
                let done = word(done.value);
                format!("DeleteItem {} {} {done}", key.partition, key.sort)
            });
            Ok(done)
        };
        let of = (of.partition.as_str(), of.sort.as_str());
        self.0.perform("DeleteItem", of, label, happen).await
    }

    async fn update(
        &self,
        key: Key,
        call: UpdateCall,
    ) -> Result<Consumed<Result<Attributes, Attributes>>, CacheError> {
        let of = key.clone();
        let label = label("UpdateItem", &key.partition, &key.sort, &call.expression);
        let happen = move |table: &SimTable, _: Moment| {
            let changed = updated(table, &key, &call);
            table.world.note(
                label ^ u64::from(changed.as_ref().is_ok_and(|it| it.value.is_ok())),
                || {
                    let done = changed.as_ref().is_ok_and(|it| it.value.is_ok());
                    let (partition, sort) = (&key.partition, &key.sort);
                    let expression = match partition.starts_with("W#") {
                        true => call.expression.as_str(),
                        false => "",
                    };
                    format!("UpdateItem {partition} {sort} {} {expression}", word(done))
                },
            );
            changed
        };
        let of = (of.partition.as_str(), of.sort.as_str());
        self.0.perform("UpdateItem", of, label, happen).await
    }
}

fn word(done: bool) -> &'static str {
    if done { "done" } else { "refused" }
}

fn updated(
    table: &SimTable,
    key: &Key,
    call: &UpdateCall,
) -> Result<Consumed<Result<Attributes, Attributes>>, CacheError> {
    let nothing = Attributes::new();
    let terms = Terms {
        names: Some(&call.names),
        values: Some(&call.values),
    };
    table.change(&key.partition, &key.sort, |before| {
        if !allowed(call.condition.as_deref(), terms, before, &nothing) {
            let old = before.map(|item| (**item).clone()).unwrap_or_default();
            let units = write_units(size(&old), 0);
            let value = Err(old);
            return (None, Ok(Consumed { value, units }));
        }
        let made = || {
            let key = [("pk", &key.partition), ("sk", &key.sort)];
            let key = key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.clone())));
            Arc::new(Attributes::from(key))
        };
        let before = before.cloned().unwrap_or_else(made);
        match expression::apply(&expression::update(&call.expression), &before, terms) {
            Ok(after) => {
                let returned = match call.returned {
                    true => after.clone(),
                    false => Attributes::new(),
                };
                let units = write_units(size(&before), size(&after));
                let value = Ok(returned);
                (Some(Some(after)), Ok(Consumed { value, units }))
            }
            Err(expression::Invalid) => {
                let error = CacheError {
                    operation: "UpdateItem",
                    reason: "ValidationException".to_owned(),
                };
                (None, Err(error))
            }
        }
    })
}
