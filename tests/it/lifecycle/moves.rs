//! Objects that move between magic tables, told from new ones: all tables are searched only for those that may have moved.

use std::sync::LazyLock;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use openregister_webhooks::capture::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use openregister_webhooks::lifecycle::{Classifier, Decoded, LifecycleSettings};
use orw_model::TableName;
use serde_json::json;

use super::rig::lanes;
use super::world::World;

/// What is remembered of insertions begins with the first change, unless that was made in the past: so all of these come later.
fn time(seconds: i64) -> DateTime<Utc> {
    static START: LazyLock<DateTime<Utc>> =
        LazyLock::new(|| Utc::now().trunc_subsecs(0) + TimeDelta::hours(1));
    *START + TimeDelta::seconds(seconds)
}

/// An INSERT of an object's row into a table, at this second, with the time of creation that the row has.
fn insert(uuid: &str, schema: u64, at: i64, created: i64) -> Change {
    let created = time(created).format("%Y-%m-%dT%H:%M:%S").to_string();
    let row = json!({"_id": 1, "_uuid": uuid, "_register": "1", "_schema": schema.to_string(), "_created": created});
    Change {
        key: ChangeKey {
            lsn: Lsn(u64::try_from(1000 + at).unwrap()),
            xid: Xid(u64::try_from(500 + at).unwrap()),
            ordinal: 0,
        },
        table: TableName::parse(&format!("oc_openregister_table_1_{schema}"), "oc_").unwrap(),
        op: Op::Insert,
        origin: Origin::Live,
        old: None,
        new: Some(row.to_string()),
        pid: 7,
        at: time(at),
    }
}

fn changes() -> Vec<Change> {
    vec![
        insert("early", 1, 0, 0),
        insert("new", 1, 60, 60),
        insert("new", 2, 62, 60),
        insert("early", 2, 90, 0),
        insert("another", 1, 91, 90),
        insert("imported", 1, 92, -5000),
    ]
}

#[test]
fn only_objects_that_may_have_moved_are_searched_for() {
    let mut classifier = Classifier::new(LifecycleSettings::new("oc_"));
    let mut searched = Vec::new();
    for change in changes() {
        let (uuid, at) = (change.new.clone().unwrap(), change.at);
        let needs = classifier.needs(&[Decoded::read(change).unwrap()]);
        // The migration out of the blob table keeps no time of creation.
        assert_eq!(needs.in_blob.len(), 1, "{uuid}");
        searched.extend(
            needs
                .homes
                .into_keys()
                .map(|uuid| (uuid, (at - time(0)).num_seconds())),
        );
    }
    let expected = [("early", 0), ("new", 62), ("early", 90), ("imported", 92)];
    assert_eq!(searched, expected.map(|(uuid, at)| (uuid.to_owned(), at)));
}

#[test]
fn an_object_that_moves_is_updated_however_soon_and_however_it_is_read() {
    for (sizes, ahead, restart) in [
        (&[1][..], 0, false),
        (&[1], 6, false),
        (&[1], 0, true),
        (&[2], 1, false),
        (&[6], 0, false),
    ] {
        let events = World::default().replay(&changes(), sizes, ahead, restart);
        let expected = [
            "ObjectCreatedEvent object:early",
            "ObjectCreatedEvent object:new",
            "ObjectUpdatedEvent object:new",
            "ObjectUpdatedEvent object:early",
            "ObjectCreatedEvent object:another",
            "ObjectCreatedEvent object:imported",
        ];
        assert_eq!(lanes(&events), expected, "{sizes:?} {ahead} {restart}");
    }
}
