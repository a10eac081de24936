//! What keeps a failing or slow service from taking this one along.

pub(crate) mod bulkhead;
pub(crate) mod circuit_breaker;
