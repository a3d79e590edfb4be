//! Registries of processes on one database, and registrations to try them with.

use std::sync::Arc;

use openregister_webhooks::registry::{
    AnyTarget, Caller, Changed, Defaults, Fields, Registration, Registry, RegistryError,
};
use orw_model::EventClass;
use serde_json::{Value, json};

use crate::support::api::{MASTER_KEY, pool};
use crate::support::postgres::Db;

pub(super) const OTHER_KEY: &str = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q=";

pub(super) async fn open(db: &Db) -> Arc<Registry> {
    try_open(db, Some(MASTER_KEY)).await.unwrap()
}

pub(super) async fn try_open(db: &Db, key: Option<&str>) -> Result<Arc<Registry>, RegistryError> {
    let key = key.map(|key| key.to_owned().into());
    Registry::open(pool(db), key.as_ref(), Defaults::default()).await
}

pub(super) fn asked(more: Value) -> Registration {
    let mut body = json!({"httpMethod": "POST", "uri": "https://example.com/webhook",
        "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Registration::parse(&Fields::json(body.as_object().unwrap().clone()), &AnyTarget).unwrap()
}

pub(super) fn by(user: &str) -> Caller {
    Caller {
        user: user.to_owned(),
        app_id: None,
        client: Some("192.0.2.1".to_owned()),
    }
}

pub(super) async fn create(registry: &Registry, more: Value) -> Changed {
    registry.create(&by("admin"), asked(more)).await.unwrap()
}

pub(super) fn class(name: &str) -> EventClass {
    EventClass::parse(&format!(r"OCA\OpenRegister\Event\{name}Event")).unwrap()
}
