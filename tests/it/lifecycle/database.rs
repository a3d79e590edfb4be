//! The recordings, replayed row by row into a real database, with one connection for each recorded backend.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use openregister_webhooks::capture::Op;
use orw_model::{Row, Store, parse_row};
use orw_testkit::Generation;
use serde_json::Value;
use tokio_postgres::Client;

use super::recording::{Recorded, recording};
use super::rig::{Reading, Rig, install, lanes};
use crate::support::postgres::Db;

fn key_column(r: &Recorded) -> &'static str {
    if matches!(r.change.table.store(), Store::Magic { .. }) {
        "_id"
    } else {
        "id"
    }
}

fn table(r: &Recorded) -> String {
    format!("oc_{}", r.change.table.name())
}

fn columns(row: &Row) -> String {
    let quoted: Vec<String> = row.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

async fn insert(client: &Client, table: &str, row: &str) {
    let names = columns(&parse_row(row).unwrap());
    let sql = format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_record(NULL::{table}, $1::text::json)"
    );
    client.execute(&sql, &[&row]).await.unwrap();
}

/// Writes what the recorded backend wrote.
pub(super) async fn write(client: &Client, r: &Recorded) {
    let (table, key) = (table(r), key_column(r));
    let image = |text: &Option<String>| text.clone().unwrap();
    match r.change.op {
        Op::Insert => insert(client, &table, &image(&r.change.new)).await,
        Op::Update | Op::Unchanged => {
            let new = image(&r.change.new);
            let names = columns(&parse_row(&new).unwrap());
            let sql = format!(
                "UPDATE {table} SET ({names}) = (SELECT {names} FROM json_populate_record(NULL::{table}, $1::text::json)) \
                 WHERE \"{key}\" = ($1::text::json ->> '{key}')::bigint"
            );
            assert_eq!(client.execute(&sql, &[&new]).await.unwrap(), 1);
        }
        Op::Delete => {
            let sql = format!("DELETE FROM {table} WHERE \"{key}\" = ($1::text::json ->> '{key}')::bigint");
            assert_eq!(client.execute(&sql, &[&image(&r.change.old)]).await.unwrap(), 1);
        }
    }
}

/// The recorded tours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tour {
    V0_2_13,
    V0_2_13_80,
    V0_2_9,
}

impl Tour {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V0_2_13 => "0.2.13",
            Self::V0_2_13_80 => "0.2.13.80",
            Self::V0_2_9 => "0.2.9",
        }
    }

    /// A database that it can be replayed into, with capture of everything.
    pub(super) async fn database(self, recorded: &[Recorded]) -> Db {
        let db = match self {
            Self::V0_2_13 => Db::openregister(Generation::V0_2_13).await,
            Self::V0_2_13_80 => Db::tour_0_2_13_80().await,
            Self::V0_2_9 => Db::openregister(Generation::V0_2_9).await,
        };
        let client = db.client().await;
        prepare(&client, recorded).await;
        install(&db).await;
        if self == Self::V0_2_13 {
            client
                .batch_execute(
                    "CREATE TABLE oc_openregister_table_2_4 (LIKE oc_openregister_table_1_1 INCLUDING ALL); \
                     INSERT INTO oc_appconfig (appid, configkey, configvalue) VALUES ('openregister', 'table_version_2_4', 'x')",
                )
                .await
                .unwrap();
        }
        db
    }
}

/// What was there before the recording began: the users, and rows whose first recorded change is no INSERT.
async fn prepare(client: &Client, recorded: &[Recorded]) {
    client
        .batch_execute(
            "DELETE FROM oc_accounts; \
             INSERT INTO oc_users (uid, displayname, uid_lower) VALUES ('bob', 'Bob', 'bob'), ('admin', '', 'admin') \
                ON CONFLICT (uid) DO NOTHING; \
             INSERT INTO oc_group_user (gid, uid) VALUES ('editors', 'bob'), ('admin', 'admin') ON CONFLICT DO NOTHING; \
             UPDATE oc_users SET displayname = 'The Administrator' WHERE uid = 'admin'",
        )
        .await
        .unwrap();
    let mut seen = HashSet::new();
    for r in recorded {
        let image = r.change.old.as_ref().or(r.change.new.as_ref()).unwrap();
        let id = parse_row(image).unwrap()[key_column(r)].clone();
        if seen.insert((table(r), id.to_string())) && r.change.op != Op::Insert {
            let Value::Number(id) = id else { panic!() };
            let sql = format!("DELETE FROM {} WHERE id = {id}", table(r));
            client.batch_execute(&sql).await.unwrap();
            insert(client, &table(r), image).await;
        }
    }
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Everything is written, then it is read.
    AtOnce,
    /// Written with the recorded pauses, and read meanwhile.
    Recorded,
}

