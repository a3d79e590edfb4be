//! A receiver's response in lines, as `delivery show` and `webhook test` print it.

use serde_json::Value;

/// The error, then each header, then the body: one line each.
pub(super) fn lines(error: Option<&str>, headers: Option<&Value>, body: Option<&str>) -> Vec<String> {
    let headers = headers.and_then(Value::as_object).into_iter().flatten();
    let headers = headers.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default()));
    let error = error.map(ToOwned::to_owned);
    let body = body.map(ToOwned::to_owned);
    error.into_iter().chain(headers).chain(body).collect()
}
