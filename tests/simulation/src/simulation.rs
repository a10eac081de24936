//! Plays one scenario.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use portfolio::{
    cache::{DynamoAssetStore, Table, asset_registry::AssetStore, asset_registry::Assets},
    clock::Clock,
    domain::{currency::Currency, price::CmcId, query::Query, scope::Part, scope::Scope},
    service::{Request, ServiceError, Snapshot},
    telemetry::request_cost::RequestCost,
    upstream::Attempts,
};
use tokio::task::JoinHandle;

use crate::{
    coins::ASSETS,
    invariants::{Asked, Checker, Violation},
    ledger::Ledger,
    process::{Doom, Process},
    providers::Providers,
    scenario::{Ask, Kind, Profile, Scenario, Step},
    table::{LATEST, SimTable},
    wallet::Wallet,
    world::{Knobs, Moment, TrueClock, World, as_millis, locked, millis, moment},
};

/// How old data may be that a client with `no-cache` accepts.
const NEWER: Duration = Duration::from_secs(30);
/// After the storm, what failed in it may be remembered for this long.
const CALM: Duration = Duration::from_secs(61);

/// What a request came to, for those that wait for it.
struct Ended {
    asked: Asked,
    snapshot: Option<Snapshot>,
}

/// A scenario, and what has come of it so far.
pub struct Simulation {
    world: Arc<World>,
    table: Arc<SimTable>,
    ledger: Arc<Ledger>,
    checker: Checker,
    scenario: Scenario,
    wallets: Arc<Vec<Wallet>>,
    processes: Mutex<Vec<Arc<Process>>>,
    started: AtomicU32,
    requests: AtomicU32,
}

impl Simulation {
    /// Sets a scenario up.
    pub fn new(world: Arc<World>, scenario: Scenario) -> Self {
        let wallets = Arc::new(scenario.wallets.clone());
        let ledger = Arc::new(Ledger::default());
        Self {
            table: SimTable::new(world.clone(), scenario.page),
            checker: Checker::new(world.clone(), ledger.clone(), wallets.clone(), &scenario),
            ledger,
            wallets,
            world,
            scenario,
            processes: Mutex::default(),
            started: AtomicU32::new(0),
            requests: AtomicU32::new(0),
        }
    }

    /// What could go wrong.
    pub fn profile(&self) -> Profile {
        self.scenario.profile
    }

    /// All that did not hold.
    pub fn violations(&self) -> Vec<Violation> {
        self.checker.violations()
    }

    /// Fills the asset registry.
    pub async fn fill_registry(self: Arc<Self>) {
        let mut assets = Assets::default();
        for asset in &ASSETS {
            if let Some(id) = asset.cmc {
                assets.insert(asset.chain, asset.contract, CmcId(id));
            }
        }
        let clock = Arc::new(TrueClock(self.world.clone()));
        let registry = DynamoAssetStore::new(Table::new(self.table.client(), clock.clone()));
        let written = registry
            .write(&assets, clock.now(), &RequestCost::default())
            .await;
        written.unwrap_or_else(|error| panic!("no registry: {error}"));
        // Reads may be behind by seconds.
        tokio::time::sleep(LATEST).await;
    }

    /// The process in a place; a new one where that has died.
    fn process(&self, slot: usize) -> Arc<Process> {
        let mut processes = locked(&self.processes);
        let count = self.scenario.processes;
        while processes.len() < count {
            processes.push(self.start());
        }
        let process = &mut processes[slot % count];
        if process.is_dead() {
            *process = self.start();
        }
        process.clone()
    }

