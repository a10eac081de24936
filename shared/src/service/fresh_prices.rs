//! Prices for answers, as long as none of them has expired.

use std::sync::{Arc, OnceLock};

use super::context::Level;
use crate::{clock::Timestamp, domain::wallet_prices::WalletPrices};

/// Prices for answers of one scope in one currency, from the same data.
#[derive(Debug)]
pub(super) struct FreshPrices {
    /// The prices.
    pub prices: Arc<AnswerPrices>,
    /// Until when all of them are fresh.
    pub fresh_until: Timestamp,
    /// When they were put together. A clock that has been set back since then
    /// tells nothing of them,
    pub from: Timestamp,
    /// nor does one that stands after this.
    pub until: Timestamp,
}

impl FreshPrices {
    /// Returns the level of an answer with them.
    pub fn level(&self) -> Level {
        Level::fresh(self.fresh_until)
    }

    /// Returns whether putting them together at `now` would give the same.
    pub fn hold_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// Prices for an answer.
#[derive(Debug, Default)]
pub struct AnswerPrices {
    selected: WalletPrices,
    digest: OnceLock<u128>,
}

impl AnswerPrices {
    /// Returns prices of which no digest has been made.
    pub fn new(selected: WalletPrices) -> Self {
        Self {
            selected,
            digest: OnceLock::new(),
        }
    }

    /// Returns a number that differs where the prices do; `digest` makes it.
    pub fn digest(&self, digest: impl FnOnce(&WalletPrices) -> u128) -> u128 {
        *self.digest.get_or_init(|| digest(&self.selected))
    }
}

impl std::ops::Deref for AnswerPrices {
    type Target = WalletPrices;

    fn deref(&self) -> &WalletPrices {
        &self.selected
    }
}
