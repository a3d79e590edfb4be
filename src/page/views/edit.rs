//! A new webhook, or another form of one: everything that a registration has, checked before it is saved.

use std::sync::Arc;

use askama::Template;
use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::registration::{self, Draft};
use super::secret;
use crate::catalogue;
use crate::lifecycle::EventType;
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::body::shown;
use crate::page::chrome::Chrome;
use crate::page::desk::{Desk, away};
use crate::page::form::number;
use crate::page::look_ups::Leads;
use crate::page::records::{Webhook, read};
use crate::page::visit::Visit;
use crate::pipeline::preview::{self, Body, Tried};
use crate::proxy::Body as Answer;
use crate::registry::{DataMode, Format, HttpMethod, Ordering, Registration};
use orw_filter::Filter;
use orw_model::EventClass;

/// Stands for an address that is not written yet.
const ANYWHERE: &str = "https://example.com/";
/// The longest body that is shown whole.
const SHOWN: usize = 16 * 1024;

#[derive(Template)]
#[template(path = "edit.html")]
struct View<'a> {
    p: &'a Chrome,
    draft: &'a Draft,
    methods: &'a [&'a str],
    formats: &'a [&'a str],
    modes: &'a [&'a str],
    orderings: &'a [&'a str],
    operators: &'a [&'a str],
    more: &'a [&'a str],
    classes: Vec<String>,
    checked: Option<&'a Checked>,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "check.html")]
struct Part<'a> {
    p: &'a Chrome,
    checked: &'a Checked,
}

/// What is said of a draft before it is saved.
pub(crate) struct Checked {
    /// Why it would be refused.
    problem: Option<String>,
    warnings: Vec<String>,
    /// Where its requests would go; `None` if that was not asked.
    leads: Option<Leads>,
    /// How the filter did on the last events.
    tried: Option<Tried>,
    /// The body in every format; empty if nothing is known that could be sent.
    bodies: Vec<Body>,
    /// It says no address yet.
    unaddressed: bool,
    /// The bodies are of an example, because no such event is stored.
    example: bool,
}

impl Checked {
    fn refused(problem: String) -> Self {
        Self {
            problem: Some(problem),
            warnings: Vec::new(),
            leads: None,
            tried: None,
            bodies: Vec::new(),
            unaddressed: false,
            example: false,
        }
    }
}

pub(crate) async fn new(_desk: &Desk, visit: &Visit) -> Result<Response<Answer>, Refusal> {
    operators_only(visit)?;
    Ok(form(visit, &Draft::new(&visit.query), None, None))
}