async fn replay(tour: Tour, reading: Reading, pace: Pace) {
    let name = tour.name();
    let recorded = recording(name);
    let db = tour.database(&recorded).await;
    let client = db.client().await;
    let mut db = Some(db);
    let mut rig = None;
    let mut backends: HashMap<i32, Client> = HashMap::new();
    let began = Instant::now();
    for r in &recorded {
        if let Entry::Vacant(backend) = backends.entry(r.change.pid) {
            let db = db.as_ref().or(rig.as_ref().map(|rig: &Rig| &rig.db)).unwrap();
            backend.insert(db.client().await);
        }
        if pace == Pace::Recorded {
            rig = rig.or_else(|| Some(Rig::start(db.take().unwrap(), reading)));
            tokio::time::sleep_until((began + r.after).into()).await;
        }
        write(&backends[&r.change.pid], r).await;
    }
    let mut rig = rig.unwrap_or_else(|| Rig::start(db.take().unwrap(), reading));
    let events = rig.settled(&client).await;
    // The times are this replay's own: an event belongs to the operation whose events are next in the reviewed list.
    let reviewed = std::fs::read_to_string(format!(
        "{}/tests/it/lifecycle/snapshots/recorded-{name}.snap",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let expected: Vec<&str> = reviewed
        .lines()
        .filter_map(|line| line.strip_prefix("  → "))
        .collect();
    let found: Vec<String> = events.iter().map(super::replay::line).collect();
    assert_eq!(found, expected);
    drop(rig.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_0_2_13_in_a_real_database_gives_the_reviewed_events() {
    replay(Tour::V0_2_13, Reading::NORMAL, Pace::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_0_2_13_80_in_a_real_database_gives_the_reviewed_events() {
    replay(Tour::V0_2_13_80, Reading::NORMAL, Pace::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_0_2_9_in_a_real_database_gives_the_reviewed_events() {
    replay(Tour::V0_2_9, Reading::NORMAL, Pace::AtOnce).await;
}

/// Far behind, in small batches, with nothing remembered: everything comes from lookups, and they see what is to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_far_behind_and_forgets_everything_gives_the_same_events() {
    for batch_size in [1, 3] {
        let reading = Reading {
            batch_size,
            forgetful: true,
        };
        replay(Tour::V0_2_13, reading, Pace::AtOnce).await;
        replay(Tour::V0_2_13_80, reading, Pace::AtOnce).await;
        replay(Tour::V0_2_9, reading, Pace::AtOnce).await;
    }
}

/// With the recordings' own pauses between the requests and between the rows of one, the reader at work: 70 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as the recordings"]
async fn soak_the_tours_at_their_own_pace_give_the_reviewed_events() {
    let tour = |tour| replay(tour, Reading::NORMAL, Pace::Recorded);
    tokio::join!(tour(Tour::V0_2_13), tour(Tour::V0_2_13_80), tour(Tour::V0_2_9));
}

/// A copy into another magic table, and the migration out of the blob table: no second Created, no Deleted, also where
/// the lookups see everything that is still to be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_move_between_tables_are_neither_created_nor_deleted() {
    for reading in [
        Reading::NORMAL,
        Reading {
            batch_size: 1,
            forgetful: true,
        },
    ] {
        let db = Db::openregister(Generation::V0_2_13).await;
        let client = db.client().await;
        client
            .batch_execute(
                "CREATE TABLE oc_openregister_table_1_2 (LIKE oc_openregister_table_1_1 INCLUDING ALL)",
            )
            .await
            .unwrap();
        install(&db).await;
        for statement in [
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name) VALUES ('copied', '1', '1', 'A')",
            "INSERT INTO oc_openregister_table_1_2 (_uuid, _register, _schema, _name) VALUES ('copied', '1', '2', 'A')",
            "INSERT INTO oc_openregister_objects (uuid, register, schema, object, created, updated) \
             VALUES ('migrated', '1', '1', '{\"name\": \"B\"}', now(), now())",
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name) VALUES ('migrated', '1', '1', 'B')",
            "DELETE FROM oc_openregister_objects",
        ] {
            client.batch_execute(statement).await.unwrap();
        }
        let mut rig = Rig::start(db, reading);
        let events = rig.settled(&client).await;
        let expected = [
            "ObjectCreatedEvent object:copied",
            "ObjectUpdatedEvent object:copied",
            "ObjectCreatedEvent object:migrated",
        ];
        assert_eq!(lanes(&events), expected);
        drop(rig.stop().await);
    }
}
