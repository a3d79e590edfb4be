//! What the routes do.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::auth::Session;
use super::deliveries::{self, DeliveryContext};
use super::reply::Reply;
use super::routes::Operation;
use crate::catalogue;
use crate::registry::{
    Caller, Fields, InvalidField, Refused, Registration, Registry, RegistryError, Status, TargetPolicy,
    WebhookId, parse_secret, view,
};
use orw_model::EventClass;

/// The OpenAPI document, as it is in `docs/`.
pub(crate) const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// What operations work on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) registry: Arc<Registry>,
    pub(crate) targets: Arc<dyn TargetPolicy>,
    /// What the routes about deliveries need; `None`: they are not served.
    pub(crate) deliveries: Option<DeliveryContext>,
}

/// One request, its caller known and allowed.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// The last path segment that varies.
    pub(crate) parameter: String,
    pub(crate) query: Map<String, Value>,
    pub(crate) fields: Fields,
    pub(crate) session: Option<Session>,
    pub(crate) client: String,
    pub(crate) their: NextcloudPart,
}

/// What Nextcloud's own webhooks give to an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum NextcloudPart {
    Nothing,
    Webhooks(Vec<Value>),
    Deleted(u64),
    /// Nextcloud has none, because the app is not enabled there.
    Off,
}

/// What a caller reads where [`NextcloudPart::Off`].
const OFF: &str = "the app webhook_listeners is not enabled in Nextcloud: only webhooks for OpenRegister's events are known";

impl Context {
    pub(crate) async fn run(&self, call: Call) -> Reply {
        self.answer(call).await.unwrap_or_else(refuse)
    }

    async fn answer(&self, call: Call) -> Result<Reply, RegistryError> {
        let registry = &self.registry;
        let by = Caller {
            user: call
                .session
                .as_ref()
                .map(|session| session.user.clone())
                .unwrap_or_default(),
            app_id: call.session.as_ref().and_then(|session| session.app_id.clone()),
            client: Some(call.client.clone()),
        };
        // An id that is no number is the id of no webhook.
        let id = WebhookId(call.parameter.parse().unwrap_or(0));
        let missing = || Reply::failure(404, format!("Webhook {} does not exist", call.parameter));
        let status = async |status: Status| match registry.set_status(&by, id, status).await {
            Ok(changed) => Ok(Reply::data(view::whole(&changed.webhook))),
            Err(RegistryError::NotFound(_)) => Ok(missing()),
            Err(error) => Err(error),
        };
        match call.operation {
            Operation::List => {
                let uri = call.query.get("uri").and_then(Value::as_str);
                let snapshot = registry.refresh().await?;
                let mut all: Vec<_> = snapshot
                    .all()
                    .iter()
                    .filter(|webhook| uri.is_none_or(|uri| webhook.uri == uri))
                    .collect();
                // What changed last comes last, as in Nextcloud.
                all.sort_by_key(|webhook| webhook.revision);
                let warnings = off(&call.their);
                let mut listed = match call.their {
                    NextcloudPart::Webhooks(theirs) => theirs,
                    _ => Vec::new(),
                };
                listed.extend(
                    all.into_iter()
                        .map(|webhook| Value::Object(view::recorded(webhook))),
                );
                Ok(Reply::Data(listed.into(), warnings))
            }
            Operation::Show => Ok(registry
                .refresh()
                .await?
                .get(id)
                .map_or_else(missing, |webhook| Reply::data(view::recorded(webhook)))),
            Operation::Create => {
                let asked = Registration::parse(&call.fields, &*self.targets)?;
                let extras = asked.extras.clone();
                let changed = registry.create(&by, asked).await?;
                let fields = view::changed(view::recorded(&changed.webhook), &changed, &extras);
                Ok(Reply::Data(fields.into(), changed.warnings))
            }
            Operation::Update => {
                let asked = Registration::parse(&call.fields, &*self.targets)?;
                let sent = asked.clone();
                match registry.update(&by, id, asked).await {
                    Ok(changed) => {
                        let fields = view::as_sent(view::recorded(&changed.webhook), &sent);
                        let fields = view::changed(fields, &changed, &sent.extras);
                        Ok(Reply::Data(fields.into(), changed.warnings))
                    }
                    Err(RegistryError::NotFound(_)) => Ok(missing()),
                    Err(error) => Err(error),
                }
            }
            Operation::Delete => Ok(Reply::data(registry.delete(&by, id).await?)),
            Operation::DeleteByApp => {
                let ours = registry.delete_by_app(&by, &call.parameter).await? as u64;
                let theirs = match call.their {
                    NextcloudPart::Deleted(count) => count,
                    _ => 0,
                };
                Ok(Reply::Data((ours + theirs).into(), off(&call.their)))
            }
            Operation::OwnList => {
                let snapshot = registry.refresh().await?;
                let all = snapshot
                    .all()
                    .iter()
                    .map(|webhook| Value::Object(view::whole(webhook)));
                Ok(Reply::data(all.collect::<Vec<_>>()))
            }
            Operation::OwnShow => Ok(registry
                .refresh()
                .await?
                .get(id)
                .map_or_else(missing, |webhook| Reply::data(view::whole(webhook)))),
            Operation::Enable | Operation::Resume => status(Status::Enabled).await,
            Operation::Pause => status(Status::Paused).await,
            Operation::Disable => {
                let reason = call.fields.short_text("reason", 200).map_err(Refused::Field)?;
                let reason = reason.map_or_else(|| format!("disabled by {}", by.user), ToOwned::to_owned);
                status(Status::Disabled {
                    reason,
                    since: chrono::Utc::now(),
                })
                .await
            }
            Operation::RotateSecret => match self.rotate(&by, id, &call.fields).await {
                Err(RegistryError::NotFound(_)) => Ok(missing()),
                other => other,
            },
            Operation::Events => Ok(Reply::data(events())),
            Operation::Audit => self.audit(&call.query).await,
            Operation::OpenApi => Ok(Reply::Plain(
                StatusCode::OK,
                Bytes::from_static(OPENAPI.as_bytes()),
            )),
            Operation::OnDeliveries(operation) => match &self.deliveries {
                Some(deliveries) => deliveries.answer(operation, registry, &call, &by).await,
                None => Ok(deliveries::not_here()),
            },
            Operation::CloudUser => Ok(Reply::data(user(call.session.as_ref()))),
            Operation::Capabilities => Ok(Reply::data(capabilities())),
        }
    }