pub(crate) async fn edit(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Answer>, Refusal> {
    operators_only(visit)?;
    let id = number(id)?;
    let webhook: Webhook = read(desk.get(visit, &format!("/webhooks/{id}"), Map::new()).await?)?;
    let mut draft = Draft::of(&webhook);
    (draft.auth_method, draft.kept_credentials) = desk.door.inside.credential_names(id).await?;
    Ok(form(visit, &draft, None, None))
}

/// A form that a reader could not send is not shown to them.
fn operators_only(visit: &Visit) -> Result<(), Refusal> {
    if visit.chrome.operator {
        return Ok(());
    }
    Err(visit.chrome.only_looks())
}

fn form(
    visit: &Visit,
    draft: &Draft,
    checked: Option<&Checked>,
    problem: Option<&Refusal>,
) -> Response<Answer> {
    let status = problem
        .and_then(|problem| StatusCode::from_u16(problem.status).ok())
        .unwrap_or(StatusCode::OK);
    let view = View {
        p: &visit.chrome,
        draft,
        methods: HttpMethod::NAMES,
        formats: Format::NAMES,
        modes: DataMode::NAMES,
        orderings: Ordering::NAMES,
        operators: &registration::OPERATORS,
        more: &registration::MORE,
        classes: EventClass::all().map(|class| class.to_string()).collect(),
        checked,
        problem: problem.map(|problem| problem.message.as_str()),
    };
    answer::html(status, &visit.chrome, &view)
}

/// Says what would become of a draft; saves nothing.
pub(crate) async fn check(desk: &Desk, visit: &Visit) -> Result<Response<Answer>, Refusal> {
    let mut draft = Draft::sent(&visit.form);
    if let Some(id) = draft.id {
        (draft.auth_method, draft.kept_credentials) = desk.door.inside.credential_names(id).await?;
    }
    let added = if visit.form.is_ticked("add") {
        draft.add_condition(&visit.form)
    } else {
        Ok(())
    };
    // Filters are tried and bodies are shown before an address is known.
    let unaddressed = draft.uri.is_empty();
    if unaddressed {
        ANYWHERE.clone_into(&mut draft.uri);
    }
    let fields = added.and_then(|()| draft.fields());
    if unaddressed {
        draft.uri.clear();
    }
    let checked = match fields {
        Ok(fields) => Checked {
            unaddressed,
            ..checked(desk, &draft, fields).await?
        },
        Err(problem) => Checked::refused(problem),
    };
    if visit.part {
        let view = Part {
            p: &visit.chrome,
            checked: &checked,
        };
        return Ok(answer::html(StatusCode::OK, &visit.chrome, &view));
    }
    Ok(form(visit, &draft, Some(&checked), None))
}

/// What the API would say of it, what its filter would have matched, and what would be sent.
async fn checked(desk: &Desk, draft: &Draft, fields: Map<String, Value>) -> Result<Checked, Refusal> {
    let registration = match desk.door.inside.check_registration(fields) {
        Ok(registration) => registration,
        Err(problem) => return Ok(Checked::refused(problem)),
    };
    let classes = registration.event.classes();
    let filter = match Filter::parse_for(&registration.event_filter, classes) {
        Ok(filter) => Arc::new(filter),
        Err(problem) => return Ok(Checked::refused(format!("eventFilter: {problem}"))),
    };
    let leads = async {
        if draft.uri.is_empty() {
            return None;
        }
        desk.look_ups
            .of(&desk.door.inside, registration.target.clone())
            .await
    };
    let (leads, tried) = tokio::join!(leads, tried(desk, draft, &registration, filter));
    let tried = tried?;
    Ok(Checked {
        warnings: registration.warnings,
        leads,
        ..tried
    })
}

/// What its filter would have matched, and what would be sent.
async fn tried(
    desk: &Desk,
    draft: &Draft,
    registration: &Registration,
    filter: Arc<Filter>,
) -> Result<Checked, Refusal> {
    let classes = registration.event.classes();
    let client = desk.database().await?;
    let user = Some(registration.user_id_filter.clone()).filter(|user| !user.is_empty());
    let tried = preview::filter(&**client, filter, user, classes)
        .await
        .map_err(|error| away(&error))?;
    let last = preview::last_event(&**client, classes)
        .await
        .map_err(|error| away(&error))?;
    drop(client);
    let example = last.is_none();
    let event = last.or_else(|| {
        let class = classes.first()?;
        Some(catalogue::example_of(EventType::Class(*class)))
    });
    let mode = DataMode::parse(&draft.mode).unwrap_or_default();
    let mut bodies = match event {
        Some(event) => {
            preview::bodies(
                event,
                mode,
                registration.extras.options.clone(),
                desk.source.clone(),
            )
            .await
        }
        None => Vec::new(),
    };
    for body in &mut bodies {
        let (text, cut) = shown(std::mem::take(&mut body.body), SHOWN);
        body.body = text;
        if cut {
            body.body.push('…');
        }
    }
    // What was chosen stands first.
    bodies.sort_by_key(|body| body.format != draft.format);
    Ok(Checked {
        problem: None,
        warnings: Vec::new(),
        leads: None,
        tried: Some(tried),
        bodies,
        unaddressed: false,
        example,
    })
}

pub(crate) async fn create(desk: &Desk, visit: &Visit) -> Result<Response<Answer>, Refusal> {
    let draft = Draft::sent(&visit.form);
    let mut fields = match draft.fields() {
        Ok(fields) => fields,
        Err(problem) => return Ok(form(visit, &draft, None, Some(&refused(problem)))),
    };
    fields.insert("secret".to_owned(), json!("generate"));
    match desk.nextcloud(visit, &Method::POST, "/webhooks", fields).await {
        Ok((data, warnings)) => {
            let id = data.get("id").and_then(Value::as_i64).unwrap_or_default();
            Ok(secret::show(&visit.chrome, id, &data, true, &warnings))
        }
        Err(problem) => Ok(form(visit, &draft, None, Some(&problem))),
    }
}

pub(crate) async fn update(desk: &Desk, visit: &Visit, id: &str) -> Result<Response<Answer>, Refusal> {
    let id = number(id)?;
    let mut draft = Draft::sent(&visit.form);
    draft.id = Some(id);
    (draft.auth_method, draft.kept_credentials) = desk.door.inside.credential_names(id).await?;
    let fields = match draft.fields() {
        Ok(fields) => fields,
        Err(problem) => return Ok(form(visit, &draft, None, Some(&refused(problem)))),
    };
    let path = format!("/webhooks/{id}");
    match desk.nextcloud(visit, &Method::POST, &path, fields).await {
        Ok(_) => Ok(answer::see_other(&format!(
            "{}/webhooks/{id}?done=saved",
            visit.chrome.base
        ))),
        Err(problem) if problem.status == 404 => Err(problem),
        Err(problem) => Ok(form(visit, &draft, None, Some(&problem))),
    }
}

fn refused(message: String) -> Refusal {
    Refusal::new(400, message)
}
