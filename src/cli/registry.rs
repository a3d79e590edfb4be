//! The registrations, for the commands that need them.

use std::sync::Arc;

use super::database;
use super::failure::Failure;
use crate::config::Settings;
use crate::registry::{Defaults, Registry, RegistryError, Webhook, WebhookId};

/// Opens the registry in the database of these settings.
pub(super) async fn open(settings: &Settings) -> Result<Arc<Registry>, Failure> {
    let database = database::database(settings)?;
    // The pool connects later; connecting now gives the better message if the database cannot be reached.
    drop(database::connect(&database).await?);
    let defaults = Defaults {
        limits: settings.default_limits,
        retry: settings.default_retry.clone(),
        source: settings.event_source.clone(),
    };
    Ok(Registry::open(database.pool(2)?, settings.master_key.as_ref(), defaults).await?)
}

/// A webhook by its id; the message says so if it is stored but cannot be read.
pub(super) fn find(registry: &Registry, id: i64) -> Result<Arc<Webhook>, Failure> {
    let snapshot = registry.snapshot();
    snapshot.get(WebhookId(id)).cloned().ok_or_else(|| {
        let broken = snapshot.unreadable().iter().find(|(bad, _)| bad.0 == id);
        match broken {
            Some((_, reason)) => Failure::Failed(format!(
                "webhook {id} is stored but cannot be read: {reason}; remove it and register it again"
            )),
            None => unknown(RegistryError::NotFound(WebhookId(id))),
        }
    })
}

/// Every command answers an id that does not exist in the same words.
pub(super) fn unknown(error: RegistryError) -> Failure {
    match error {
        RegistryError::NotFound(id) => Failure::Failed(format!(
            "webhook {id} does not exist; `webhook list` shows those that do"
        )),
        other => other.into(),
    }
}
