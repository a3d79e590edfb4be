//! The notice of a gap, in every format: no event of OpenRegister, so its names are our own, and its entity is `gap`.

use chrono::SecondsFormat;
use serde_json::Value;

use super::nextcloud;
use super::parts::{Sender, map};
use crate::lifecycle::{GAP_EVENT, GapNotice};
use crate::registry::Format;

/// Where notices come from: this program, by the name of its API.
const SOURCE: &str = "/apps/openregister_webhooks";

pub(super) fn body(notice: &GapNotice, format: Format, sender: &dyn Fn() -> Sender) -> Value {
    let gap = || Value::Object(notice.fields().clone());
    match format {
        // The formats with options of their own are rendered elsewhere.
        Format::Documented | Format::NlGov | Format::Zgw | Format::Template => {
            map([("event", GAP_EVENT.into()), ("data", map([("gap", gap())]))])
        }
        Format::Nextcloud => map([
            ("event", map([("class", GAP_EVENT.into()), ("gap", gap())])),
            ("user", Value::Null),
            ("time", notice.at.timestamp().into()),
            nextcloud::authentication(),
        ]),
        Format::CloudEvents => map([
            ("specversion", "1.0".into()),
            ("id", notice.id.as_str().into()),
            ("source", SOURCE.into()),
            ("type", GAP_EVENT.into()),
            ("subject", notice.lane.as_str().into()),
            (
                "time",
                notice.at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            ),
            ("datacontenttype", "application/json".into()),
            ("eventclass", GAP_EVENT.into()),
            ("data", map([("gap", gap())])),
        ]),
        Format::OpenRegister => {
            let sender = sender();
            let timestamp = notice.at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
            let data = map([
                ("objectType", "gap".into()),
                ("action", "gap".into()),
                ("gap", gap()),
                ("timestamp", timestamp.clone().into()),
            ]);
            map([
                ("event", GAP_EVENT.into()),
                ("webhook", sender.shown()),
                ("data", data),
                ("timestamp", timestamp.into()),
                ("attempt", 1.into()),
            ])
        }
    }
}
