//! What is checked, and what did not hold.

use crate::world::Moment;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Each price was given for its asset, by its source, when it says.
    PricesAreTrue,
    /// No price is older than its level allows.
    PricesAreYoung,
    /// Holdings are what one fetch brought, all of it.
    HoldingsAreOneFetch,
    /// Holdings are not older than the answer says, nor than their level
    /// allows.
    HoldingsAreYoung,
    /// What the provider priced with these holdings has a price.
    PricesCameWithHoldings,
    /// What was deleted does not come back.
    DeletedStaysDeleted,
    /// Stored holdings are not followed by older ones.
    NothingGoesBack,
    /// What arrives together costs at most two requests to Zerion.
    BurstsAreCheap,
    /// After a burst everything that it fetched is stored.
    BurstsAreStored,
    /// An answer costs at most one request to Zerion for each of its parts, and
    /// one to CoinMarketCap.
    AnswersAreCheap,
    /// Fresh holdings are not fetched again.
    FreshAsksNobody,
    /// After the storm everything can be fetched and stored.
    LeasesEnd,
    /// An error has a cause.
    ErrorsHaveACause,
    /// An answer comes within its time.
    AnswersAreInTime,
    /// Nothing panics.
    NothingPanics,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// Of which request.
    pub request: u32,
    /// When.
    pub at: Moment,
    /// What was found.
    pub found: String,
}
