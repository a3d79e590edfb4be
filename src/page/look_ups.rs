//! Looks up where the address leads that somebody writes into a form.
//!
//! Guarantees: the name is looked up and judged as for a delivery, and nothing is connected to. At most [`AT_ONCE`] look-ups of the page are
//! under way in this process, so that deliveries have the resolver to themselves; and nobody waits longer than [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tokio::sync::Semaphore;

use crate::delivery::Failure;
use crate::ocs::Inside;

/// Look-ups at the same time. One that nobody waits for any more keeps its place until it ends.
const AT_ONCE: usize = 2;
/// How long a view waits for one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where requests to an address would go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// There, as `host:port` each; perhaps through the proxy.
    To { places: String, proxied: bool },
    /// Nowhere: the guard refuses what the name leads to. Why.
    Refused(String),
    /// Nowhere: no address was found. Why.
    Nowhere(String),
    /// Not known: that takes too long now.
    Unknown,
}

/// The look-ups of the page.
#[derive(Debug)]
pub(crate) struct LookUps(Arc<Semaphore>);

impl Default for LookUps {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl LookUps {
    /// Where requests to a target would go now; `None` if this process sends none.
    pub(crate) async fn of(&self, inside: &Inside, target: Uri) -> Option<Leads> {
        let looking = inside.destination(target)?;
        let places = Arc::clone(&self.0);
        let found = tokio::time::timeout(PATIENCE, async move {
            let place = places.acquire_owned().await.ok()?;
            let task = tokio::spawn(async move {
                let found = looking.await;
                drop(place);
                found
            });
            task.await.ok()
        });
        Some(match found.await {
            Ok(Some(Ok(destination))) => Leads::To {
                places: destination.to.join(", "),
                proxied: destination.proxied,
            },
            Ok(Some(Err(failure))) => not_found(failure),
            Ok(None) | Err(_) => Leads::Unknown,
        })
    }
}

fn not_found(failure: Failure) -> Leads {
    if failure.cause.is_guard() {
        Leads::Refused(failure.error)
    } else {
        Leads::Nowhere(failure.error)
    }
}
