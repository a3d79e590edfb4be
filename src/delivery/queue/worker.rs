//! Workers: which processes are alive, and therefore which leases hold.
//!
//! Guarantees: a lease holds until [`LEASE`] after its worker's last heartbeat; if the connection that sent the heartbeats is gone
//! (the process was killed), until [`GRACE`] after it. A worker that cannot send heartbeats must have stopped sending requests by
//! then: see `dispatcher::session`.

use std::time::Duration;

use tokio_postgres::{Client, Error, Statement};
use uuid::Uuid;

/// How long a lease outlives the last heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How long a lease outlives the last heartbeat if the connection that sent it is gone.
const GRACE: Duration = Duration::from_secs(3);
/// After this time without a heartbeat, which comes every second, a worker may be dead.
pub(super) const SUSPECT: Duration = Duration::from_millis(1500);

/// A process that delivers, from start to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) Uuid);

impl WorkerId {
    pub(crate) fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The workers that are alive, as the array `ids`: a part of a `WITH`. It reads `pg_stat_activity`, where a role sees its own
/// sessions.
pub(super) fn alive() -> String {
    format!(
        "alive AS MATERIALIZED (
            SELECT coalesce(array_agg(w.id), '{{}}') AS ids FROM openregister_webhooks.worker w
            WHERE w.alive_until > clock_timestamp() AND (w.beat_at > clock_timestamp() - interval '{} seconds' OR EXISTS (
                SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = w.backend_pid AND a.backend_start = w.backend_start))
        )",
        GRACE.as_secs()
    )
}

/// A condition on the worker `worker` (an SQL expression): it is not among those of [`alive`].
pub(super) fn is_dead(worker: &str) -> String {
    format!("{worker} <> ALL ((SELECT ids FROM alive)::uuid[])")
}

/// Stores the heartbeats of a worker over one connection. If that connection ends, the worker counts as dead soon ([`GRACE`]).
pub(crate) struct Heartbeat {
    /// The statement for all but the first.
    next: Option<(WorkerId, Statement)>,
}

impl Heartbeat {
    /// Nothing was sent over the connection yet.
    pub(crate) const fn new() -> Self {
        Self { next: None }
    }

    /// Stores a heartbeat. The first for a worker also says which connection it comes over, so that the others can be one short
    /// statement, planned once.
    pub(crate) async fn beat(&mut self, client: &Client, id: WorkerId, name: &str) -> Result<(), Error> {
        if let Some((known, next)) = &self.next
            && *known == id
            && client.execute(next, &[&id.0, &LEASE.as_secs_f64()]).await? > 0
        {
            return Ok(());
        }
        first_heartbeat(client, id, name).await?;
        self.next = Some((id, client.prepare(NEXT).await?));
        Ok(())
    }
}

/// It changes nothing if the row is that of another connection: behind a pooler the next one may come over any.
const NEXT: &str = "UPDATE openregister_webhooks.worker \
    SET beat_at = clock_timestamp(), alive_until = clock_timestamp() + make_interval(secs => $2) \
    FROM set_config('synchronous_commit', 'off', true) WHERE id = $1 AND backend_pid = pg_backend_pid()";

/// Stores the worker, or that its heartbeats come over another connection now.
async fn first_heartbeat(client: &Client, id: WorkerId, name: &str) -> Result<(), Error> {
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

/// The newest form of sealed secrets that this program reads. Others do not write it while a process lives that cannot read it.
const SEALING: i32 = 2;

/// The channel on which a process notifies its peers that there is work for webhooks that are not its own.
pub(crate) const CHANNEL: &str = "openregister_webhooks_delivery";

/// Removes the worker, so that its leases end, and workers that have been dead for a day.
pub(crate) async fn leave(client: &Client, id: WorkerId) -> Result<(), Error> {
    let sql = "DELETE FROM openregister_webhooks.worker \
               WHERE id = $1 OR alive_until < clock_timestamp() - interval '1 day'";
    client.execute(sql, &[&id.0]).await.map(drop)
}
