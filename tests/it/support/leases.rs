//! What must hold of leases at any moment, and when nothing is left to do.

use std::time::Duration;

use tokio_postgres::Client;

use super::sidecar::Sidecar;
use super::wait::{number, until_number};

/// Leases of living workers without a claim note. There must never be one, because the note is written by the same
/// statement that takes the lease.
const NOT_NOTED: &str = "SELECT count(*) FROM openregister_webhooks.delivery d \
    JOIN openregister_webhooks.worker w ON w.id = d.lease_owner AND w.alive_until > clock_timestamp() \
    WHERE NOT EXISTS (SELECT FROM openregister_webhooks.claim c, unnest(c.deliveries, c.fences) AS n(id, fence) \
        WHERE c.worker = w.id AND n.id = d.id AND n.fence = d.fence)";

/// Asserts that every lease has a note.
pub(crate) async fn all_are_noted(client: &Client) {
    assert_eq!(number(client, NOT_NOTED).await, 0, "leases that are not noted");
}

/// After everything is delivered: waits until no claim note is left and no process finds a lease that it does not know of.
pub(crate) async fn none_is_left(client: &Client, sidecars: &[&Sidecar], patience: Duration) {
    until_number(
        client,
        "SELECT count(*) FROM openregister_webhooks.claim",
        0,
        patience,
    )
    .await;
    for sidecar in sidecars {
        let unknown = async {
            while sidecar.metric("orw_delivery_leases_unknown").await > 0.0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(patience, unknown).await;
        waited.expect("a process keeps finding leases that it does not know of");
    }
}
