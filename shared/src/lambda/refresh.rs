//! The function that keeps watched wallets fresh: a run on a schedule, the
//! messages that a run sends, and the management of the list.

use std::{collections::BTreeSet, time::Duration};

use lambda_runtime::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Invocation,
    event::{self, Event, UnknownEvent},
    log_and_fail,
    problem::{Code, Problem},
    unknown_event,
    warm::Warmer,
};
use crate::{
    cache::watchlist::WatchedWallet,
    clock::Timestamp,
    domain::{
        address::Address, currency::Currency, query::InvalidParameter,
        refresh_schedule::min_refresh_age, scope::Scope,
    },
    jobs::refresh_watchlist::Refresh,
    telemetry::request_cost::RequestCost,
};

/// Addresses in one `watch` or `unwatch`.
const MAX_ADDRESSES: usize = 1000;
/// What an invocation takes where the event does not say when it ends.
const MAX_RUN: Duration = Duration::from_secs(900);

/// Keeps watched wallets fresh.
pub struct RefreshFunction(Refresh);

/// What a direct invocation asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    action: Action,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    currency: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Watch,
    Unwatch,
    List,
    Run,
}

/// What came of `watch` and `unwatch`.
#[derive(Serialize)]
struct Changed {
    /// How many wallets were named.
    wallets: usize,
}

/// What is watched.
#[derive(Serialize)]
struct Listed {
    wallets: Vec<ListedWallet>,
}

#[derive(Serialize)]
struct ListedWallet {
    address: String,
    currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// What tells the events of this function apart.
#[derive(Deserialize)]
struct Shape<'e> {
    action: Option<serde::de::IgnoredAny>,
    #[serde(rename = "detail-type", borrow)]
    detail_type: Option<&'e RawValue>,
}

impl RefreshFunction {
    /// The function over `refresh`.
    pub fn new(refresh: Refresh) -> Self {
        Self(refresh)
    }

    /// Answers one event: a schedule's has it run, messages have their wallets
    /// fetched, `{"action": "watch" | "unwatch" | "list" | "run"}` does that.
    ///
    /// # Errors
    /// When the event is of another shape, or what it asks for fails.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<Box<RawValue>, Diagnostic> {
        let unknown = |error: &dyn std::fmt::Display| unknown_event(error, invocation);
        let failed = |problem| log_and_fail(problem, invocation);
        let shape: Shape<'_> =
            serde_json::from_str(event.get()).map_err(|error| unknown(&error))?;
        let answer = if shape.action.is_some() {
            let command = serde_json::from_str(event.get())
                .map_err(|error| failed(bad("action", error.to_string())))?;
            self.command(command, invocation).await.map_err(failed)?
        } else if shape.detail_type.is_some() {
            self.run(invocation).await.map_err(failed)?
        } else {
            match event::decode(event) {
                Ok(Event::Queue(messages)) => {
                    json(&self.warmer().batch(&messages, invocation).await).map_err(failed)?
                }
                Ok(_) => {
                    let other = UnknownEvent::new("neither a schedule nor messages nor an action");
                    return Err(unknown(&other));
                }
                Err(error) => return Err(unknown(&error)),
            }
        };
        Ok(answer)
    }

    /// Fetches holdings that are worth it, and no prices: those come with them.
    fn warmer(&self) -> Warmer<'_> {
        let terms = &self.0.terms;
        Warmer {
            service: &self.0.service,
            scope: Scope::Aggregate,
            deadline: terms.deadline,
            concurrency: terms.concurrency,
            max_age: Some(min_refresh_age(terms.ttl)),
            log_addresses: terms.log_addresses,
        }
    }

    async fn run(&self, invocation: &Invocation) -> Result<Box<RawValue>, Problem> {
        let end = invocation.deadline_of(self.0.clock.now(), MAX_RUN);
        json(&self.0.run(end).await.map_err(unavailable)?)
    }

    async fn command(
        &self,
        command: Command,
        invocation: &Invocation,
    ) -> Result<Box<RawValue>, Problem> {
        let (watched, cost) = (&self.0.watched, RequestCost::default());
        let takes_wallets = matches!(command.action, Action::Watch | Action::Unwatch);
        let addresses: Vec<&String> = command.address.iter().chain(&command.addresses).collect();
        if takes_wallets == addresses.is_empty() {
            return Err(match takes_wallets {
                true => bad("addresses", "is missing"),
                false => bad("addresses", "is not known for this action"),
            });
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(bad("addresses", format!("has more than {MAX_ADDRESSES}")));
        }
        if command.currency.is_some() && command.action != Action::Watch {
            return Err(bad("currency", "is not known for this action"));
        }
        let addresses = addresses.into_iter().map(|text| Address::parse(text));
        let addresses: BTreeSet<Address> = addresses.collect::<Result<_, _>>()?;
        let wallets = addresses.len();
        match command.action {
            Action::Watch => {
                let currency = match &command.currency {
                    Some(code) => {
                        Currency::parse(code).ok_or_else(|| bad("currency", "is not known"))?
                    }
                    None => Currency::default(),
                };
                let wallet = |address| WatchedWallet {
                    address,
                    currency,
                    until: None,
                };
                let list: Vec<_> = addresses.into_iter().map(wallet).collect();
                watched.watch(&list, &cost).await.map_err(unavailable)?;
                json(&Changed { wallets })
            }
            Action::Unwatch => {
                let list: Vec<_> = addresses.into_iter().collect();
                watched.unwatch(&list, &cost).await.map_err(unavailable)?;
                json(&Changed { wallets })
            }
            Action::List => {
                let now = self.0.clock.now();
                let list = watched.list(now, &cost).await.map_err(unavailable)?;
                let wallet = |wallet: WatchedWallet| ListedWallet {
                    address: wallet.address.to_string(),
                    currency: wallet.currency,
                    until: wallet.until,
                };
                let wallets = list.into_iter().map(wallet).collect();
                json(&Listed { wallets })
            }
            Action::Run => self.run(invocation).await,
        }
    }
}

fn bad(name: &str, reason: impl Into<String>) -> Problem {
    InvalidParameter::new(name, reason).into()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: crate::cache::CacheError) -> Problem {
    tracing::error!(%error, "the list of watched wallets cannot be used");
    Problem::new(Code::UpstreamUnavailable, "The cache could not be reached.")
}

fn json(answer: &impl Serialize) -> Result<Box<RawValue>, Problem> {
    to_raw_value(answer).map_err(|_| Problem::new(Code::Internal, "It could not be written."))
}
