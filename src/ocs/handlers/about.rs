//! Routes about the API itself: the events, the OpenAPI document, and the minimum that a client reads to learn who it is.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::error::Answer;
use crate::catalogue;
use crate::ocs::reply::Reply;
use crate::ocs::session::Session;
use orw_model::EventClass;

/// The OpenAPI document, as it is in `docs/`.
pub(crate) const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// The Nextcloud version whose API this one is: clients decide by it what they may ask for.
pub(crate) const API_OF: (u32, u32, u32) = (34, 0, 1);

/// The catalogue of events.
pub(crate) async fn events() -> Answer {
    let events: Value = EventClass::all()
        .map(|class| {
            json!({"class": class.name(), "entity": class.kind().name(),
                "action": class.action().name().to_lowercase(), "matchedByPatterns": !class.is_by_name_only(),
                "when": catalogue::when(class)})
        })
        .collect();
    Ok(Reply::data(events))
}

pub(crate) async fn openapi() -> Answer {
    Ok(Reply::Plain(
        StatusCode::OK,
        Bytes::from_static(OPENAPI.as_bytes()),
    ))
}

/// `/cloud/user`, without a Nextcloud.
pub(crate) async fn user(session: Option<&Session>) -> Answer {
    let (user, admin) = session.map_or(("", false), |session| (&session.user, session.admin));
    let groups = if admin { vec!["admin"] } else { Vec::new() };
    Ok(Reply::data(
        json!({"enabled": true, "id": user, "display-name": user, "displayname": user, "email": null,
        "groups": groups, "quota": {}, "language": "en", "locale": "en"}),
    ))
}

/// `/cloud/capabilities`, without a Nextcloud.
pub(crate) async fn capabilities() -> Answer {
    let (major, minor, micro) = API_OF;
    Ok(Reply::data(json!({
        "version": {"major": major, "minor": minor, "micro": micro, "string": format!("{major}.{minor}.{micro}"),
            "edition": "", "extendedSupport": false},
        "capabilities": {
            "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav"},
            "openregister_webhooks": {"version": env!("CARGO_PKG_VERSION")},
        },
    })))
}
