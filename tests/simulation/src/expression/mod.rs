//! Condition and update expressions, as far as the adapters use them.
//!
//! What is not understood panics: an expression that the simulation reads
//! differently from DynamoDB would prove nothing.

mod parse;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, cmp::Ordering, collections::HashMap, rc::Rc};

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::cache::table::Attributes;

/// Parsed expressions that are kept, so that each is parsed once.
const KEPT: usize = 4096;

/// A name or a placeholder for one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The attribute itself.
    Name(String),
    /// `#alias`.
    Alias(String),
}

/// What is compared, or assigned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// An attribute.
    Path(Path),
    /// `:value`.
    Value(String),
    /// `if_not_exists(a, b)`, in updates only.
    IfNotExists(Path, Box<Operand>),
    /// `a + b`, in updates only.
    Plus(Box<Operand>, Box<Operand>),
    /// `a - b`, in updates only.
    Minus(Box<Operand>, Box<Operand>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// A condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Or(Vec<Test>),
    And(Vec<Test>),
    Not(Box<Test>),
    Exists(Path),
    NotExists(Path),
    Type(Path, Operand),
    Compare(Operand, Comparator, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
}

/// One change of an update.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(Path, Operand),
    Remove(Path),
    Add(Path, Operand),
    Delete(Path, Operand),
}

/// The placeholders of one call.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'t> {
    pub names: Option<&'t HashMap<String, String>>,
    pub values: Option<&'t Attributes>,
}

/// An update that the service would refuse (`ValidationException`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Terms<'_> {
    fn name<'p>(&'p self, path: &'p Path) -> &'p str {
        match path {
            Path::Name(name) => name,
            Path::Alias(alias) => self
                .names
                .and_then(|names| names.get(alias))
                .unwrap_or_else(|| panic!("no name for {alias}")),
        }
    }

    fn value(&self, name: &str) -> &AttributeValue {
        self.values
            .and_then(|values| values.get(name))
            .unwrap_or_else(|| panic!("no value for {name}"))
    }

    fn read<'r>(
        &'r self,
        operand: &'r Operand,
        item: &'r Attributes,
    ) -> Option<&'r AttributeValue> {
        match operand {
            Operand::Path(path) => item.get(self.name(path)),
            Operand::Value(name) => Some(self.value(name)),
            other => panic!("{other:?} stands in a condition"),
        }
    }
}

/// How two values of one type compare; `None` for different types.
fn compare(a: &AttributeValue, b: &AttributeValue) -> Option<Ordering> {
    use AttributeValue::{B, N, S};
    match (a, b) {
        (N(a), N(b)) => Some(integer(a).cmp(&integer(b))),
        (S(a), S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (B(a), B(b)) => Some(a.as_ref().cmp(b.as_ref())),
        _ => None,
    }
}

fn integer(digits: &str) -> i128 {
    let read = digits.parse();
    read.unwrap_or_else(|_| panic!("{digits} is no integer"))
}

/// The service's word for a value's type.
fn type_of(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::N(_) => "N",
        AttributeValue::S(_) => "S",
        AttributeValue::B(_) => "B",
        AttributeValue::Ss(_) => "SS",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::Null(_) => "NULL",
        other => panic!("{other:?} is of a type that is not used"),
    }
}

impl Test {
    /// Tells whether the condition holds of `item`.
    ///
    /// A comparison with an attribute that is missing or of another type is
    /// false, except `<>`: a missing attribute is unequal to everything.
    pub(crate) fn holds(&self, item: &Attributes, terms: Terms<'_>) -> bool {
        match self {
            Self::Or(tests) => tests.iter().any(|test| test.holds(item, terms)),
            Self::And(tests) => tests.iter().all(|test| test.holds(item, terms)),
            Self::Not(test) => !test.holds(item, terms),
            Self::Exists(path) => item.contains_key(terms.name(path)),
            Self::NotExists(path) => !item.contains_key(terms.name(path)),
            Self::Type(path, wanted) => {
                let wanted = match terms.read(wanted, item) {
                    Some(AttributeValue::S(wanted)) => wanted,
                    other => panic!("{other:?} is no type"),
                };
                let there = item.get(terms.name(path));
                there.is_some_and(|value| type_of(value) == wanted)
            }
            Self::Compare(a, comparator, b) => {
                let pair = terms.read(a, item).zip(terms.read(b, item));
                let order = pair.and_then(|(a, b)| compare(a, b));
                match comparator {
                    Comparator::Equal => order == Some(Ordering::Equal),
                    Comparator::Unequal => order != Some(Ordering::Equal),
                    Comparator::Less => order == Some(Ordering::Less),
                    Comparator::LessOrEqual => order.is_some_and(Ordering::is_le),
                    Comparator::More => order == Some(Ordering::Greater),
                    Comparator::MoreOrEqual => order.is_some_and(Ordering::is_ge),
                }
            }
            Self::Between(value, low, high) => {
                let order = |other| {
                    let pair = terms.read(value, item).zip(terms.read(other, item));
                    pair.and_then(|(a, b)| compare(a, b))
                };
                order(low).is_some_and(Ordering::is_ge) && order(high).is_some_and(Ordering::is_le)
            }
            Self::In(value, list) => list.iter().any(|other| {
                let pair = terms.read(value, item).zip(terms.read(other, item));
                pair.and_then(|(a, b)| compare(a, b)) == Some(Ordering::Equal)
            }),
        }
    }
}

