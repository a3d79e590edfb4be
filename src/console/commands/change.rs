//! The commands that change something, and `TEST`. The audit table says who did it, as it does for the API.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::columns::of_change;
use super::context::Context;
use super::failure::no_webhook;
use super::show::{job, no_delivery};
use crate::arguments;
use crate::catalogue;
use crate::console::error::{ConsoleError, code};
use crate::console::login::User;
use crate::console::role::Role;
use crate::console::statement::{Change, Replay};
use crate::console::value::{Table, Value};
use crate::delivery::handshake::{self, EnableError};
use crate::delivery::queue::{self, listing};
use crate::delivery::trial;
use crate::lifecycle::EventType;
use crate::pipeline::jobs::{self, ReplayRequest};
use crate::registry::{Caller, Ordering, Status, Webhook, WebhookId};

/// How long one command may put deliveries back; the next one goes on where it stopped.
const RETRY_TIME: Duration = Duration::from_secs(20);
/// The longest reason for disabling a webhook, and the longest name of an object, in characters.
const LONGEST_REASON: usize = 200;
const LONGEST_NAME: usize = 255;

type Rows = Vec<Vec<Value>>;

/// Changes something, or sends a test; `None` if there is nothing to show for it.
pub(in crate::console) async fn run(
    context: &Context,
    user: &User,
    wanted: &Change,
) -> Result<Option<Table>, ConsoleError> {
    if user.role < Role::Operator {
        let message = format!("user \"{}\" is a {} and may only look", user.name, user.role);
        let hint =
            "the role operator may change something; it stands behind the password in ORW_CONSOLE_USERS_FILE";
        return Err(ConsoleError::new(code::NOT_ALLOWED, message).with_hint(hint));
    }
    let by = &caller(user);
    let rows = match wanted {
        Change::Pause(id) => set_status(context, by, *id, Status::Paused).await?,
        Change::Resume(id) | Change::Enable(id) => enable(context, by, *id).await?,
        Change::Disable { webhook, reason } => {
            let reason = match reason {
                Some(reason) => short("reason", reason, LONGEST_REASON)?,
                None => format!("disabled by {}", by.user),
            };
            let since = Utc::now();
            set_status(context, by, *webhook, Status::Disabled { reason, since }).await?
        }
        Change::Test { webhook, class } => test(context, *webhook, class.as_deref()).await?,
        Change::Retry(id) => retry(context, by, *id).await?,
        Change::RetryWebhook(id) => {
            let webhook = find(context, *id).await?;
            put_back(context, by, &webhook, None).await?
        }
        Change::Replay(wanted) => replay(context, by, wanted).await?,
        Change::CancelJob(id) => cancel(context, by, *id).await?,
    };
    Ok(of_change(wanted).map(|columns| Table { columns, rows }))
}

/// Who asks, as the audit table keeps it.
fn caller(user: &User) -> Caller {
    Caller {
        user: format!("console:{}", user.name),
        app_id: None,
        client: Some(user.client.to_string()),
    }
}

async fn find(context: &Context, id: i64) -> Result<std::sync::Arc<Webhook>, ConsoleError> {
    let snapshot = context.registry.refresh().await?;
    snapshot.get(WebhookId(id)).cloned().ok_or_else(|| no_webhook(id))
}

async fn set_status(context: &Context, by: &Caller, id: i64, status: Status) -> Result<Rows, ConsoleError> {
    context.registry.set_status(by, WebhookId(id), status).await?;
    Ok(Rows::new())
}

/// Enables or resumes a webhook, if its receiver allows that.
async fn enable(context: &Context, by: &Caller, id: i64) -> Result<Rows, ConsoleError> {
    match handshake::enable(&context.client, &context.registry, by, WebhookId(id)).await {
        Ok(_) => Ok(Rows::new()),
        Err(EnableError::Registry(error)) => Err(error.into()),
        Err(EnableError::Handshake(error)) => Err(ConsoleError::new(code::NOT_IN_STATE, error.to_string())),
    }
}

async fn test(context: &Context, id: i64, class: Option<&str>) -> Result<Rows, ConsoleError> {
    let webhook = find(context, id).await?;
    let class = match class {
        Some(name) => arguments::event_type(name).map_err(bad)?,
        None => webhook
            .event
            .classes()
            .first()
            .copied()
            .map(EventType::Class)
            .ok_or_else(|| {
                ConsoleError::new(
                    code::NOT_IN_STATE,
                    format!("webhook {id} is not registered for any event"),
                )
            })?,
    };
    let event = Arc::new(catalogue::test_event(class)?);
    let done = trial::send(&context.client, &webhook, &event, &context.traces).await;
    Ok(vec![vec![
        done.succeeded.into(),
        done.status.map(u32::from).into(),
        done.cause.into(),
        done.error.into(),
        done.duration_ms.into(),
        done.class.into(),
        done.event_id.into(),
        done.response.into(),
    ]])
}

async fn retry(context: &Context, by: &Caller, id: i64) -> Result<Rows, ConsoleError> {
    let found = {
        let client = context.pool.get().await?;
        listing::show(&**client, id).await?
    };
    let (entry, _) = found.ok_or_else(|| no_delivery(id))?;
    let webhook = find(context, entry.webhook).await?;
    put_back(context, by, &webhook, Some(id)).await
}

async fn put_back(
    context: &Context,
    by: &Caller,
    webhook: &Webhook,
    one: Option<i64>,
) -> Result<Rows, ConsoleError> {
    let ordered = webhook.ordering == Ordering::Object;
    let mut client = context.pool.get().await?;
    let done = queue::retry(&mut client, webhook.id, one, ordered, RETRY_TIME, by).await?;
    if one.is_some() && done.count == 0 {
        return Err(ConsoleError::new(
            code::NOT_IN_STATE,
            "there is nothing to retry: the delivery succeeded, still waits or was put back already, or its event is no longer kept",
        ));
    }
    let count = i64::try_from(done.count).unwrap_or(i64::MAX);
    Ok(vec![vec![
        webhook.id.0.into(),
        count.into(),
        done.last.is_some().into(),
    ]])
}

async fn replay(context: &Context, by: &Caller, wanted: &Replay) -> Result<Rows, ConsoleError> {
    let webhook = find(context, wanted.webhook).await?;
    let object = wanted
        .object
        .as_deref()
        .map(|object| short("object", object, LONGEST_NAME));
    let request = ReplayRequest {
        since: arguments::since(&wanted.since).map_err(bad)?,
        class: wanted
            .class
            .as_deref()
            .map(arguments::class)
            .transpose()
            .map_err(bad)?,
        object: object.transpose()?,
    };
    let mut client = context.pool.get().await?;
    let started = jobs::start_replay(&mut client, &webhook, &request, by).await?;
    Ok(vec![job(&started)])
}

async fn cancel(context: &Context, by: &Caller, id: i64) -> Result<Rows, ConsoleError> {
    let client = context.pool.get().await?;
    match jobs::cancel(&**client, id, by).await? {
        Some(cancelled) => Ok(vec![job(&cancelled)]),
        None => Err(
            ConsoleError::new(code::UNDEFINED, format!("job {id} does not exist"))
                .with_hint("SHOW JOBS lists those that do"),
        ),
    }
}

fn short(name: &str, text: &str, most: usize) -> Result<String, ConsoleError> {
    if text.chars().count() > most {
        return Err(bad(format!("{name}: has more than {most} characters")));
    }
    Ok(text.to_owned())
}

fn bad(reason: String) -> ConsoleError {
    ConsoleError::new(code::BAD_PARAMETER, reason)
}