    fn start(&self) -> Arc<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let most = u64::try_from(self.scenario.skew).unwrap_or(0);
        let skew = self.world.draw(|rng, _| rng.below(2 * most + 1));
        let providers = Providers {
            world: self.world.clone(),
            ledger: self.ledger.clone(),
            wallets: self.wallets.clone(),
            skew: i64::try_from(skew).unwrap_or(0) - self.scenario.skew,
        };
        let (policy, fallback) = (self.scenario.policy, self.scenario.fallback);
        let process = Process::start(number, &self.table, &providers, policy, fallback);
        Arc::new(process)
    }

    /// Dooms a process, if the dice say so.
    fn doom(&self, process: &Process) {
        let doom = self.world.draw(|rng, knobs| {
            if rng.chance(knobs.death) {
                return Some((rng.below(40), Doom::Death));
            }
            rng.chance(knobs.freeze).then(|| {
                let (low, high) = rng.pick(&[(100, 5_000), (4_000, 12_000), (10_000, 180_000)]);
                let length = i64::try_from(rng.between(low, high)).unwrap_or(0);
                (rng.below(40), Doom::Freeze(length))
            })
        });
        if let Some((steps, doom)) = doom {
            process.doom(steps, doom);
        }
    }

    /// Makes a request when its time has come, and checks what comes of it.
    fn ask(self: &Arc<Self>, ask: Ask) -> JoinHandle<Option<Ended>> {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(millis(ask.after)).await;
            let process = this.process(ask.slot);
            this.doom(&process);
            let number = this.requests.fetch_add(1, Ordering::Relaxed) + 1;
            this.world.count(|stats| stats.requests += 1);
            let hosted = this.clone().carry_out(ask, number, process.clone());
            let task = tokio::spawn(process.run(number, hosted));
            process.owns(task.abort_handle());
            match task.await {
                Ok(ended) => ended.flatten(),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // It died with its process.
                Err(_) => None,
            }
        })
    }

    async fn carry_out(
        self: Arc<Self>,
        ask: Ask,
        number: u32,
        process: Arc<Process>,
    ) -> Option<Ended> {
        let begin = self.world.now();
        let wallet = &self.wallets[ask.wallet];
        let (skew, service) = (process.skew, &process.service);
        let mut request = Request {
            deadline: service.now().plus(ask.patience),
            max_age: None,
            attempts: Attempts::One,
            patient: false,
            cost: RequestCost::default(),
        };
        self.world
            .note(5, || format!("BEGIN wallet {} {:?}", ask.wallet, ask.kind));
        let mut asked = Asked {
            request: number,
            wallet: ask.wallet,
            scope: Scope::Aggregate,
            currency: Currency::USD,
            accepts_fresh: true,
            skew,
            begin,
            end: begin,
            patience: as_millis(ask.patience),
        };
        let query = |scope, currency| Query {
            currency,
            ..Query::all(wallet.address.clone(), scope)
        };
        match ask.kind {
            Kind::Invalidate => {
                let delete = self.ledger.begin_delete(ask.wallet, begin);
                let forgotten = service.invalidate(&wallet.address, &request).await;
                asked.end = self.world.now();
                self.ledger.end_delete(delete, asked.end, forgotten.is_ok());
                self.end(&asked, &forgotten, |()| String::new());
                None
            }
            Kind::Renew { currency, max_age } => {
                request.max_age = Some(max_age);
                (asked.currency, asked.accepts_fresh) = (currency, false);
                let renewed = service
                    .refresh(&query(Scope::Aggregate, currency), &request)
                    .await;
                asked.end = self.world.now();
                self.end(&asked, &renewed, |renewed| format!("{renewed:?}"));
                None
            }
            Kind::Portfolio {
                scope,
                currency,
                newer,
            } => {
                request.max_age = newer.then_some(NEWER);
                (asked.scope, asked.currency) = (scope, currency);
                asked.accepts_fresh = !newer;
                let answer = service.portfolio(&query(scope, currency), &request).await;
                asked.end = self.world.now();
                self.end(&asked, &answer, |snapshot| {
                    let at = moment(snapshot.fetched_at, 0);
                    format!(
                        "fetched at {at}, {:?}, {:?}",
                        snapshot.structure, snapshot.price_level
                    )
                });
                let snapshot = answer.ok();
                if let Some(snapshot) = &snapshot {
                    self.checker.answered(&asked, snapshot);
                }
                Some(Ended { asked, snapshot })
            }
        }
    }

    fn end<T>(
        &self,
        asked: &Asked,
        outcome: &Result<T, ServiceError>,
        show: impl FnOnce(&T) -> String,
    ) {
        self.world.note(6 + u64::from(outcome.is_ok()), || {
            let text = match outcome {
                Ok(value) => show(value),
                Err(error) => format!("ERROR {error}"),
            };
            format!("END after {} ms: {text}", asked.end - asked.begin)
        });
        self.checker.ended(asked, outcome);
    }

    /// Plays all steps, and checks after the storm that everything recovers.
    pub async fn play(self: Arc<Self>) {
        self.world.set(self.scenario.knobs);
        let mut running = Vec::new();
        for step in self.scenario.steps.clone() {
            let pause = millis(step.pause);
            if self.scenario.profile == Profile::Calm {
                self.calmly(step).await;
            } else {
                for ask in step.bursts.into_iter().flatten() {
                    running.push(self.ask(ask));
                }
            }
            tokio::time::sleep(pause).await;
        }
        self.world.set(Knobs::default());
        for process in locked(&self.processes).iter() {
            process.spare();
        }
        for task in running {
            finished(task.await);
        }
        tokio::time::sleep(CALM).await;
        for wallet in 0..self.wallets.len() {
            self.recover(wallet).await;
        }
    }

    /// Bursts in a calm world: each is waited for, and its costs are checked.
    async fn calmly(self: &Arc<Self>, step: Step) {
        let bursts = step.bursts.into_iter().map(|burst| {
            let this = self.clone();
            async move {
                let began = this.world.now();
                let Some(wallet) = burst.first().map(|ask| ask.wallet) else {
                    return;
                };
                let deletes = burst
                    .iter()
                    .filter(|it| matches!(it.kind, Kind::Invalidate));
                let deletes = deletes.count();
                let tasks: Vec<_> = burst.iter().map(|ask| this.ask(*ask)).collect();
                let mut fetched: BTreeMap<Part, Moment> = BTreeMap::new();
                for task in tasks {
                    let ended = finished(task.await);
                    let parts = ended.iter().flat_map(|it| it.snapshot.iter());
                    for (part, cached) in parts.flat_map(|it| &it.parts) {
                        let at = moment(cached.fetched_at, 0);
                        let known = fetched.entry(*part).or_insert(at);
                        *known = at.max(*known);
                    }
                }
                this.checker.burst(wallet, began, deletes);
                if step.follow_up && deletes == 0 {
                    let ended = this.follow_up(wallet, false).await;
                    if let Some(Ended {
                        asked,
                        snapshot: Some(snapshot),
                    }) = ended
                    {
                        this.checker.followed(&asked, &fetched, &snapshot);
                    }
                }
            }
        });
        futures::future::join_all(bursts).await;
    }

    async fn follow_up(self: &Arc<Self>, wallet: usize, newer: bool) -> Option<Ended> {
        let slot = self.world.draw(|rng, _| rng.below(64));
        let ask = Ask {
            kind: Kind::Portfolio {
                scope: Scope::Aggregate,
                currency: Currency::USD,
                newer,
            },
            wallet,
            slot: crate::scenario::usize_of(slot),
            after: 0,
            patience: Duration::from_secs(25),
        };
        finished(self.ask(ask).await)
    }

    /// The first requests after the storm: one fetches, the next finds it.
    async fn recover(self: &Arc<Self>, wallet: usize) {
        for newer in [true, false] {
            let ended = self.follow_up(wallet, newer).await;
            match ended {
                Some(ended) => self
                    .checker
                    .recovered(&ended.asked, ended.snapshot.as_ref()),
                None => panic!("no process dies after the storm"),
            }
        }
    }
}

/// What a task gave; its panic is the simulation's.
fn finished<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
