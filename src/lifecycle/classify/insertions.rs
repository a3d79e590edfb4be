//! Tells an object that was created just now from one that may have come from another table, without a look at any table.
//!
//! OpenRegister keeps the time of creation of an object that it moves to another magic table. So a row that was created, by its own word,
//! when it was inserted has no other row, unless the object was created and moved within seconds. That is known as long as every
//! insertion of these seconds is remembered.
//!
//! Guarantee: [`Insertions::is_first`] is true only of a row whose time of creation is within [`NEAR`] of its insertion, if no other row
//! of the object was inserted in the time in which that creation can have been. It may be false of any row, which costs a search.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use orw_model::ObjectRow;

/// How far the clock of the application may be from that of the database, and how long a request may take from the one time to the other.
const NEAR: TimeDelta = TimeDelta::seconds(10);
/// For so long an insertion is remembered.
const KEPT: TimeDelta = TimeDelta::seconds(30);
/// How many are remembered, in about 1.5 MiB: enough for 1,500 a second. If there are more, those of the last seconds are searched for.
const MOST: usize = 30_000;

/// The insertions of the last seconds. Uuids are remembered by their hashes: one that is equal by chance costs a search.
#[derive(Debug, Default)]
pub(super) struct Insertions {
    /// Those since then are remembered.
    since: Option<DateTime<Utc>>,
    order: VecDeque<(DateTime<Utc>, u64)>,
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Insertions {
    pub(super) fn clear(&mut self) {
        self.since = None;
        self.order.clear();
        self.known.clear();
    }

    /// The next change was made at this time. The memory begins with the first one, and not before `now`: what another process read before is
    /// not in it, also if it was made after this change, whose transaction may have taken long.
    pub(super) fn pass(&mut self, at: DateTime<Utc>, now: impl FnOnce() -> DateTime<Utc>) {
        self.since.get_or_insert_with(|| at.max(now()));
    }

    /// Remembers that a row of the object was inserted; whether it is certainly its first row.
    pub(super) fn is_first(&mut self, row: ObjectRow<'_>, uuid: &str, at: DateTime<Utc>) -> bool {
        let since = *self.since.get_or_insert(at);
        let created = row.text("created").and_then(utc);
        let created_now =
            created.is_some_and(|created| (created - at).abs() <= NEAR && created - NEAR - NEAR >= since);
        let hash = self.hasher.hash_one(uuid);
        let is_new = self.known.insert(hash);
        if is_new {
            self.order.push_back((at, hash));
        }
        while let Some((oldest, hash)) = self.order.front().copied()
            && (oldest + KEPT < at || self.order.len() > MOST)
        {
            self.order.pop_front();
            self.known.remove(&hash);
            if oldest + KEPT >= at {
                self.since = Some(oldest.max(since) + TimeDelta::microseconds(1));
            }
        }
        created_now && is_new
    }
}

/// A time as OpenRegister writes it: UTC, without a zone.
fn utc(text: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    Some(time.and_utc())
}

#[cfg(test)]
mod tests {
    use orw_model::{Row, TableName, parse_row};

    use super::*;

    const BEGIN: &str = "2026-01-05T10:00:00";

    fn at(seconds: i64) -> DateTime<Utc> {
        utc(BEGIN).unwrap() + TimeDelta::seconds(seconds)
    }

    fn row(created: Option<i64>) -> Row {
        let created = created.map(|seconds| at(seconds).format("\"%Y-%m-%dT%H:%M:%S\"").to_string());
        parse_row(&format!(
            r#"{{"_created":{}}}"#,
            created.as_deref().unwrap_or("null")
        ))
        .unwrap()
    }

    /// Whether the insertion of `uuid` at `now` of a row that was created then is certainly the first.
    fn first(insertions: &mut Insertions, uuid: &str, created: Option<i64>, now: i64) -> bool {
        let table = TableName::parse("oc_openregister_table_1_1", "oc_").unwrap();
        let row = row(created);
        insertions.is_first(ObjectRow::new(&table, &row), uuid, at(now))
    }

    #[test]
    fn an_object_that_says_that_it_is_new_is_new_once() {
        let mut insertions = Insertions::default();
        insertions.pass(at(0), || at(0));
        assert!(first(&mut insertions, "a", Some(60), 61));
        assert!(!first(&mut insertions, "a", Some(60), 62), "moved within seconds");
        for (created, now) in [(None, 63), (Some(40), 64), (Some(90), 65)] {
            assert!(
                !first(&mut insertions, &format!("at {now}"), created, now),
                "{created:?}"
            );
        }
        assert!(first(&mut insertions, "b", Some(66), 66));
    }

    #[test]
    fn what_was_inserted_before_the_memory_began_may_be_anywhere() {
        let mut insertions = Insertions::default();
        insertions.pass(at(0), || at(0));
        assert!(!first(&mut insertions, "a", Some(19), 19));
        assert!(first(&mut insertions, "b", Some(20), 20));
        insertions.clear();
        assert!(!first(&mut insertions, "c", Some(60), 60));
        assert!(first(&mut insertions, "d", Some(81), 81));
    }

    #[test]
    fn an_old_change_that_is_read_first_does_not_make_the_memory_reach_back() {
        let mut insertions = Insertions::default();
        insertions.pass(at(0), || at(60));
        assert!(!first(&mut insertions, "moved", Some(50), 55));
        assert!(first(&mut insertions, "new", Some(90), 90));
    }

    #[test]
    fn what_does_not_fit_is_as_if_the_memory_had_begun_later() {
        let mut insertions = Insertions::default();
        insertions.pass(at(0), || at(0));
        for n in 0..MOST {
            assert!(first(&mut insertions, &format!("object {n}"), Some(40), 40));
        }
        assert!(first(&mut insertions, "one more", Some(40), 40));
        assert!(insertions.known.len() <= MOST);
        assert!(!first(&mut insertions, "object 0", Some(41), 41), "forgotten");
        assert!(
            !first(&mut insertions, "new", Some(50), 50),
            "since 40 seconds not all are known"
        );
        // Later the memory is whole again, and what is old in it is dropped.
        assert!(first(&mut insertions, "newer", Some(80), 80));
        assert!(insertions.known.len() < 10, "{}", insertions.known.len());
    }
}
