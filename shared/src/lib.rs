//! A crypto wallet's portfolio from one upstream request, over a two-level
//! cache.
//!
//! Dependencies point one way: the functions call [`lambda`], which decodes
//! events and renders answers; that calls [`service`], the read path; that
//! knows [`upstream`] and [`cache`] by their ports; both speak in terms of
//! [`domain`], which does no I/O and reads no clock.

pub mod clock;
pub mod domain;
pub mod config;
pub mod upstream;
pub mod cache;
pub mod usage;
pub mod service;
pub mod app;
pub mod lambda;
pub mod registry;
pub mod telemetry;
