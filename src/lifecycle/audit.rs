//! A row of `openregister_audit_trails`: who did what to which object.

use chrono::{DateTime, Utc};
use serde_json::Value;

use orw_model::{Row, decode_text, is_set};

/// The parts of an audit row that say something about an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Audit {
    pub id: i64,
    /// `create`, `update`, `delete`, `lock`, `unlock`, `referential_integrity.…`.
    pub action: String,
    /// Missing in the first generation, which does not write audit rows for locks either.
    pub object_uuid: Option<String>,
    /// The object's numeric id, unique within one table only.
    pub object: Option<i64>,
    pub register: Option<i64>,
    pub schema: Option<i64>,
    /// `None` if nobody was logged in.
    pub user: Option<String>,
    pub user_name: Option<String>,
    /// Nextcloud's id of the request; the same for all rows of one request.
    pub request: Option<String>,
    /// As it is stored, without a time zone.
    pub created: Value,
    /// Whether the row itself says that the lock column changed.
    pub lock_changed: bool,
    /// The transition that OpenRegister made by itself during a save (2.x), by its name.
    pub automatic_transition: Option<String>,
}

/// The actions that OpenRegister writes for what any object may go through: none of them is the name of a transition.
const ORDINARY: [&str; 7] = ["create", "read", "update", "delete", "lock", "unlock", "revert"];

impl Audit {
    /// Reads an audit row; `None` without an id or an action.
    #[must_use]
    pub(crate) fn from_row(row: &Row) -> Option<Self> {
        let text = |key: &str| {
            row.get(key)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
        };
        let id = |key: &str| row.get(key).and_then(Value::as_i64);
        let changed = row.get("changed").map(decode_text);
        let user = text("user").filter(|user| !user.eq_ignore_ascii_case("system"));
        Some(Self {
            id: id("id")?,
            action: text("action")?,
            object_uuid: text("object_uuid"),
            object: id("object"),
            register: id("register"),
            schema: id("schema"),
            user_name: user.as_ref().and_then(|_| text("user_name")),
            user,
            request: text("request"),
            created: row.get("created").cloned().unwrap_or(Value::Null),
            lock_changed: lock_changed(changed.as_ref()),
            automatic_transition: changed
                .as_ref()
                .and_then(|changed| changed.get("automaticTransition")?.as_str())
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }

    /// Whether the action is none that every object may go through: it may be the name of a transition.
    #[must_use]
    pub(crate) fn is_named(&self) -> bool {
        !ORDINARY.contains(&self.action.as_str())
    }

    /// Whether the object was only read, not changed.
    #[must_use]
    pub(crate) fn is_read(&self) -> bool {
        self.action == "read"
    }
}

fn lock_changed(changed: Option<&Value>) -> bool {
    let Some(own) = changed.and_then(|changed| changed.get("@self")) else {
        return false;
    };
    let lock = |side: &str| {
        own.get(side)
            .and_then(|state| state.get("locked"))
            .filter(|lock| is_set(Some(lock)))
    };
    lock("old") != lock("new")
}

/// When an audit row was written, by the application's clock.
pub(crate) fn created(value: &Value) -> Option<DateTime<Utc>> {
    orw_model::time::parse(value.as_str()?)
}
