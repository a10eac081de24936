//! The function that fills the asset registry.

use std::collections::HashMap;

use lambda_runtime::Diagnostic;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::jobs::update_registry::{RegistryRun, RegistryUpdate};

/// Brings the asset registry up to date.
pub struct RegistryFunction(RegistryUpdate);

impl RegistryFunction {
    /// Returns the function that runs `update`.
    pub fn new(update: RegistryUpdate) -> Self {
        Self(update)
    }

    /// Answers one event: a schedule's starts an update if one is due, any
    /// other always does.
    ///
    /// # Errors
    /// When the registry stays as it was. The error's type is a stable word.
    pub async fn handle(&self, event: &RawValue) -> Result<RegistryRun, Diagnostic> {
        // Anything may come that is JSON.
        let fields = serde_json::from_str::<HashMap<String, IgnoredAny>>(event.get());
        let scheduled = fields.is_ok_and(|fields| fields.contains_key("detail-type"));
        let done = match scheduled {
            true => self.0.run_if_due().await,
            false => self.0.run().await.map(RegistryRun::Updated),
        };
        done.map_err(|error| {
            let code = error.code();
            tracing::error!(code, %error, "the asset registry could not be brought up to date");
            Diagnostic {
                error_type: code.to_owned(),
                error_message: error.to_string(),
            }
        })
    }
}
