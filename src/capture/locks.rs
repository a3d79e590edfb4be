//! The advisory locks. Their numbers are eight letters read as a big-endian number; `sql/functions.sql` has the same numbers.
//!
//! Every role that may connect to the database can take them and so keep the sidecar from reading, but never Nextcloud from
//! writing, because the triggers only try to take them. Therefore the log and `doctor` name strangers that hold one.

use std::fmt;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// Held exclusively by the reader while it sleeps; a writer holds it shared to keep the reader awake.
pub(crate) const GATE: i64 = i64::from_be_bytes(*b"ORW-GATE");
/// Held by the leader's session.
pub(crate) const LEADER: i64 = i64::from_be_bytes(*b"ORW-LEAD");
/// Held while installing or uninstalling.
pub(crate) const INSTALL: i64 = i64::from_be_bytes(*b"ORW-INST");
/// `hashtextextended('openregister_webhooks.enqueue', 0)`: held during a transaction that enqueues deliveries.
pub(crate) const ENQUEUE: i64 = -4_047_573_180_415_552_638;

/// The locks other than the leader's that a stranger may take: the name of each, and the effect.
pub(crate) const OTHERS: [(i64, &str, &str); 3] = [
    (
        GATE,
        "the doorbell's lock",
        "every captured transaction then notifies the reader, and commits that notify wait for one another",
    ),
    (
        INSTALL,
        "the installation's lock",
        "install, uninstall and adopt wait for it",
    ),
    (
        ENQUEUE,
        "the queue's lock",
        "no batch can be enqueued while it is held",
    ),
];

/// A session that holds one of the locks exclusively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    pub(crate) role: String,
    pub(crate) application: String,
    /// The client's address.
    pub(crate) from: String,
    /// Whether its role is ours: the schema's owner, the runtime role, or a superuser.
    pub(crate) ours: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (backend {}, {}, from {})",
            self.role, self.pid, self.application, self.from
        )
    }
}

/// The sessions that hold the lock exclusively.
pub(crate) async fn holders(client: &Client, key: i64) -> Result<Vec<Holder>, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT l.pid, coalesce(a.usename::text, '?'), coalesce(nullif(a.application_name, ''), '?'), \
                    coalesce(host(a.client_addr), 'this server'), \
                    coalesce(r.rolsuper OR a.usename = current_user OR a.usesysid = n.nspowner \
                             OR has_schema_privilege(a.usesysid, n.oid, 'USAGE'), false) \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid \
             LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'openregister_webhooks' \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' \
               AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
               AND (l.classid::bigint << 32 | l.objid::bigint) = $1 ORDER BY l.pid",
            &[(&key, Type::INT8)],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Holder {
            pid: row.get(0),
            role: row.get(1),
            application: row.get(2),
            from: row.get(3),
            ours: row.get(4),
        })
        .collect())
}

/// Logs strangers that hold one of [`OTHERS`], each once as long as it stays.
#[derive(Debug, Default)]
pub(super) struct StrangerWatch {
    named: Vec<(i64, Holder)>,
}

impl StrangerWatch {
    pub(super) async fn look(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let mut seen = Vec::new();
        for (key, lock, effect) in OTHERS {
            for holder in holders(client, key).await? {
                if holder.ours {
                    continue;
                }
                let found = (key, holder);
                if !self.named.contains(&found) {
                    let holder = &found.1;
                    tracing::error!(pid = holder.pid, role = %holder.role, "{holder} holds {lock} and is no sidecar: {effect}; find out what that session is (as a superuser: SELECT pg_terminate_backend({}))", holder.pid);
                }
                seen.push(found);
            }
        }
        self.named = seen;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sql_names_the_same_numbers() {
        let sql = include_str!("../../sql/functions.sql");
        for lock in [super::GATE, super::LEADER, super::INSTALL] {
            assert!(sql.contains(&lock.to_string()), "{lock}");
        }
    }
}
