//! Routes about deliveries: the log, retries, tests, replays, backfills and figures.
//!
//! Guarantees: a page holds at most 500 entries and costs the same however long the log is; what takes long goes on in the
//! background and is asked for by its job.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use serde_json::json;

use super::operations::{Call, cursor, read_cursor};
use super::reply::Reply;
use crate::arguments;
use crate::catalogue;
use crate::delivery::log::{self, STATES};
use crate::delivery::{Client, queue, statistics, trial};
use crate::lifecycle::EventType;
use crate::pipeline::jobs::{self, BackfillRequest, Job, ReplayRequest, StartError};
use crate::registry::{
    Caller, Fields, InvalidField, Ordering, Refused, Registry, RegistryError, Webhook, WebhookId,
};
use orw_model::EventClass;

/// How long putting back may take; what is left is put back by the next request.
const RETRY_TIME: Duration = Duration::from_secs(20);

/// What a route about deliveries does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryOperation {
    Deliveries,
    Delivery,
    RetryDelivery,
    RetryWebhook,
    Test,
    Replay,
    Backfill,
    Jobs,
    Job,
    CancelJob,
    Statistics,
    WebhookStatistics,
}

/// What these routes work on.
#[derive(Clone)]
pub struct DeliveryContext {
    pub pool: Pool,
    /// Sends tests.
    pub client: Client,
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: Arc<str>,
}

impl std::fmt::Debug for DeliveryContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryContext")
            .field("table_prefix", &self.table_prefix)
            .finish_non_exhaustive()
    }
}

type Answered = Result<Reply, RegistryError>;

impl DeliveryContext {
    pub(crate) async fn answer(
        &self,
        operation: DeliveryOperation,
        registry: &Registry,
        call: &Call,
        by: &Caller,
    ) -> Answered {
        let id: i64 = call.parameter.parse().unwrap_or(0);
        match operation {
            DeliveryOperation::Deliveries => self.list(call).await,
            DeliveryOperation::Delivery => self.show(id, call).await,
            DeliveryOperation::RetryDelivery => self.retry_one(registry, id, call, by).await,
            DeliveryOperation::RetryWebhook => match webhook(registry, id).await? {
                Some(webhook) => self.retry(&webhook, None, by).await,
                None => Ok(no_webhook(call)),
            },
            DeliveryOperation::Test => match webhook(registry, id).await? {
                Some(webhook) => self.test(&webhook, &call.fields).await,
                None => Ok(no_webhook(call)),
            },
            DeliveryOperation::Replay => match webhook(registry, id).await? {
                Some(webhook) => self.replay(&webhook, &call.fields, by).await,
                None => Ok(no_webhook(call)),
            },
            DeliveryOperation::Backfill => match webhook(registry, id).await? {
                Some(webhook) => self.backfill(&webhook, &call.fields, by).await,
                None => Ok(no_webhook(call)),
            },
            DeliveryOperation::Jobs => self.jobs(call).await,
            DeliveryOperation::Job => {
                let client = self.pool.get().await?;
                Ok(job_or_missing(jobs::get(&**client, id).await?, call))
            }
            DeliveryOperation::CancelJob => {
                let client = self.pool.get().await?;
                Ok(job_or_missing(jobs::cancel(&**client, id, by).await?, call))
            }
            DeliveryOperation::Statistics => {
                let snapshot = registry.refresh().await?;
                let all: Vec<i64> = snapshot.all().iter().map(|webhook| webhook.id.0).collect();
                Ok(Reply::data(json!(self.figures(&all).await?)))
            }
            DeliveryOperation::WebhookStatistics => match webhook(registry, id).await? {
                Some(webhook) => {
                    let one = self.figures(&[webhook.id.0]).await?;
                    Ok(Reply::data(json!(one.first())))
                }
                None => Ok(no_webhook(call)),
            },
        }
    }

    async fn figures(&self, webhooks: &[i64]) -> Result<Vec<statistics::Statistics>, RegistryError> {
        let client = self.pool.get().await?;
        Ok(statistics::of(&**client, webhooks).await?)
    }

    async fn list(&self, call: &Call) -> Answered {
        let query = Fields::form(call.query.clone());
        let (limit, before) = page(&query)?;
        let state = match field(query.text("state"))? {
            Some(state) if !STATES.contains(&state) => {
                return Err(invalid("state", format!("must be one of {}", STATES.join(", "))));
            }
            state => state.map(str::to_owned),
        };
        let asked = log::Query {
            webhook: webhook_of(&query)?,
            state,
            class: type_of(&query)?.map(|class| class.to_string()),
            since: since_of(&query)?,
            before,
            limit,
        };
        let client = self.pool.get().await?;
        let page = log::list(&**client, &asked).await?;
        Ok(Reply::data(
            json!({"deliveries": page.entries, "cursor": page.next.map(cursor)}),
        ))
    }

    async fn show(&self, id: i64, call: &Call) -> Answered {
        let client = self.pool.get().await?;
        Ok(match log::show(&**client, id).await? {
            Some((entry, attempts)) => Reply::data(json!({"delivery": entry, "attempts": attempts})),
            None => no_delivery(call),
        })
    }

    async fn retry_one(&self, registry: &Registry, id: i64, call: &Call, by: &Caller) -> Answered {
        let found = {
            let client = self.pool.get().await?;
            log::show(&**client, id).await?
        };
        let Some((entry, _)) = found else {
            return Ok(no_delivery(call));
        };
        match webhook(registry, entry.webhook).await? {
            Some(webhook) => self.retry(&webhook, Some(id), by).await,
            None => Ok(Reply::failure(
                409,
                format!("Webhook {} does not exist any more", entry.webhook),
            )),
        }
    }

