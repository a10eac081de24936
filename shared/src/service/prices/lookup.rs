//! Prices through the shared book.
//!
//! ```text
//! what the process's copy does not have fresh
//!   │  read its pages ∥ try for the lease ∥ read the rate limit
//!   ├─ fresh on its page ────────────────────────────────────► taken
//!   ├─ lease won: one request for what is needed and for what
//!   │  else is wanted on these pages, the oldest first ──────► taken
//!   └─ lease held by another process: wait for it, look again
//! ```
//!
//! One answer asks each provider at most once.

use super::{
    book_read, refresh,
    request::{LookupResult, PriceRequest},
    shared::SharedPrices,
    state::LookupState,
};

/// Returns prices of `needs`: from the process's copy, from the book, or from the
/// provider, in that order.
pub(super) async fn look_up(shared: &SharedPrices, needs: &PriceRequest<'_>) -> LookupResult {
    let mut state = LookupState::new(shared, needs);
    state.take_copies();
    let mut until = None;
    while !state.missing.is_empty() {
        let view = book_read::read(&mut state).await;
        let until = *until.get_or_insert_with(|| state.waits_until(view.lease.of_other()));
        let patient = !state.is_past(until);
        if refresh::refresh(&mut state, view, patient).await || !patient {
            break;
        }
        state.wait(until).await;
    }
    let tracked = needs.keys.iter().filter(|(_, need)| need.tracked);
    let notes = shared.notes(needs.currency, tracked.map(|(key, _)| key));
    for (page, keys) in notes {
        let write = state.found.write.pages.entry(page).or_default();
        write.wanted = keys;
    }
    state.found
}
