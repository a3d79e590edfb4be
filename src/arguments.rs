//! How times and event classes are written in the arguments of commands and the parameters of the API.

use chrono::{DateTime, NaiveDate, SubsecRound as _, TimeDelta, Utc};

use crate::lifecycle::EventType;
use orw_model::EventClass;

/// A time: RFC 3339, a date (its first moment in UTC), or an age such as `90m`, `12h` or `3d`.
pub(crate) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    age(text)
        .and_then(|age| Utc::now().trunc_subsecs(0).checked_sub_signed(age))
        .ok_or_else(|| {
            format!("{text:?} is neither a time (2026-11-25T10:00:00Z), a date (2026-11-25) nor an age (90m, 12h, 3d)")
        })
}

fn age(text: &str) -> Option<TimeDelta> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok().filter(|n| *n >= 0)?;
    match unit {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    }
}

/// An event class by its full or its short name.
pub(crate) fn class(name: &str) -> Result<EventClass, String> {
    EventClass::parse(name)
        .or_else(|| EventClass::from_short(name))
        .ok_or_else(|| {
            let hint = did_you_mean(name);
            format!("{name:?} is not an event class{hint}`openregister-webhooks events` lists them")
        })
}

/// An event class, or `openregister-webhooks.gap`.
pub(crate) fn event_type(name: &str) -> Result<EventType, String> {
    EventType::parse(name).ok_or_else(|| {
        let hint = did_you_mean(name);
        format!("{name:?} is not an event{hint}`openregister-webhooks events` lists them")
    })
}

/// `; did you mean …? `, if an event class has a similar name; else `; `.
fn did_you_mean(name: &str) -> String {
    orw_model::similar_class(name)
        .map_or_else(|| "; ".to_owned(), |class| format!("; did you mean {class}? "))
}

/// The id of a webhook, a delivery or a job, in an argument.
pub(crate) fn id(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| "an id is a positive number; `list` shows the ids".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_ages_are_read() {
        assert_eq!(
            since("2026-11-25T10:00:00+01:00").unwrap().to_rfc3339(),
            "2026-11-25T09:00:00+00:00"
        );
        assert_eq!(
            since("2026-11-25").unwrap().to_rfc3339(),
            "2026-11-25T00:00:00+00:00"
        );
        let then = since("12h").unwrap();
        assert_eq!(then.timestamp_subsec_nanos(), 0);
        let hours = Utc::now() - then;
        assert_eq!(hours.num_hours(), 12);
        for wrong in ["", "h", "-3h", "3w", "yesterday", "99999999999999999d", "ü"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            class("ObjectCreatedEvent"),
            class(r"OCA\OpenRegister\Event\ObjectCreatedEvent")
        );
        assert!(class("ObjectEvent").is_err());
    }
}
