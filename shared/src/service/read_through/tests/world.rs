//! The smallest payload there is: a number, in a store that is a variable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::super::*;
use crate::{
    cache::{
        CacheError, Lease, LeaseOutcome, LeaseRequest, PartHeader, Release, StoreOutcome,
        StoredPart,
    },
    clock::{Clock, Timestamp},
    config::Lifetime,
    domain::{currency::Currency, provider::Provider},
    service::{
        context::{Level, Request, ServiceError},
        policy::LEASE_TTL,
        rate_limits::RateLimits,
        testing::{NoRateLimits, VirtualClock},
    },
    sync::locked,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A number, and when it was fetched.
pub type Number = (Timestamp, u64);

/// What is stored.
#[derive(Clone, Default)]
pub struct Stored {
    pub header: BTreeMap<(), PartHeader>,
    pub parts: BTreeMap<(), Arc<Number>>,
}

/// The store and the provider.
pub struct World {
    pub stored: Mutex<Stored>,
    /// What operations of the store fail, the next one first: `true` is a failure.
    pub broken_loads: Mutex<VecDeque<bool>>,
    pub unusable: Mutex<bool>,
    /// Whether no lease can be taken.
    pub unwritable: Mutex<bool>,
    pub too_large: Mutex<bool>,
    /// How long the provider takes, and how it fails.
    pub took: Mutex<Duration>,
    failure: Mutex<Option<Failure>>,
    fetches: AtomicUsize,
    /// The generations that were known when something was stored.
    pub previous: Mutex<Vec<Option<u64>>>,
    copy: Mutex<Option<Stored>>,
    pub clock: VirtualClock,
    rate_limits: RateLimits,
    unleased: UnleasedLimit,
}

impl World {
    pub fn new() -> Self {
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

    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    pub fn fail(&self, failure: impl Into<Option<Failure>>) {
        *locked(&self.failure) = failure.into();
    }

    fn broken(&self) -> Result<(), CacheError> {
        match *locked(&self.unusable) {
            true => Err(CacheError::deadline()),
            false => Ok(()),
        }
    }

    /// Takes the lease as another process, which is never heard of again.
    pub fn hold(&self) {
        let mut stored = locked(&self.stored);
        let header = stored.header.entry(()).or_default();
        header.generation += 1;
        header.lease_until = Some(self.clock.now().plus(LEASE_TTL));
    }

    pub async fn ask(&self) -> Result<FoundOf, ServiceError> {
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

    pub async fn found(&self) -> (u64, Level) {
        let found = self.ask().await.unwrap();
        (found.parts[&()].1, found.level)
    }
}

pub type FoundOf = Found<(), Number, Stored>;

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
