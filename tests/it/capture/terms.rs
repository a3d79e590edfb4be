//! What the consumer learns when the reader leads again.

use std::sync::atomic::Ordering;

use orw_testkit::Generation;

use crate::support::capture::Scene;
use crate::support::postgres::DBA;
use crate::support::wait::until;

/// Ends the session of this database that holds the leader's lock.
const END: &str = "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock' \
      AND (l.classid::bigint << 32 | l.objid::bigint) = 5715726729151332676";

/// Between two terms another process may have read, so what the consumer remembers may be out of date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_is_told_that_another_process_may_have_read() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let terms = || scene.capture.terms.load(Ordering::Relaxed);
    scene.capture.all().await;
    assert_eq!(terms(), 1);
    let dba = scene.db.client_as(DBA).await;
    let ended: i64 = dba.query_one(END, &[]).await.unwrap().get(0);
    assert_eq!(ended, 1);
    until("a new term", async || terms() == 2).await;
    scene.capture.all().await;
    scene.capture.stop().await;
}
