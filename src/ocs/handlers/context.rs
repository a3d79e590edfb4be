//! What handlers work on, and the request that they answer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use deadpool_postgres::Pool;
use serde_json::{Map, Value};

use super::super::session::Session;
use super::error::HandlerError;
use super::parameters::{self, ListQuery, PathId};
use crate::delivery::queue::listing;
use crate::registry::view::Keys;
use crate::registry::{Caller, Fields, Registry, TargetPolicy, Webhook, WebhookId};
use crate::traces::Traces;
use orw_egress::Client;

/// What handlers work on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) registry: Arc<Registry>,
    pub(crate) targets: Arc<dyn TargetPolicy>,
    /// What the routes about deliveries and jobs need; without it they answer 503.
    pub(crate) deliveries: OnceLock<DeliveryContext>,
}

/// What the routes about deliveries and jobs work on.
#[derive(Clone)]
pub struct DeliveryContext {
    pub pool: Pool,
    /// Sends tests.
    pub client: Client,
    pub traces: Traces,
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: Arc<str>,
}

impl fmt::Debug for DeliveryContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryContext")
            .field("table_prefix", &self.table_prefix)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// What the routes about deliveries need.
    ///
    /// # Errors
    /// 503 if this API is served without it.
    pub(crate) fn deliveries(&self) -> Result<&DeliveryContext, HandlerError> {
        self.deliveries
            .get()
            .ok_or_else(|| HandlerError::new(503, "This process serves registrations only"))
    }

    /// A webhook as it is stored now.
    ///
    /// # Errors
    /// 404 if there is none with this id.
    pub(super) async fn webhook(&self, id: PathId<'_>) -> Result<Arc<Webhook>, HandlerError> {
        self.find_webhook(id.number)
            .await?
            .ok_or_else(|| id.missing("Webhook"))
    }

    pub(super) async fn find_webhook(&self, id: i64) -> Result<Option<Arc<Webhook>>, HandlerError> {
        Ok(self.registry.refresh().await?.get(WebhookId(id)).cloned())
    }
}

/// One request. Its caller is known and may use the route.
#[derive(Debug)]
pub(crate) struct Call {
    /// The last part of the path that varies, without percent signs.
    pub(crate) parameter: String,
    pub(crate) query: Map<String, Value>,
    /// The body's fields, and those of the query that the body does not name.
    pub(crate) fields: Fields,
    pub(crate) session: Option<Session>,
    /// The client's address.
    pub(crate) client: String,
    pub(crate) nextcloud: NextcloudPart,
    /// Which fields a webhook has in Nextcloud's own answers.
    pub(crate) keys: Keys,
}

impl Call {
    /// The id in the path.
    pub(crate) fn id(&self) -> PathId<'_> {
        PathId::parse(&self.parameter)
    }

    /// Who asks, for the audit table.
    pub(crate) fn caller(&self) -> Caller {
        let session = self.session.as_ref();
        Caller {
            user: session.map(|session| session.user.clone()).unwrap_or_default(),
            app_id: session.and_then(|session| session.app_id.clone()),
            client: Some(self.client.clone()),
        }
    }

    /// Which part of a list the query asks for.
    pub(crate) fn list_query(&self) -> Result<ListQuery, HandlerError> {
        ListQuery::parse(&Fields::form(self.query.clone()))
    }

    /// Which deliveries the query asks for.
    pub(crate) fn delivery_query(&self) -> Result<listing::Query, HandlerError> {
        parameters::delivery_query(&Fields::form(self.query.clone()))
    }
}

/// What Nextcloud's own webhooks contribute to an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum NextcloudPart {
    Nothing,
    Webhooks(Vec<Value>),
    /// How many were deleted there.
    Deleted(u64),
    /// Nextcloud has none, because the app is not enabled there.
    AppDisabled,
}

impl NextcloudPart {
    /// What the caller should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        const APP_DISABLED: &str = "the app webhook_listeners is not enabled in Nextcloud: only webhooks for OpenRegister's events are known";
        match self {
            Self::AppDisabled => vec![APP_DISABLED.to_owned()],
            Self::Nothing | Self::Webhooks(_) | Self::Deleted(_) => Vec::new(),
        }
    }
}
