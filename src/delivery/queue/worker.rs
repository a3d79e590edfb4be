//! Workers: which processes are alive, and therefore which leases hold.
//!
//! Guarantees: a lease holds while its worker beats, and [`LEASE`] longer; where the connection that beat is gone (the
//! process was killed), [`GRACE`] longer. A worker that cannot beat must have stopped sending by then: the dispatcher
//! aborts what is in flight when its last beat is older than [`LEASE`] less a margin, or its connection broke.

use std::time::Duration;

use tokio_postgres::{Client, Error};
use uuid::Uuid;

/// How long a lease outlives the last beat.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How long a lease outlives the last beat where the connection that beat is gone.
const GRACE: Duration = Duration::from_secs(3);
/// After this time without a beat, which comes every second, a worker may be dead.
pub(super) const SILENT: Duration = Duration::from_millis(1500);

/// A process that delivers, from start to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) Uuid);

impl WorkerId {
    pub(crate) fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The condition that a worker `w` is alive. It reads `pg_stat_activity`, where a role sees its own sessions.
pub(super) fn alive_sql() -> String {
    format!(
        "w.alive_until > clock_timestamp() AND (w.beat_at > clock_timestamp() - interval '{} seconds' OR EXISTS (\
         SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = w.backend_pid AND a.backend_start = w.backend_start))",
        GRACE.as_secs()
    )
}

/// Says that the worker is alive. `client` is the connection whose end means the worker's.
pub(crate) async fn beat(client: &Client, id: WorkerId, name: &str) -> Result<(), Error> {
    let sql = "INSERT INTO openregister_webhooks.worker AS w (id, name, alive_until, backend_pid, backend_start, sealing) \
               SELECT $1, $2, clock_timestamp() + make_interval(secs => $3), pid, backend_start, $4 \
               FROM pg_catalog.pg_stat_activity, set_config('synchronous_commit', 'off', true) WHERE pid = pg_backend_pid() \
               ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp(), alive_until = excluded.alive_until, \
               backend_pid = excluded.backend_pid, backend_start = excluded.backend_start";
    client
        .execute(sql, &[&id.0, &name, &LEASE.as_secs_f64(), &SEALING])
        .await
        .map(drop)
}

/// The newest form of sealed secrets that this program reads: others wait with it while older processes live.
const SEALING: i32 = 2;

/// The channel on which a process tells the others that there is work for webhooks that are not its own.
pub(crate) const CHANNEL: &str = "openregister_webhooks_delivery";

/// Says that the worker is gone (its leases end), and forgets workers that are long gone.
pub(crate) async fn leave(client: &Client, id: WorkerId) -> Result<(), Error> {
    let sql = "DELETE FROM openregister_webhooks.worker \
               WHERE id = $1 OR alive_until < clock_timestamp() - interval '1 day'";
    client.execute(sql, &[&id.0]).await.map(drop)
}
