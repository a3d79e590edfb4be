//! A scene with deliveries that succeeded and deliveries that were given up.

use orw_testkit::Generation;
use serde_json::{Value, json};

use crate::support::receiver::Answer;
use crate::support::scene::{API, Scene, uuid};

pub(crate) const OBJECT: &str = r"OCA\OpenRegister\Event\Object*";

/// Three objects created and the first one updated, for two webhooks: all of it arrived at the first, and all was given up
/// at the second.
pub(crate) struct Delivered {
    pub(crate) scene: Scene,
    pub(crate) good: i64,
    pub(crate) bad: i64,
}

impl Delivered {
    pub(crate) async fn new() -> Self {
        Self::on(Scene::new(Generation::V0_2_13).await).await
    }

    /// In a scene whose program does not run yet.
    pub(crate) async fn on(mut scene: Scene) -> Self {
        scene.sidecar.start().await;
        scene.receiver.decide(|request| match request.path.as_str() {
            "/bad" => Answer::Full {
                status: 507,
                headers: Vec::new(),
                body: "no room \u{1b}[2J".into(),
            },
            _ => Answer::Status(200),
        });
        let good = scene
            .register(OBJECT, json!({"uri": scene.receiver.url("/good")}))
            .await;
        let bad = scene
            .register(
                OBJECT,
                json!({"uri": scene.receiver.url("/bad"), "retry": {"maxAttempts": 1}}),
            )
            .await;
        scene.objects(1, 3).await;
        let delivered = Self { scene, good, bad };
        delivered.touch(1).await;
        delivered.logged(8).await;
        delivered
    }

    pub(crate) async fn touch(&self, object: i32) {
        let sql = "UPDATE oc_openregister_table_1_1 SET age = age + 1 WHERE _uuid = $1";
        assert_eq!(self.scene.client.execute(sql, &[&uuid(object)]).await.unwrap(), 1);
    }

    pub(crate) async fn logged(&self, count: i64) {
        let sql = "SELECT count(*) FROM openregister_webhooks.delivery_log";
        self.scene.until(sql, count).await;
    }

    /// Status, and the data or the message.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let reply = self
            .scene
            .sidecar
            .api(method, &format!("{API}/{path}"), json!({}))
            .await;
        let body = reply.json();
        let told = if reply.status == 200 {
            &body["ocs"]["data"]
        } else {
            &body["ocs"]["meta"]["message"]
        };
        (reply.status, told.clone())
    }

    pub(crate) async fn list(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.ask("GET", &format!("deliveries?{query}")).await;
        assert_eq!((status, &page["cursor"]), (200, &Value::Null), "{query}: {page}");
        page["deliveries"].as_array().unwrap().clone()
    }
}
