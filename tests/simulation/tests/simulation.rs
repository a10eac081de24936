//! A thousand seeds, and that a seed is always the same simulation.

use std::sync::Mutex;

use portfolio_simulation::runs::{Report, run, run_many};

/// Violations that are printed.
const PRINTED: usize = 20;

#[test]
fn one_seed_gives_one_simulation() {
    for seed in [1, 2, 3, 5, 8, 13, 21, 34] {
        let (first, second) = (run(seed, true), run(seed, true));
        assert!(!first.trace.is_empty(), "seed {seed} does nothing");
        assert_eq!(first.hash, second.hash, "seed {seed}");
        for (first, second) in first.trace.iter().zip(&second.trace) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_ne!(first.hash, run(seed + 1, false).hash, "seed {seed}");
    }
}

#[test]
fn invariants_hold_for_a_thousand_seeds() {
    let failed: Mutex<Vec<Report>> = Mutex::default();
    run_many(0..1000, 2, |report| {
        if !report.violations.is_empty() {
            failed.lock().expect("no panic").push(report);
        }
    });
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort_by_key(|report| report.seed);
    for report in failed.iter().take(PRINTED) {
        let violation = &report.violations[0];
        println!(
            "seed {} ({:?}): {:?}: {}",
            report.seed, report.profile, violation.invariant, violation.found
        );
    }
    assert!(
        failed.is_empty(),
        "{} seeds failed; run one with `cargo run -p portfolio-simulation -- --seed N`",
        failed.len()
    );
}
