//! What all parts of a simulation share: virtual time, the dice, the trace,
//! and what was counted.

use std::{
    cell::Cell,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portfolio::clock::{Clock, Timestamp};
use tokio::time::Instant;

use crate::rng::{Rng, mix};

/// The wall clock at the start of every simulation, in epoch milliseconds.
const START: i64 = 1_795_254_046_007;

/// Locks, also after a panic elsewhere.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A moment as milliseconds since the simulation's start.
pub type Moment = i64;

/// The true wall-clock time of a moment.
pub fn wall(moment: Moment) -> Timestamp {
    Timestamp::from_millis(START + moment)
}

/// Returns the moment of a wall-clock time by a clock that is `skew` ahead.
pub fn moment(time: Timestamp, skew: i64) -> Moment {
    time.as_millis() - START - skew
}

/// Milliseconds as a duration; none for negative ones.
pub(crate) fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

/// A duration as milliseconds.
pub(crate) fn as_millis(value: Duration) -> i64 {
    i64::try_from(value.as_millis()).unwrap_or(i64::MAX)
}

/// What is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An operation of the table was refused before it happened.
    Throttled,
    /// One happened, and an error was answered.
    AnswerLost,
    /// The client's second attempt followed a first that had happened.
    Repeated,
    /// The client gave up waiting; it happened nevertheless, perhaps later.
    Late,
    /// A `BatchGetItem` left keys unprocessed.
    Unprocessed,
    /// A read saw an older state of an item.
    Lagged,
    /// An item was deleted after its `expires_at`.
    Expired,
    /// An operation was cut off before it was sent.
    CutOff,
    /// A provider failed.
    ProviderFailed,
    /// A provider limited requests.
    RateLimited,
    /// Zerion was still preparing a wallet.
    Preparing,
    /// Zerion did not track a wallet.
    NotTrackable,
    /// Zerion's answer was not whole.
    Incomplete,
    /// A provider did not answer in time.
    Hung,
    /// A provider took seconds.
    Slow,
    /// A provider left a token out that it knows.
    LeftOut,
    /// A process was frozen.
    Frozen,
    /// A process died.
    Died,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::Throttled,
        Self::AnswerLost,
        Self::Repeated,
        Self::Late,
        Self::Unprocessed,
        Self::Lagged,
        Self::Expired,
        Self::CutOff,
        Self::ProviderFailed,
        Self::RateLimited,
        Self::Preparing,
        Self::NotTrackable,
        Self::Incomplete,
        Self::Hung,
        Self::Slow,
        Self::LeftOut,
        Self::Frozen,
        Self::Died,
    ];

    /// Whether a request may fail because of it.
    fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::Lagged | Self::Expired | Self::CutOff | Self::Unprocessed
        )
    }
}

/// How often what goes wrong, in thousandths, and by how much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knobs {
    /// An operation of the table is refused before it happens.
    pub throttled: u64,
    /// One happens and is answered with an error.
    pub answer_lost: u64,
    /// One happens, is not heard of, and is made again by the client.
    pub repeated: u64,
    /// One takes longer than the client waits.
    pub late: u64,
    /// A `BatchGetItem` leaves keys unprocessed.
    pub unprocessed: u64,
    /// Reads that are not consistent are behind by up to so many milliseconds.
    pub lag: u64,
    /// A provider fails, limits requests, is preparing and the like.
    pub provider: u64,
    /// A provider takes seconds.
    pub slow: u64,
    /// A request's process freezes while it runs.
    pub freeze: u64,
    /// A request's process dies while it runs.
    pub death: u64,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Requests, DELETEs and refreshes.
    pub requests: u64,
    /// Operations of the table.
    pub operations: u64,
    /// Requests to Zerion.
    pub fetches: u64,
    /// Requests to the price sources.
    pub quotes: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: i64,
    /// Faults by kind, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Pairs of operations of different processes on one item that overlapped.
    pub overlaps: HashSet<u64>,
}

