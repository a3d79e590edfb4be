//! One webhook: its figures, its deliveries, its settings, and what can be done with it.

use askama::Template;
use hyper::{Method, Response, StatusCode};
use serde_json::Map;

use super::secret;
use crate::delivery::figures;
use crate::delivery::overview::{self, Overview as Day};
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chart::{self, Chart};
use crate::page::chrome::Chrome;
use crate::page::desk::{Desk, away};
use crate::page::form::{Form, number};
use crate::page::job_records::{Job, Jobs, Retried};
use crate::page::records::{Deliveries, Delivery, Statistics, Trial, Webhook, header_lines, read};
use crate::page::visit::Visit;
use crate::proxy::Body;
use crate::registry::WebhookId;

/// How many of its deliveries are shown with it.
const DELIVERIES: u16 = 12;

#[derive(Template)]
#[template(path = "webhook.html")]
struct View<'a> {
    p: &'a Chrome,
    webhook: &'a Webhook,
    figures: &'a Statistics,
    day: &'a Day,
    traffic: &'a Chart,
    latency: &'a Chart,
    deliveries: &'a [Delivery],
    jobs: &'a [Job],
    filter: String,
    headers: String,
    /// The answer of a test that was just made.
    trial: Option<&'a Trial>,
    /// Why something was not done.
    problem: Option<&'a Refusal>,
    warnings: &'a [String],
    form: &'a Form,
}

/// What was just done, if the view shows it.
#[derive(Default)]
struct Done {
    trial: Option<Trial>,
    problem: Option<Refusal>,
    warnings: Vec<String>,
}

pub(crate) async fn show(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    view(desk, visit, number(id)?, Done::default()).await
}

async fn view(desk: &Desk, visit: &Visit, id: i64, done: Done) -> Result<Response<Body>, Refusal> {
    let one = format!("/webhooks/{id}");
    let webhook: Webhook = read(desk.get(visit, &one, Map::new()).await?)?;
    let figures: Statistics = read(desk.get(visit, &format!("{one}/statistics"), Map::new()).await?)?;
    let of_this = |limit: u16| {
        let mut query = Map::new();
        query.insert("webhook".to_owned(), id.to_string().into());
        query.insert("limit".to_owned(), limit.to_string().into());
        query
    };
    let deliveries: Deliveries = read(desk.get(visit, "/deliveries", of_this(DELIVERIES)).await?)?;
    let jobs: Jobs = read(desk.get(visit, "/jobs", of_this(5)).await?)?;
    let p = &visit.chrome;
    let client = desk.database().await?;
    let day = overview::of(&**client, &[id])
        .await
        .map_err(|error| away(&error))?;
    let day = day.into_iter().next().map(|(_, day)| day).unwrap_or_default();
    let points = figures::series(&**client, Some(WebhookId(id)), p.now, chart::MINUTES, chart::STEP)
        .await
        .map_err(|error| away(&error))?;
    drop(client);
    let status = match &done.problem {
        Some(problem) => StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST),
        None => StatusCode::OK,
    };
    let view = View {
        p: &visit.chrome,
        filter: if webhook.is_filtered() {
            format!("{:#}", webhook.event_filter)
        } else {
            String::new()
        },
        headers: header_lines(Some(&webhook.headers)),
        webhook: &webhook,
        figures: &figures,
        day: &day,
        traffic: &chart::traffic(&points, p),
        latency: &chart::latency(&points, p),
        deliveries: &deliveries.deliveries,
        jobs: &jobs.jobs,
        trial: done.trial.as_ref(),
        problem: done.problem.as_ref(),
        warnings: &done.warnings,
        form: &visit.form,
    };
    Ok(answer::html(status, &visit.chrome, &view))
}

/// The view again, with why something was not done.
async fn refused(desk: &Desk, visit: &Visit, id: i64, problem: Refusal) -> Result<Response<Body>, Refusal> {
    if problem.status == 404 {
        return Err(problem);
    }
    let done = Done {
        problem: Some(problem),
        ..Done::default()
    };
    view(desk, visit, id, done).await
}

