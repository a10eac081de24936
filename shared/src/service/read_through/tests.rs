//! The mechanism with the smallest payload there is: a number, in a store that is
//! a variable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::*;
use crate::{
    cache::{
        CacheError, Lease, LeaseOutcome, LeaseRequest, PartHeader, Release, StoreOutcome,
        StoredPart,
    },
    clock::{Clock, Timestamp},
    config::Lifetime,
    domain::{currency::Currency, provider::Provider},
    service::{
        context::{CacheOutcome, Detail, Level, Request, ServiceError},
        policy::{LEASE_TTL, TRANSIENT_FAILURE_TTL, UNLEASED_FETCHES},
        rate_limits::RateLimits,
        testing::{NoRateLimits, VirtualClock},
    },
    sync::locked,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A number, and when it was fetched.
type Number = (Timestamp, u64);

/// What is stored.
#[derive(Clone, Default)]
struct Stored {
    header: BTreeMap<(), PartHeader>,
    parts: BTreeMap<(), Arc<Number>>,
}

/// The store and the provider.
struct World {
    stored: Mutex<Stored>,
    /// What operations of the store fail, the next one first: `true` is a failure.
    broken_loads: Mutex<VecDeque<bool>>,
    unusable: Mutex<bool>,
    /// Whether no lease can be taken.
    unwritable: Mutex<bool>,
    too_large: Mutex<bool>,
    /// How long the provider takes, and how it fails.
    took: Mutex<Duration>,
    failure: Mutex<Option<Failure>>,
    fetches: AtomicUsize,
    /// The generations that were known when something was stored.
    previous: Mutex<Vec<Option<u64>>>,
    copy: Mutex<Option<Stored>>,
    clock: VirtualClock,
    rate_limits: RateLimits,
    unleased: UnleasedLimit,
}

impl World {
    fn new() -> Self {
        let clock = VirtualClock::start();
        Self {
            stored: Mutex::default(),
            broken_loads: Mutex::default(),
            unusable: Mutex::default(),
            unwritable: Mutex::default(),
            too_large: Mutex::default(),
            took: Mutex::new(Duration::from_millis(300)),
            failure: Mutex::default(),
            fetches: AtomicUsize::new(0),
            previous: Mutex::default(),
            copy: Mutex::default(),
            rate_limits: RateLimits::new(Arc::new(NoRateLimits), Arc::new(clock)),
            unleased: UnleasedLimit::default(),
            clock,
        }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn fail(&self, failure: impl Into<Option<Failure>>) {
        *locked(&self.failure) = failure.into();
    }

    fn broken(&self) -> Result<(), CacheError> {
        match *locked(&self.unusable) {
            true => Err(CacheError::deadline()),
            false => Ok(()),
        }
    }

    /// Takes the lease as another process, which is never heard of again.
    fn hold(&self) {
        let mut stored = locked(&self.stored);
        let header = stored.header.entry(()).or_default();
        header.generation += 1;
        header.lease_until = Some(self.clock.now().plus(LEASE_TTL));
    }

    async fn ask(&self) -> Result<FoundOf, ServiceError> {
        let now = self.clock.now();
        let request = Request {
            deadline: now.plus(Duration::from_secs(25)),
            ..Request::default()
        };
        let numbers = Numbers {
            world: self,
            request: &request,
        };
        look_up(&numbers, &[()], &self.rate_limits, &self.unleased).await
    }

    async fn found(&self) -> (u64, Level) {
        let found = self.ask().await.unwrap();
        (found.parts[&()].1, found.level)
    }
}

type FoundOf = Found<(), Number, Stored>;

struct Numbers<'w> {
    world: &'w World,
    request: &'w Request,
}

#[async_trait]
impl Resource for Numbers<'_> {
    type Part = ();
    type Value = Number;
    type Header = BTreeMap<(), PartHeader>;
    type Entry = Stored;

    const ALL: &'static [()] = &[()];

    fn header(entry: &Stored) -> &Self::Header {
        &entry.header
    }

    fn parts(entry: &Stored) -> &BTreeMap<(), Arc<Number>> {
        &entry.parts
    }

    fn headers(header: &Self::Header) -> &BTreeMap<(), PartHeader> {
        header
    }

    fn fetched_at(value: &Number) -> Timestamp {
        value.0
    }

    fn hash(value: &Number) -> u128 {
        value.1.into()
    }

    fn part_name((): ()) -> &'static str {
        "number"
    }

    fn terms(&self) -> ResourceTerms {
        ResourceTerms {
            provider: Provider::Zerion,
            lifetime: Lifetime {
                ttl: 5 * MINUTE,
                stale: 60 * MINUTE,
            },
            timeout: Duration::from_secs(10),
        }
    }

    fn request(&self) -> &Request {
        self.request
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    async fn load(&self, _: bool) -> Option<Stored> {
        let broken = locked(&self.world.broken_loads).pop_front();
        self.world.broken().ok()?;
        (!broken.unwrap_or(false)).then(|| locked(&self.world.stored).clone())
    }

    async fn load_header(&self) -> Result<Self::Header, CacheError> {
        self.world.broken()?;
        Ok(locked(&self.world.stored).header.clone())
    }

    async fn take_lease(
        &self,
        wanted: LeaseRequest<'_, ()>,
    ) -> Result<LeaseOutcome<(), Self::Header>, CacheError> {
        self.world.broken()?;
        if *locked(&self.world.unwritable) {
            return Err(CacheError::deadline());
        }
        let mut stored = locked(&self.world.stored);
        let header = stored.header.entry(()).or_default();
        let failed = header.failed.as_ref();
        let taken = header.is_leased(wanted.now)
            || failed.is_some_and(|mark| wanted.now < mark.until)
            || header
                .fetched_at()
                .is_some_and(|at| at > wanted.fresh_after);
        if taken {
            return Ok(LeaseOutcome::Lost(stored.header.clone()));
        }
        header.generation += 1;
        header.lease_until = Some(wanted.now.plus(wanted.length));
        let generations = [((), header.generation)].into();
        Ok(LeaseOutcome::Won(Lease { generations }))
    }

    async fn renew_lease(
        &self,
        lease: &Lease<()>,
        until: Timestamp,
        _: &RequestCost,
    ) -> Result<bool, CacheError> {
        let mut stored = locked(&self.world.stored);
        let header = stored.header.entry(()).or_default();
        let ours = header.generation == lease.generations[&()];
        if ours {
            header.lease_until = Some(until);
        }
        Ok(ours)
    }

    async fn release_lease(&self, _: &Lease<()>, release: &Release) -> Result<(), CacheError> {
        let mut stored = locked(&self.world.stored);
        let header = stored.header.entry(()).or_default();
        header.lease_until = None;
        header.failed.clone_from(&release.failed);
        header.uncacheable_until = release.uncacheable_until;
        Ok(())
    }

    async fn fetch(&self, _: &[()], limit: Duration) -> Result<Answer<Self>, UpstreamError> {
        let number = self.world.fetches.fetch_add(1, Ordering::Relaxed) + 1;
        let took = *locked(&self.world.took);
        tokio::time::sleep(took.min(limit)).await;
        let failure = locked(&self.world.failure).clone();
        let failure = failure.or((took > limit).then_some(Failure::Timeout));
        if let Some(failure) = failure {
            let upstream = Provider::Zerion;
            return Err(UpstreamError { upstream, failure });
        }
        let at = self.now();
        Ok(Answer {
            parts: [((), Arc::new((at, u64::try_from(number).unwrap())))].into(),
            complete: true,
            at,
        })
    }

    async fn store(
        &self,
        _: &Lease<()>,
        parts: &BTreeMap<(), Arc<Number>>,
        previous: &Stored,
        _: Duration,
    ) -> Result<StoreOutcome, CacheError> {
        let known = previous.header.get(&()).map(|header| header.generation);
        locked(&self.world.previous).push(known);
        if *locked(&self.world.too_large) {
            return Ok(StoreOutcome::TooLarge);
        }
        let mut stored = locked(&self.world.stored);
        let header = stored.header.entry(()).or_default();
        header.lease_until = None;
        header.failed = None;
        header.stored = Some(StoredPart {
            hash: 0,
            fetched_at: parts[&()].0,
            currency: Currency::USD,
            fetch: header.generation,
            written: header.generation,
            chunks: 1,
            chunks_expire: Timestamp::default(),
            price_chunks: 0,
        });
        stored.parts = parts.clone();
        *locked(&self.world.copy) = Some(stored.clone());
        Ok(StoreOutcome::Stored)
    }

    fn copy_under(&self, header: &Self::Header) -> Stored {
        let copy = locked(&self.world.copy).clone().unwrap_or_default();
        match copy.header.get(&()) == header.get(&()) {
            true => copy,
            false => Stored::default(),
        }
    }

    fn last_copy(&self) -> Option<Stored> {
        locked(&self.world.copy).clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_miss_is_fetched_once_and_then_found() {
    let world = World::new();
    let (number, level) = world.found().await;
    assert_eq!(
        (number, level.outcome, level.stored),
        (1, CacheOutcome::Miss, true)
    );
    let (number, level) = world.found().await;
    assert_eq!(
        (number, level.outcome, level.stale),
        (1, CacheOutcome::Hit, false)
    );
    tokio::time::sleep(5 * MINUTE).await;
    let (number, level) = world.found().await;
    assert_eq!((number, level.outcome), (2, CacheOutcome::Expired));
}

#[tokio::test(start_paused = true)]
async fn simultaneous_misses_are_one_fetch() {
    let world = World::new();
    let asked = futures::future::join_all((0..20).map(|_| world.found())).await;
    assert!(asked.iter().all(|(number, _)| *number == 1));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_answered_with_stale_data_and_remembered() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.fail(Failure::Unavailable("HTTP 502".to_owned()));
    for _ in 0..3 {
        let (number, level) = world.found().await;
        assert_eq!((number, level.stale), (1, true));
        assert_eq!(level.detail, Some(Detail::UpstreamError));
    }
    // The first one; the others found its note.
    assert_eq!(world.fetches(), 2);
    tokio::time::sleep(TRANSIENT_FAILURE_TTL).await;
    world.fail(None);
    assert_eq!(world.found().await.0, 3);

    // Nothing older than its limit stands in.
    tokio::time::sleep(66 * MINUTE).await;
    world.fail(Failure::Timeout);
    assert!(matches!(world.ask().await, Err(ServiceError::Provider(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wallet_that_is_not_tracked_is_never_answered_with_old_data() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.fail(Failure::NotTrackable);
    for _ in 0..2 {
        let error = world.ask().await.err().unwrap();
        let ServiceError::Provider(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.failure, Failure::NotTrackable);
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_data_answer_at_once_while_another_process_fetches() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    world.hold();
    let before = world.clock.now();
    let (number, level) = world.found().await;
    assert_eq!((number, level.stale), (1, true));
    assert_eq!(level.detail, Some(Detail::BeingRefreshed));
    assert_eq!((world.clock.now(), world.fetches()), (before, 1));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_waited_for_until_its_lease_ends() {
    let world = World::new();
    world.hold();
    let before = world.clock.now();
    assert_eq!(world.found().await.0, 1);
    let waited = world.clock.now().since(before);
    assert!(waited >= LEASE_TTL && waited < LEASE_TTL + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_keeps_its_lease() {
    let world = World::new();
    *locked(&world.took) = Duration::from_secs(9);
    let asked = futures::future::join_all((0..3).map(|_| world.found())).await;
    assert!(asked.iter().all(|(number, _)| *number == 1));
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_again_is_not_taken_for_what_is_there() {
    let world = World::new();
    world.found().await;
    tokio::time::sleep(6 * MINUTE).await;
    // Read as it was, then unreadable under the lease: another process has held
    // that between.
    let hold = |header: &mut PartHeader| header.generation += 1;
    locked(&world.stored).header.get_mut(&()).map(hold).unwrap();
    *locked(&world.broken_loads) = [true, true].into();
    assert_eq!(world.found().await.0, 2);
    let previous = std::mem::take(&mut *locked(&world.previous));
    assert_eq!(previous, [Some(1), None]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_store_is_fetched_by_each_request() {
    let world = World::new();
    *locked(&world.too_large) = true;
    for number in 1..=3 {
        let (found, level) = world.found().await;
        assert_eq!((found, level.stored), (number, false));
        assert_eq!(level.detail, Some(Detail::Uncached));
    }
    // The first one alone tried to store it.
    assert_eq!(locked(&world.previous).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_fetches_are_limited_and_the_last_copy_answers() {
    let world = World::new();
    *locked(&world.unusable) = true;
    for _ in 0..UNLEASED_FETCHES {
        assert!(world.ask().await.is_ok());
    }
    let refused = world.ask().await.err();
    assert_eq!(refused, Some(ServiceError::CacheUnavailable));
    assert_eq!(world.fetches(), UNLEASED_FETCHES);

    *locked(&world.unusable) = false;
    let (number, _) = world.found().await;
    *locked(&world.unusable) = true;
    let (copy, level) = world.found().await;
    assert_eq!((copy, level.detail), (number, Some(Detail::Copy)));
    assert!(level.stale);
}

#[tokio::test(start_paused = true)]
async fn no_copy_answers_for_what_is_known_to_be_deleted() {
    let world = World::new();
    world.found().await;
    // Invalidated by another process; then the table is readable, and no more.
    *locked(&world.stored) = Stored::default();
    *locked(&world.unwritable) = true;
    world.fail(Failure::Unavailable("HTTP 502".to_owned()));
    assert!(matches!(world.ask().await, Err(ServiceError::Provider(_))));
}
