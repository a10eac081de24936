//! What the service tells of itself: logs, metrics, and what a request costs.

mod emf;
mod logging;
pub mod metrics;
pub mod request_cost;

pub use self::{
    emf::write_metrics,
    logging::{Output, init},
};
