//! What happens in a simulation: what is asked for and when, and what goes wrong.

use std::time::Duration;

use portfolio::{
    config::Lifetime,
    domain::{currency::Currency, scope::Scope},
    service::Policy,
};

use crate::{rng::Rng, wallet::Wallet, world::Knobs};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Nothing.
    Calm,
    /// Operations of the table.
    Table,
    /// Requests to providers.
    Providers,
    /// Processes are frozen and die.
    Processes,
    /// Reads are behind writes.
    Lag,
    /// Clocks differ.
    Skew,
    /// All of that.
    Everything,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Calm,
        Self::Table,
        Self::Providers,
        Self::Processes,
        Self::Lag,
        Self::Skew,
        Self::Everything,
    ];

    /// Whether no request has a reason to fail.
    pub fn never_fails(self) -> bool {
        matches!(self, Self::Calm | Self::Lag | Self::Skew)
    }

    /// Whether processes may freeze and die.
    pub fn is_deadly(self) -> bool {
        matches!(self, Self::Processes | Self::Everything)
    }

    /// Whether the table does all that it is asked for.
    pub fn has_sound_table(self) -> bool {
        !matches!(self, Self::Table | Self::Everything)
    }

    fn knobs(self, rng: &mut Rng) -> Knobs {
        let mut knobs = Knobs::default();
        let whole = self == Self::Everything;
        // How hard the storm blows.
        let force = rng.pick(&[1, 1, 3, 8]);
        if whole || self == Self::Table {
            knobs.throttled = 6 * force;
            knobs.answer_lost = 6 * force;
            knobs.repeated = 6 * force;
            knobs.late = 3 * force;
            knobs.unprocessed = 10 * force;
        }
        if whole || self == Self::Providers {
            knobs.provider = 50 * force;
            knobs.slow = 30 * force;
        }
        if whole || self == Self::Processes {
            knobs.freeze = 40 * force;
            knobs.death = 30 * force;
            knobs.slow = knobs.slow.max(100);
        }
        if whole || self == Self::Lag {
            knobs.lag = rng.pick(&[100, 500, 1000, 2000]);
        }
        knobs
    }

    /// The furthest that a clock is from the true time, in milliseconds.
    fn skew(self, rng: &mut Rng) -> i64 {
        match self {
            Self::Skew | Self::Everything if rng.chance(80) => 4900,
            Self::Skew => 2000,
            Self::Everything => rng.pick(&[0, 200, 2000]),
            _ => 0,
        }
    }
}

/// A request to be made.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What kind.
    pub kind: Kind,
    /// Of which wallet.
    pub wallet: usize,
    /// By the process in which place.
    pub slot: usize,
    /// After so many milliseconds.
    pub after: i64,
    /// How long it may take.
    pub patience: Duration,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A portfolio.
    Portfolio {
        /// Which part of it.
        scope: Scope,
        /// In which currency.
        currency: Currency,
        /// Whether the client wants newer data than a minute's.
        newer: bool,
    },
    /// A refresh of holdings that were fetched some time ago.
    Renew {
        /// In which currency their prices come.
        currency: Currency,
        /// How old they may be.
        max_age: Duration,
    },
    /// A DELETE.
    Invalidate,
}

/// A part of a schedule.
#[derive(Clone, Debug)]
pub struct Step {
    /// Requests that arrive together for one wallet each.
    pub bursts: Vec<Vec<Ask>>,
    /// Whether a request for everything follows each burst, in a calm world.
    pub follow_up: bool,
    /// The pause after it, in milliseconds.
    pub pause: i64,
}

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What may go wrong.
    pub profile: Profile,
    /// How often.
    pub knobs: Knobs,
    /// The furthest that a clock is from the true time, in milliseconds.
    pub skew: i64,
    /// How many processes there are at a time.
    pub processes: usize,
    /// The wallets.
    pub wallets: Vec<Wallet>,
    /// Lifetimes and limits.
    pub policy: Policy,
    /// Whether DeFiLlama is asked.
    pub fallback: bool,
    /// Which currencies prices are asked for in.
    pub currencies: Vec<Currency>,
    /// A page of a query ends after so many bytes.
    pub page: usize,
    /// What happens.
    pub steps: Vec<Step>,
}

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

