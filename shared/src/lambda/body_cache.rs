//! Rendered and compressed bodies in the process's memory.
//!
//! They are kept by the answer's validator, which is made from everything that a
//! body is rendered from: one that is found is the one that would be rendered.

use super::{cache_headers::Validator, page::Envelope, page::Page};
use crate::{
    clock::Timestamp,
    memory_cache::{Kept, MemoryCache},
};

/// Bodies by what they are made from and what they travel in.
pub(super) struct BodyCache(MemoryCache<(Validator, Envelope), Body>);

#[derive(Clone)]
struct Body {
    page: Page,
    useful_until: Timestamp,
}

impl Kept for Body {
    fn bytes(&self) -> usize {
        self.page.body.size()
    }

    fn useful_until(&self) -> Timestamp {
        self.useful_until
    }
}

impl BodyCache {
    /// Returns a cache of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(MemoryCache::new(bytes))
    }

    /// Returns a page that was rendered from the same.
    pub fn get(&self, validator: Validator, envelope: Envelope) -> Option<Page> {
        self.0.get(&(validator, envelope)).map(|body| body.page)
    }

    /// Keeps a page, until it may not even stand in for a failure.
    pub fn keep(
        &self,
        validator: Validator,
        envelope: Envelope,
        page: &Page,
        useful_until: Timestamp,
        now: Timestamp,
    ) {
        let page = page.clone();
        let body = Body { page, useful_until };
        self.0.insert((validator, envelope), body, now);
    }
}