impl Stats {
    /// Adds another simulation's.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.operations += other.operations;
        self.fetches += other.fetches;
        self.quotes += other.quotes;
        self.virtual_ms += other.virtual_ms;
        for (sum, more) in self.faults.iter_mut().zip(&other.faults) {
            *sum += more;
        }
        self.overlaps.extend(&other.overlaps);
    }
}

/// Whose code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The process, counted over all that ever were.
    pub process: u32,
    /// The request.
    pub request: u32,
}

thread_local! {
    static CALLER: Cell<Caller> = const { Cell::new(Caller { process: 0, request: 0 }) };
}

impl Caller {
    /// The one that is being polled.
    pub fn current() -> Self {
        CALLER.get()
    }

    /// Makes this the one that is being polled; gives the one before.
    pub fn enter(self) -> Self {
        CALLER.replace(self)
    }
}

struct Inner {
    rng: Rng,
    knobs: Knobs,
    hash: u64,
    trace: Option<Vec<String>>,
    stats: Stats,
    last_failure: Option<Moment>,
}

/// A simulated world.
pub struct World {
    start: Instant,
    inner: Mutex<Inner>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// A world that `seed` decides, and whether its trace is kept.
    pub fn new(seed: u64, traced: bool) -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::new(Inner {
                rng: Rng::new(seed),
                knobs: Knobs::default(),
                hash: 0,
                trace: traced.then(Vec::new),
                stats: Stats::default(),
                last_failure: None,
            }),
        }
    }

    /// The true time.
    pub fn now(&self) -> Moment {
        as_millis(Instant::now().saturating_duration_since(self.start))
    }

    /// Throws dice.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Rng, &Knobs) -> T) -> T {
        let inner = &mut *locked(&self.inner);
        draw(&mut inner.rng, &inner.knobs)
    }

    /// Sets what goes wrong from now on.
    pub fn set(&self, knobs: Knobs) {
        locked(&self.inner).knobs = knobs;
    }

    /// Notes an event: two runs of one seed have the same ones. `code` stands
    /// for it in the hash, `text` in the trace.
    pub fn note(&self, code: u64, text: impl FnOnce() -> String) {
        let now = self.now();
        let caller = Caller::current();
        let inner = &mut *locked(&self.inner);
        let at = u64::try_from(now).unwrap_or(0);
        let who = u64::from(caller.process) << 32 | u64::from(caller.request);
        inner.hash = mix(inner.hash ^ mix(at ^ mix(who ^ mix(code))));
        if let Some(trace) = &mut inner.trace {
            let (process, request) = (caller.process, caller.request);
            let (seconds, rest) = (now / 1000, now % 1000);
            trace.push(format!(
                "{seconds:>7}.{rest:03} p{process} r{request:<3} {}",
                text()
            ));
        }
    }

    /// Notes that something went wrong on purpose.
    pub fn fault(&self, fault: Fault) {
        let now = self.now();
        let inner = &mut *locked(&self.inner);
        inner.stats.faults[fault as usize] += 1;
        if fault.is_failure() {
            inner.last_failure = Some(now);
        }
    }

    /// When something last went wrong that a request may fail for.
    pub fn last_failure(&self) -> Option<Moment> {
        locked(&self.inner).last_failure
    }

    /// Counts.
    pub fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut locked(&self.inner).stats);
    }

    /// What all events come to.
    pub fn hash(&self) -> u64 {
        locked(&self.inner).hash
    }

    /// Takes what was counted, and the trace.
    pub fn take(&self) -> (Stats, Vec<String>) {
        let now = self.now();
        let inner = &mut *locked(&self.inner);
        inner.stats.virtual_ms = now;
        let stats = std::mem::take(&mut inner.stats);
        (stats, inner.trace.take().unwrap_or_default())
    }
}

/// Tells the true time, for what belongs to no process.
#[derive(Clone, Debug)]
pub struct TrueClock(pub Arc<World>);

impl Clock for TrueClock {
    fn now(&self) -> Timestamp {
        wall(self.0.now())
    }
}
