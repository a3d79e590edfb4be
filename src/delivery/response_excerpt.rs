//! The excerpt of a receiver's answer that the log keeps.
//!
//! Guarantees: at most [`BODY`] bytes of the body and [`HEADERS`] bytes of the headers; no value of a header whose name says that it is
//! secret. A receiver may echo its request: of the header values that the registration keeps secret, none of [`SHORTEST`] bytes or more
//! is in the excerpt.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use orw_egress::Answer;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::registry::{Auth, Webhook};

/// How much of a body is kept.
const BODY: usize = 2048;
/// How much of all headers is kept, and of one value.
const HEADERS: usize = 2048;
const VALUE: usize = 256;
/// What replaces a secret.
const MASK: &str = "***";
/// A shorter secret value would occur anywhere by chance, so it is not masked.
const SHORTEST: usize = 6;
/// Headers that are of no use in the log.
const NOISE: [&str; 5] = ["connection", "date", "keep-alive", "transfer-encoding", "trailer"];
/// Parts of the names of headers whose values are masked.
const SECRET: [&str; 10] = [
    "cookie",
    "authorization",
    "auth-",
    "token",
    "secret",
    "passw",
    "api-key",
    "apikey",
    "session",
    "credential",
];

/// An excerpt of an answer, without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseExcerpt {
    /// A JSON object of names and values.
    pub(crate) headers: Option<String>,
    /// The beginning of the body.
    pub(crate) body: Option<String>,
}

impl ResponseExcerpt {
    /// The excerpt of an answer of this webhook's receiver.
    pub(super) fn of(answer: &Answer, webhook: &Webhook) -> Self {
        let secrets = Secrets::of(webhook);
        Self {
            headers: headers(&answer.headers, &secrets),
            body: body(&answer.body, &secrets),
        }
    }
}

/// The beginning of a text, as long as an excerpt of a body may be, without NUL, which PostgreSQL's text cannot hold.
pub(super) fn cut(text: String) -> String {
    let mut text = if text.contains('\0') {
        text.replace('\0', "\u{FFFD}")
    } else {
        text
    };
    text.truncate(text.floor_char_boundary(BODY));
    text
}

fn body(body: &Bytes, secrets: &Secrets) -> Option<String> {
    (!body.is_empty()).then(|| cut(secrets.mask(&String::from_utf8_lossy(body), BODY)))
}

fn headers(headers: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let mut kept = Map::new();
    let mut room = HEADERS;
    for name in headers.keys() {
        if NOISE.contains(&name.as_str()) {
            continue;
        }
        let value = if SECRET.iter().any(|part| name.as_str().contains(part)) {
            MASK.to_owned()
        } else {
            let all: Vec<_> = headers.get_all(name).iter().map(text).collect();
            let joined = all.join(", ");
            // The query of a redirect's target may be a secret of the receiver.
            let shown = match (name.as_str(), joined.split_once('?')) {
                ("location" | "content-location", Some((before, _))) => format!("{before}?{MASK}"),
                _ => joined,
            };
            cut(secrets.mask(&shown, VALUE))
        };
        // Quotes, colon and comma; what has to be escaped counts twice.
        let size = name.as_str().len() + value.len() + value.matches(['"', '\\']).count() + 6;
        let Some(left) = room.checked_sub(size) else {
            continue;
        };
        room = left;
        kept.insert(name.as_str().to_owned(), Value::String(value));
    }
    (!kept.is_empty()).then(|| Value::Object(kept).to_string())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).replace(char::is_control, " ")
}

/// The header values that a registration keeps secret.
struct Secrets(Vec<String>);

impl Secrets {
    fn of(webhook: &Webhook) -> Self {
        let auth = match &webhook.auth {
            Auth::Header(pairs) => pairs.as_slice(),
            // Its tokens are masked by their looks.
            Auth::Jwt(_) | Auth::None => &[],
        };
        let own = webhook.headers.as_deref().unwrap_or_default();
        let mut all: Vec<String> = auth
            .iter()
            .chain(own)
            .flat_map(|(_, value)| forms(value))
            .collect();
        // If two begin alike, the longer one must be found first.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self(all)
    }

