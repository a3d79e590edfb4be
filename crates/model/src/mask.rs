//! Masks secrets that entities contain in plain text. This happens before an entity is stored, so the secrets are in no payload,
//! log or table of ours. Objects are not masked: their properties are the users' own data.

use serde_json::{Map, Value};

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

/// Masks the secrets among `fields`, at any depth.
pub(crate) fn mask(fields: &mut Map<String, Value>) {
    for (key, value) in fields {
        let secret = is_secret(key) || (is_secret_text(key) && is_text(value));
        mask_value(value, secret);
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

fn is_secret(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // "token" counts only at the end: maxTokens and tokenQuota are no secrets.
    plain == "pass" || plain.ends_with("token") || SECRET_PARTS.iter().any(|part| plain.contains(part))
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
        .map(|from| {
            let len = text[from..]
                .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | '#' | '"' | '\''))
                .unwrap_or(text.len() - from);
            (from, from + len)
        })
        .filter(|(from, to)| from < to)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    for (from, to) in cuts.into_iter().rev() {
        text.replace_range(from..to, MASK);
    }
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
        ] {
            assert_eq!(masked(json!({"v": before})), json!({"v": after}));
        }
    }
}
