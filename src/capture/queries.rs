//! Statements with which `lifecycle` looks into the outbox. It runs them itself, some in one snapshot with Nextcloud's tables.

/// How many unread changes of a table are undone to know its rows as they were.
const UNREAD: u32 = 1000;
/// How many changes after a batch are searched for the DELETE that ends a migration out of the blob table, and how many
/// before an audit row for the UPDATE of its request.
const LOOK_AHEAD: u32 = 500;

/// The changes of the table `$1` that the stored position does not count as read, in key order: NULL (for an id), `old`, `new`.
pub(crate) fn unread_of_table() -> String {
    format!(
        "WITH position AS MATERIALIZED (
             SELECT snapshot::pg_snapshot AS read, \"window\"::pg_snapshot AS reading, lsn, xid, ordinal
               FROM (SELECT * FROM openregister_webhooks.position_0
                     UNION ALL SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1)
         SELECT NULL::int8 AS id, c.old, c.new
           FROM openregister_webhooks.change c LEFT JOIN position p ON true
          WHERE c.tbl = $1 AND coalesce(NOT pg_visible_in_snapshot(c.xid, p.read), true)
            AND NOT coalesce(pg_visible_in_snapshot(c.xid, p.reading)
                             AND (c.lsn, c.xid, c.ordinal) <= (p.lsn, p.xid, p.ordinal), false)
          ORDER BY c.lsn, c.xid, c.ordinal LIMIT {UNREAD}"
    )
}

/// The rows deleted from the table `$5` by the changes after the key (`$2`, `$3`, `$4`): NULL (for a uuid), `old`.
pub(crate) fn deleted_after() -> String {
    format!(
        "SELECT NULL::text, old FROM (SELECT tbl, op, old FROM openregister_webhooks.change
                                       WHERE (lsn, xid, ordinal) > ($2, $3::text::xid8, $4) AND lsn >= $2
                                       ORDER BY lsn, xid, ordinal LIMIT {LOOK_AHEAD}) c
          WHERE tbl = $5 AND op = 'D'"
    )
}

/// The rows that the backend `$4` wrote to the tables `$5` right before the key (`$1`, `$2`, `$3`), the newest first: `tbl`, `new`.
pub(crate) fn written_before() -> String {
    format!(
        "SELECT tbl, new FROM (SELECT * FROM openregister_webhooks.change
                                WHERE (lsn, xid, ordinal) < ($1, $2::text::xid8, $3) AND lsn <= $1
                                ORDER BY lsn DESC, xid DESC, ordinal DESC LIMIT {LOOK_AHEAD}) c
          WHERE pid = $4 AND tbl = ANY($5) AND op IN ('N', 'U') AND new IS NOT NULL
          ORDER BY lsn DESC, xid DESC, ordinal DESC LIMIT 10"
    )
}

/// The rows inserted into the tables `$1` in which one of the texts `$2` occurs, in key order: `tbl`, `new`, `lsn`, `xid` as text,
/// `ordinal`.
pub(crate) const INSERTED: &str = "SELECT tbl, new, lsn, xid::text, ordinal FROM openregister_webhooks.change
          WHERE tbl = ANY($1) AND op = 'I' AND EXISTS (SELECT FROM unnest($2::text[]) u WHERE position(u IN new) > 0)
          ORDER BY lsn, xid, ordinal";
