//! Replays, backfills and bulk retries: how far they are, and how to end them.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Map;

use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::form::number;
use crate::page::job_records::{Job, Jobs};
use crate::page::records::read;
use crate::page::visit::Visit;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "jobs.html")]
struct List<'a> {
    p: &'a Chrome,
    jobs: &'a [Job],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct One<'a> {
    p: &'a Chrome,
    job: &'a Job,
    request: String,
}

/// What renews itself while the job is at work.
#[derive(Template)]
#[template(path = "progress.html")]
struct Progress<'a> {
    p: &'a Chrome,
    job: &'a Job,
}

pub(crate) async fn list(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let mut query = visit.query.query(&["webhook", "cursor"]);
    query.insert("limit".to_owned(), "50".into());
    let jobs: Jobs = read(desk.get(visit, "/jobs", query).await?)?;
    let view = List {
        p: &visit.chrome,
        jobs: &jobs.jobs,
        next: jobs.cursor.map(|cursor| visit.query.with("cursor", &cursor)),
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}

pub(crate) async fn show(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let job: Job = read(
        desk.get(visit, &format!("/jobs/{}", number(id)?), Map::new())
            .await?,
    )?;
    if visit.part {
        let view = Progress {
            p: &visit.chrome,
            job: &job,
        };
        return Ok(answer::html(StatusCode::OK, &visit.chrome, &view));
    }
    let view = One {
        p: &visit.chrome,
        request: format!("{:#}", job.request),
        job: &job,
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}

pub(crate) async fn cancel(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    desk.post(visit, &format!("/jobs/{id}/cancel"), Map::new())
        .await?;
    Ok(answer::see_other(&format!(
        "{}/jobs/{id}?done=cancel",
        visit.chrome.base
    )))
}