    async fn retry(&self, webhook: &Webhook, one: Option<i64>, by: &Caller) -> Answered {
        let ordered = webhook.ordering == Ordering::Object;
        let mut client = self.pool.get().await?;
        let done = queue::retry(&mut client, webhook.id, one, ordered, RETRY_TIME, by).await?;
        if one.is_some() && done.count == 0 {
            return Ok(Reply::failure(
                409,
                "There is nothing to retry: it succeeded, waits still, was put back already, or its event is no longer kept",
            ));
        }
        Ok(Reply::data(
            json!({"webhook": webhook.id.0, "retried": done.count, "more": done.last.is_some()}),
        ))
    }

    async fn test(&self, webhook: &Webhook, fields: &Fields) -> Answered {
        let class = match type_of(fields)? {
            Some(class) => class,
            None => match webhook.event.classes().first() {
                Some(class) => EventType::Class(*class),
                None => return Ok(Reply::failure(409, "The webhook is registered for nothing")),
            },
        };
        let event = catalogue::test_event(class)?;
        Ok(Reply::data(json!(
            trial::send(&self.client, webhook, &event).await
        )))
    }

    async fn replay(&self, webhook: &Webhook, fields: &Fields, by: &Caller) -> Answered {
        let ask = ReplayRequest {
            since: since_of(fields)?.ok_or_else(|| invalid("since", "is required"))?,
            class: class_of(fields)?,
            object: field(fields.short_text("object", 255))?.map(str::to_owned),
        };
        let mut client = self.pool.get().await?;
        begun(jobs::start_replay(&mut client, webhook, &ask, by).await)
    }

    async fn backfill(&self, webhook: &Webhook, fields: &Fields, by: &Caller) -> Answered {
        let text = |name| Ok::<_, RegistryError>(field(fields.short_text(name, 255))?.map(str::to_owned));
        let ask = BackfillRequest {
            register: text("register")?,
            schema: text("schema")?,
            table: text("table")?,
        };
        let mut client = self.pool.get().await?;
        begun(jobs::start_backfill(&mut client, &self.table_prefix, webhook, &ask, by).await)
    }

    async fn jobs(&self, call: &Call) -> Answered {
        let query = Fields::form(call.query.clone());
        let (limit, before) = page(&query)?;
        let client = self.pool.get().await?;
        let webhook = webhook_of(&query)?.map(WebhookId);
        let all = jobs::list(&**client, webhook, before, limit).await?;
        let next = (all.len() == usize::from(limit))
            .then(|| all.last().map(|last| cursor(last.id)))
            .flatten();
        Ok(Reply::data(json!({"jobs": all, "cursor": next})))
    }
}

async fn webhook(registry: &Registry, id: i64) -> Result<Option<Arc<Webhook>>, RegistryError> {
    Ok(registry.refresh().await?.get(WebhookId(id)).cloned())
}

fn begun(job: Result<Job, StartError>) -> Answered {
    match job {
        Ok(job) => {
            let note = job.note.clone();
            Ok(Reply::Data(json!(job), note.into_iter().collect()))
        }
        Err(StartError::Query(error)) => Err(error.into()),
        Err(StartError::Refused(text)) => Ok(Reply::failure(400, text)),
        Err(
            error @ (StartError::AtWork { .. } | StartError::Disabled(_) | StartError::NotSubscribed(..)),
        ) => Ok(Reply::failure(409, error.to_string())),
    }
}

fn job_or_missing(job: Option<Job>, call: &Call) -> Reply {
    job.map_or_else(
        || Reply::failure(404, format!("Job {} does not exist", call.parameter)),
        |job| Reply::data(json!(job)),
    )
}

fn no_webhook(call: &Call) -> Reply {
    Reply::failure(404, format!("Webhook {} does not exist", call.parameter))
}

fn no_delivery(call: &Call) -> Reply {
    Reply::failure(404, format!("Delivery {} does not exist", call.parameter))
}

fn field<T>(read: Result<T, InvalidField>) -> Result<T, RegistryError> {
    read.map_err(|error| Refused::Field(error).into())
}

fn invalid(name: &str, reason: impl Into<String>) -> RegistryError {
    Refused::Field(InvalidField {
        field: name.to_owned(),
        reason: reason.into(),
    })
    .into()
}

/// `limit` and `cursor`.
fn page(query: &Fields) -> Result<(u16, Option<i64>), RegistryError> {
    let limit = field(query.number("limit", 1, 500))?.unwrap_or(100);
    let before = field(query.text("cursor"))?.map(read_cursor).transpose()?;
    Ok((u16::try_from(limit).unwrap_or(500), before))
}

/// `webhook`, in the queries of every list.
pub(super) fn webhook_of(query: &Fields) -> Result<Option<i64>, RegistryError> {
    field(query.text("webhook"))?
        .map(|id| {
            id.parse()
                .map_err(|_| invalid("webhook", "must be the id of a webhook"))
        })
        .transpose()
}

fn class_of(fields: &Fields) -> Result<Option<EventClass>, RegistryError> {
    field(fields.text("class"))?
        .map(|name| arguments::class(name).map_err(|reason| invalid("class", reason)))
        .transpose()
}

/// The same, or `openregister-webhooks.gap`.
fn type_of(fields: &Fields) -> Result<Option<EventType>, RegistryError> {
    field(fields.text("class"))?
        .map(|name| arguments::event_type(name).map_err(|reason| invalid("class", reason)))
        .transpose()
}

fn since_of(fields: &Fields) -> Result<Option<DateTime<Utc>>, RegistryError> {
    field(fields.text("since"))?
        .map(|text| arguments::since(text).map_err(|reason| invalid("since", reason)))
        .transpose()
}

/// The answer where the API is served without a queue.
pub(crate) fn not_here() -> Reply {
    Reply::failure(503, "This process serves registrations only")
}
