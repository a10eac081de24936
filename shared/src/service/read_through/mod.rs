//! A read-through cache for data of any kind: one upstream request, one lease, a
//! lifetime, stale-if-error, a negative cache.
//!
//! What differs from kind to kind is a [`Resource`]: what it is made of, where it is
//! kept, and how it is fetched. [`look_up`] does the rest.
//!
//! ```text
//! all wanted parts fresh ────────────────────────────────────────► found
//!   │ no
//!   ├─ the provider is rate limited ── usable stale parts, or the failure
//!   ├─ a holder said that it cannot be kept ── fetch without a lease
//!   └─ try for the lease of the parts that no request is fetching
//!        ├─ won ── one request for these parts, store, look again
//!        ├─ lost: it failed just now ── usable stale parts, or the failure
//!        ├─ lost: stored meanwhile ── look again
//!        ├─ lost: being fetched ── usable stale parts, or wait, look again
//!        └─ no lease to be had ── usable stale parts, or a limited number of
//!                                 fetches without one
//! ```

mod fetch;
mod lookup;
mod negative_cache;
mod outcomes;
mod resource;
mod state;
#[cfg(test)]
mod tests;
mod unleased;

pub(in crate::service) use self::{
    lookup::look_up,
    resource::{Answer, Resource, ResourceTerms},
    state::Found,
    unleased::UnleasedLimit,
};
