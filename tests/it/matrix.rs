//! What `make test-matrix` runs on every supported PostgreSQL: install, capture, uninstall, in both generations.

use openregister_webhooks::capture::{InstallOptions, install, uninstall};
use openregister_webhooks::demo::Generation;
use openregister_webhooks::demo::writer::{Place, Row, Writer};
use openregister_webhooks::openregister::EntityKind;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};

/// What the catalogs say of everything but the server itself; equal before and after, if nothing is left behind.
const CATALOGS: &str = "
    SELECT 'table ' || schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
              WHERE nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 'rights ' || oid::regclass || coalesce(relacl::text, '') FROM pg_class
              WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'type ' || typname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
              WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1";

async fn catalogs(client: &Client) -> Vec<String> {
    client
        .query(CATALOGS, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn ada(age: i64) -> Row {
    json!({"name": "Ada", "age": age}).as_object().unwrap().clone()
}

#[tokio::test]
async fn matrix_install_capture_uninstall() {
    for generation in Generation::ALL {
        let db = Db::openregister(generation).await;
        let mut client = db.client().await;
        let before = catalogs(&client).await;
        let options = InstallOptions {
            table_prefix: "oc_".to_owned(),
            runtime_role: None,
            capture_all: true,
        };
        let installed = install(&mut client, &options, |_, _| {}).await.unwrap();
        assert!(installed.busy.is_empty(), "{installed:?}");

        let writer = Writer::connect(&db.url(NEXTCLOUD), generation).await.unwrap();
        let object = writer.create(Place::PEOPLE, &ada(36)).await.unwrap();
        writer.put(&object, &ada(37)).await.unwrap();
        writer.soft_delete(&object).await.unwrap();
        writer.purge(&object).await.unwrap();
        let agent = writer.create_entity(EntityKind::Agent, "First").await.unwrap();
        writer.update_entity(&agent, "Second").await.unwrap();
        writer.delete_entity(&agent).await.unwrap();
        let captured = "SELECT string_agg(c.op::text, '' ORDER BY c.lsn, c.xid, c.ordinal) \
                        FROM openregister_webhooks.change c WHERE c.tbl LIKE $1";
        for (table, expected) in [
            (
                if generation == Generation::V0_2_13 {
                    "%table_1_1"
                } else {
                    "%objects"
                },
                5,
            ),
            ("%agents", 3),
        ] {
            let ops: String = client.query_one(captured, &[&table]).await.unwrap().get(0);
            assert_eq!(ops.len(), expected, "{generation} {table}: {ops}");
        }
        if generation == Generation::V0_2_13 {
            let place = Place {
                register: 7,
                schema: 9,
            };
            writer
                .create_first(place, "name text, age integer", &ada(1))
                .await
                .unwrap();
            let first: String = client.query_one(captured, &[&"%table_7_9"]).await.unwrap().get(0);
            assert_eq!(first.len(), 1);
            client
                .batch_execute("DROP TABLE oc_openregister_table_7_9")
                .await
                .unwrap();
        }

        uninstall(&client, |_, _| {}).await.unwrap();
        assert_eq!(catalogs(&client).await, before, "{generation}");
        writer.create(Place::PEOPLE, &ada(38)).await.unwrap();
    }
}
