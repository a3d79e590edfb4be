//! The request of a delivery, as it is sent with the webhook's settings of now: the log keeps what was answered, not what was sent.
//!
//! Guarantee: nothing secret is in it: credentials and signatures are masked, other headers are those that the API shows.

use std::sync::Arc;

use crate::delivery::format::Rendered;
use crate::delivery::queue::listing;
use crate::ocs::Refusal;
use crate::page::body;
use crate::page::desk::{Desk, away};
use crate::page::records::{Delivery, Webhook, header_lines};
use crate::pipeline::preview;
use crate::registry::{AuthMethod, MASK};

/// The longest body that is shown whole.
const SHOWN: usize = 64 * 1024;

/// A request for people.
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
    /// There is more of the body.
    pub(crate) cut: bool,
    /// The body was not made in time, so it is not shown.
    pub(crate) late: bool,
}

/// The request of a delivery; `None` if its event or its webhook is no longer there.
///
/// # Errors
/// If the database fails.
pub(crate) async fn of(
    desk: &Desk,
    delivery: &Delivery,
    shown: &Webhook,
) -> Result<Option<Request>, Refusal> {
    let Some(webhook) = desk.door.inside.webhook(shown.id).await? else {
        return Ok(None);
    };
    let client = desk.database().await?;
    let place = listing::event_of(&**client, delivery.id)
        .await
        .map_err(|error| away(&error))?;
    let Some(place) = place else { return Ok(None) };
    let event = preview::event_at(&**client, place)
        .await
        .map_err(|error| away(&error))?;
    drop(client);
    let Some(event) = event.map(Arc::new) else {
        return Ok(None);
    };
    let Ok(rendered) = preview::rendered(Arc::clone(&event), Arc::clone(&webhook), place.seq).await else {
        return Ok(None);
    };
    let late = rendered.is_none();
    let rendered = rendered.unwrap_or_else(|| Rendered {
        body: Vec::new(),
        content_type: "",
        headers: Vec::new(),
    });
    let mut head = format!("{} {}\n", shown.http_method.to_uppercase(), shown.uri);
    if !rendered.content_type.is_empty() {
        head.push_str(&format!("content-type: {}\n", rendered.content_type));
    }
    head.push_str(&header_lines(Some(&shown.headers)));
    match webhook.auth.stored() {
        (AuthMethod::Jwt, _) => head.push_str(&format!("authorization: Bearer {MASK}\n")),
        (_, names) => names
            .iter()
            .for_each(|name| head.push_str(&format!("{name}: {MASK}\n"))),
    }
    for (name, value) in &rendered.headers {
        head.push_str(&format!(
            "{name}: {}\n",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    head.push_str(&format!("webhook-id: {}\n", event.id().as_str()));
    if shown.secrets > 0 {
        head.push_str(&format!("webhook-signature: v1,{MASK}\n"));
    }
    head.push_str(&format!(
        "orw-sequence: {}\norw-reason: {}\n",
        place.seq, delivery.reason
    ));
    let (body, cut) = body::shown(String::from_utf8_lossy(&rendered.body).into_owned(), SHOWN);
    Ok(Some(Request {
        head,
        body,
        cut,
        late,
    }))
}
