//! Masks secrets that entities contain in plain text. This happens before an entity is stored, so the secrets are in no payload,
//! log or table of ours. Objects are not masked: their properties are the users' own data.
//!
//! A secret is recognised by the name of its field, at any depth, also within JSON that a text column holds, and by its column, for
//! columns that hold nothing but secrets.

use serde_json::{Map, Value};

use super::EntityKind;
use super::row::is_set;
use crate::json;

/// The text that replaces a secret.
pub(crate) const MASK: &str = "***";

/// A number or text is a secret if its name contains one of these. Case, `_` and `-` are ignored.
const SECRET_PARTS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "bearer",
    "cookie",
];

/// What is below one of these names is a secret as a whole, whatever its shape. The names are without `_` and `-`.
const SEALED: [&str; 1] = ["authconfig"];

/// In URLs and connection strings, the value of such a parameter is a secret.
const SECRET_PARAMETERS: [&str; 8] = [
    "password=",
    "passwd=",
    "pwd=",
    "secret=",
    "token=",
    "apikey=",
    "api_key=",
    "api-key=",
];

/// Columns, by kind, that hold a secret as a whole.
const fn sealed_columns(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        // How to log in to the source: encrypted by OpenRegister, with a key that is in Nextcloud's configuration.
        EntityKind::Source => &["auth_config"],
        _ => &[],
    }
}

/// Columns, by kind, that say where a database is, and mostly the password for it.
const fn address_columns(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Source => &["database_url"],
        _ => &[],
    }
}

/// The value of `column` of a row of this kind as payloads may show it. [`mask`] does the rest.
pub(crate) fn mask_column(kind: EntityKind, column: &str, value: &mut Value) {
    if sealed_columns(kind).contains(&column) {
        seal(value);
    } else if address_columns(kind).contains(&column)
        && let Value::String(text) = value
        // `user/password@host`, `user:password@host`: only a URL says which part is the password.
        && text.contains('@')
        && !text.contains("://")
    {
        MASK.clone_into(text);
    }
}

/// Masks the secrets among `fields`, at any depth.
pub(crate) fn mask(fields: &mut Map<String, Value>) {
    for (key, value) in fields {
        if SEALED.contains(&plain(key).as_str()) {
            seal(value);
            continue;
        }
        let secret = is_secret(key) || (is_secret_text(key) && is_text(value));
        mask_value(value, secret);
    }
}

/// Masks a value as a whole. One that is not set stays, so that it can be seen that there is no secret.
fn seal(value: &mut Value) {
    if is_set(Some(value)) {
        *value = Value::String(MASK.into());
    }
}

fn is_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(is_text),
        _ => false,
    }
}

fn mask_value(value: &mut Value, secret: bool) {
    match value {
        Value::String(text) if secret => {
            if !text.is_empty() {
                MASK.clone_into(text);
            }
        }
        Value::Number(_) if secret => *value = Value::String(MASK.into()),
        Value::String(text) if text.starts_with(['{', '[']) => mask_json(text),
        Value::String(text) => mask_text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(item, secret)),
        // A map under such a name is a structure, for example the definition of a property called "password". The keys
        // inside decide.
        Value::Object(map) => mask(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text under this name is a secret. A number or a map is none: `maxTokens`, or a schema's `authorization`.
fn is_secret_text(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    lower.ends_with("tokens") || lower == "authorization"
}

/// A name in lower case, without `_` and `-`.
fn plain(key: &str) -> String {
    key.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn is_secret(key: &str) -> bool {
    let plain = plain(key);
    // "token" counts only at the end: maxTokens and tokenQuota are no secrets.
    plain == "pass" || plain.ends_with("token") || SECRET_PARTS.iter().any(|part| plain.contains(part))
}

/// Masks the secrets in a text that looks like JSON: a column of which nobody has said yet that it holds some. A text without secrets
/// stays byte for byte.
fn mask_json(text: &mut String) {
    match json::parse_deep(text, json::DEEPEST) {
        Ok(before) => {
            let mut after = before.clone();
            mask_value(&mut after, false);
            if after != before {
                *text = after.to_string();
            }
        }
        Err(_) => mask_text(text),
    }
}

/// Masks the password of a URL and the values of secret parameters.
fn mask_text(text: &mut String) {
    if let Some(masked) = url_password(text) {
        *text = masked;
    }
    let lower = text.to_ascii_lowercase();
    let mut cuts: Vec<(usize, usize)> = SECRET_PARAMETERS
        .iter()
        .flat_map(|parameter| lower.match_indices(parameter).map(|(at, found)| at + found.len()))
        .map(|from| parameter_value(text, from))
        .filter(|(from, to)| from < to)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    for (from, to) in cuts.into_iter().rev() {
        text.replace_range(from..to, MASK);
    }
}

/// Where the value begins and ends that follows the `=` before `from`. It may be in quotes: `password='two words'`.
fn parameter_value(text: &str, from: usize) -> (usize, usize) {
    let rest = &text[from..];
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &rest[1..];
        let end = inner.find(quote).unwrap_or(inner.len());
        return (from + 1, from + 1 + end);
    }
    let len = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | '#' | '"' | '\''))
        .unwrap_or(rest.len());
    (from, from + len)
}

