//! What Lambda says of an invocation.

use std::time::Duration;

use crate::clock::Timestamp;

/// What an invocation gives besides the event.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Lambda's id of it.
    pub id: String,
    /// When Lambda ends it.
    pub deadline: Option<Timestamp>,
    /// The trace that it belongs to, as X-Ray writes it.
    pub trace: Option<String>,
}

impl Invocation {
    /// When something must be done that may take `own`: never past Lambda's
    /// deadline.
    pub(crate) fn deadline_of(&self, now: Timestamp, own: Duration) -> Timestamp {
        const MARGIN: Duration = Duration::from_millis(500);
        let own = now.plus(own);
        match self.deadline {
            Some(lambda) => own.min(lambda.minus(MARGIN)),
            None => own,
        }
    }
}
