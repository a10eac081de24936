//! Events that are none.

use thiserror::Error;

/// An event that no trigger of these functions sends.
#[derive(Debug, Error)]
#[error("this event is of no shape that is known here: {0}")]
pub struct UnknownEvent(String);

impl UnknownEvent {
    /// Says what it is, or is not.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
