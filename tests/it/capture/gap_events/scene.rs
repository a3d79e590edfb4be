//! A scene whose outbox has a limit beyond which changes are lost.

use std::ops::{Deref, DerefMut};

use orw_testkit::Generation;
use serde_json::{Value, json};

use crate::support::postgres::Db;
use crate::support::scene;
pub(super) use crate::support::scene::PATIENCE;
use crate::support::sidecar::Sidecar;

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The scene; the program runs with `ORW_OUTBOX_POLICY=stop`.
pub(super) struct Scene(scene::Scene);

impl Deref for Scene {
    type Target = scene::Scene;

    fn deref(&self) -> &scene::Scene {
        &self.0
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut scene::Scene {
        &mut self.0
    }
}

impl Scene {
    pub(super) async fn new() -> Self {
        let scene = scene::Scene::on(Db::openregister(Generation::V0_2_13).await)
            .with("ORW_OUTBOX_POLICY", "stop")
            .with("ORW_DISCOVERY_INTERVAL_SECONDS", "1");
        Self(scene.running().await)
    }

    /// One more process that polls; it does not run yet.
    pub(super) fn another(&self) -> Sidecar {
        self.0.another().with("ORW_DOORBELL", "poll")
    }

    /// Registers a webhook at this path, with [`SECRET`].
    pub(super) async fn register(&self, path: &str, event: &str, more: Value) -> i64 {
        let mut fields = json!({"uri": self.receiver.url(path), "secret": SECRET});
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.0.register(event, fields).await
    }

    /// Nobody reads: writes objects until the outbox takes no more, and then as much again of objects and registers.
    pub(super) async fn lose(&self) {
        self.client
            .batch_execute("SELECT openregister_webhooks.set_outbox_limit(5242880)")
            .await
            .unwrap();
        let mut written = 0;
        while self
            .count("SELECT count(*) FROM openregister_webhooks.missed")
            .await
            == 0
        {
            assert!(written < 100, "it grows beyond its limit");
            written += 1;
            self.import(&format!("fill{written}")).await;
        }
        self.import("lost").await;
        self.client
            .batch_execute("UPDATE oc_openregister_registers SET title = title || ' lost'")
            .await
            .unwrap();
    }

    /// One transaction of ten objects with texts that do not compress well.
    pub(super) async fn import(&self, name: &str) {
        let sql = format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name) \
             SELECT '{name}-' || n, '1', '1', now(), now(), \
                 (SELECT string_agg(md5(random()::text || i || n), '') FROM generate_series(1, 1000) i) FROM generate_series(1, 10) n"
        );
        self.client.batch_execute(&sql).await.unwrap();
    }
}
