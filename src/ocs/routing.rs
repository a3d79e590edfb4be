//! In front of Nextcloud: which requests are ours, and which are Nextcloud's.
//!
//! Ids from 1,000,000,000 on and OpenRegister's events are ours; every other webhook is Nextcloud's, and a request about it
//! goes there with the caller's own credentials. A request that mixes the two is refused with the reason.

use hyper::Response;

use super::auth::Authenticated;
use super::handlers::context::NextcloudPart;
use super::nextcloud_accounts::NextcloudAccounts;
use super::nextcloud_api::{self, NextcloudWebhooks};
use super::reply::{Outcome, Reply};
use super::routes::AnsweredBy;
use crate::proxy::{Body, ProxyError};
use crate::registry::{EventPattern, Fields, WebhookId};

/// Whether a webhook's id is one of ours.
fn is_our_id(id: &str) -> bool {
    id.parse::<i64>().is_ok_and(|id| id >= WebhookId::FIRST)
}

/// Whether an event is one of OpenRegister's. A misspelt one is, too: our answer says what is wrong with it.
fn is_our_event(event: &str) -> bool {
    let event = event.trim_start_matches('\\');
    EventPattern::parse(event).is_ok()
        || event
            .get(..17)
            .is_some_and(|start| start.eq_ignore_ascii_case(r"OCA\OpenRegister\"))
}

/// Whether a route is answered here, as far as its path tells. `parameter` is the last part of the path that varies.
pub(super) fn is_here(answered_by: AnsweredBy, parameter: &str) -> bool {
    match answered_by {
        AnsweredBy::Nextcloud => false,
        AnsweredBy::ById => is_our_id(parameter),
        AnsweredBy::Us
        | AnsweredBy::ByEvent
        | AnsweredBy::ByIdAndEvent
        | AnsweredBy::MergedList
        | AnsweredBy::MergedDelete => true,
    }
}

/// Where a request with a body goes.
#[derive(Debug)]
pub(super) enum Destination {
    Here,
    Nextcloud,
    /// Nowhere: it contradicts itself.
    Refused(Reply),
}

/// Decides by the id and the event. What names no event is answered here: our answer says what is missing.
pub(super) fn destination(answered_by: AnsweredBy, id: &str, fields: &Fields) -> Destination {
    let event = fields.text("event").ok().flatten();
    let ours = event.is_none_or(is_our_event);
    let refused = |reason: String| Destination::Refused(Reply::failure(400, reason));
    match answered_by {
        AnsweredBy::ByEvent if !ours => Destination::Nextcloud,
        AnsweredBy::ByIdAndEvent => match (is_our_id(id), ours) {
            (true, true) => Destination::Here,
            (false, false) => Destination::Nextcloud,
            (false, true) if event.is_none() => Destination::Nextcloud,
            (false, true) => refused(format!(
                "event: webhook {id} is Nextcloud's own and cannot get OpenRegister's events; register a new webhook for them"
            )),
            (true, false) => refused(format!(
                "event: webhook {id} gets OpenRegister's events and cannot get others; register a new webhook for them"
            )),
        },
        _ => Destination::Here,
    }
}

/// What Nextcloud contributes to an answer of ours.
///
/// # Errors
/// The answer, if Nextcloud's side fails: then nothing is done here either.
pub(super) async fn nextcloud_part(
    accounts: &NextcloudAccounts,
    answered_by: AnsweredBy,
    parameter: &str,
    caller: &mut Authenticated,
) -> Result<NextcloudPart, Reply> {
    match (answered_by, caller.webhooks.take(), &caller.credentials) {
        (AnsweredBy::MergedList, Some(NextcloudWebhooks::Listed(list)), _) => {
            Ok(NextcloudPart::Webhooks(list))
        }
        (AnsweredBy::MergedList, Some(NextcloudWebhooks::AppDisabled), _) => Ok(NextcloudPart::AppDisabled),
        (AnsweredBy::MergedDelete, _, Some(credentials)) => {
            match nextcloud_api::delete_by_app(accounts.proxy(), credentials, parameter).await {
                Ok(Some(count)) => Ok(NextcloudPart::Deleted(count)),
                Ok(None) => Ok(NextcloudPart::AppDisabled),
                Err((code, message)) => {
                    if matches!(code, 401 | 403) {
                        accounts.forget(credentials);
                    }
                    Err(Reply::failure(code, message))
                }
            }
        }
        _ => Ok(NextcloudPart::Nothing),
    }
}

/// Nextcloud's answer to a request that was forwarded, or why there is none.
pub(super) fn forwarded(
    answer: Result<Response<Body>, ProxyError>,
    accounts: &NextcloudAccounts,
    caller: &Authenticated,
) -> Outcome {
    match answer {
        Ok(response) => {
            // Nextcloud's refusal is newer than what we remember of the caller.
            if matches!(response.status().as_u16(), 401 | 403)
                && let Some(credentials) = &caller.credentials
            {
                accounts.forget(credentials);
            }
            accounts.may_have_webhooks();
            Outcome::Nextcloud(response)
        }
        Err(error) => Outcome::Reply(Reply::failure(error.status().as_u16(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_go_where_they_belong() {
        let of = |answered_by, id: &str, event: Option<&str>| {
            let body = event.map_or_else(|| json!({}), |event| json!({ "event": event }));
            match destination(answered_by, id, &Fields::json(body.as_object().unwrap().clone())) {
                Destination::Here => "here",
                Destination::Nextcloud => "nextcloud",
                Destination::Refused(_) => "refused",
            }
        };
        let (ours, theirs) = (
            Some(r"\OCA\OpenRegister\Event\ObjectCreatedEvent"),
            Some(r"OCP\Files\Events\Node\NodeCreatedEvent"),
        );
        assert_eq!(of(AnsweredBy::ByEvent, "", ours), "here");
        assert_eq!(of(AnsweredBy::ByEvent, "", theirs), "nextcloud");
        assert_eq!(of(AnsweredBy::ByEvent, "", None), "here");
        assert_eq!(of(AnsweredBy::ByEvent, "", Some("*CreatedEvent")), "here");
        assert_eq!(
            of(AnsweredBy::ByEvent, "", Some(r"oca\openregister\Event\NoSuch")),
            "here"
        );
        assert_eq!(of(AnsweredBy::ByEvent, "", Some(r"OCP\Files\*")), "nextcloud");
        assert_eq!(of(AnsweredBy::ByEvent, "", Some("ÄÖÜÄÖÜÄÖÜÄÖÜ")), "nextcloud");
        let first = "1000000000";
        assert_eq!(of(AnsweredBy::ByIdAndEvent, first, ours), "here");
        assert_eq!(of(AnsweredBy::ByIdAndEvent, first, None), "here");
        assert_eq!(of(AnsweredBy::ByIdAndEvent, first, theirs), "refused");
        assert_eq!(of(AnsweredBy::ByIdAndEvent, "999999999", ours), "refused");
        assert_eq!(of(AnsweredBy::ByIdAndEvent, "999999999", theirs), "nextcloud");
        assert_eq!(of(AnsweredBy::ByIdAndEvent, "5", None), "nextcloud");
        assert!(is_our_id(first) && !is_our_id("abc") && !is_our_id("-1000000000"));
    }
}
