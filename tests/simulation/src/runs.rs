//! Runs seeds, and reports what came of each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    invariants::{Invariant, Violation},
    rng::Rng,
    scenario::{Profile, Scenario},
    simulation::Simulation,
    world::{Fault, Stats, World},
};

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What could go wrong.
    pub profile: Profile,
    /// What all events come to: the same for the same seed.
    pub hash: u64,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// What was counted.
    pub stats: Stats,
    /// Every event, if they were wanted.
    pub trace: Vec<String>,
}

/// Runs a seed.
pub fn run(seed: u64, traced: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng);
    runtime.block_on(async {
        let world = Arc::new(World::new(rng.draw(), traced));
        let simulation = Arc::new(Simulation::new(world.clone(), scenario));
        simulation.clone().fill_registry().await;
        simulation.clone().play().await;
        let violations = simulation.violations();
        let hash = world.hash();
        let (stats, trace) = world.take();
        Report {
            seed,
            profile: simulation.profile(),
            hash,
            violations,
            stats,
            trace,
        }
    })
}

/// Runs a seed; a panic is a violation like any other.
pub fn run_caught(seed: u64) -> Report {
    catch_unwind(|| run(seed, false)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        let violation = Violation {
            invariant: Invariant::NothingPanics,
            request: 0,
            at: 0,
            found: text.unwrap_or_default(),
        };
        Report {
            seed,
            profile: Scenario::draw(&mut Rng::new(seed)).profile,
            hash: 0,
            violations: vec![violation],
            stats: Stats::default(),
            trace: Vec::new(),
        }
    })
}

/// Runs seeds on several threads, and passes each report on as it comes.
pub fn run_many(
    seeds: std::ops::Range<u64>,
    threads: usize,
    report: impl Fn(Report) + Send + Sync,
) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let seed_report = AssertUnwindSafe(|| run_caught(seed));
                    report(seed_report());
                }
            });
        }
    });
}

/// How many faults of a kind there were.
pub fn faults(stats: &Stats) -> impl Iterator<Item = (Fault, u64)> {
    Fault::ALL.into_iter().zip(stats.faults)
}
