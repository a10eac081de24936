//! What must hold of every answer.
//!
//! Each check says what it tolerates: a provider's answer is under way for as
//! long as it may take and two seconds more (a process that was frozen for
//! longer throws it away), and every time in an answer is by the clock of
//! its process.

mod prices;
mod violation;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use portfolio::{
    cache::CachedPart,
    domain::{
        currency::Currency,
        holdings::Holdings,
        scope::{Part, Scope},
    },
    service::{CacheOutcome, Detail, ServiceError, Snapshot},
};

use crate::{
    coins::Asset,
    ledger::{Fetch, Ledger},
    scenario::{Profile, Scenario},
    wallet::Wallet,
    world::{Moment, World, as_millis, locked, moment, wall},
};

pub use violation::{Invariant, Violation};

/// A provider's answer may be this much older than the moment that it is taken
/// for, besides the time that a request may take.
const THAWED: i64 = 2_000;
/// Moments are given in whole milliseconds, rounded in either direction.
const ROUNDING: i64 = 5;
/// A failure may be the reason of an error for this long: marks of failures,
/// pauses of providers, and processes that were frozen.
const AFTERMATH: i64 = 240_000;

/// A provider may take so many milliseconds without failing.
const SLOW_PROVIDER: i64 = 20_000;

/// A request that has less time than this, in milliseconds, may spend all of it
/// on waiting for a lease that ends by another clock.
const LEASE_PATIENCE: i64 = 20_000;

/// A request, as it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its number.
    pub request: u32,
    /// Of which wallet.
    pub wallet: usize,
    /// What of it.
    pub scope: Scope,
    /// In which currency.
    pub currency: Currency,
    /// Whether it accepted anything that is fresh.
    pub accepts_fresh: bool,
    /// How far the process's clock is ahead.
    pub skew: i64,
    /// When it began.
    pub begin: Moment,
    /// When it was answered.
    pub end: Moment,
    /// How long it may take, in milliseconds.
    pub patience: i64,
}

/// Holdings that an acknowledged store made visible.
#[derive(Clone, Copy, Debug)]
struct Stored {
    /// Since when, at the latest.
    since: Moment,
    /// When their fetch began, at the latest.
    begin: Moment,
    /// As of when the provider gave them, at the earliest.
    at: Moment,
    /// When they were fetched, by the true time.
    fetched: Moment,
}

/// Checks everything in one world.
pub struct Checker {
    world: Arc<World>,
    ledger: Arc<Ledger>,
    wallets: Arc<Vec<Wallet>>,
    profile: Profile,
    /// How far apart clocks are.
    apart: i64,
    one_currency: bool,
    fallback: bool,
    structure: (i64, i64),
    prices: (i64, i64),
    structure_delay: i64,
    price_delay: i64,
    stored: Mutex<BTreeMap<(usize, Part), Vec<Stored>>>,
    violations: Mutex<Vec<Violation>>,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").finish_non_exhaustive()
    }
}

