//! Bulk retry of everything that a search of deliveries shows: counted first, then started as jobs, one for each webhook.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::delivery::queue::listing::Field;
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::form::Form;
use crate::page::job_records::{RetryCount, RetryStarted};
use crate::page::records::read;
use crate::page::visit::Visit;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "retry.html")]
struct View<'a> {
    p: &'a Chrome,
    /// The conditions of the search, by their names.
    conditions: Vec<(&'static str, &'a str)>,
    /// The same as the query of a link.
    query: String,
    count: Option<&'a RetryCount>,
    started: Option<&'a RetryStarted>,
    problem: Option<&'a str>,
}

/// The names of what can be looked for.
pub(crate) fn names() -> Vec<&'static str> {
    Field::ALL.iter().map(|field| field.name()).collect()
}

fn fields(form: &Form, dry_run: bool) -> Map<String, Value> {
    let mut fields = form.query(&names());
    fields.insert("dryRun".to_owned(), json!(dry_run));
    fields
}

fn view(
    visit: &Visit,
    status: StatusCode,
    count: Option<&RetryCount>,
    started: Option<&RetryStarted>,
    problem: Option<&str>,
) -> Response<Body> {
    let names = names();
    let view = View {
        p: &visit.chrome,
        conditions: visit.form.pairs(&names),
        query: visit.form.url_query(&names),
        count,
        started,
        problem,
    };
    answer::html(status, &visit.chrome, &view)
}

/// Counts what would be put back, or starts it if the form says so.
pub(crate) async fn retry(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let starts = visit.form.is_ticked("start");
    match desk
        .post(visit, "/deliveries/retry", fields(&visit.form, !starts))
        .await
    {
        Ok((data, _)) if starts => {
            let started: RetryStarted = read(data)?;
            if let ([job], true) = (started.jobs.as_slice(), started.skipped.is_empty()) {
                let path = format!("{}/jobs/{}?done=started", visit.chrome.base, job.id);
                return Ok(answer::see_other(&path));
            }
            Ok(view(visit, StatusCode::OK, None, Some(&started), None))
        }
        Ok((data, _)) => {
            let count: RetryCount = read(data)?;
            Ok(view(visit, StatusCode::OK, Some(&count), None, None))
        }
        Err(problem) if matches!(problem.status, 400 | 409) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(view(visit, status, None, None, Some(&problem.message)))
        }
        Err(problem) => Err(problem),
    }
}
