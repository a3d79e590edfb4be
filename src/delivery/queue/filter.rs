//! Which deliveries: the one filter of the API, the command line, the console, the page and bulk retries.
//!
//! Guarantees: a [`DeliveryFilter`] is valid in every field; everything that it names must hold. What [`DeliveryFilter::fields`] writes,
//! [`DeliveryFilter::parse`] reads as the same filter, so a link or a stored job means what was asked for. `search` has its SQL.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::transition::{FINISHED, UNFINISHED};
use crate::arguments;
use crate::lifecycle::{EventType, Lane};
use crate::registry::{InvalidField, WebhookId};

/// The longest uuid of an object, in characters.
const LONGEST_OBJECT: usize = 255;
/// The longest cause. Causes of attempts are single words; those of cancelled deliveries are sentences.
const LONGEST_CAUSE: usize = 100;
/// What a `webhook-id` begins with, and its longest.
const EVENT_ID: (&str, usize) = ("evt_", 64);

/// A part of the filter, by the name that the API, the page and stored jobs give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The id of a webhook.
    Webhook,
    /// One or several states, separated by commas.
    State,
    /// The short or full name of an event class, or `openregister-webhooks.gap`.
    Class,
    /// The uuid of an object.
    Object,
    /// The `webhook-id` of an event.
    EventId,
    /// The HTTP status of the last attempt: `503`, or `5xx` for all from 500 to 599.
    Status,
    /// Why the last attempt failed, or why the delivery was cancelled.
    Cause,
    /// Put into the queue then or later: a time, a date or an age.
    Since,
    /// Put into the queue before then.
    Until,
}

impl Field {
    pub const ALL: [Self; 9] = [
        Self::Webhook,
        Self::State,
        Self::Class,
        Self::Object,
        Self::EventId,
        Self::Status,
        Self::Cause,
        Self::Since,
        Self::Until,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::State => "state",
            Self::Class => "class",
            Self::Object => "object",
            Self::EventId => "webhookId",
            Self::Status => "status",
            Self::Cause => "cause",
            Self::Since => "since",
            Self::Until => "until",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// The HTTP statuses that are asked for: from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusRange {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl StatusRange {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = match text.as_bytes() {
            [digit @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => {
                let first = u16::from(digit - b'0') * 100;
                (first, first + 99)
            }
            [_, _, _] => {
                let status = text.parse().ok()?;
                (status, status)
            }
            _ => return None,
        };
        (first >= 100).then_some(Self { first, last })
    }

    fn text(self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}xx", self.first / 100)
        }
    }

    pub(super) const fn is_one(self) -> bool {
        self.first == self.last
    }
}

/// Which deliveries; everything that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub(super) webhook: Option<i64>,
    /// In the order of [`super::listing::STATES`]; none: all.
    pub(super) states: Vec<&'static str>,
    pub(super) class: Option<EventType>,
    pub(super) object: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) status: Option<StatusRange>,
    pub(super) cause: Option<String>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
}

