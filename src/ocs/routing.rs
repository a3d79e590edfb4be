//! Before Nextcloud: which requests are whose.
//!
//! Ids from 1,000,000,000 on and OpenRegister's events are ours; every other webhook is Nextcloud's, and a request about it
//! goes there with the caller's own credentials. A request that mixes the two is refused with the reason.

use hyper::Response;
use hyper::header::{HeaderMap, HeaderValue};

use super::api::Outcome;
use super::auth::{Authenticator, Denied, Session};
use super::nextcloud_accounts::NextcloudAccounts;
use super::operations::NextcloudPart;
use super::probe::{self, Credentials, TheirWebhooks};
use super::reply::{Body, Reply};
use super::routes::Operation;
use crate::proxy::{Arrival, ProxyError};
use crate::registry::{EventPattern, Fields, WebhookId};

/// What is known of a caller and of Nextcloud's side of the request.
#[derive(Debug, Default)]
pub(super) struct Caller {
    pub(super) session: Option<Session>,
    /// To be set by the answer.
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) theirs: Option<TheirWebhooks>,
    /// Who to ask on behalf of.
    pub(super) credentials: Option<Credentials>,
}

/// Who calls. For a list Nextcloud's own webhooks are asked for at the same time, those with `uri` where one is named.
///
/// # Errors
/// [`Denied`].
pub(super) async fn caller(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    host: Option<HeaderValue>,
    arrival: Arrival,
    list: Option<Option<&str>>,
) -> Result<Caller, Denied> {
    let callers = match authenticator {
        Authenticator::Standalone(accounts) => {
            let session = accounts.session(headers, arrival.client).await?;
            return Ok(Caller {
                session,
                ..Caller::default()
            });
        }
        Authenticator::Nextcloud(callers) => callers,
    };
    let host = host
        .or_else(|| HeaderValue::from_str(callers.proxy().upstream().authority()).ok())
        .ok_or(Denied::Unavailable)?;
    let Some(credentials) = Credentials::of(headers, host, arrival) else {
        return Ok(Caller::default());
    };
    let known = match list {
        Some(uri) => callers.list(&credentials, uri).await?,
        None => callers.known(&credentials).await?,
    };
    Ok(Caller {
        session: known.session,
        cookies: known.cookies,
        theirs: list.is_some().then_some(known.theirs),
        credentials: Some(credentials),
    })
}

/// Whether a webhook's id is one of ours.
pub(super) fn is_ours(id: &str) -> bool {
    id.parse::<i64>().is_ok_and(|id| id >= WebhookId::FIRST)
}

