//! Reads a request's query and body as PHP reads them, within bounds.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use hyper::header::{self, HeaderMap};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::reply::Reply;
use crate::proxy::BoxError;
use crate::registry::Fields;
use crate::registry::view::php_lists;

/// The largest body of our own routes.
pub(crate) const LARGEST_BODY: usize = 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How many parameters a form has at most, and how deep their names nest: PHP's `max_input_vars` and `max_input_nesting_level`.
const MOST_PARAMETERS: usize = 1000;
const DEEPEST: usize = 64;

/// Reads a body of at most [`LARGEST_BODY`] bytes.
pub(crate) async fn read_body<B>(body: B) -> Result<Bytes, Reply>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    let too_large = || Reply::failure(413, format!("The body is larger than {LARGEST_BODY} bytes"));
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Reply::failure(400, format!("The body cannot be read: {error}"))),
        Err(_) => Err(Reply::failure(
            408,
            format!("The body did not arrive within {} s", BODY_TIME.as_secs()),
        )),
    }
}

/// The fields of a request: those of its body, and those of its query that the body does not name.
pub(crate) fn fields(headers: &HeaderMap, body: &[u8], query: &Map<String, Value>) -> Result<Fields, Reply> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let json = kind
        .strip_prefix("application/")
        .is_some_and(|sub| sub == "json" || sub.ends_with("+json"));
    let mut fields = if json {
        Fields::json(json_object(body)?)
    } else if body.is_empty() {
        Fields::form(Map::new())
    } else if kind == "application/x-www-form-urlencoded" {
        if body.trim_ascii_start().starts_with(b"{") {
            return Err(Reply::failure(
                400,
                "The body looks like JSON: send it with Content-Type: application/json",
            ));
        }
        Fields::form(form(body)?)
    } else {
        return Err(Reply::failure(
            400,
            "Content-Type: must be application/json or application/x-www-form-urlencoded",
        ));
    };
    for (name, value) in query.iter().filter(|(name, _)| *name != "format") {
        fields.or_insert(name, || value.clone());
    }
    Ok(fields)
}

fn json_object(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match orw_model::json::parse_bytes(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
        Ok(_) => Err(Reply::failure(400, "The body must be a JSON object")),
        Err(error) => Err(Reply::failure(400, format!("The body is not JSON: {error}"))),
    }
}

/// The parameters of a query or form, in their order.
pub(super) fn parameters(text: &[u8]) -> Result<url::form_urlencoded::Parse<'_>, Reply> {
    let all = url::form_urlencoded::parse(text);
    let mut counted = all;
    if counted.nth(MOST_PARAMETERS).is_some() {
        return Err(Reply::failure(
            400,
            format!("There are more than {MOST_PARAMETERS} parameters"),
        ));
    }
    Ok(all)
}

/// A query or form such as `a=1&b[c]=2&d[]=3`; brackets make objects and lists as in PHP.
pub(crate) fn form(text: &[u8]) -> Result<Map<String, Value>, Reply> {
    let mut root = Map::new();
    for (name, value) in parameters(text)? {
        let (first, keys) = split_name(&name);
        if keys.len() > DEEPEST {
            return Err(Reply::failure(
                400,
                format!("A parameter is nested deeper than {DEEPEST} levels"),
            ));
        }
        if first.is_empty() {
            continue;
        }
        let mut place = root.entry(first).or_insert(Value::Null);
        for key in keys {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else { continue };
            // `[]` stands for the next number.
            let key = if key.is_empty() {
                next_number(map)
            } else {
                key.to_owned()
            };
            place = map.entry(key).or_insert(Value::Null);
        }
        *place = Value::String(value.into_owned());
    }
    Ok(root
        .into_iter()
        .map(|(name, value)| (name, php_lists(value)))
        .collect())
}

/// Splits `a[b][c]` into `a` and `b`, `c`. A bracket that is not closed belongs to the name.
fn split_name(name: &str) -> (String, Vec<&str>) {
    let Some((first, mut rest)) = name.split_once('[') else {
        return (name.to_owned(), Vec::new());
    };
    let mut keys = Vec::new();
    while let Some((key, after)) = rest.split_once(']') {
        keys.push(key);
        match after.strip_prefix('[') {
            Some(next) => rest = next,
            None => return (first.to_owned(), keys),
        }
    }
    (
        if keys.is_empty() {
            name.to_owned()
        } else {
            first.to_owned()
        },
        keys,
    )
}

fn next_number(map: &Map<String, Value>) -> String {
    let numbers = map.keys().filter_map(|key| key.parse::<u64>().ok());
    numbers.max().map_or(0, |n| n.saturating_add(1)).to_string()
}

/// The last part of a path that varies, decoded: the id, the app. Empty if no part varies.
pub(crate) fn last_parameter(params: &matchit::Params<'_, '_>) -> String {
    params
        .iter()
        .last()
        .map(|(_, value)| decode_segment(value))
        .unwrap_or_default()
}

/// A path segment, percent-decoded; what is not UTF-8 is replaced.
pub(crate) fn decode_segment(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        Value::Object(form(text.as_bytes()).unwrap())
    }

    /// `serde_json` uses such keys itself; a filter that has one must be refused for its operator, not read as 12.
    #[test]
    fn a_body_may_hold_any_key() {
        let body = r#"{"eventFilter":{"a":{"$serde_json::private::Number":"12"}},"headers":{"$serde_json::private::RawValue":"[1]"}}"#;
        let read = Value::Object(json_object(body.as_bytes()).unwrap());
        assert_eq!(read.to_string(), body);
        let error = orw_filter::Filter::parse(&read["eventFilter"]).unwrap_err();
        assert!(
            error.to_string().contains("$serde_json::private::Number"),
            "{error}"
        );
    }

    #[test]
    fn forms_are_read_as_php_reads_them() {
        assert_eq!(
            read("a=1&b=x+y&c=%C3%BC"),
            json!({"a": "1", "b": "x y", "c": "ü"})
        );
        assert_eq!(
            read("eventFilter[user.uid]=bob"),
            json!({"eventFilter": {"user.uid": "bob"}})
        );
        assert_eq!(read("h[]=a&h[]=b"), json!({"h": ["a", "b"]}));
        assert_eq!(
            read("f[$or][0][a]=1&f[$or][1][b]=2&f[x][]=3"),
            json!({"f": {"$or": [{"a": "1"}, {"b": "2"}], "x": ["3"]}})
        );
        assert_eq!(read("a=1&a[b]=2"), json!({"a": {"b": "2"}}));
        assert_eq!(read("a[b=1&=2"), json!({"a[b": "1"}));
        assert!(form("a=1&".repeat(2000).as_bytes()).is_err());
        assert!(form(format!("a{}=1", "[x]".repeat(100)).as_bytes()).is_err());
    }

    #[test]
    fn bodies_are_read_by_their_type() {
        let of = |kind: &str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            fields(&headers, body.as_bytes(), &Map::new()).is_ok()
        };
        assert!(of("application/json; charset=utf-8", "{\"a\":1}"));
        assert!(of("application/vnd.api+json", "{}"));
        assert!(of("application/json", ""));
        assert!(of("application/x-www-form-urlencoded", "a=1"));
        assert!(!of("application/json", "{\"a\":"));
        assert!(!of("application/json", "5"));
        assert!(!of("application/x-www-form-urlencoded", "{\"a\":1}"));
        assert!(!of("text/plain", "a=1"));
    }

    #[test]
    fn segments_are_decoded() {
        assert_eq!(decode_segment("a%20b%2Fc+%zz%"), "a b/c+%zz%");
    }
}
