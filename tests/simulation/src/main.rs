//! Runs seeds and tells which of them failed.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use portfolio_simulation::{
    invariants::Invariant,
    price_load,
    runs::{Report, faults, run, run_many},
    scenario::Profile,
    world::Stats,
};

/// Failing seeds of each kind that are named, unless asked otherwise.
const NAMED: u64 = 8;

/// Seeds that failed, by what did not hold and what could go wrong.
#[derive(Default)]
struct Found {
    stats: Stats,
    failed: u64,
    seeds: BTreeMap<(Invariant, Profile), (u64, Vec<u64>)>,
}

impl Found {
    fn add(&mut self, report: &Report, named: usize) {
        self.stats.add(&report.stats);
        self.failed += u64::from(!report.violations.is_empty());
        let mut kinds: Vec<Invariant> = report.violations.iter().map(|it| it.invariant).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for invariant in kinds {
            let (count, seeds) = self.seeds.entry((invariant, report.profile)).or_default();
            *count += 1;
            seeds.push(report.seed);
            // Threads run seeds in any order.
            seeds.sort_unstable();
            seeds.truncate(named);
        }
    }
}

fn replay(seed: u64) -> ExitCode {
    let report = run(seed, true);
    for line in &report.trace {
        println!("{line}");
    }
    println!(
        "\nseed {seed}, {:?}, hash {:016x}",
        report.profile, report.hash
    );
    for violation in &report.violations {
        println!(
            "  {:?} at {} ms, request {}: {}",
            violation.invariant, violation.at, violation.request, violation.found
        );
    }
    match report.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Prints what the price book costs where wallets are asked for once a minute.
fn show_price_load(seed: u64) -> ExitCode {
    println!("wallets tokens requests/min credits/min misses  p50  p95  max ms stale   RRU   WRU");
    for wallets in [100, 1000, 5000] {
        let load = price_load::run(wallets, seed);
        let (read, written) = load.units_each();
        println!(
            "{wallets:>7} {:>6} {:>12} {:>11} {:>6} {:>4} {:>4} {:>7} {:>5} {:>3}.{} {:>3}.{}",
            load.tokens,
            load.requests,
            load.credits,
            load.misses,
            load.percentile(50),
            load.percentile(95),
            load.percentile(100),
            load.stale,
            read / 1000,
            read % 1000 / 100,
            written / 1000,
            written % 1000 / 100,
        );
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let (mut seeds, mut from, mut threads, mut named) = (1000, 0, 2, NAMED);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seeds", Some(value)) => seeds = value,
            ("--from", Some(value)) => from = value,
            ("--threads", Some(value)) => threads = value,
            ("--named", Some(value)) => named = value,
            ("--seed", Some(value)) => return replay(value),
            ("--price-load", Some(value)) => return show_price_load(value),
            _ => {
                eprintln!(
                    "--seeds N, --from N, --threads N, --named N, --seed N or --price-load N"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let began = Instant::now();
    let found = Mutex::new(Found::default());
    let threads = usize::try_from(threads).unwrap_or(1);
    let named = usize::try_from(named).unwrap_or(0);
    run_many(from..from + seeds, threads, |report| {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.add(&report, named);
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let stats = &found.stats;
    let took = began.elapsed();
    println!("{seeds} seeds from {from} in {took:.1?}, {threads} threads");
    println!("{} hours of virtual time", stats.virtual_ms / 3_600_000);
    println!(
        "{} requests, {} operations of the table, {} requests to Zerion, {} to price sources",
        stats.requests, stats.operations, stats.fetches, stats.quotes
    );
    println!("{} kinds of overlaps on one item", stats.overlaps.len());
    for (fault, count) in faults(stats) {
        println!("  {fault:?} {count}");
    }
    println!("{} seeds failed", found.failed);
    for ((invariant, profile), (count, seeds)) in &found.seeds {
        println!("  {invariant:?} ({profile:?}): {count}, e.g. {seeds:?}");
    }
    match found.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
