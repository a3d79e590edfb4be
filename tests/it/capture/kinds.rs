//! Every class that a webhook may name switches on the capture of its kind: the SQL that does it lists kinds and actions itself.

use orw_model::EventClass;
use orw_testkit::Generation;

use crate::support::capture::{install, options};
use crate::support::postgres::Db;
use crate::support::wait::number;

#[tokio::test]
async fn every_class_switches_its_kind_on() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db, &options()).await;
    let client = db.client().await;
    for class in EventClass::all() {
        let short = class.to_string();
        client
            .batch_execute(&format!(
                "BEGIN; INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) \
                 VALUES (1, 'a', 'POST', 'https://x', 'E', '{{{short}}}'); \
                 SELECT openregister_webhooks.set_kinds()"
            ))
            .await
            .unwrap();
        let kinds = number(&client, "SELECT openregister_webhooks.kinds()::bigint").await;
        assert_ne!(
            kinds & i64::from(class.kind().bit()),
            0,
            "{class}: set_kinds() in sql/functions.sql does not know it"
        );
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
