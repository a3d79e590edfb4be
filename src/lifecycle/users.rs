//! Users as they were looked up, for half a minute of the stream's time.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::Actor;
use super::facts::User;
use orw_model::ActorSource;

/// How many users are remembered; beyond that all are dropped and looked up again.
const BOUND: usize = 10_000;
/// How long what was looked up counts.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// The users seen lately.
#[derive(Debug, Default)]
pub(crate) struct KnownUsers(HashMap<String, (Option<User>, DateTime<Utc>)>);

impl KnownUsers {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn make_room(&mut self) {
        if self.0.len() > BOUND {
            self.0.clear();
        }
    }

    /// Whether the user was looked up lately, counted from `now`, a time of the stream.
    pub(crate) fn knows(&self, uid: &str, now: DateTime<Utc>) -> bool {
        self.0.get(uid).is_some_and(|(_, at)| (now - at).abs() < FRESH)
    }

    pub(crate) fn learn(&mut self, uid: String, user: Option<User>, now: DateTime<Utc>) {
        self.0.insert(uid, (user, now));
    }

    /// The actor with this uid, whom `source` names; `name` is what the audit row called them.
    pub(crate) fn actor(&self, uid: &str, name: Option<&str>, source: ActorSource) -> Actor {
        let user = self
            .0
            .get(uid)
            .and_then(|(user, _)| user.clone())
            .unwrap_or_default();
        Actor {
            uid: uid.to_owned(),
            display_name: user.display_name.or_else(|| name.map(str::to_owned)),
            groups: user.groups,
            source,
        }
    }
}
