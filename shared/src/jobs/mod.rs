//! What runs on a schedule.

pub mod refresh_watchlist;
pub mod update_registry;
