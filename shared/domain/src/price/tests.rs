use proptest::prelude::*;

use super::*;

fn price(amount: &str, at: i64) -> Price {
    let amount = Decimal::parse(amount).unwrap();
    Price::new(amount, None, Provider::Zerion, Timestamp::from_millis(at))
}

#[test]
fn texts_of_a_key_do_not_run_into_each_other() {
    let lists: [&[&str]; 6] = [
        &["a", "bc"],
        &["ab", "c"],
        &["abc"],
        &["abc", ""],
        &["", "abc"],
        &["a:b", "c"],
    ];
    let keys = lists.map(PriceKey::of_parts);
    let unique: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len());
}

#[test]
fn marks_are_told_from_prices_and_from_refused_ones() {
    let at = Timestamp::from_millis;
    let unknown = Price::unknown(Provider::DefiLlama, at(3));
    assert!(unknown.is_unknown() && !unknown.is_known());
    let known = price("1", 1);
    assert!(known.is_known() && !known.is_unknown());
    let refused = unknown.checked(at(5), Some(RejectReason::Outdated));
    assert!(!refused.is_known() && !refused.is_unknown());
    assert_eq!(refused.refused, Some(RejectReason::Outdated));
    assert_eq!((refused.checked_at, refused.quoted_at), (at(5), at(3)));
}

#[test]
fn the_reason_of_a_refusal_stays_until_a_price_is_given() {
    let key = PriceKey::of_asset("some");
    let at = Timestamp::from_millis;
    let reason = Some(RejectReason::Outlier);
    let refused = price("1", 1).checked(at(4), reason);
    let table = PriceTable::new(vec![(key, refused)]);
    assert_eq!(table.refused(key), reason);
    assert_eq!(table.refused(PriceKey::of_asset("other")), None);
    assert_eq!(table.merged([(key, price("2", 5))]).refused(key), None);
    // The later check has nothing against the price that it keeps.
    let vain = Price::unknown(Provider::DefiLlama, at(9));
    assert_eq!(table.merged([(key, vain)]).refused(key), None);
    let refused_mark = vain.checked(at(9), reason);
    let given = PriceTable::new(vec![(key, price("3", 2)), (key, refused_mark)]);
    assert_eq!(given.refused(key), reason);
    // An older opinion that keeps an older price says nothing of a newer one.
    let older = price("1", 1).checked(at(9), reason);
    let given = PriceTable::new(vec![(key, price("3", 2)), (key, older)]);
    assert_eq!(given.refused(key), None);
    assert_eq!(given.get(key).unwrap().amount, Decimal::new(3, 0));
}

#[test]
fn a_table_of_entries_in_order_is_that_of_any_order() {
    let entries: Vec<_> = (1..5)
        .map(|id| (PriceKey::Cmc(CmcId(id)), price("1", 1)))
        .collect();
    let mut reversed = entries.clone();
    reversed.reverse();
    assert_eq!(PriceTable::of_sorted(entries), PriceTable::new(reversed));
}

#[test]
fn a_table_is_pruned_by_what_is_said_of_each_price() {
    let (old, new) = (PriceKey::of_asset("old"), PriceKey::of_asset("new"));
    let mut table = PriceTable::new(vec![(old, price("1", 1)), (new, price("1", 9))]);
    table.prune(|price| price.quoted_at >= Timestamp::from_millis(5));
    assert_eq!(table.get(old), None);
    assert!(table.get(new).is_some());
}

#[test]
fn every_refusal_has_a_word_of_its_own() {
    let all = [
        (RejectReason::Outlier, "price_refused_jump"),
        (RejectReason::Outdated, "price_refused_outdated"),
        (RejectReason::NotPositive, "price_refused_not_positive"),
        (RejectReason::LowConfidence, "price_refused_unsure"),
    ];
    for (reason, word) in all {
        assert_eq!(reason.as_str(), word);
    }
}

#[test]
fn newer_prices_win_in_any_order() {
    let key = PriceKey::Cmc(CmcId(1027));
    let old = PriceTable::new(vec![(key, price("1", 1)), (key, price("2", 2))]);
    assert_eq!(old.get(key).unwrap().amount, Decimal::new(2, 0));
    let merged = old.merged([(key, price("0.5", 1))]);
    assert_eq!(merged.get(key).unwrap().amount, Decimal::new(2, 0));
    let merged = old.merged([(key, price("3", 3))]);
    assert_eq!(merged.get(key).unwrap().amount, Decimal::new(3, 0));
}

#[test]
fn a_later_check_in_vain_does_not_hide_a_price_given_meanwhile() {
    let key = PriceKey::of_asset("some");
    let (old, given) = (price("1", 1), price("2", 5));
    let at = Timestamp::from_millis(9);
    let source = Provider::DefiLlama;
    for vain in [old.checked(at, None), Price::unknown(source, at)] {
        for entries in [[given, vain], [vain, given]] {
            let table = PriceTable::new(entries.map(|price| (key, price)).to_vec());
            let kept = table.get(key).unwrap();
            assert_eq!(kept.amount, Decimal::new(2, 0));
            assert_eq!((kept.quoted_at, kept.checked_at), (given.quoted_at, at));
        }
    }
}

#[test]
fn asking_without_an_answer_keeps_the_price_and_its_time() {
    let (known, unknown) = (PriceKey::of_asset("some"), PriceKey::of_asset("other"));
    let table = PriceTable::new(vec![(known, price("1", 1))]);
    let now = Timestamp::from_millis(9);
    let asked = table.unanswered([known, unknown], Provider::CoinMarketCap, now);
    let table = table.merged(asked);
    assert_eq!(table.get(known).unwrap().as_of, Timestamp::from_millis(1));
    assert_eq!(table.entry(known).unwrap().checked_at, now);
    assert_eq!(table.get(unknown), None);
    assert_eq!(table.entry(unknown).unwrap().checked_at, now);
}

/// Any table of few keys, whose prices meet in all ways.
fn any_table() -> impl Strategy<Value = PriceTable> {
    let entry = (0_u64..6, 1_i64..4, 0_i64..5, 0_i64..5, 0_u8..4);
    let entries = proptest::collection::vec(entry, 0..8);
    entries.prop_map(|entries| {
        let entry = |(key, amount, given, checked, kind)| {
            let at = Timestamp::from_millis;
            let mut price = price(&i64::to_string(&amount), given);
            price.checked_at = at(given.max(checked));
            price.refused = (kind == 1).then_some(RejectReason::Outlier);
            if kind == 2 {
                price.amount = Decimal::ZERO;
            }
            (PriceKey::Asset(key), price)
        };
        PriceTable::new(entries.into_iter().map(entry).collect())
    })
}

proptest! {
    #[test]
    fn merging_tables_is_putting_all_entries_into_one(tables in proptest::collection::vec(any_table(), 0..4)) {
        let entries = tables.iter().flat_map(|table| table.entries().iter().copied());
        let expected = PriceTable::new(entries.collect());
        prop_assert_eq!(PriceTable::merge(tables.iter()), expected);
    }

    #[test]
    fn a_walk_finds_what_a_search_does(table in any_table(), keys in proptest::collection::vec(0_u64..7, 0..9)) {
        let mut keys = keys;
        keys.sort_unstable();
        let mut walk = table.walk();
        for key in keys.into_iter().map(PriceKey::Asset) {
            prop_assert_eq!(walk.entry(key), table.entry(key));
        }
    }
}