impl Checker {
    /// A checker of a scenario.
    pub fn new(
        world: Arc<World>,
        ledger: Arc<Ledger>,
        wallets: Arc<Vec<Wallet>>,
        scenario: &Scenario,
    ) -> Self {
        let policy = &scenario.policy;
        Self {
            world,
            ledger,
            wallets,
            profile: scenario.profile,
            apart: 2 * scenario.skew + ROUNDING,
            one_currency: scenario.currencies.len() == 1,
            fallback: scenario.fallback,
            structure: (
                as_millis(policy.structure.ttl),
                as_millis(policy.structure.max_usable_age()),
            ),
            prices: (
                as_millis(policy.prices.ttl),
                as_millis(policy.prices.max_usable_age()),
            ),
            structure_delay: as_millis(policy.structure_timeout) + THAWED,
            price_delay: as_millis(policy.price_timeout) + THAWED,
            stored: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// All that did not hold.
    pub fn violations(&self) -> Vec<Violation> {
        std::mem::take(&mut *locked(&self.violations))
    }

    /// Notes what did not hold.
    pub fn violated(&self, invariant: Invariant, request: u32, found: String) {
        let at = self.world.now();
        self.world.note(4, || {
            format!("VIOLATION {invariant:?} of r{request}: {found}")
        });
        locked(&self.violations).push(Violation {
            invariant,
            request,
            at,
            found,
        });
    }

    /// Checks how a request ended, with or without an answer.
    pub fn ended<T>(&self, asked: &Asked, outcome: &Result<T, ServiceError>) {
        let fail = |invariant, found| self.violated(invariant, asked.request, found);
        if let Err(error) = outcome {
            let failed = self.world.last_failure();
            let cause = failed.is_some_and(|at| at > asked.begin - AFTERMATH);
            // Of clocks that are further apart than a lease is long, no process
            // knows which one holds it: that may be waited for in vain.
            let lease = self.apart > 4000 + ROUNDING && asked.patience < LEASE_PATIENCE;
            // A slow provider may take longer than a request has.
            let slow = !self.profile.never_fails() && asked.patience < SLOW_PROVIDER;
            let cause = cause || (lease || slow) && *error == ServiceError::Deadline;
            if self.profile.never_fails() || !cause {
                fail(Invariant::ErrorsHaveACause, error.to_string());
            }
        }
        let took = asked.end - asked.begin;
        if took > asked.patience + 100 && !self.profile.is_deadly() {
            fail(Invariant::AnswersAreInTime, format!("took {took} ms"));
        }
        let mine = |fetch: &Fetch| fetch.caller.request == asked.request;
        let fetches = self.ledger.fetches(asked.wallet, mine).len();
        let quotes = self.ledger.quotes_of(asked.request);
        // After a deletion the parts may be fetched one after the other.
        if fetches > self.parts(asked).count().max(1) || quotes > 1 {
            let found = format!("{fetches} requests to Zerion, {quotes} to CoinMarketCap");
            fail(Invariant::AnswersAreCheap, found);
        }
        if fetches > 0 && self.was_fresh(asked) {
            let found = "asked Zerion for what was fresh".to_owned();
            fail(Invariant::FreshAsksNobody, found);
        }
    }

    fn parts(&self, asked: &Asked) -> impl Iterator<Item = Part> {
        let family = self.wallets[asked.wallet].address.family();
        let parts = asked.scope.parts().iter().copied();
        parts.filter(move |part| part.is_covered(family))
    }

    /// Whether all that was asked for was stored when the request began, and
    /// fresh by any clock when it ended. Where the table loses writes or
    /// processes die half-way, a later store may damage an earlier one until
    /// the next.
    fn was_fresh(&self, asked: &Asked) -> bool {
        let sound = self.profile.has_sound_table() && !self.profile.is_deadly();
        if !sound || !asked.accepts_fresh {
            return false;
        }
        let stored = locked(&self.stored);
        self.parts(asked).all(|part| {
            let stored = stored.get(&(asked.wallet, part)).into_iter().flatten();
            let mut visible = stored.filter(|it| it.since <= asked.begin);
            visible.any(|it| {
                it.fetched + self.structure.0 - self.apart > asked.end
                    && !self.ledger.may_be_deleted_since(asked.wallet, it.begin)
            })
        })
    }

    /// Checks an answer.
    pub fn answered(&self, asked: &Asked, snapshot: &Snapshot) {
        let fail = |invariant, found| self.violated(invariant, asked.request, found);
        for (part, cached) in &snapshot.parts {
            let holdings = cached.holdings.holdings();
            let wallet = &self.wallets[asked.wallet];
            if !part.is_covered(wallet.address.family()) {
                if !holdings.positions.is_empty() {
                    let found = format!("{part:?} is not covered");
                    fail(Invariant::HoldingsAreOneFetch, found);
                }
                continue;
            }
            let fetches = self.check_holdings(asked, *part, cached, holdings);
            self.check_age(asked, *part, cached, snapshot);
            self.check_order(asked, *part, cached, &fetches, snapshot);
            for token in &holdings.tokens {
                self.check_price(asked, *part, token, holdings, &fetches, snapshot);
            }
        }
    }

    /// Finds the fetches that may have brought a part: exactly these holdings,
    /// answered just before the part says that it was fetched. The answer may
    /// have waited to be read for as long as a request may take.
    fn check_holdings(
        &self,
        asked: &Asked,
        part: Part,
        cached: &CachedPart,
        holdings: &Holdings<'_>,
    ) -> Vec<Fetch> {
        let raw = |position: &portfolio::domain::holdings::Position<'_>| {
            let raw = position.quantity.as_ref().and_then(|it| it.raw());
            raw.and_then(|raw| raw.parse::<u64>().ok()).unwrap_or(0)
        };
        let mut seen: Vec<u64> = holdings.positions.iter().map(raw).collect();
        seen.sort_unstable();
        let wallet = &self.wallets[asked.wallet];
        let same = |fetch: &Fetch| {
            let told = seen.first().map(|raw| Wallet::version_of(*raw));
            if !fetch.brought(part) || told.is_some_and(|told| told != fetch.version) {
                return false;
            }
            let brought = wallet.brought(part, fetch.version, fetch.complete);
            let quantity = |asset: &&Asset| Wallet::quantity(part, fetch.version, asset);
            let mut brought: Vec<u64> = brought.iter().map(quantity).collect();
            brought.sort_unstable();
            brought == seen
        };
        let same = self.ledger.fetches(asked.wallet, same);
        if same.is_empty() {
            let found = format!("{part:?} holds {seen:?}, which no fetch brought");
            self.violated(Invariant::HoldingsAreOneFetch, asked.request, found);
            return same;
        }
        let in_time = |fetch: &Fetch| {
            let end = fetch.end.unwrap_or(Moment::MAX);
            let waited = moment(cached.fetched_at, fetch.skew) - end;
            (-ROUNDING..=self.structure_delay).contains(&waited)
        };
        let fitting: Vec<Fetch> = same.iter().filter(|it| in_time(it)).cloned().collect();
        if fitting.is_empty() {
            let ends: Vec<_> = same.iter().map(|fetch| fetch.end).collect();
            let said = moment(cached.fetched_at, 0);
            let found = format!("{part:?} says {said}, was fetched at {ends:?}");
            self.violated(Invariant::HoldingsAreYoung, asked.request, found);
            return same;
        }
        fitting
    }

    /// An answer that is not marked as stale was fresh when the request began,
    /// by the clock of its process; any other was within the limit.
    fn check_age(&self, asked: &Asked, part: Part, cached: &CachedPart, snapshot: &Snapshot) {
        let level = &snapshot.structure;
        let limit = match level.stale {
            true => self.structure.1,
            false => self.structure.0,
        };
        let age = asked.begin - moment(cached.fetched_at, asked.skew);
        if age > limit + ROUNDING {
            let found = format!("{part:?} is {age} ms old, stale {}", level.stale);
            self.violated(Invariant::HoldingsAreYoung, asked.request, found);
        }
        if snapshot.fetched_at > cached.fetched_at {
            let found = format!("{part:?} is older than the answer says");
            self.violated(Invariant::HoldingsAreYoung, asked.request, found);
        }
    }

    /// Nothing that was deleted comes back, and nothing that was stored is
    /// followed by something older.
    fn check_order(
        &self,
        asked: &Asked,
        part: Part,
        cached: &CachedPart,
        fetches: &[Fetch],
        snapshot: &Snapshot,
    ) {
        let (wallet, level) = (asked.wallet, &snapshot.structure);
        // With neither the table nor the provider, a process's last copy stands
        // in, marked: nothing can tell it of a deletion.
        let copy = level.stale && level.detail == Some(Detail::Copy);
        if let Some(deleted) = self.ledger.deleted_before(wallet, asked.begin)
            && !copy
            && !fetches.is_empty()
            && fetches.iter().all(|fetch| fetch.begin < deleted)
        {
            let found = format!("{part:?} was deleted at {deleted}");
            self.violated(Invariant::DeletedStaysDeleted, asked.request, found);
        }
        let Some(newest) = fetches.iter().map(|fetch| fetch.at).max() else {
            return;
        };
        let mut stored = locked(&self.stored);
        let known = stored.entry((wallet, part)).or_default();
        let newer = known
            .iter()
            .filter(|it| it.since <= asked.begin && it.at > newest + ROUNDING)
            .find(|it| !self.ledger.may_be_deleted_since(wallet, it.begin))
            .copied();
        if level.stored {
            known.push(Stored {
                since: asked.end,
                begin: fetches.iter().map(|it| it.begin).min().unwrap_or(0),
                at: fetches.iter().map(|it| it.at).min().unwrap_or(0),
                fetched: moment(cached.fetched_at, asked.skew),
            });
        }
        drop(stored);
        if let Some(newer) = newer.filter(|_| !level.stale) {
            let found = format!(
                "{part:?} is as of {newest}, what was stored at {} is as of {}",
                newer.since, newer.at
            );
            self.violated(Invariant::NothingGoesBack, asked.request, found);
        }
    }

    /// Checks what a burst cost, in a calm world: requests that arrive together
    /// for a wallet cost two requests to Zerion, and two more for each DELETE
    /// among it.
    pub fn burst(&self, wallet: usize, began: Moment, deletes: usize) {
        let now = self.world.now();
        let within = |fetch: &Fetch| (began..=now).contains(&fetch.begin);
        let fetches = self.ledger.fetches(wallet, within);
        if fetches.len() > 2 + 2 * deletes {
            let who: BTreeSet<u32> = fetches.iter().map(|it| it.caller.request).collect();
            let found = format!(
                "{} requests to Zerion, by {who:?}, with {deletes} DELETEs",
                fetches.len()
            );
            self.violated(Invariant::BurstsAreCheap, 0, found);
        }
    }

    /// Checks that a request for everything found it stored. `fetched` tells
    /// when each part was fetched that the burst before it answered.
    pub fn followed(&self, asked: &Asked, fetched: &BTreeMap<Part, Moment>, snapshot: &Snapshot) {
        let fresh = |part: Part| {
            let at = fetched.get(&part);
            at.is_some_and(|at| at + self.structure.0 > asked.end + ROUNDING)
        };
        if self.parts(asked).all(fresh) && snapshot.structure.outcome != CacheOutcome::Hit {
            let found = format!("the structure was {:?}", snapshot.structure);
            self.violated(Invariant::BurstsAreStored, asked.request, found);
        }
    }

    /// Checks the first answer after the storm: newly fetched and stored, or
    /// not long ago.
    pub fn recovered(&self, asked: &Asked, outcome: Option<&Snapshot>) {
        let young = |snapshot: &Snapshot| {
            let age = asked.begin - moment(snapshot.fetched_at, asked.skew);
            snapshot.structure.stored || (age < 31_000 + self.apart && !snapshot.structure.stale)
        };
        if !outcome.is_some_and(young) {
            let level = outcome.map(|snapshot| snapshot.structure);
            let found = format!("answered {level:?} at {}", wall(asked.end));
            self.violated(Invariant::LeasesEnd, asked.request, found);
        }
    }
}
