//! Times: read as PostgreSQL writes them into JSON, and written as payloads contain them.

use chrono::{DateTime, NaiveDateTime, Timelike, Utc};
use serde_json::Value;

/// A time of the entity itself, `2026-11-23T23:59:15+00:00`. Columns without a time zone hold UTC. Fractions of seconds are
/// dropped, as in OpenRegister's own JSON. A value that is no such time (`infinity`, years before 1) stays as it is.
pub fn stamp(value: &Value) -> Value {
    render(value, |utc| utc.format("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// A property of format `date-time`: as [`stamp`], but with the fraction of seconds, since it is the user's data.
pub(crate) fn date_time(value: &Value) -> Value {
    render(value, |utc| {
        if utc.nanosecond() == 0 {
            utc.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
        } else {
            utc.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
        }
    })
}

/// A property of format `date`, which is stored in a timestamp column: `1815-12-10`.
pub(crate) fn date(value: &Value) -> Value {
    render(value, |utc| utc.format("%Y-%m-%d").to_string())
}

fn render(value: &Value, format: impl Fn(DateTime<Utc>) -> String) -> Value {
    value
        .as_str()
        .and_then(parse)
        .map_or_else(|| value.clone(), |utc| Value::String(format(utc)))
}

/// Reads a `timestamp` or `timestamptz` as `row_to_json` writes it.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(local.and_utc());
    }
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_an_offset() {
        let text = |s: &str| Value::String(s.into());
        assert_eq!(
            stamp(&text("2026-11-23T23:59:15")),
            text("2026-11-23T23:59:15+00:00")
        );
        assert_eq!(
            stamp(&text("2026-11-23T23:59:15.123456")),
            text("2026-11-23T23:59:15+00:00")
        );
        assert_eq!(
            stamp(&text("2026-01-01T10:00:00+02:00")),
            text("2026-01-01T08:00:00+00:00")
        );
        assert_eq!(
            date_time(&text("2026-01-01T10:00:00.5")),
            text("2026-01-01T10:00:00.500000+00:00")
        );
        assert_eq!(date(&text("1815-12-10T00:00:00")), text("1815-12-10"));
        assert_eq!(stamp(&text("infinity")), text("infinity"));
        assert_eq!(stamp(&Value::Null), Value::Null);
    }
}
