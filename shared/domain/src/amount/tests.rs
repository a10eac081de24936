use proptest::prelude::*;

use super::*;
use crate::quantity::Quantity;

fn value(quantity: &str, price: &str) -> String {
    let quantity = Quantity::parse(None, None, Some(quantity)).unwrap();
    Amount::value_of(&quantity.mantissa(), Decimal::parse(price).unwrap()).to_string()
}

#[test]
fn multiplies_exactly() {
    assert_eq!(value("1.5", "2641.14"), "3961.71");
    assert_eq!(
        value("0.844579688243755982", "3175.47"),
        "2681.937462627399808162"
    );
    assert_eq!(value("0", "3175.47"), "0");
}

#[test]
fn survives_the_extremes() {
    let huge = "9".repeat(78);
    assert_eq!(value(&huge, "1e30").len(), 108);
    // 10^78 - 1 at 10^-30: 48 digits, the fraction rounds up.
    assert_eq!(value(&huge, "1e-30"), format!("1{}", "0".repeat(48)));
    assert_eq!(value("1", "1e30"), format!("1{}", "0".repeat(30)));
    assert_eq!(value("1", "1e-30"), "0");
    assert_eq!(value("1000000", "5e-25"), "0.000000000000000001");
}

#[test]
fn sums_past_the_small_range() {
    let mut sum = Amount::from_units(i128::MAX);
    sum.add(&Amount::from_units(1));
    assert_eq!(sum.to_string(), "170141183460469231731.687303715884105728");
    sum.sub(&Amount::from_units(1));
    assert_eq!(sum, Amount::from_units(i128::MAX));
    assert_eq!(
        Amount::from_units(i128::MIN).negated().to_string(),
        "170141183460469231731.687303715884105728"
    );
}

#[test]
fn amounts_beyond_128_bits_add_compare_and_change_like_others() {
    let big = Amount::parse(&format!("1{}", "0".repeat(40))).unwrap();
    let one = Amount::from_units(1);
    assert!(!big.is_zero() && !one.is_zero() && Amount::ZERO.is_zero());
    assert!(one < big && big.negated() < one.negated());
    assert_eq!(one.partial_cmp(&big), Some(Ordering::Less));
    assert_ne!(one, Amount::from_units(2));
    assert_ne!(big, one);
    let mut sum = big.clone();
    sum.add(&one);
    assert_eq!(
        sum.to_string(),
        format!("1{}.000000000000000001", "0".repeat(40))
    );
    sum.sub(&big);
    assert_eq!(sum, one);
    assert_eq!(big.negated().to_string(), format!("-1{}", "0".repeat(40)));
    assert_eq!(big.negated().negated(), big);
    // A tenth of eleven times as much.
    let ten = Decimal::parse("10").unwrap();
    let eleven = Amount::parse(&format!("11{}", "0".repeat(39))).unwrap();
    let change = eleven.change_for(ten).unwrap();
    assert_eq!(change.to_string(), format!("1{}", "0".repeat(39)));
}

#[test]
fn thresholds_have_no_more_digits_than_are_told() {
    let digits = |count| Amount::parse(&"9".repeat(count));
    assert!(digits(MAX_WHOLE_DIGITS).is_some());
    assert_eq!(digits(MAX_WHOLE_DIGITS + 1), None);
    assert_eq!(digits(MAX_WHOLE_DIGITS + 9), None);
    let long = "9".repeat(MAX_WHOLE_DIGITS + 9);
    assert_eq!(Amount::parse_unbounded(&long).unwrap().to_string(), long);
}

#[test]
fn tells_changes() {
    let amount = Amount::parse("110").unwrap();
    let ten = Decimal::parse("10").unwrap();
    assert_eq!(amount.change_for(ten).unwrap().to_string(), "10");
    assert_eq!(amount.change_for(Decimal::parse("-100").unwrap()), None);
    let percent = Amount::parse("10")
        .unwrap()
        .percent_of(&Amount::parse("300").unwrap());
    assert_eq!(percent.unwrap().to_string(), "3.333333");
    assert_eq!(amount.percent_of(&Amount::ZERO), None);
}

#[test]
fn parses_thresholds_only() {
    assert_eq!(Amount::parse("0.01").unwrap().to_string(), "0.01");
    assert_eq!(Amount::parse("7").unwrap().to_string(), "7");
    for text in [
        "",
        "-1",
        "1.",
        ".5",
        "1e3",
        "NaN",
        "1,5",
        "0.1234567890123456789",
    ] {
        assert_eq!(Amount::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn small_and_big_agree(digits in any::<u64>(), factor in any::<i64>(), exponent in -40_i32..40) {
        let small = Unscaled::Small { digits: u128::from(digits), scale: 0 };
        let product = BigInt::from(digits) * factor;
        prop_assert_eq!(
            Amount::scaled_product(&small, factor, exponent),
            Amount::from_big(shift_big(product, exponent))
        );
    }

    #[test]
    fn small_and_big_are_printed_alike(units in prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), (0_u32..38).prop_map(|power| 10_i128.pow(power))]) {
        let mut big = String::new();
        write_big_units(&mut big, &BigInt::from(units)).unwrap();
        prop_assert_eq!(Amount::from_units(units).to_string(), if units == 0 { "0".to_owned() } else { big });
    }

    #[test]
    fn printing_is_lossless(units in any::<i64>()) {
        let text = Amount::from_units(i128::from(units)).to_string();
        let magnitude = Amount::parse(text.trim_start_matches('-')).unwrap();
        prop_assert_eq!(magnitude, Amount::from_units(i128::from(units.unsigned_abs())));
    }
}