    /// At most so many bytes of `text`, without secrets.
    fn mask(&self, text: &str, most: usize) -> String {
        let mut masked = String::with_capacity(text.len().min(most));
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if masked.len() + next.len_utf8() > most {
                break;
            }
            let token = token(rest);
            if token > 0 {
                masked.push_str(MASK);
                rest = &rest[token..];
            } else if let Some(secret) = self.0.iter().find(|secret| rest.starts_with(secret.as_str())) {
                masked.push_str(MASK);
                rest = &rest[secret.len()..];
            } else if rest.len() >= SHORTEST && self.0.iter().any(|secret| secret.starts_with(rest)) {
                // The body was cut within it.
                masked.push_str(MASK);
                break;
            } else {
                masked.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        masked.truncate(masked.floor_char_boundary(most));
        masked
    }
}

/// How many bytes at the beginning of `text` are a JSON web token, whole or cut.
fn token(text: &str) -> usize {
    if !text.starts_with("eyJ") {
        return 0;
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(text.len());
    if end >= SHORTEST { end } else { 0 }
}

/// The forms in which a value may be echoed: as it was sent, without the word before it (`Bearer …`), and each of these as in JSON.
fn forms(value: &SecretString) -> Vec<String> {
    let value = value.expose_secret().trim();
    let bare = value.split_once(' ').map(|(_, after)| after.trim_start());
    let plain = [Some(value), bare].into_iter().flatten();
    let mut forms = Vec::new();
    for form in plain.filter(|form| form.len() >= SHORTEST) {
        let json = Value::from(form).to_string();
        let json = json.trim_matches('"').to_owned();
        forms.extend([form.to_owned(), json.replace('/', "\\/"), json]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let mut all: Vec<String> = values
            .iter()
            .flat_map(|value| forms(&SecretString::from(*value)))
            .collect();
        all.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Secrets(all)
    }

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_token_is_known_by_its_looks() {
        let none = Secrets(Vec::new());
        let echo = r#"{"authorization":"Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln","x":1}"#;
        assert_eq!(none.mask(echo, 200), r#"{"authorization":"Bearer ***","x":1}"#);
        assert_eq!(none.mask("eyJ is short", 200), "eyJ is short");
    }

    #[test]
    fn an_echo_gives_no_secret_away() {
        let secrets = secrets(&["Bearer abc/def\"ghi", "0123456789"]);
        for (echo, masked) in [
            (r"authorization: Bearer abc/def", r"authorization: Bearer abc/def"),
            ("Bearer abc/def\"ghi.", "***."),
            ("token abc/def\"ghi", "token ***"),
            (r#"{"token": "abc\/def\"ghi"}"#, r#"{"token": "***"}"#),
            (r#"{"token": "abc/def\"ghi"}"#, r#"{"token": "***"}"#),
            ("01234567890123456789", "******"),
            ("x01234567", "x***"),
            ("x01234", "x01234"),
        ] {
            let shown = secrets.mask(echo, 100);
            if echo == masked {
                // A beginning of a secret at the very end is taken for one that was cut.
                assert!(!shown.contains("abc/def") || shown == masked, "{shown}");
            } else {
                assert_eq!(shown, masked, "{echo}");
            }
        }
        let long = format!("{}0123456789", "é".repeat(BODY));
        assert!(body(&Bytes::from(long), &secrets).unwrap().len() <= BODY);
    }

    #[test]
    fn headers_are_few_short_and_without_secrets() {
        let kept = headers(
            &map(&[
                ("server", "nginx"),
                ("set-cookie", "sid=1"),
                ("x-auth-token", "t"),
                ("date", "Thu, 26 Nov 2026 08:00:00 GMT"),
                ("www-authenticate", "Bearer realm=\"x\""),
                ("x-echo", "0123456789"),
                ("location", "https://example.org/a?code=5"),
                ("x-two", "a"),
                ("x-two", "b"),
            ]),
            &secrets(&["0123456789"]),
        );
        let kept: Value = serde_json::from_str(&kept.unwrap()).unwrap();
        let expected = serde_json::json!({
            "server": "nginx", "set-cookie": "***", "x-auth-token": "***", "www-authenticate": "Bearer realm=\"x\"", "x-echo": "***",
            "location": "https://example.org/a?***", "x-two": "a, b",
        });
        assert_eq!(kept, expected);
        assert_eq!(headers(&map(&[("date", "x")]), &secrets(&[])), None);
    }

    #[test]
    fn however_many_headers_there_are_little_is_kept() {
        let mut many = HeaderMap::new();
        for number in 0..500 {
            let name = hyper::header::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            many.insert(name, HeaderValue::from_str(&"\"\\".repeat(200)).unwrap());
        }
        let kept = headers(&many, &secrets(&[])).unwrap();
        assert!(kept.len() <= HEADERS, "{}", kept.len());
        assert!(serde_json::from_str::<Value>(&kept).is_ok_and(|kept| kept.is_object()));
    }
}
