//! A crypto wallet's portfolio from one upstream request, over a two-level
//! cache.
//!
//! Dependencies point one way: the functions call [`lambda`], which decodes
//! events and renders answers; that calls [`service`], the read path; that
//! knows [`upstream`] and [`cache`] by their ports; both speak in terms of
//! [`domain`], a crate of its own, which does no I/O and reads no clock.

pub mod app;
pub mod aws;
pub mod cache;
pub mod clock;
pub mod config;
pub mod jobs;
pub mod lambda;
mod memory_cache;
#[cfg(feature = "openapi")]
pub mod openapi;
#[cfg(test)]
mod parser_robustness;
mod resilience;
pub mod runtime;
pub mod service;
mod sync;
pub mod telemetry;
pub mod upstream;

pub use portfolio_domain as domain;
