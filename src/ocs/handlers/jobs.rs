//! Routes about replays, backfills and other jobs: long work that goes on in the background and is asked for by its job.

use serde_json::json;

use super::context::{Call, Context, DeliveryContext};
use super::error::{Answer, HandlerError};
use super::parameters::{ListQuery, PathId, class_of, since_of};
use crate::ocs::reply::Reply;
use crate::pipeline::jobs::{self, BackfillRequest, Job, ReplayRequest, StartError};
use crate::registry::Fields;

/// The longest name of an object, a register, a schema or a table, in characters.
const LONGEST_NAME: usize = 255;

pub(crate) async fn replay(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let webhook = context.webhook(call.id()).await?;
    let request = ReplayRequest {
        since: since_of(&call.fields)?.ok_or_else(|| HandlerError::field("since", "is required"))?,
        class: class_of(&call.fields)?,
        object: name_of(&call.fields, "object")?,
    };
    let mut client = deliveries.pool.get().await?;
    started(jobs::start_replay(&mut client, &webhook, &request, &call.caller()).await)
}

pub(crate) async fn backfill(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let webhook = context.webhook(call.id()).await?;
    let request = BackfillRequest {
        register: name_of(&call.fields, "register")?,
        schema: name_of(&call.fields, "schema")?,
        table: name_of(&call.fields, "table")?,
    };
    let mut client = deliveries.pool.get().await?;
    let (prefix, by) = (&deliveries.table_prefix, call.caller());
    started(jobs::start_backfill(&mut client, prefix, &webhook, &request, &by).await)
}

fn name_of(fields: &Fields, name: &str) -> Result<Option<String>, HandlerError> {
    Ok(fields.short_text(name, LONGEST_NAME)?.map(str::to_owned))
}

fn started(job: Result<Job, StartError>) -> Answer {
    match job {
        Ok(job) => {
            let note = job.note.clone();
            Ok(Reply::Data(json!(job), note.into_iter().collect()))
        }
        Err(error) => Err(not_started(error)),
    }
}

/// The answer if a job was not started.
pub(super) fn not_started(error: StartError) -> HandlerError {
    match error {
        StartError::Query(error) => error.into(),
        StartError::Refused(text) => HandlerError::new(400, text),
        error @ (StartError::AtWork { .. } | StartError::Disabled(_) | StartError::NotSubscribed(..)) => {
            HandlerError::new(409, error.to_string())
        }
    }
}

pub(crate) async fn list(deliveries: &DeliveryContext, query: ListQuery) -> Answer {
    let ListQuery { webhook, page } = query;
    let client = deliveries.pool.get().await?;
    let jobs = jobs::list(&**client, webhook, page.before, page.limit).await?;
    let next = page.next(jobs.len(), jobs.last().map(|last| last.id));
    Ok(Reply::data(json!({"jobs": jobs, "cursor": next})))
}

pub(crate) async fn show(deliveries: &DeliveryContext, id: PathId<'_>) -> Answer {
    let client = deliveries.pool.get().await?;
    job_or_missing(jobs::get(&**client, id.number).await?, id)
}

pub(crate) async fn cancel(deliveries: &DeliveryContext, call: &Call) -> Answer {
    let id = call.id();
    let client = deliveries.pool.get().await?;
    let job = jobs::cancel(&**client, id.number, &call.caller()).await?;
    job_or_missing(job, id)
}

fn job_or_missing(job: Option<Job>, id: PathId<'_>) -> Answer {
    job.map(|job| Reply::data(json!(job)))
        .ok_or_else(|| id.missing("Job"))
}