impl Scenario {
    /// Draws a scenario.
    pub fn draw(rng: &mut Rng) -> Self {
        let profile = rng.pick(&Profile::ALL);
        let euro = Currency::parse("eur").unwrap_or_default();
        let wallets = rng.between(1, 2);
        let wallets = (0..wallets).map(|index| Wallet::draw(usize_of(index), rng));
        let wallets: Vec<Wallet> = wallets.collect();
        let currencies = match rng.chance(400) {
            true => vec![Currency::USD, Currency::USD, euro],
            false => vec![Currency::USD],
        };
        let short = rng.chance(300);
        let policy = Policy {
            structure: Lifetime {
                ttl: seconds(300),
                stale: seconds(if short { 600 } else { 86_400 }),
            },
            prices: Lifetime {
                ttl: seconds(60),
                stale: seconds(if short { 120 } else { 900 }),
            },
            structure_timeout: seconds(20),
            price_timeout: seconds(5),
            wallet_cache_bytes: 1 << 20,
        };
        let mut scenario = Self {
            profile,
            knobs: profile.knobs(rng),
            skew: profile.skew(rng),
            processes: usize_of(rng.between(3, 5)),
            wallets,
            policy,
            fallback: rng.chance(800),
            currencies,
            page: match rng.chance(100) {
                true => 300,
                false => 1 << 20,
            },
            steps: Vec::new(),
        };
        for _ in 0..rng.between(1, 4) {
            let step = scenario.step(rng);
            scenario.steps.push(step);
        }
        scenario
    }

    fn step(&self, rng: &mut Rng) -> Step {
        let both = self.wallets.len() > 1 && rng.chance(250);
        let first = usize_of(rng.below(self.wallets.len() as u64));
        let mut bursts = vec![self.burst(first, rng)];
        if both {
            bursts.push(self.burst(1 - first, rng));
        }
        let (low, high) = rng.pick(&[
            (0, 0),
            (1, 2_000),
            (1, 2_000),
            (2_000, 6_000),
            (25_000, 40_000),
            (58_000, 61_000),
            (61_000, 90_000),
            (200_000, 299_000),
            (298_000, 302_000),
            (301_000, 400_000),
            (900_000, 1_300_000),
            (3_600_000, 5 * 3_600_000),
            (86_000_000, 91_000_000),
        ]);
        Step {
            bursts,
            follow_up: rng.chance(500),
            pause: i64::try_from(rng.between(low, high)).unwrap_or(0),
        }
    }

    fn burst(&self, wallet: usize, rng: &mut Rng) -> Vec<Ask> {
        let size = rng.pick(&[1, 1, 2, 3, 5, 8]);
        let spread = rng.pick(&[0, 5, 100, 1500]);
        let mixed = rng.chance(700);
        let one = rng.pick(&Scope::ALL);
        let ask = |kind, rng: &mut Rng| Ask {
            kind,
            wallet,
            slot: usize_of(rng.below(self.processes as u64)),
            after: i64::try_from(rng.below(spread + 1)).unwrap_or(0),
            patience: match self.profile.never_fails() || rng.chance(800) {
                true => seconds(25),
                false => seconds(rng.between(2, 10)),
            },
        };
        let mut asks = Vec::new();
        for _ in 0..size {
            let currency = rng.pick(&self.currencies);
            let kind = match rng.below(100) {
                0..5 => Kind::Renew {
                    currency,
                    max_age: seconds(rng.pick(&[60, 180, 240])),
                },
                other => Kind::Portfolio {
                    scope: if mixed { rng.pick(&Scope::ALL) } else { one },
                    currency,
                    newer: other < 15,
                },
            };
            asks.push(ask(kind, rng));
        }
        if rng.chance(250) {
            let mut forget = ask(Kind::Invalidate, rng);
            forget.after = i64::try_from(rng.below(2_000)).unwrap_or(0);
            asks.push(forget);
            // A request right after it, when reads may still be behind.
            for _ in 0..rng.below(3) {
                let kind = Kind::Portfolio {
                    scope: rng.pick(&Scope::ALL),
                    currency: rng.pick(&self.currencies),
                    newer: false,
                };
                let mut after = ask(kind, rng);
                after.after = forget.after + i64::try_from(rng.between(20, 1_500)).unwrap_or(0);
                asks.push(after);
            }
        }
        asks
    }
}

/// A drawn number as an index.
pub(crate) fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(0)
}