fn assigned(
    operand: &Operand,
    item: &Attributes,
    terms: Terms<'_>,
) -> Result<AttributeValue, Invalid> {
    let sum = |a: &Operand, b: &Operand, sign: i128| match (
        assigned(a, item, terms)?,
        assigned(b, item, terms)?,
    ) {
        (AttributeValue::N(a), AttributeValue::N(b)) => {
            let sum = integer(&a) + sign * integer(&b);
            Ok(AttributeValue::N(sum.to_string()))
        }
        _ => Err(Invalid),
    };
    match operand {
        Operand::Path(path) => item.get(terms.name(path)).cloned().ok_or(Invalid),
        Operand::Value(name) => Ok(terms.value(name).clone()),
        Operand::IfNotExists(path, other) => match item.get(terms.name(path)) {
            Some(there) => Ok(there.clone()),
            None => assigned(other, item, terms),
        },
        Operand::Plus(a, b) => sum(a, b, 1),
        Operand::Minus(a, b) => sum(a, b, -1),
    }
}

/// Applies all changes; what they read is the item before.
///
/// # Errors
/// When operands do not fit: then nothing is changed.
pub(crate) fn apply(
    changes: &[Change],
    before: &Attributes,
    terms: Terms<'_>,
) -> Result<Attributes, Invalid> {
    let mut after = before.clone();
    for change in changes {
        match change {
            Change::Set(path, operand) => {
                let value = assigned(operand, before, terms)?;
                after.insert(terms.name(path).to_owned(), value);
            }
            Change::Remove(path) => {
                after.remove(terms.name(path));
            }
            Change::Add(path, operand) => {
                let added = assigned(operand, before, terms)?;
                let sum = match (before.get(terms.name(path)), added) {
                    (None, added) => added,
                    (Some(AttributeValue::Ss(there)), AttributeValue::Ss(added)) => {
                        let mut all = there.clone();
                        all.extend(added);
                        all.sort();
                        all.dedup();
                        AttributeValue::Ss(all)
                    }
                    (Some(AttributeValue::N(there)), AttributeValue::N(added)) => {
                        AttributeValue::N((integer(there) + integer(&added)).to_string())
                    }
                    _ => return Err(Invalid),
                };
                after.insert(terms.name(path).to_owned(), sum);
            }
            Change::Delete(path, operand) => {
                let gone = assigned(operand, before, terms)?;
                match (before.get(terms.name(path)), gone) {
                    (None, _) => {}
                    (Some(AttributeValue::Ss(there)), AttributeValue::Ss(gone)) => {
                        let mut left = there.clone();
                        left.retain(|one| !gone.contains(one));
                        // A set is never empty.
                        match left.is_empty() {
                            true => after.remove(terms.name(path)),
                            false => {
                                after.insert(terms.name(path).to_owned(), AttributeValue::Ss(left))
                            }
                        };
                    }
                    _ => return Err(Invalid),
                }
            }
        }
    }
    Ok(after)
}

thread_local! {
    static TESTS: RefCell<HashMap<String, Rc<Test>>> = RefCell::default();
    static UPDATES: RefCell<HashMap<String, Rc<Vec<Change>>>> = RefCell::default();
}

fn kept<T>(
    cache: &RefCell<HashMap<String, Rc<T>>>,
    text: &str,
    parse: impl FnOnce(&str) -> T,
) -> Rc<T> {
    if let Some(parsed) = cache.borrow().get(text) {
        return parsed.clone();
    }
    let parsed = Rc::new(parse(text));
    let mut cache = cache.borrow_mut();
    if cache.len() >= KEPT {
        cache.clear();
    }
    cache.insert(text.to_owned(), parsed.clone());
    parsed
}

/// Parses a condition expression.
pub(crate) fn condition(text: &str) -> Rc<Test> {
    TESTS.with(|cache| kept(cache, text, parse::condition))
}

/// Parses an update expression.
pub(crate) fn update(text: &str) -> Rc<Vec<Change>> {
    UPDATES.with(|cache| kept(cache, text, parse::update))
}
