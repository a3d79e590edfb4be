//! Which view answers which path.

use hyper::{Method, Response};

use super::desk::SharedDesk;
use super::views::{
    audit, deliveries, delivery, edit, events, jobs, live, overview, retry, webhook, webhooks,
};
use super::visit::Visit;
use crate::ocs::Refusal;
use crate::proxy::Body;

/// Answers a visit.
///
/// # Errors
/// Why not.
pub(crate) async fn answer(desk: &SharedDesk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let path: Vec<&str> = visit.path.iter().map(String::as_str).collect();
    if visit.method == Method::GET {
        look(desk, visit, &path).await
    } else {
        change(desk, visit, &path).await
    }
}

async fn look(desk: &SharedDesk, visit: &Visit, path: &[&str]) -> Result<Response<Body>, Refusal> {
    match path {
        [] => overview::show(desk, visit).await,
        ["webhooks"] => webhooks::show(desk, visit).await,
        ["webhooks", "new"] => edit::new(desk, visit).await,
        ["webhooks", id] => webhook::show(desk, visit, id).await,
        ["webhooks", id, "edit"] => edit::edit(desk, visit, id).await,
        ["deliveries"] => deliveries::show(desk, visit).await,
        ["deliveries", id] => delivery::show(desk, visit, id).await,
        ["jobs"] => jobs::list(desk, visit).await,
        ["jobs", id] => jobs::show(desk, visit, id).await,
        ["live"] => live::show(desk, visit).await,
        ["live", "events"] => live::events(desk, visit),
        ["events"] => events::list(desk, visit).await,
        ["events", class] => events::show(desk, visit, class).await,
        ["audit"] => audit::show(desk, visit).await,
        _ => Err(nothing(visit)),
    }
}

async fn change(desk: &SharedDesk, visit: &Visit, path: &[&str]) -> Result<Response<Body>, Refusal> {
    match path {
        ["webhooks", "new"] => edit::create(desk, visit).await,
        ["webhooks", "check"] => edit::check(desk, visit).await,
        ["webhooks", id, "edit"] => edit::update(desk, visit, id).await,
        [
            "webhooks",
            id,
            action @ ("enable" | "disable" | "pause" | "resume"),
        ] => webhook::set_status(desk, visit, id, action).await,
        ["webhooks", id, "test"] => webhook::test(desk, visit, id).await,
        ["webhooks", id, "secret"] => webhook::rotate(desk, visit, id).await,
        ["webhooks", id, "delete"] => webhook::delete(desk, visit, id).await,
        ["webhooks", id, "retry"] => webhook::retry(desk, visit, id).await,
        ["webhooks", id, kind @ ("replay" | "backfill")] => webhook::start(desk, visit, id, kind).await,
        ["deliveries", "retry"] => retry::retry(desk, visit).await,
        ["deliveries", id, "retry"] => delivery::retry(desk, visit, id).await,
        ["jobs", id, "cancel"] => jobs::cancel(desk, visit, id).await,
        _ => Err(nothing(visit)),
    }
}

fn nothing(visit: &Visit) -> Refusal {
    let dutch = "Deze pagina bestaat niet.";
    visit.chrome.refusal(404, "There is no such page.", dutch)
}
