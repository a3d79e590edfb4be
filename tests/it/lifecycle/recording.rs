//! The recorded row changes of one tour of OpenRegister's REST API, per generation.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use openregister_webhooks::capture::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use orw_model::{Store, TableName};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One recorded change and the operation that caused it.
pub(crate) struct Recorded {
    pub(crate) operation: String,
    /// The capture trigger passes over reads, and over no-op UPDATEs of anything but objects.
    pub(crate) captured: bool,
    /// How long after the recording began.
    pub(crate) after: Duration,
    pub(crate) change: Change,
}

#[derive(Deserialize)]
struct Line {
    /// Where a recording does not say: PHP serves each request with a backend of its own.
    operation: Option<String>,
    ms: i64,
    backend_pid: i32,
    xid: u64,
    table: String,
    op: String,
    old: Option<Box<RawValue>>,
    new: Option<Box<RawValue>>,
}

/// The recording of `generation`, as the outbox would hold it.
pub(crate) fn recording(generation: &str) -> Vec<Recorded> {
    let path = format!(
        "{}/tests/fixtures/recorded-{generation}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let start: DateTime<Utc> = "2026-11-23T23:59:12Z".parse().unwrap();
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let line: Line = serde_json::from_str(line).unwrap();
            let (old, new) = (line.old.map(text), line.new.map(text));
            let op = match line.op.as_str() {
                "INSERT" => Op::Insert,
                "UPDATE" if old == new => Op::Unchanged,
                "UPDATE" => Op::Update,
                "DELETE" => Op::Delete,
                op => panic!("{op}"),
            };
            let table = TableName::parse(&line.table, "oc_").unwrap();
            let object = matches!(table.store(), Store::Magic { .. } | Store::Blob);
            let read = new.as_ref().is_some_and(|new| new.contains(r#""action":"read""#));
            Recorded {
                operation: line
                    .operation
                    .unwrap_or_else(|| format!("backend {}", line.backend_pid)),
                after: Duration::from_millis(line.ms.unsigned_abs()),
                captured: !read && (object || op != Op::Unchanged),
                change: Change {
                    key: ChangeKey {
                        lsn: Lsn(0x100_0000 + 64 * n as u64),
                        xid: Xid(line.xid),
                        ordinal: 0,
                    },
                    table,
                    old: old.filter(|_| op != Op::Unchanged),
                    new,
                    op,
                    origin: Origin::Live,
                    pid: line.backend_pid,
                    at: start + TimeDelta::milliseconds(line.ms),
                },
            }
        })
        .collect()
}

fn text(raw: Box<RawValue>) -> String {
    String::from(Box::<str>::from(raw))
}