/// Whether an event is one of OpenRegister's, also where it is misspelt: then we say so.
fn is_our_event(event: &str) -> bool {
    let event = event.trim_start_matches('\\');
    EventPattern::parse(event).is_ok()
        || event
            .get(..17)
            .is_some_and(|start| start.eq_ignore_ascii_case(r"OCA\OpenRegister\"))
}

/// Where a request with a body belongs.
#[derive(Debug)]
pub(super) enum Destination {
    Here,
    Nextcloud,
    Nowhere(Reply),
}

/// Decides by the id and the event. What names no event is answered here: our answer says what is missing.
pub(super) fn destination(operation: Operation, id: &str, fields: &Fields) -> Destination {
    let event = fields.text("event").ok().flatten();
    let ours = event.is_none_or(is_our_event);
    match operation {
        Operation::Create if !ours => Destination::Nextcloud,
        Operation::Update => match (is_ours(id), ours) {
            (true, true) => Destination::Here,
            (false, false) => Destination::Nextcloud,
            (false, true) if event.is_none() => Destination::Nextcloud,
            (false, true) => Destination::Nowhere(Reply::failure(
                400,
                format!(
                    "event: webhook {id} is Nextcloud's own and cannot get OpenRegister's events; register a new webhook for them"
                ),
            )),
            (true, false) => Destination::Nowhere(Reply::failure(
                400,
                format!(
                    "event: webhook {id} gets OpenRegister's events and cannot get others; register a new webhook for them"
                ),
            )),
        },
        _ => Destination::Here,
    }
}

/// What Nextcloud's side gives to an answer of ours.
///
/// # Errors
/// The answer, where Nextcloud's side fails: then nothing is done here either.
pub(super) async fn their_part(
    callers: &NextcloudAccounts,
    operation: Operation,
    parameter: &str,
    caller: &mut Caller,
) -> Result<NextcloudPart, Reply> {
    match (operation, caller.theirs.take(), &caller.credentials) {
        (Operation::List, Some(TheirWebhooks::Listed(list)), _) => Ok(NextcloudPart::Webhooks(list)),
        (Operation::List, Some(TheirWebhooks::Off), _) => Ok(NextcloudPart::Off),
        (Operation::DeleteByApp, _, Some(credentials)) => {
            match probe::delete_by_app(callers.proxy(), credentials, parameter).await {
                Ok(Some(count)) => Ok(NextcloudPart::Deleted(count)),
                Ok(None) => Ok(NextcloudPart::Off),
                Err((code, message)) => {
                    if matches!(code, 401 | 403) {
                        callers.forget(credentials);
                    }
                    Err(Reply::failure(code, message))
                }
            }
        }
        _ => Ok(NextcloudPart::Nothing),
    }
}

/// Nextcloud's answer to a request that was passed on, or why there is none.
pub(super) fn passed(
    passed: Result<Response<Body>, ProxyError>,
    callers: &NextcloudAccounts,
    caller: &Caller,
) -> Outcome {
    match passed {
        Ok(response) => {
            // It knows the caller better than we remember.
            if matches!(response.status().as_u16(), 401 | 403)
                && let Some(credentials) = &caller.credentials
            {
                callers.forget(credentials);
            }
            Outcome::Passed(response)
        }
        Err(error) => Reply::failure(error.status().as_u16(), error.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_go_where_they_belong() {
        let of = |operation, id: &str, event: Option<&str>| {
            let body = event.map_or_else(|| json!({}), |event| json!({ "event": event }));
            match destination(operation, id, &Fields::json(body.as_object().unwrap().clone())) {
                Destination::Here => "here",
                Destination::Nextcloud => "nextcloud",
                Destination::Nowhere(_) => "nowhere",
            }
        };
        let (ours, theirs) = (
            Some(r"\OCA\OpenRegister\Event\ObjectCreatedEvent"),
            Some(r"OCP\Files\Events\Node\NodeCreatedEvent"),
        );
        assert_eq!(of(Operation::Create, "", ours), "here");
        assert_eq!(of(Operation::Create, "", theirs), "nextcloud");
        assert_eq!(of(Operation::Create, "", None), "here");
        assert_eq!(of(Operation::Create, "", Some("*CreatedEvent")), "here");
        assert_eq!(
            of(Operation::Create, "", Some(r"oca\openregister\Event\NoSuch")),
            "here"
        );
        assert_eq!(of(Operation::Create, "", Some(r"OCP\Files\*")), "nextcloud");
        assert_eq!(of(Operation::Create, "", Some("ÄÖÜÄÖÜÄÖÜÄÖÜ")), "nextcloud");
        let first = "1000000000";
        assert_eq!(of(Operation::Update, first, ours), "here");
        assert_eq!(of(Operation::Update, first, None), "here");
        assert_eq!(of(Operation::Update, first, theirs), "nowhere");
        assert_eq!(of(Operation::Update, "999999999", ours), "nowhere");
        assert_eq!(of(Operation::Update, "999999999", theirs), "nextcloud");
        assert_eq!(of(Operation::Update, "5", None), "nextcloud");
        assert!(is_ours(first) && !is_ours("abc") && !is_ours("-1000000000"));
    }
}
