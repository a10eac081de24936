//! Prices through the shared book.
//!
//! ```text
//! what the process's copy does not have fresh
//!   │  read its pages ∥ try their leases ∥ read the breakers
//!   ├─ fresh on its page ────────────────────────────────────► taken
//!   ├─ pages won: one request for what is needed and for all
//!   │  else that is wanted on them; written back with the
//!   │  wallet's own prices ──────────────────────────────────► taken
//!   └─ pages that others hold: wait for them, look again
//! ```
//!
//! One answer asks each source at most once.

use super::{
    page_read, page_refresh,
    request::{LookupResult, PriceRequest},
    shared::SharedPrices,
    state::LookupState,
};

/// Returns prices of `needs`: from the process's copy, from the book, or from the
/// sources, in that order.
pub(super) async fn look_up(shared: &SharedPrices, needs: &PriceRequest<'_>) -> LookupResult {
    let mut search = LookupState::new(shared, needs);
    search.take_copies();
    search.patience = search.longest_wait_for_others();
    let until = shared.clock.now().plus(search.patience);
    while !search.missing.is_empty() {
        let patient = !search.is_past(until);
        let mut open = page_read::open(&mut search).await;
        search.take(&open);
        page_refresh::ask(&mut search, &mut open, patient).await;
        let held = search.held(&open);
        if held.is_empty() || !patient {
            break;
        }
        // Others may be waiting for what was just asked for.
        search.flush().await;
        search.wait(&held, until).await;
    }
    let tracked = needs.keys.iter().filter(|(_, need)| need.tracked);
    let notes = shared.notes(needs.currency, tracked.map(|(key, _)| key));
    for (page, keys) in notes {
        search.found.writes.entry(page).or_default().note = keys;
    }
    search.found
}
