//! What really happened: fetches, DELETEs, requests for prices.

use std::sync::Mutex;

use portfolio::domain::{
    currency::Currency,
    scope::{Part, Scope},
};

use crate::world::{Caller, Moment, locked};

/// A request to Zerion.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Of which wallet.
    pub wallet: usize,
    /// What of it.
    pub scope: Scope,
    /// In which currency its prices came.
    pub currency: Currency,
    /// The process that asked.
    pub caller: Caller,
    /// How far that process's clock is ahead.
    pub skew: i64,
    /// When it began.
    pub begin: Moment,
    /// As of which moment it was answered, if it was.
    pub at: Moment,
    /// When the answer was read.
    pub end: Option<Moment>,
    /// Which version of the wallet it brought.
    pub version: u64,
    /// Whether it was whole.
    pub complete: bool,
}

impl Fetch {
    /// Whether it brought this part.
    pub fn brought(&self, part: Part) -> bool {
        self.end.is_some() && self.scope.parts().contains(&part)
    }
}

/// A DELETE.
#[derive(Clone, Copy, Debug)]
pub struct Delete {
    /// Of which wallet.
    pub wallet: usize,
    /// When it began.
    pub begin: Moment,
    /// When it ended, if it is known to have been carried out.
    pub acknowledged: Option<Moment>,
    /// When it was over, one way or the other.
    pub end: Option<Moment>,
}

#[derive(Default)]
struct Inner {
    fetches: Vec<Fetch>,
    deletes: Vec<Delete>,
    /// Requests to CoinMarketCap, by the process that made them.
    quotes: Vec<Caller>,
}

/// All that happened in one world.
#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// Notes a request to Zerion; gives its number.
    pub fn begin_fetch(&self, fetch: Fetch) -> usize {
        let fetches = &mut locked(&self.0).fetches;
        fetches.push(fetch);
        fetches.len() - 1
    }

    /// Notes that a request to Zerion was answered.
    pub fn end_fetch(
        &self,
        number: usize,
        (at, end): (Moment, Moment),
        version: u64,
        complete: bool,
    ) {
        let fetch = &mut locked(&self.0).fetches[number];
        fetch.at = at;
        fetch.end = Some(end);
        fetch.version = version;
        fetch.complete = complete;
    }

    /// The fetches of a wallet that `wanted` says yes to.
    pub fn fetches(&self, wallet: usize, wanted: impl Fn(&Fetch) -> bool) -> Vec<Fetch> {
        let inner = locked(&self.0);
        let fetches = inner.fetches.iter().filter(|it| it.wallet == wallet);
        fetches.filter(|fetch| wanted(fetch)).cloned().collect()
    }

    /// Notes a DELETE; gives its number.
    pub fn begin_delete(&self, wallet: usize, begin: Moment) -> usize {
        let deletes = &mut locked(&self.0).deletes;
        deletes.push(Delete {
            wallet,
            begin,
            acknowledged: None,
            end: None,
        });
        deletes.len() - 1
    }

    /// Notes that a DELETE is over.
    pub fn end_delete(&self, number: usize, end: Moment, acknowledged: bool) {
        let delete = &mut locked(&self.0).deletes[number];
        delete.end = Some(end);
        delete.acknowledged = acknowledged.then_some(end);
    }

    /// The begin of the last DELETE that had been acknowledged at a moment.
    pub fn deleted_before(&self, wallet: usize, moment: Moment) -> Option<Moment> {
        let inner = locked(&self.0);
        let deletes = inner.deletes.iter().filter(|it| it.wallet == wallet);
        let over = deletes.filter(|it| it.acknowledged.is_some_and(|at| at <= moment));
        over.map(|it| it.begin).max()
    }

    /// Whether a DELETE may have happened at or after a moment. One that was
    /// not acknowledged may happen at any time.
    pub fn may_be_deleted_since(&self, wallet: usize, moment: Moment) -> bool {
        let inner = locked(&self.0);
        let mut deletes = inner.deletes.iter().filter(|it| it.wallet == wallet);
        deletes.any(|it| it.acknowledged.is_none_or(|at| at >= moment))
    }

    /// Notes a request to CoinMarketCap.
    pub fn quote(&self, caller: Caller) {
        locked(&self.0).quotes.push(caller);
    }

    /// How often a request asked CoinMarketCap.
    pub fn quotes_of(&self, request: u32) -> usize {
        let inner = locked(&self.0);
        let quotes = inner.quotes.iter();
        quotes.filter(|caller| caller.request == request).count()
    }
}
