//! The catalogue of events, each with what it carries.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Map;

use crate::catalogue;
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::Desk;
use crate::page::records::{EventClass, read};
use crate::page::visit::Visit;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "events.html")]
struct List<'a> {
    p: &'a Chrome,
    /// By entity.
    groups: Vec<(&'a str, Vec<&'a EventClass>)>,
}

#[derive(Template)]
#[template(path = "event.html")]
struct One<'a> {
    p: &'a Chrome,
    class: &'a EventClass,
    example: String,
    schema: String,
}

pub(crate) async fn list(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let classes: Vec<EventClass> = read(desk.get(visit, "/events", Map::new()).await?)?;
    let mut groups: Vec<(&str, Vec<&EventClass>)> = Vec::new();
    for class in &classes {
        match groups.iter_mut().find(|(entity, _)| *entity == class.entity) {
            Some((_, group)) => group.push(class),
            None => groups.push((&class.entity, vec![class])),
        }
    }
    let view = List {
        p: &visit.chrome,
        groups,
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}

pub(crate) async fn show(desk: &Desk, visit: &Visit, name: &str) -> Result<Response<Body>, Refusal> {
    let classes: Vec<EventClass> = read(desk.get(visit, "/events", Map::new()).await?)?;
    let known = orw_model::EventClass::from_short(name);
    let (Some(class), Some(known)) = (classes.iter().find(|class| class.short() == name), known) else {
        return Err(Refusal::new(404, format!("{name:?} is not an event class")));
    };
    let view = One {
        p: &visit.chrome,
        class,
        example: format!("{:#}", catalogue::example(known)),
        schema: format!(
            "{:#}",
            catalogue::payload_schema(known, crate::registry::Format::Documented)
        ),
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}
