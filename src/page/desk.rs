//! What views are made from.

use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use hyper::Method;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::examiner::Examiner;
use super::look_ups::LookUps;
use super::visit::Visit;
use crate::capture::{CaptureStatus, OutboxLimits};
use crate::delivery::Feed;
use crate::ocs::Refusal;
use crate::registry::EventSource;
use crate::shares::Shares;

/// What views are made from.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) door: Door,
    pub(crate) examiner: Examiner,
    pub(crate) pool: Pool,
    /// The attempts of this process.
    pub(crate) feed: Feed,
    /// The places of those who watch them.
    pub(crate) watching: Arc<Shares>,
    /// Where addresses lead.
    pub(crate) look_ups: LookUps,
    /// What capture does in this process.
    pub(crate) status: watch::Receiver<CaptureStatus>,
    pub(crate) limits: OutboxLimits,
    /// Who sends CloudEvents.
    pub(crate) source: EventSource,
    /// Ends when the process does: streams of events end then.
    pub(crate) stop: CancellationToken,
}

const OWN: &str = "/apps/openregister_webhooks/api/v1";

impl Desk {
    /// What a route of our own answers to GET.
    ///
    /// # Errors
    /// The API's refusal.
    pub(crate) async fn get(
        &self,
        visit: &Visit,
        path: &str,
        query: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let (data, _) = self.call(visit, &Method::GET, path, query, Map::new()).await?;
        Ok(data)
    }

    /// What a route of our own answers to POST, with its warnings.
    ///
    /// # Errors
    /// The API's refusal.
    pub(crate) async fn post(
        &self,
        visit: &Visit,
        path: &str,
        fields: Map<String, Value>,
    ) -> Result<(Value, Vec<String>), Refusal> {
        self.call(visit, &Method::POST, path, Map::new(), fields).await
    }

    async fn call(
        &self,
        visit: &Visit,
        method: &Method,
        path: &str,
        query: Map<String, Value>,
        fields: Map<String, Value>,
    ) -> Result<(Value, Vec<String>), Refusal> {
        let whole = format!("{OWN}{path}");
        let by = (&visit.session, visit.client());
        self.door.inside.call(by, method, &whole, query, fields).await
    }

    /// The same for a whole path, of a route that is Nextcloud's.
    ///
    /// # Errors
    /// The API's refusal.
    pub(crate) async fn nextcloud(
        &self,
        visit: &Visit,
        method: &Method,
        path: &str,
        fields: Map<String, Value>,
    ) -> Result<(Value, Vec<String>), Refusal> {
        let whole = format!("/apps/webhook_listeners/api/v1{path}");
        let by = (&visit.session, visit.client());
        self.door
            .inside
            .call(by, method, &whole, Map::new(), fields)
            .await
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// 503 if there is none.
    pub(crate) async fn database(&self) -> Result<Object, Refusal> {
        self.pool.get().await.map_err(|error| away(&error))
    }
}

/// The refusal if the database fails; the log has the reason.
pub(crate) fn away(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(
        error = crate::error_text::chain(error),
        "a view of the page failed"
    );
    Refusal::new(503, "The database cannot be asked now; try again in a moment")
}

/// Shared by every request.
pub(crate) type SharedDesk = Arc<Desk>;
