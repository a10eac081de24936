//! Processes: each has a service with a memory and a clock of its own, may be
//! frozen for a while, and may die in the middle of anything.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use portfolio::{
    cache::{
        DynamoAssetStore, DynamoPriceBook, DynamoRateLimits, DynamoWalletStore, Retention, Table,
    },
    clock::{Clock, Timestamp},
    service::{Policy, Ports, Service},
    upstream::QuoteProvider,
};
use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep},
};

use crate::{
    providers::{CoinMarketCap, DefiLlama, Providers},
    table::SimTable,
    world::{Caller, Fault, Moment, World, locked, millis, wall},
};

/// A clock that is ahead of the true one.
struct Skewed {
    world: Arc<World>,
    skew: i64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        wall(self.world.now() + self.skew)
    }
}

/// What is to happen to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// It is frozen for so many milliseconds.
    Freeze(i64),
    /// It dies.
    Death,
}

/// Freezes and ends a process.
#[derive(Default)]
struct Control {
    frozen_until: AtomicI64,
    dead: AtomicBool,
    /// After so many polls of its work.
    doom: Mutex<Option<(u64, Doom)>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A process.
pub struct Process {
    /// Its number, counted over all that ever were.
    pub number: u32,
    /// How far its clock is ahead.
    pub skew: i64,
    /// What it runs.
    pub service: Arc<Service>,
    world: Arc<World>,
    control: Arc<Control>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a process, whose memory is empty.
    pub fn start(
        number: u32,
        table: &Arc<SimTable>,
        providers: &Providers,
        policy: Policy,
        fallback: bool,
    ) -> Self {
        let (world, skew) = (providers.world.clone(), providers.skew);
        let clock: Arc<dyn Clock> = Arc::new(Skewed {
            world: world.clone(),
            skew,
        });
        let table = Table::new(table.client(), clock.clone());
        let retention = Retention {
            structure: policy.structure.max_usable_age(),
            prices: policy.prices.max_usable_age(),
        };
        let providers = Arc::new(providers.clone());
        let mut quotes: Vec<Arc<dyn QuoteProvider>> =
            vec![Arc::new(CoinMarketCap(providers.clone()))];
        if fallback {
            quotes.push(Arc::new(DefiLlama(providers.clone())));
        }
        let ports = Ports {
            structures: providers,
            quotes,
            wallets: Arc::new(DynamoWalletStore::new(table.clone(), retention)),
            assets: Arc::new(DynamoAssetStore::new(table.clone())),
            book: Arc::new(DynamoPriceBook::new(table.clone(), retention.prices)),
            rate_limits: Arc::new(DynamoRateLimits::new(table.clone())),
            queue: None,
            auto_watch: None,
            clock,
        };
        Self {
            number,
            skew,
            service: Arc::new(Service::new(ports, policy)),
            world,
            control: Arc::default(),
        }
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.control.dead.load(Ordering::Relaxed)
    }

    /// Dooms it, after so many steps of its work.
    pub fn doom(&self, steps: u64, doom: Doom) {
        *locked(&self.control.doom) = Some((steps, doom));
    }

    /// Ends what was in store for it.
    pub fn spare(&self) {
        *locked(&self.control.doom) = None;
        self.control
            .frozen_until
            .store(self.world.now(), Ordering::Relaxed);
    }

    /// Runs something in this process: it stands still while the process is
    /// frozen, and gives nothing if that dies.
    pub fn run<F: Future>(&self, request: u32, inner: F) -> Hosted<F> {
        Hosted {
            inner: Some(Box::pin(inner)),
            world: self.world.clone(),
            control: self.control.clone(),
            caller: Caller {
                process: self.number,
                request,
            },
            thaw: None,
        }
    }

    /// Lets a task end with the process.
    pub fn owns(&self, task: AbortHandle) {
        let mut tasks = locked(&self.control.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }
}

/// Something that runs in a process.
pub struct Hosted<F: Future> {
    inner: Option<Pin<Box<F>>>,
    world: Arc<World>,
    control: Arc<Control>,
    caller: Caller,
    thaw: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> std::fmt::Debug for Hosted<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").finish_non_exhaustive()
    }
}

impl<F: Future> Hosted<F> {
    /// Meets what was in store after one more step; whether it was death.
    fn step(&self) -> bool {
        let mut doom = locked(&self.control.doom);
        let Some((left, what)) = &mut *doom else {
            return false;
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        let what = *what;
        *doom = None;
        match what {
            Doom::Freeze(length) => {
                let until = self.world.now() + length;
                self.world.fault(Fault::Frozen);
                self.world.note(2, || format!("FROZEN for {length} ms"));
                self.control.frozen_until.store(until, Ordering::Relaxed);
                false
            }
            Doom::Death => {
                self.world.fault(Fault::Died);
                self.world.note(3, || "DIED".to_owned());
                self.control.dead.store(true, Ordering::Relaxed);
                for task in locked(&self.control.tasks).drain(..) {
                    task.abort();
                }
                true
            }
        }
    }
}

impl<F: Future> Future for Hosted<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let until: Moment = this.control.frozen_until.load(Ordering::Relaxed);
        let left = until - this.world.now();
        if left > 0 {
            let thaw = Instant::now() + millis(left);
            let mut sleep = Box::pin(tokio::time::sleep_until(thaw));
            if sleep.as_mut().poll(context).is_pending() {
                this.thaw = Some(sleep);
                return Poll::Pending;
            }
        }
        this.thaw = None;
        let outside = this.caller.enter();
        let polled = inner.as_mut().poll(context);
        let dead = polled.is_pending() && this.step();
        if dead {
            this.inner = None;
        }
        outside.enter();
        match polled {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if dead => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
