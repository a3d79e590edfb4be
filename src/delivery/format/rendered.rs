//! What rendering gives: a body, or why there is none.

use hyper::header::{HeaderName, HeaderValue};

use crate::registry::NoValue;
use crate::template::TemplateError;

/// A body, its `Content-Type`, and the headers that are part of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub body: Vec<u8>,
    pub content_type: &'static str,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

pub(super) const JSON: &str = "application/json";
/// The longest value of an attribute or URL, in characters: some of them are headers.
pub(super) const LONGEST_VALUE: usize = 2000;

/// Why there is no body. No message shows a value of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("template: {0}")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    NoValue(#[from] NoValue),
    #[error("{field} has {length} characters for this event, and may have {most}")]
    TooLong {
        field: &'static str,
        length: usize,
        most: usize,
    },
    #[error("the format {0} has no words for {1}")]
    Unfit(&'static str, String),
    #[error("the registration has no {0}")]
    NoOptions(&'static str),
    #[error("the template was not rendered in time, since this machine or other templates are busy")]
    Late,
    #[error("the settings ORW_OIN and ORW_EVENT_SOURCE are missing")]
    NoSource,
}

/// The text, if it is no longer than this.
pub(super) fn within(field: &'static str, text: String, most: usize) -> Result<String, RenderError> {
    let length = text.chars().count();
    if length > most {
        return Err(RenderError::TooLong { field, length, most });
    }
    Ok(text)
}
