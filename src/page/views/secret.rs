//! A signing secret, which this answer shows and no other.
//!
//! Guarantee: it is written from the API's answer alone. Another query could fail, and the secret would be lost.

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "secret.html")]
struct View<'a> {
    p: &'a Chrome,
    id: i64,
    uri: &'a str,
    secret: &'a str,
    /// The webhook was just registered; otherwise it has a new secret.
    registered: bool,
    warnings: &'a [String],
}

/// Shows the secret of a webhook that the API answers with.
pub(crate) fn show(
    chrome: &Chrome,
    id: i64,
    webhook: &Value,
    registered: bool,
    warnings: &[String],
) -> Response<Body> {
    let text = |name: &str| webhook.get(name).and_then(Value::as_str).unwrap_or_default();
    let view = View {
        p: chrome,
        id,
        uri: text("uri"),
        secret: text("secret"),
        registered,
        warnings,
    };
    answer::html(StatusCode::OK, chrome, &view)
}