    async fn rotate(&self, by: &Caller, id: WebhookId, fields: &Fields) -> Result<Reply, RegistryError> {
        let secret = parse_secret(fields)?;
        let overlap = fields
            .number("overlapSeconds", 0, 2_592_000)
            .map_err(Refused::Field)?
            .unwrap_or(86_400);
        let changed = self
            .registry
            .rotate_secret(by, id, secret, Duration::from_secs(overlap.into()))
            .await?;
        let mut answer = view::whole(&changed.webhook);
        if let Some(secret) = &changed.secret {
            answer.insert("secret".to_owned(), view::shown(secret));
        }
        Ok(Reply::data(answer))
    }

    async fn audit(&self, query: &Map<String, Value>) -> Result<Reply, RegistryError> {
        let query = Fields::form(query.clone());
        let limit = query
            .number("limit", 1, 500)
            .map_err(Refused::Field)?
            .unwrap_or(100);
        let limit = u16::try_from(limit).unwrap_or(500);
        let webhook = deliveries::webhook_of(&query)?.map(WebhookId);
        let before = query
            .text("cursor")
            .map_err(Refused::Field)?
            .map(read_cursor)
            .transpose()?;
        let entries = self.registry.audit(webhook, before, limit).await?;
        let next = (entries.len() == usize::from(limit))
            .then(|| entries.last().map(|last| cursor(last.id)))
            .flatten();
        let entries: Vec<_> = entries.iter().map(view::audited).collect();
        Ok(Reply::data(json!({"entries": entries, "cursor": next})))
    }
}

fn off(their: &NextcloudPart) -> Vec<String> {
    match their {
        NextcloudPart::Off => vec![OFF.to_owned()],
        _ => Vec::new(),
    }
}

/// A place in a list, opaque to callers.
pub(super) fn cursor(id: i64) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

pub(super) fn read_cursor(text: &str) -> Result<i64, RegistryError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(i64::from_be_bytes)
        .ok_or_else(|| {
            let (field, reason) = (
                "cursor".to_owned(),
                "must be a cursor of an answer of this route".to_owned(),
            );
            Refused::Field(InvalidField { field, reason }).into()
        })
}

/// The catalogue of events.
fn events() -> Value {
    EventClass::all()
        .map(|class| {
            json!({"class": class.name(), "entity": class.kind().name(),
                "action": class.action().name().to_lowercase(), "when": catalogue::when(class)})
        })
        .collect()
}

/// The minimum that a client asks for to learn who it is.
fn user(session: Option<&Session>) -> Value {
    let (user, admin) = session.map_or(("", false), |session| (&session.user, session.admin));
    let groups = if admin { vec!["admin"] } else { Vec::new() };
    json!({"enabled": true, "id": user, "display-name": user, "displayname": user, "email": null, "groups": groups,
        "quota": {}, "language": "en", "locale": "en"})
}

/// The Nextcloud version whose API this one is: clients decide by it what they may ask.
pub(crate) const API_OF: (u32, u32, u32) = (32, 0, 1);

fn capabilities() -> Value {
    let (major, minor, micro) = API_OF;
    json!({
        "version": {"major": major, "minor": minor, "micro": micro, "string": format!("{major}.{minor}.{micro}"),
            "edition": "", "extendedSupport": false},
        "capabilities": {
            "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav"},
            "openregister_webhooks": {"version": env!("CARGO_PKG_VERSION")},
        },
    })
}

/// An error as the caller reads it; what is ours to mend goes to the log, not to the caller.
fn refuse(error: RegistryError) -> Reply {
    match error {
        RegistryError::Refused(refused) => Reply::failure(400, refused.to_string()),
        RegistryError::NotFound(id) => Reply::failure(404, format!("Webhook {id} does not exist")),
        RegistryError::Unreadable { .. } | RegistryError::Changed(_) => {
            Reply::failure(409, error.to_string())
        }
        RegistryError::Vault(_) => {
            tracing::error!(error = %crate::error_text::chain(&error), "registration failed");
            Reply::failure(500, "An internal error occurred")
        }
        RegistryError::Database(ref cause) if cause.code().is_some_and(|code| !is_passing(code)) => {
            tracing::error!(error = %crate::error_text::chain(&error), "registration failed");
            Reply::failure(500, "An internal error occurred")
        }
        RegistryError::Database(_) | RegistryError::Pool(_) => {
            tracing::error!(error = %crate::error_text::chain(&error), "registration failed");
            Reply::failure(503, "The database cannot be reached; try again in a moment")
        }
    }
}

/// Errors that pass by themselves: connection, resources, operator's intervention, a transaction rolled back.
fn is_passing(code: &tokio_postgres::error::SqlState) -> bool {
    ["08", "53", "57", "40", "55"]
        .iter()
        .any(|class| code.code().starts_with(class))
}
