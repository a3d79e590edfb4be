//! Who changed what, newest first.

use askama::Template;
use hyper::{Response, StatusCode};

use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::records::{Audit, AuditEntry, read};
use crate::page::visit::Visit;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "audit.html")]
struct View<'a> {
    p: &'a Chrome,
    webhook: &'a str,
    entries: &'a [AuditEntry],
    next: Option<String>,
}

pub(crate) async fn show(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let mut query = visit.query.query(&["webhook", "cursor"]);
    query.insert("limit".to_owned(), "50".into());
    let audit: Audit = read(desk.get(visit, "/audit", query).await?)?;
    let view = View {
        p: &visit.chrome,
        webhook: visit.query.text("webhook"),
        entries: &audit.entries,
        next: audit.cursor.map(|cursor| visit.query.with("cursor", &cursor)),
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}
