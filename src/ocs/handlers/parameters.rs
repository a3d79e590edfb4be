//! What handlers read from paths and queries, as types.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::error::HandlerError;
use crate::arguments;
use crate::delivery::queue::listing::{self, DeliveryFilter, Field};
use crate::lifecycle::EventType;
use crate::registry::{Fields, WebhookId};
use orw_model::EventClass;

/// The largest page of a list, and the one without `limit`.
const LARGEST_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;

/// The id in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathId<'a> {
    written: &'a str,
    /// An id that is no number is 0, which is the id of nothing.
    pub(super) number: i64,
}

impl<'a> PathId<'a> {
    pub(super) fn parse(written: &'a str) -> Self {
        Self {
            written,
            number: written.parse().unwrap_or(0),
        }
    }

    pub(super) const fn webhook(self) -> WebhookId {
        WebhookId(self.number)
    }

    /// The answer if there is no such thing: it names the id as the caller wrote it.
    pub(super) fn missing(self, what: &str) -> HandlerError {
        HandlerError::new(404, format!("{what} {} does not exist", self.written))
    }
}

/// `limit` and `cursor`: which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) limit: u16,
    /// Only entries with a smaller id than this.
    pub(super) before: Option<i64>,
}

impl Page {
    fn of(query: &Fields) -> Result<Self, HandlerError> {
        let limit = query.number("limit", 1, LARGEST_PAGE)?.unwrap_or(DEFAULT_PAGE);
        Ok(Self {
            limit: u16::try_from(limit).unwrap_or(u16::MAX),
            before: query.text("cursor")?.map(read_cursor).transpose()?,
        })
    }

    /// The cursor of the next page: there is none after a page that is not full.
    pub(super) fn next(self, entries: usize, last: Option<i64>) -> Option<String> {
        (entries == usize::from(self.limit))
            .then(|| last.map(cursor))
            .flatten()
    }
}

/// A place in a list, opaque to callers: an id, in base64.
pub(super) fn cursor(id: i64) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

fn read_cursor(text: &str) -> Result<i64, HandlerError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(i64::from_be_bytes)
        .ok_or_else(|| HandlerError::field("cursor", "must be a cursor of an answer of this route"))
}

/// Which part of a list is asked for, of all webhooks or of one.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub(super) webhook: Option<WebhookId>,
    pub(super) page: Page,
}

impl ListQuery {
    pub(crate) fn parse(query: &Fields) -> Result<Self, HandlerError> {
        Ok(Self {
            page: Page::of(query)?,
            webhook: webhook_of(query)?.map(WebhookId),
        })
    }
}

/// Which deliveries are asked for.
pub(super) fn delivery_query(query: &Fields) -> Result<listing::Query, HandlerError> {
    let page = Page::of(query)?;
    Ok(listing::Query {
        filter: delivery_filter(query)?,
        before: page.before,
        limit: page.limit,
    })
}

/// The filter that a query or a body names, field by field.
pub(super) fn delivery_filter(fields: &Fields) -> Result<DeliveryFilter, HandlerError> {
    let mut filter = DeliveryFilter::default();
    for field in Field::ALL {
        if let Some(text) = fields.scalar(field.name())?
            && !text.trim().is_empty()
        {
            filter.set(field, &text)?;
        }
    }
    Ok(filter)
}

/// `webhook`, in the queries of every list.
fn webhook_of(query: &Fields) -> Result<Option<i64>, HandlerError> {
    query
        .text("webhook")?
        .map(|id| {
            id.parse()
                .map_err(|_| HandlerError::field("webhook", "must be the id of a webhook"))
        })
        .transpose()
}

/// `class`: an event class.
pub(super) fn class_of(fields: &Fields) -> Result<Option<EventClass>, HandlerError> {
    fields
        .text("class")?
        .map(|name| arguments::class(name).map_err(|reason| HandlerError::field("class", reason)))
        .transpose()
}

/// `class`: an event class, or `openregister-webhooks.gap`.
pub(super) fn type_of(fields: &Fields) -> Result<Option<EventType>, HandlerError> {
    fields
        .text("class")?
        .map(|name| arguments::event_type(name).map_err(|reason| HandlerError::field("class", reason)))
        .transpose()
}

/// `since`: a time, a date or an age.
pub(super) fn since_of(fields: &Fields) -> Result<Option<DateTime<Utc>>, HandlerError> {
    fields
        .text("since")?
        .map(|text| arguments::since(text).map_err(|reason| HandlerError::field("since", reason)))
        .transpose()
}