impl DeliveryFilter {
    /// Reads the fields of a request, by their names. A name that is not one of [`Field`]'s is somebody else's and is left alone; an
    /// empty text names nothing, as forms send it.
    ///
    /// # Errors
    /// The first field that is not valid.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, InvalidField> {
        let mut filter = Self::default();
        for (name, text) in fields {
            if let Some(field) = Field::from_name(name)
                && !text.trim().is_empty()
            {
                filter.set(field, text)?;
            }
        }
        Ok(filter)
    }

    /// Sets one field.
    ///
    /// # Errors
    /// If the text is not valid for it.
    pub fn set(&mut self, field: Field, text: &str) -> Result<(), InvalidField> {
        let text = text.trim();
        let invalid = |reason: String| InvalidField {
            field: field.name().to_owned(),
            reason,
        };
        match field {
            Field::Webhook => {
                let id = text
                    .parse()
                    .map_err(|_| invalid("must be the id of a webhook".to_owned()))?;
                self.webhook = Some(id);
            }
            Field::State => self.states = states(text).map_err(invalid)?,
            Field::Class => self.class = Some(arguments::event_type(text).map_err(invalid)?),
            Field::Object => {
                self.object = Some(word(text, LONGEST_OBJECT, "the uuid of an object").map_err(invalid)?);
            }
            Field::EventId => {
                let id = word(text, EVENT_ID.1, "a webhook-id").map_err(invalid)?;
                if !id.starts_with(EVENT_ID.0) {
                    return Err(invalid(format!(
                        "must be a webhook-id, which begins with {:?}",
                        EVENT_ID.0
                    )));
                }
                self.event_id = Some(id);
            }
            Field::Status => {
                let range = StatusRange::parse(text);
                self.status = Some(range.ok_or_else(|| {
                    invalid("must be an HTTP status such as 503, or 5xx for all of them".to_owned())
                })?);
            }
            Field::Cause => {
                if text.chars().count() > LONGEST_CAUSE || text.chars().any(char::is_control) {
                    return Err(invalid(format!("must have at most {LONGEST_CAUSE} characters")));
                }
                self.cause = Some(text.to_owned());
            }
            Field::Since => self.since = Some(arguments::since(text).map_err(invalid)?),
            Field::Until => self.until = Some(arguments::since(text).map_err(invalid)?),
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && until <= since
        {
            return Err(invalid("until must be later than since".to_owned()));
        }
        Ok(())
    }

    /// What it names, as text: what [`Self::parse`] reads. Times are absolute.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        Field::ALL
            .into_iter()
            .filter_map(|field| Some((field.name(), self.text(field)?)))
            .collect()
    }

    /// One field as text; `None` if it is not named.
    #[must_use]
    pub fn text(&self, field: Field) -> Option<String> {
        // Microseconds are what the database keeps; none are written where there are none.
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        match field {
            Field::Webhook => self.webhook.map(|id| id.to_string()),
            Field::State => (!self.states.is_empty()).then(|| self.states.join(",")),
            Field::Class => self.class.map(|class| class.to_string()),
            Field::Object => self.object.clone(),
            Field::EventId => self.event_id.clone(),
            Field::Status => self.status.map(StatusRange::text),
            Field::Cause => self.cause.clone(),
            Field::Since => self.since.map(time),
            Field::Until => self.until.map(time),
        }
    }

    /// Whether it names nothing: every delivery matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it names this field.
    pub(super) fn names(&self, field: Field) -> bool {
        self.text(field).is_some()
    }

    /// The webhook that it names.
    #[must_use]
    pub const fn webhook(&self) -> Option<WebhookId> {
        match self.webhook {
            Some(id) => Some(WebhookId(id)),
            None => None,
        }
    }

    /// The states that it names; none: all.
    #[must_use]
    pub fn states(&self) -> &[&'static str] {
        &self.states
    }

    /// The same of one webhook.
    #[must_use]
    pub fn for_webhook(mut self, webhook: WebhookId) -> Self {
        self.webhook = Some(webhook.0);
        self
    }

    /// The same, with these states in place of its own.
    #[must_use]
    pub(crate) fn in_states(mut self, states: &[&'static str]) -> Self {
        self.states = states.to_vec();
        self
    }

    /// Whether only deliveries that were given up or cancelled can match: a success has no cause, and its status is 2xx.
    pub(super) fn only_failed(&self) -> bool {
        let states = !self.states.is_empty() && !self.states.contains(&FINISHED[0]);
        let status = self
            .status
            .is_some_and(|status| status.last < 200 || status.first > 299);
        states || status || self.cause.is_some()
    }

    /// The lane of the object that it names.
    pub(super) fn lane(&self) -> Option<String> {
        let lane = Lane::object(self.object.as_deref()?);
        Some(lane.as_str().to_owned())
    }
}

/// An object with the fields that are named.
impl Serialize for DeliveryFilter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields();
        let mut map = to.serialize_map(Some(fields.len()))?;
        for (name, text) in &fields {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

/// States, separated by commas.
fn states(text: &str) -> Result<Vec<&'static str>, String> {
    let known = || UNFINISHED.into_iter().chain(FINISHED);
    let asked: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(unknown) = asked.iter().find(|name| !known().any(|state| state == **name)) {
        let all: Vec<&str> = known().collect();
        return Err(format!("must be one of {}, not {unknown:?}", all.join(", ")));
    }
    Ok(known().filter(|state| asked.contains(state)).collect())
}

/// A text without blanks and control characters.
fn word(text: &str, longest: usize, what: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.chars().count() > longest || text.contains(odd) {
        return Err(format!(
            "must be {what}: 1 to {longest} characters, none of them blank"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(fields: &[(&str, &str)]) -> Result<DeliveryFilter, String> {
        DeliveryFilter::parse(fields.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_read_and_others_left_alone() {
        let filter = parse(&[
            ("webhook", " 7 "),
            ("state", "given_up, pending"),
            ("status", "5xx"),
            ("object", ""),
            ("limit", "x"),
        ]);
        let filter = filter.unwrap();
        assert_eq!(
            filter.fields(),
            [
                ("webhook", "7".to_owned()),
                ("state", "pending,given_up".to_owned()),
                ("status", "5xx".to_owned())
            ]
        );
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_valid_names_its_field() {
        for (name, text) in [
            ("webhook", "x"),
            ("state", "lost"),
            ("state", "given_up,"),
            ("state", "PENDING"),
            ("class", "ObjectCreated"),
            ("object", "a b"),
            ("webhookId", "7"),
            ("status", "99"),
            ("status", "5x"),
            ("status", "0xx"),
            ("status", "+99"),
            ("cause", "a\u{1b}[2J"),
            ("since", "soon"),
        ] {
            let error = parse(&[(name, text)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
        }
        let error = parse(&[("since", "2026-01-02"), ("until", "2026-01-01")]).unwrap_err();
        assert!(error.contains("later than since"), "{error}");
    }

    proptest! {
        /// Whatever text a field gets, it is refused, or the filter that it gives is written and read as the same.
        #[test]
        fn what_is_written_is_read_as_the_same(field in 0..Field::ALL.len(), text in "\\PC{0,40}|[0-9]{1,4}|[1-9][xX]{2}|evt_[a-z0-9]{1,8}|[1-9][0-9]?[mhd]") {
            let name = Field::ALL[field].name();
            if let Ok(filter) = DeliveryFilter::parse([(name, text.as_str())]) {
                let written = filter.fields();
                let read = DeliveryFilter::parse(written.iter().map(|(name, text)| (*name, text.as_str())));
                prop_assert_eq!(read.unwrap(), filter);
            }
        }
    }
}
