//! The writer writes what OpenRegister writes: the same rows, in the same order, each in a transaction of its own.

use orw_model::EntityKind;
use orw_testkit::Generation;
use orw_testkit::writer::{Place, Row, Writer};
use serde_json::{Value, json};

use crate::support::postgres::{Db, NEXTCLOUD};

/// Logs every row change: table, operation, the names of what changed, the transaction.
const LOG: &str = "
    CREATE TABLE log (at timestamptz, what text, xid xid8);
    CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        changed text := '';
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            SELECT coalesce(string_agg(n.key, ',' ORDER BY n.key), '') INTO changed
            FROM json_each_text(row_to_json(NEW)) n JOIN json_each_text(row_to_json(OLD)) o USING (key)
            WHERE n.value IS DISTINCT FROM o.value;
        ELSIF TG_TABLE_NAME = 'oc_openregister_audit_trails' THEN
            changed := NEW.action || ' by ' || NEW.\"user\";
        END IF;
        INSERT INTO log VALUES (clock_timestamp(), TG_TABLE_NAME || ' ' || TG_OP || ' ' || changed,
                                pg_current_xact_id());
        RETURN NULL;
    END $$;
    DO $$ DECLARE t text; BEGIN
        FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'oc_open%' LOOP
            EXECUTE format('CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION log()', t);
        END LOOP;
    END $$";

async fn logged(db: &Db) -> (Vec<String>, usize) {
    let client = db.client().await;
    let rows = client
        .query("SELECT what, xid::text FROM log ORDER BY at", &[])
        .await
        .unwrap();
    client.batch_execute("TRUNCATE log").await.unwrap();
    let what = rows
        .iter()
        .map(|r| {
            r.get::<_, String>(0)
                .replace("oc_openregister_", "")
                .trim()
                .to_owned()
        })
        .collect();
    let xids: std::collections::HashSet<String> = rows.iter().map(|r| r.get(1)).collect();
    (what, xids.len())
}

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

/// A clock that is one second later at every look.
async fn writer(db: &Db, generation: Generation) -> Writer {
    let writer = Writer::connect(&db.url(NEXTCLOUD), generation).await.unwrap();
    let seconds = std::sync::atomic::AtomicI64::new(1_800_000_000);
    writer.at(move || {
        let next = seconds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        chrono::DateTime::from_timestamp(next, 0).unwrap()
    })
}

#[tokio::test]
async fn objects_leave_the_trace_of_their_generation() {
    for generation in [Generation::V0_2_13, Generation::V0_2_9, Generation::V2_1] {
        let db = Db::openregister(generation).await;
        db.client().await.batch_execute(LOG).await.unwrap();
        let writer = writer(&db, generation).await.acting_as("alice");
        let ada = row(
            json!({"name": "Ada", "age": 36, "tags": ["a"], "address": {"no": 12}, "score": 9.5,
                             "firstName": "A", "born": "1815-12-10", "active": true}),
        );
        let object = writer.create(Place::PEOPLE, &ada).await.unwrap();
        writer
            .put(&object, &row(json!({"name": "Ada King", "age": 36})))
            .await
            .unwrap();
        writer.lock(&object, 3600).await.unwrap();
        writer.unlock(&object).await.unwrap();
        writer.soft_delete(&object).await.unwrap();
        writer.purge(&object).await.unwrap();
        let (what, transactions) = logged(&db).await;
        let expected: &[&str] = match generation {
            Generation::V0_2_13 => &[
                "table_1_1 INSERT",
                "audit_trails INSERT create by alice",
                "table_1_1 UPDATE _description,_folder,_name,_updated,active,address,born,first_name,name,score,tags",
                "audit_trails INSERT update by alice",
                "table_1_1 UPDATE",
                "audit_trails INSERT unlock by alice",
                "table_1_1 UPDATE",
                "audit_trails INSERT lock by alice",
                "table_1_1 UPDATE",
                "audit_trails INSERT unlock by alice",
                "table_1_1 UPDATE _deleted",
                "audit_trails INSERT delete by alice",
                "table_1_1 DELETE",
            ],
            Generation::V2_1 => &[
                "table_1_1 INSERT",
                "audit_trails INSERT create by alice",
                "table_1_1 UPDATE _description,_folder,_name,_updated,_version,active,address,born,first_name,name,score,tags",
                "audit_trails INSERT update by alice",
                "table_1_1 UPDATE _locked",
                "audit_trails INSERT lock by alice",
                "table_1_1 UPDATE _locked",
                "audit_trails INSERT unlock by alice",
                "table_1_1 UPDATE _deleted",
                "audit_trails INSERT delete by alice",
                "table_1_1 DELETE",
            ],
            Generation::V0_2_9 => &[
                "objects INSERT",
                "audit_trails INSERT create by alice",
                "objects UPDATE folder,name,object,updated",
                "audit_trails INSERT update by alice",
                "objects UPDATE",
                "audit_trails INSERT unlock by alice",
                "objects UPDATE locked",
                "audit_trails INSERT lock by alice",
                "objects UPDATE locked",
                "audit_trails INSERT unlock by alice",
                "objects UPDATE deleted",
                "audit_trails INSERT delete by alice",
                "objects DELETE",
            ],
        };
        assert_eq!(what, expected, "{generation}");
        assert_eq!(transactions, expected.len(), "each statement commits by itself");
    }
}

#[tokio::test]
async fn the_other_kinds_are_created_updated_and_deleted() {
    for generation in Generation::ALL {
        let db = Db::openregister(generation).await;
        db.client().await.batch_execute(LOG).await.unwrap();
        let writer = writer(&db, generation).await;
        for kind in EntityKind::ALL
            .into_iter()
            .filter(|kind| *kind != EntityKind::Object)
        {
            let entity = writer.create_entity(kind, "First").await.unwrap();
            writer.update_entity(&entity, "Second").await.unwrap();
            writer.delete_entity(&entity).await.unwrap();
            let (what, _) = logged(&db).await;
            let verbs: Vec<&str> = what.iter().filter_map(|w| w.split(' ').nth(1)).collect();
            assert_eq!(
                (verbs[0], verbs[verbs.len() - 1]),
                ("INSERT", "DELETE"),
                "{generation} {kind:?}"
            );
            let updates = what.iter().filter(|w| w.contains("UPDATE ")).count();
            let organisation = kind == EntityKind::Register && generation == Generation::V0_2_9;
            let folder = kind == EntityKind::Register;
            assert_eq!(
                updates,
                1 + usize::from(organisation) + usize::from(folder),
                "{what:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_new_table_takes_its_first_object() {
    let db = Db::openregister_0_2_13().await;
    let writer = Writer::connect(&db.url(NEXTCLOUD), Generation::V0_2_13)
        .await
        .unwrap();
    let place = Place {
        register: 7,
        schema: 9,
    };
    let object = writer
        .create_first(
            place,
            "name text, age integer",
            &row(json!({"name": "First", "age": 1})),
        )
        .await
        .unwrap();
    assert_eq!(object.id, 1);
    let key = "SELECT 1 FROM oc_appconfig WHERE configkey = 'table_version_7_9'";
    assert_eq!(writer.client().query(key, &[]).await.unwrap().len(), 1);
    writer
        .put(&object, &row(json!({"name": "Second", "age": 2})))
        .await
        .unwrap();
    let name = "SELECT name FROM oc_openregister_table_7_9";
    assert_eq!(
        writer
            .client()
            .query_one(name, &[])
            .await
            .unwrap()
            .get::<_, String>(0),
        "Second"
    );
}