/// `text` with the password of every `scheme://user:password@host` masked; `None` if there is none.
fn url_password(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut masked = false;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>'))
            .unwrap_or(after.len());
        let authority = &after[..end];
        match authority
            .rsplit_once('@')
            .map(|(user, host)| (user.split_once(':'), host))
        {
            Some((Some((user, password)), host)) if !password.is_empty() => {
                out.push_str(user);
                out.push(':');
                out.push_str(MASK);
                out.push('@');
                out.push_str(host);
                masked = true;
            }
            _ => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    masked.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn masked(value: Value) -> Value {
        let Value::Object(mut map) = value else { panic!() };
        mask(&mut map);
        Value::Object(map)
    }

    #[test]
    fn secrets_are_masked_and_structure_is_kept() {
        assert_eq!(
            masked(json!({
                "databaseUrl": "postgres://app:hunter2@db:5432/x",
                "configuration": {"apiKey": "abc", "api_key": 5, "nested": [{"clientSecret": "s", "user": "u"}],
                                  "tokens": ["a"], "accessToken": "t", "password": null, "secret": ""},
                "maxTokens": 5, "tokenQuota": 7, "active": true,
                "headers": {"Authorization": "Bearer abc", "Set-Cookie": "a=b"},
                "authorization": {"create": ["admin"]},
                "properties": {"password": {"type": "string"}},
                "sourceUrl": "https://x.example/a?token=abc&b=1"
            })),
            json!({
                "databaseUrl": "postgres://app:***@db:5432/x",
                "configuration": {"apiKey": "***", "api_key": "***", "nested": [{"clientSecret": "***", "user": "u"}],
                                  "tokens": ["***"], "accessToken": "***", "password": null, "secret": ""},
                "maxTokens": 5, "tokenQuota": 7, "active": true,
                "headers": {"Authorization": "***", "Set-Cookie": "***"},
                "authorization": {"create": ["admin"]},
                "properties": {"password": {"type": "string"}},
                "sourceUrl": "https://x.example/a?token=***&b=1"
            })
        );
    }

    #[test]
    fn odd_urls_are_masked_or_left() {
        for (before, after) in [
            ("https://a@b/", "https://a@b/"),
            ("https://a:p@ss@b/", "https://a:***@b/"),
            (
                "see http://u:p@h and http://v:q@h/x",
                "see http://u:***@h and http://v:***@h/x",
            ),
            (
                "host=h user=u PASSWORD=geheim dbname=d",
                "host=h user=u PASSWORD=*** dbname=d",
            ),
            ("ünïcode://ü:ä@ö", "ünïcode://ü:***@ö"),
            ("://", "://"),
            ("password=", "password="),
            (
                "host=h password='two words' user=u",
                "host=h password='***' user=u",
            ),
            ("Pwd=\"a;b\";Server=s", "Pwd=\"***\";Server=s"),
            ("password='open", "password='***"),
            ("password=''", "password=''"),
        ] {
            assert_eq!(masked(json!({"v": before})), json!({"v": after}));
        }
    }

    #[test]
    fn a_text_that_holds_json_is_masked_inside_and_else_left() {
        for (before, after) in [
            (
                r#"{"url": "https://u:p@h/", "apiKey": "k", "n": 1.50}"#,
                r#"{"url":"https://u:***@h/","apiKey":"***","n":1.50}"#,
            ),
            (r#"[{"secret": "s"}]"#, r#"[{"secret":"***"}]"#),
            (r#"{"plain":   1}"#, r#"{"plain":   1}"#),
            ("{no json, password=x}", "{no json, password=***"),
            (
                r#"{"inner": "{\"secret\":\"s\"}"}"#,
                r#"{"inner":"{\"secret\":\"***\"}"}"#,
            ),
        ] {
            assert_eq!(masked(json!({"v": before})), json!({"v": after}));
        }
    }

    #[test]
    fn columns_that_are_secrets_are_masked_whatever_they_hold() {
        let column = |name: &str, mut value: Value| {
            mask_column(EntityKind::Source, name, &mut value);
            value
        };
        for secret in [
            json!("b64:abc"),
            json!({"type": "basic", "user": "u"}),
            json!(["x"]),
            json!(7),
        ] {
            assert_eq!(column("auth_config", secret.clone()), "***", "{secret}");
            // By its name alone, too, in any kind and at any depth.
            let inside = masked(json!({"a": {"authConfig": secret, "auth_config": secret}}));
            assert_eq!(inside, json!({"a": {"authConfig": "***", "auth_config": "***"}}));
        }
        for unset in [Value::Null, json!(""), json!([]), json!({})] {
            assert_eq!(column("auth_config", unset.clone()), unset);
        }
        for (before, after) in [
            ("scott/tiger@db", "***"),
            ("user:pass@host:5432/x", "***"),
            ("pg://me:geheim@h/x", "pg://me:geheim@h/x"),
            ("sqlite:/data/x.db", "sqlite:/data/x.db"),
        ] {
            assert_eq!(column("database_url", json!(before)), after);
        }
        assert_eq!(column("title", json!("a@b")), "a@b");
    }
}
