use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> Option<String> {
    Decimal::parse(text).map(|number| number.to_string())
}

#[test]
fn keeps_what_providers_write() {
    assert_eq!(shown("2641.14").as_deref(), Some("2641.14"));
    assert_eq!(shown("6.315931e-08").as_deref(), Some("0.00000006315931"));
    assert_eq!(shown("-3.03610139").as_deref(), Some("-3.03610139"));
    assert_eq!(shown("0.0").as_deref(), Some("0"));
    assert_eq!(shown("20").as_deref(), Some("20"));
    assert_eq!(
        shown("1e30").as_deref(),
        Some("1000000000000000000000000000000")
    );
    assert_eq!(
        shown("1e-30").as_deref(),
        Some("0.000000000000000000000000000001")
    );
    assert_eq!(
        shown("1875.3832420347037").as_deref(),
        Some("1875.3832420347037")
    );
}

#[test]
fn reads_signs_and_exponents_within_bounds() {
    assert_eq!(shown("+12.5").as_deref(), Some("12.5"));
    assert_eq!(shown("1.e2").as_deref(), Some("100"));
    assert_eq!(shown(".5").as_deref(), Some("0.5"));
    for (text, read) in [
        ("1e400", true),
        ("1e401", false),
        ("1e-400", true),
        ("1e-401", false),
        ("0e10000", true),
        ("0e10001", false),
        ("0e-10001", false),
        ("0e2147483647", false),
    ] {
        assert_eq!(Decimal::parse(text).is_some(), read, "{text}");
    }
}

#[test]
fn rounds_beyond_eighteen_digits() {
    assert_eq!(
        shown("0.12345678901234567851").as_deref(),
        Some("0.123456789012345679")
    );
    assert_eq!(
        shown("99999999999999999999").as_deref(),
        Some("100000000000000000000")
    );
}

#[test]
fn refuses_what_is_no_number() {
    for text in [
        "",
        "-",
        ".",
        "NaN",
        "1e",
        "1e999",
        "1,5",
        "0x10",
        "1e99999999999",
    ] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

#[test]
fn divides_a_value_by_a_quantity() {
    let value = Decimal::parse("6667.5").unwrap();
    let two_and_a_half = Unscaled::Small {
        digits: 25,
        scale: 1,
    };
    assert_eq!(
        Decimal::ratio(value, &two_and_a_half),
        Decimal::parse("2667")
    );
    let nothing = Unscaled::Small {
        digits: 0,
        scale: 18,
    };
    assert_eq!(Decimal::ratio(value, &nothing), None);
    // A third, whose last digit is rounded, and an amount of 200 digits.
    let three = Unscaled::Small {
        digits: 3,
        scale: 0,
    };
    let ten = Decimal::parse("10").unwrap();
    assert_eq!(
        Decimal::ratio(ten, &three),
        Decimal::parse("3.33333333333333333")
    );
    let long = Unscaled::Big {
        digits: BigUint::from(3_u8) * BigUint::from(10_u8).pow(200),
        scale: 200,
    };
    assert_eq!(Decimal::ratio(ten, &long), Decimal::ratio(ten, &three));
    assert_eq!(Decimal::ratio(Decimal::new(-13, 0), &three), None);
    assert_eq!(Decimal::ratio(Decimal::ZERO, &three), None);
    // A divisor of many digits leaves as many of the quotient.
    let divisor = Unscaled::Big {
        digits: BigUint::from(7_u8).pow(200),
        scale: 0,
    };
    let quotient = Decimal::ratio(ten, &divisor).unwrap();
    assert_eq!(quotient.coefficient().to_string().len(), 18);
}

#[test]
fn converts_by_a_reference() {
    let number = |text| Decimal::parse(text).unwrap();
    // Ether at 2,500 dollars is 2,000 euros: 5 dollars are 4 euros.
    assert_eq!(
        number("5").converted(number("2500"), number("2000")),
        Some(number("4"))
    );
    assert_eq!(
        number("1e-30").converted(number("3"), number("2")),
        Some(number("6.66666666666666667e-31"))
    );
    assert_eq!(number("5").converted(Decimal::ZERO, number("2")), None);
}

#[test]
fn compares_exactly() {
    let number = |text| Decimal::parse(text).unwrap();
    assert!(number("0.5").at_least(Decimal::half()));
    assert!(!number("0.4999999999999999").at_least(Decimal::half()));
    assert_eq!(
        number("1e300").compare(number("1e-300"), 5),
        Ordering::Greater
    );
    assert_eq!(number("5").compare(number("1"), 5), Ordering::Equal);
    assert_eq!(number("-1").compare(Decimal::ZERO, 5), Ordering::Less);
}

#[test]
fn rounds_half_away_from_zero() {
    let number = |text| Decimal::parse(text).unwrap();
    assert_eq!(number("1.23456789").rounded(6), number("1.234568"));
    assert_eq!(number("-0.0000005").rounded(6), number("-0.000001"));
    assert_eq!(number("1e-30").rounded(6), Decimal::ZERO);
    assert_eq!(number("-1.5").rounded(0), number("-2"));
    assert_eq!(number("1.4999").rounded(0), number("1"));
    assert_eq!(number("-1.4999").rounded(0), number("-1"));
    assert_eq!(number("5.33").scaled(6), Some(5_330_000));
    assert_eq!(number("1e30").scaled(6), None);
}

proptest! {
    #[test]
    fn doubles_survive(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let text = serde_json::to_string(&value).unwrap();
        if let Some(number) = Decimal::parse(&text) {
            prop_assert_eq!(number.to_string().parse::<f64>().unwrap(), value);
        } else {
            prop_assert!(value.abs() > 1e290 || value.abs() < 1e-290);
        }
    }

    #[test]
    fn never_panics(text in ".{0,60}") {
        let _ = Decimal::parse(&text);
    }
}
