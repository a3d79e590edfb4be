//! What the stand-in holds, and how it behaves at the moment.

use std::collections::HashMap;
use std::time::Duration;

use hyper::header::HeaderMap;
use serde_json::Value;

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or_default())
    }
}

/// How it behaves at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Mood {
    /// Whether the app webhook_listeners is enabled.
    pub(crate) app: bool,
    pub(crate) maintenance: bool,
    /// Whether its database waits for `occ upgrade`, and whether it is set up at all.
    pub(crate) needs_upgrade: bool,
    pub(crate) installed: bool,
    /// Before the answer to an API request.
    pub(crate) delay: Duration,
    /// Before the answer to an API request with wrong credentials: Nextcloud slows down whoever guesses.
    pub(crate) refusal_delay: Duration,
    /// Every API request gets this status instead.
    pub(crate) broken: Option<u16>,
    /// Whether answers name the user in `X-User-Id`.
    pub(crate) names_user: bool,
    /// Whether webhooks have the field `tokenNeeded`, as since Nextcloud 33.
    pub(crate) token_needed: bool,
    /// Users with this right besides the administrators.
    pub(crate) admins: Vec<String>,
}

pub(super) struct State {
    pub(super) passwords: HashMap<String, String>,
    pub(super) mood: Mood,
    pub(super) webhooks: Vec<Value>,
    pub(super) next_id: i64,
    pub(super) seen: Vec<Seen>,
}

/// `Authorization: Bearer` of the administrator.
pub(super) const BEARER: &str = "administrators-token";
/// Cookie and request token of the administrator's session.
pub(super) const SESSION: (&str, &str) = ("nc_session=s3ss10n", "requ3st");
/// An external app: its id, and user and secret as AppAPI sends them.
pub(super) const APP: (&str, &str) = ("my app", "YWRtaW46YXBwLXMzY3IzdA==");
