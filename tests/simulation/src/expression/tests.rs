use super::*;

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn attributes(list: &[(&str, AttributeValue)]) -> Attributes {
    let owned = |(name, value): &(&str, AttributeValue)| ((*name).to_owned(), value.clone());
    list.iter().map(owned).collect()
}

fn holds(expression: &str) -> bool {
    let item = attributes(&[("n", number(10)), ("m", number(9)), ("s", text("b"))]);
    let values = attributes(&[
        (":nine", number(9)),
        (":ten", number(10)),
        (":eleven", number(11)),
        (":numeric", text("N")),
        (":a", text("a")),
    ]);
    let names = HashMap::from([("#n".to_owned(), "n".to_owned())]);
    let terms = Terms {
        names: Some(&names),
        values: Some(&values),
    };
    condition(expression).holds(&item, terms)
}

#[test]
fn numbers_compare_as_numbers() {
    for expression in [
        "n > :nine",
        "m < n",
        "#n = :ten",
        "n <= :ten AND n >= :ten",
        "n BETWEEN :nine AND :eleven",
        "n IN (:nine, :ten)",
        "s > :a",
    ] {
        assert!(holds(expression), "{expression}");
    }
    for expression in [
        "n < :nine",
        "n <> :ten",
        "m BETWEEN :ten AND :eleven",
        "s < :a",
    ] {
        assert!(!holds(expression), "{expression}");
    }
}

#[test]
fn comparisons_with_missing_or_other_attributes_are_false_except_unequal() {
    for expression in [
        "gone = :ten",
        "gone < :ten",
        "gone >= :ten",
        "s < :ten",
        "s = :ten",
        "gone BETWEEN :nine AND :ten",
        "gone IN (:nine)",
    ] {
        assert!(!holds(expression), "{expression}");
    }
    assert!(holds("gone <> :ten") && holds("s <> :ten"));
}

#[test]
fn operators_bind_as_documented() {
    assert!(holds("n = :ten OR n = :ten AND n = :nine"));
    assert!(!holds("(n = :ten OR n = :ten) AND n = :nine"));
    assert!(holds("NOT attribute_type(s, :numeric) AND n = :ten"));
    assert!(holds("NOT n = :nine AND attribute_exists(n)"));
    assert!(!holds("NOT (n = :nine OR attribute_exists(n))"));
    assert!(holds(
        "attribute_not_exists(gone) AND attribute_type(n, :numeric)"
    ));
}

fn updated(expression: &str) -> Result<Attributes, Invalid> {
    let item = attributes(&[
        ("n", number(10)),
        ("s", text("b")),
        ("set", AttributeValue::Ss(vec!["b".to_owned()])),
    ]);
    let values = attributes(&[
        (":one", number(1)),
        (":x", number(5)),
        (
            ":more",
            AttributeValue::Ss(vec!["b".to_owned(), "a".to_owned()]),
        ),
    ]);
    let names = HashMap::from([("#1".to_owned(), "1027".to_owned())]);
    let terms = Terms {
        names: Some(&names),
        values: Some(&values),
    };
    apply(&update(expression), &item, terms)
}

#[test]
fn updates_read_the_item_before() {
    let after = updated(
        "SET n = n + :one, old = n, gen = if_not_exists(gen, :x) + :one, #1 = :x REMOVE s \
         ADD set :more, fresh :more",
    )
    .expect("a valid update");
    let set = AttributeValue::Ss(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(after["n"], number(11));
    assert_eq!(after["old"], number(10));
    assert_eq!(after["gen"], number(6));
    assert_eq!(after["1027"], number(5));
    assert_eq!(after["set"], set);
    assert!(after.contains_key("fresh") && !after.contains_key("s"));
}

#[test]
fn operands_of_another_type_are_refused() {
    assert_eq!(updated("SET s = s + :one"), Err(Invalid));
    assert_eq!(updated("ADD n :more"), Err(Invalid));
}

#[test]
#[should_panic(expected = "is not understood")]
fn unknown_functions_panic() {
    holds("size(n) > :nine");
}

#[test]
#[should_panic(expected = "twice")]
fn attributes_named_twice_panic() {
    let _ = updated("SET n = :one REMOVE n");
}
