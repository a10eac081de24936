//! What differs between the kinds of data that the cache holds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    cache::{CacheError, Lease, LeaseOutcome, LeaseRequest, PartHeader, Release, StoreOutcome},
    clock::Timestamp,
    config::Lifetime,
    domain::provider::Provider,
    service::context::Request,
    telemetry::request_cost::RequestCost,
    upstream::UpstreamError,
};

/// How data of one kind are fetched and how long they last.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct ResourceTerms {
    /// Who is asked.
    pub provider: Provider,
    /// How long they are fresh, and usable after that.
    pub lifetime: Lifetime,
    /// How long one request to the provider may take.
    pub timeout: Duration,
}

/// What a provider answered.
pub(in crate::service) struct Answer<R: Resource + ?Sized> {
    /// What was asked for.
    pub parts: BTreeMap<R::Part, Arc<R::Value>>,
    /// Whether that is all of it. What is not whole is never stored.
    pub complete: bool,
    /// When it answered.
    pub at: Timestamp,
}

/// Data of one kind, for one request.
#[async_trait]
pub(in crate::service) trait Resource: Send + Sync {
    /// What is leased, fetched and stored by itself.
    type Part: Copy + Ord + Send + Sync + 'static;
    /// A part, cached or just fetched.
    type Value: Send + Sync;
    /// What tells which parts are stored, leased, or could not be fetched.
    type Header: Clone + Default + PartialEq + Send + Sync;
    /// All that one read brings, under its header.
    type Entry: Clone + Default + Send + Sync;

    /// All parts.
    const ALL: &'static [Self::Part];

    /// Returns the header of what was read.
    fn header(entry: &Self::Entry) -> &Self::Header;

    /// Returns the parts that are there whole.
    fn parts(entry: &Self::Entry) -> &BTreeMap<Self::Part, Arc<Self::Value>>;

    /// Returns what a header says of each part.
    fn headers(header: &Self::Header) -> &BTreeMap<Self::Part, PartHeader>;

    /// Returns when a part was fetched.
    fn fetched_at(value: &Self::Value) -> Timestamp;

    /// Returns a hash of a part's content.
    fn hash(value: &Self::Value) -> u128;

    /// Returns the word for a part in coverage and logs.
    fn part_name(part: Self::Part) -> &'static str;

    /// Returns how it is fetched and how long it lasts.
    fn terms(&self) -> ResourceTerms;

    /// Returns the request that it is for.
    fn request(&self) -> &Request;

    /// Returns the time now.
    fn now(&self) -> Timestamp;

    /// Reads what is stored; `None` if that cannot be read. `consistent` sees
    /// every finished write.
    async fn load(&self, consistent: bool) -> Option<Self::Entry>;

    /// Reads the header alone, with every finished write.
    async fn load_header(&self) -> Result<Self::Header, CacheError>;

    /// Tries for the lease of some parts.
    async fn take_lease(
        &self,
        wanted: LeaseRequest<'_, Self::Part>,
    ) -> Result<LeaseOutcome<Self::Part, Self::Header>, CacheError>;

    /// Keeps a lease until `until`; `false` if it was lost.
    async fn renew_lease(
        &self,
        lease: &Lease<Self::Part>,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError>;

    /// Ends a lease without storing anything, and says why.
    async fn release_lease(
        &self,
        lease: &Lease<Self::Part>,
        release: &Release,
    ) -> Result<(), CacheError>;

    /// Makes the one request to the provider, for some parts.
    async fn fetch(
        &self,
        parts: &[Self::Part],
        limit: Duration,
    ) -> Result<Answer<Self>, UpstreamError>;

    /// Stores what was fetched, within the request's time, and ends the lease.
    async fn store(
        &self,
        lease: &Lease<Self::Part>,
        parts: &BTreeMap<Self::Part, Arc<Self::Value>>,
        previous: &Self::Entry,
        took: Duration,
    ) -> Result<StoreOutcome, CacheError>;

    /// Returns the process's copy as far as `header` refers to the same fetches.
    fn copy_under(&self, header: &Self::Header) -> Self::Entry;

    /// Returns the process's copy as it was read; it may have changed since.
    fn last_copy(&self) -> Option<Self::Entry>;

    /// Returns for how long it is remembered that data are too large to be stored.
    fn uncacheable_ttl(&self) -> Duration {
        self.terms().lifetime.ttl
    }
}
