//! One delivery: what was sent, what was answered, every attempt, and what comes next.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Map;

use super::request::{self, Request};
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::form::number;
use crate::page::records::{Attempt, Delivery, OneDelivery, Webhook, read};
use crate::page::visit::Visit;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "delivery.html")]
struct View<'a> {
    p: &'a Chrome,
    delivery: &'a Delivery,
    attempts: &'a [Attempt],
    /// The address of its webhook, if that is still there.
    uri: Option<&'a str>,
    request: Option<&'a Request>,
    retryable: bool,
    problem: Option<&'a str>,
}

pub(crate) async fn show(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    view(desk, visit, number(id)?, None).await
}

async fn view(
    desk: &Desk,
    visit: &Visit,
    id: i64,
    problem: Option<Refusal>,
) -> Result<Response<Body>, Refusal> {
    let found: OneDelivery = read(desk.get(visit, &format!("/deliveries/{id}"), Map::new()).await?)?;
    let path = format!("/webhooks/{}", found.delivery.webhook);
    let webhook: Option<Webhook> = match desk.get(visit, &path, Map::new()).await {
        Ok(data) => Some(read(data)?),
        Err(problem) if problem.status == 404 => None,
        Err(problem) => return Err(problem),
    };
    let request = match &webhook {
        Some(webhook) => request::of(desk, &found.delivery, webhook).await?,
        None => None,
    };
    let status = problem
        .as_ref()
        .and_then(|problem| StatusCode::from_u16(problem.status).ok())
        .unwrap_or(StatusCode::OK);
    let view = View {
        p: &visit.chrome,
        delivery: &found.delivery,
        attempts: &found.attempts,
        uri: webhook.as_ref().map(|webhook| webhook.uri.as_str()),
        request: request.as_ref(),
        retryable: found.retryable,
        problem: problem.as_ref().map(|problem| problem.message.as_str()),
    };
    Ok(answer::html(status, &visit.chrome, &view))
}

/// Puts it back into the queue.
pub(crate) async fn retry(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Body>, Refusal> {
    let id = number(id)?;
    match desk
        .post(visit, &format!("/deliveries/{id}/retry"), Map::new())
        .await
    {
        Ok(_) => Ok(answer::see_other(&format!(
            "{}/deliveries/{id}?done=retried",
            visit.chrome.base
        ))),
        Err(problem) if problem.status == 404 => Err(problem),
        Err(problem) => view(desk, visit, id, Some(problem)).await,
    }
}
