//! `nextcloud`: the envelope that Nextcloud's own `webhook_listeners` sends, as of Nextcloud 33.

use serde_json::{Map, Value};

use super::documented;
use super::parts::map;
use crate::lifecycle::Event;

/// The tokens that Nextcloud 33 and later sends along. There are none: only Nextcloud can make them.
pub(super) const fn authentication() -> (&'static str, Value) {
    ("authentication", Value::Array(Vec::new()))
}

pub(super) fn body(event: &Event) -> Value {
    let mut fields = Map::new();
    fields.insert("class".into(), event.class.name().into());
    fields.extend(documented::data(event));
    let user = event.actor.actor().map_or(Value::Null, |actor| {
        map([
            ("uid", actor.uid.clone().into()),
            ("displayName", actor.shown_name().into()),
        ])
    });
    map([
        ("event", Value::Object(fields)),
        ("user", user),
        ("time", event.at.timestamp().into()),
        authentication(),
    ])
}
