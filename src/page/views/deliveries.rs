//! Deliveries, waiting and finished, by what somebody looks for.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Map;

use super::retry;
use crate::delivery::queue::listing::STATES;
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::form::Form;
use crate::page::records::{Deliveries, Delivery, read};
use crate::page::visit::Visit;
use crate::proxy::Body;
use orw_model::EventClass;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct View<'a> {
    p: &'a Chrome,
    query: &'a Form,
    states: &'a [&'a str],
    classes: Vec<String>,
    deliveries: &'a [Delivery],
    next: Option<String>,
    /// The conditions of the search, by their names.
    conditions: Vec<(&'static str, &'a str)>,
    /// Whether a bulk retry could put back something of it.
    retries: bool,
    /// Why the search is not one.
    problem: Option<&'a str>,
}

impl View<'_> {
    /// Whether the search names one of the rarer conditions.
    fn more(&self) -> bool {
        let rare = ["until", "status", "cause", "webhookId"];
        rare.iter().any(|name| self.query.get(name).is_some())
    }
}

pub(crate) async fn show(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let mut query: Map<_, _> = visit.query.query(&retry::names());
    query.extend(visit.query.query(&["cursor"]));
    query.insert("limit".to_owned(), "50".into());
    let (found, problem) = match desk.get(visit, "/deliveries", query).await {
        Ok(data) => (read::<Deliveries>(data)?, None),
        Err(problem) if problem.status == 400 => (
            Deliveries {
                deliveries: Vec::new(),
                cursor: None,
            },
            Some(problem.message),
        ),
        Err(problem) => return Err(problem),
    };
    let status = match &problem {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let state = visit.query.text("state");
    let view = View {
        p: &visit.chrome,
        conditions: visit.query.pairs(&retry::names()),
        retries: problem.is_none() && matches!(state, "" | "given_up" | "cancelled" | "given_up,cancelled"),
        query: &visit.query,
        states: &STATES,
        classes: EventClass::all().map(|class| class.to_string()).collect(),
        deliveries: &found.deliveries,
        next: found.cursor.map(|cursor| visit.query.with("cursor", &cursor)),
        problem: problem.as_deref(),
    };
    Ok(answer::html(status, &visit.chrome, &view))
}