fn back(visit: &Visit, id: i64, done: &str) -> Response<Body> {
    answer::see_other(&format!("{}/webhooks/{id}?done={done}", visit.chrome.base))
}

/// Enables, disables, pauses or resumes it.
pub(crate) async fn set_status(
    desk: &Desk,
    visit: &Visit,
    id: &str,
    action: &str,
) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    let mut fields = Map::new();
    if let Some(reason) = visit.form.get("reason") {
        fields.insert("reason".to_owned(), reason.into());
    }
    match desk
        .post(visit, &format!("/webhooks/{id}/{action}"), fields)
        .await
    {
        Ok(_) => Ok(back(visit, id, action)),
        Err(problem) => refused(desk, visit, id, problem).await,
    }
}

/// Sends a test event and shows what the receiver said.
pub(crate) async fn test(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    let fields = visit.form.query(&["class"]);
    match desk.post(visit, &format!("/webhooks/{id}/test"), fields).await {
        Ok((data, warnings)) => {
            let done = Done {
                trial: Some(read(data)?),
                warnings,
                ..Done::default()
            };
            view(desk, visit, id, done).await
        }
        Err(problem) => refused(desk, visit, id, problem).await,
    }
}

/// Gives it a new signing secret, which this answer shows and no other.
pub(crate) async fn rotate(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    let mut fields = Map::new();
    if let Some(hours) = visit.form.get("overlap") {
        let hours: u64 = hours.parse().unwrap_or(u64::MAX);
        fields.insert("overlapSeconds".to_owned(), hours.saturating_mul(3600).into());
    }
    match desk.post(visit, &format!("/webhooks/{id}/secret"), fields).await {
        Ok((data, warnings)) => Ok(secret::show(&visit.chrome, id, &data, false, &warnings)),
        Err(problem) => refused(desk, visit, id, problem).await,
    }
}

/// Deletes it.
pub(crate) async fn delete(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    if visit.form.text("confirm") != id.to_string() {
        let problem = visit.chrome.refusal(
            400,
            "Nothing was deleted: type the webhook's number to confirm.",
            "Er is niets verwijderd: typ het nummer van de webhook ter bevestiging.",
        );
        return refused(desk, visit, id, problem).await;
    }
    let path = format!("/webhooks/{id}");
    desk.nextcloud(visit, &Method::DELETE, &path, Map::new()).await?;
    Ok(answer::see_other(&format!(
        "{}/webhooks?done=deleted",
        visit.chrome.base
    )))
}

/// Puts everything back that was given up.
pub(crate) async fn retry(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    match desk
        .post(visit, &format!("/webhooks/{id}/retry"), Map::new())
        .await
    {
        Ok((data, _)) => {
            let retried: Retried = read(data)?;
            let done = match (retried.retried, retried.more) {
                (0, _) => "retried-none",
                (_, true) => "retried-some",
                (_, false) => "retried-all",
            };
            Ok(back(visit, id, done))
        }
        Err(problem) => refused(desk, visit, id, problem).await,
    }
}

/// Starts a replay or a backfill.
pub(crate) async fn start(
    desk: &Desk,
    visit: &Visit,
    id: &str,
    kind: &str,
) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    let names: &[&str] = if kind == "replay" {
        &["since", "class", "object"]
    } else {
        &["register", "schema", "table"]
    };
    let fields = visit.form.query(names);
    match desk.post(visit, &format!("/webhooks/{id}/{kind}"), fields).await {
        Ok((data, _)) => {
            let job: Job = read(data)?;
            let path = format!("{}/jobs/{}?done=started", visit.chrome.base, job.id);
            Ok(answer::see_other(&path))
        }
        Err(problem) => refused(desk, visit, id, problem).await,
    }
}
