//! Entry points for the fuzz targets below `fuzz/`: parsers and writers that nothing else outside of this crate calls.
//! They are no part of the library's interface.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use crate::ocs::{input, xml};
use crate::telemetry;

pub use crate::console::fuzzing as console;

/// A query or a form, as the API reads it; `None` if it is refused.
#[must_use]
pub fn form(text: &[u8]) -> Option<Map<String, Value>> {
    input::form(text).ok()
}

/// A field of a request to the API with this type, body and query; `None` if the request is refused or has no such field.
#[must_use]
pub fn field(content_type: &[u8], body: &[u8], query: &Map<String, Value>, name: &str) -> Option<Value> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(content_type).ok()?);
    input::fields(&headers, body, query).ok()?.get(name).cloned()
}

/// A segment of a path, with its percent signs decoded.
#[must_use]
pub fn segment(text: &str) -> String {
    input::decode_segment(text)
}

/// Whether a request for the metrics with this `Accept` header gets OpenMetrics.
#[must_use]
pub fn wants_open_metrics(accept: &str) -> bool {
    telemetry::wants_open_metrics(accept)
}

/// An XML document, as the API answers it.
#[must_use]
pub fn xml(root: &str, value: &Value) -> String {
    xml::document(root, value)
}
