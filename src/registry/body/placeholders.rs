//! A text with paths of an entity in braces, such as `https://cloud.example/objects/{registerId}/{data.number}`.
//!
//! Guarantee: a filled text has a value for each of its paths, and a value that is put into a URL cannot change the URL's structure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use crate::registry::fields::{InvalidField, invalid};

const LONGEST: usize = 1000;
const MOST_PATHS: usize = 20;
/// What is encoded in a URL: everything but what RFC 3986 calls unreserved.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path into an entity as the format `documented` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub(super) fn parse(field: &str, text: &str) -> Result<Self, InvalidField> {
        let good = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@'))
        };
        if text.len() <= LONGEST && text.split('.').all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid(
                field,
                format!("{text:?} is no path: names with dots between them, such as data.number"),
            ))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value there as text; `None` if there is none, or it is a list or map.
    #[must_use]
    pub fn find(&self, entity: &Value) -> Option<String> {
        let found = self
            .0
            .split('.')
            .try_fold(entity, |value, name| value.get(name))?;
        match found {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(it) => Some(it.to_string()),
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path(Path),
}

/// The text, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    text: String,
    pieces: Vec<Piece>,
}

/// An entity has no value at a path that a text needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: there is no text or number at {path}")]
pub struct NoValue {
    pub field: &'static str,
    pub path: String,
}

impl Filled {
    pub(super) fn parse(field: &str, text: &str) -> Result<Self, InvalidField> {
        if text.is_empty() || text.chars().count() > LONGEST {
            return Err(invalid(field, format!("must have 1 to {LONGEST} characters")));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (path, after) = after
                .split_once('}')
                .ok_or_else(|| invalid(field, "has a { without a } after it"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Path(Path::parse(field, path)?));
            rest = after;
        }
        if rest.contains('}') {
            return Err(invalid(field, "has a } without a { before it"));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let read = Self {
            text: text.to_owned(),
            pieces,
        };
        if read.paths().count() > MOST_PATHS {
            return Err(invalid(field, format!("may have {MOST_PATHS} paths")));
        }
        Ok(read)
    }

    /// A text of our own.
    pub(super) fn plain(text: &'static str) -> Self {
        Self::parse("", text).unwrap_or_else(|_| Self {
            text: text.to_owned(),
            pieces: vec![Piece::Text(text.to_owned())],
        })
    }

    /// As it was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Path(path) => Some(path),
            Piece::Text(_) => None,
        })
    }

    /// The text with the values of this entity.
    ///
    /// # Errors
    /// If a value is missing.
    pub fn fill(&self, field: &'static str, entity: &Value) -> Result<String, NoValue> {
        self.fill_with(field, entity, str::to_owned)
    }

    /// The same, as a URL.
    ///
    /// # Errors
    /// If a value is missing, or a part of the path would be `.` or `..`, which is another place.
    pub fn fill_url(&self, field: &'static str, entity: &Value) -> Result<String, NoValue> {
        let url = self.fill_with(field, entity, |value| {
            utf8_percent_encode(value, IN_URL).to_string()
        })?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let moves = |text: &str| text.split('/').any(|part| matches!(part, "." | ".."));
        match self.paths().next() {
            Some(first) if moves(path) => Err(NoValue {
                field,
                path: first.as_str().to_owned(),
            }),
            _ => Ok(url),
        }
    }

    pub(crate) fn fill_with(
        &self,
        field: &'static str,
        entity: &Value,
        write: impl Fn(&str) -> String,
    ) -> Result<String, NoValue> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Ok(text.clone()),
                Piece::Path(path) => path
                    .find(entity)
                    .map(|value| write(&value))
                    .ok_or_else(|| NoValue {
                        field,
                        path: path.as_str().to_owned(),
                    }),
            })
            .collect()
    }

    /// Whether it is a URL, or with `relative` a path on the same host, that no value can point to another host: no path stands before
    /// the end of the authority, and there is no user in it.
    pub(super) fn is_url(&self, schemes: &[&str], relative: bool) -> bool {
        let like = self.like();
        if !like.is_ascii() || like.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return false;
        }
        if relative && like.starts_with('/') && !like.starts_with("//") {
            // A value is encoded, so none makes a second slash of it.
            return true;
        }
        let Ok(url) = Url::parse(&like) else {
            return false;
        };
        let Some(Piece::Text(fixed)) = self.pieces.first() else {
            return false;
        };
        if !schemes.contains(&url.scheme()) || !url.username().is_empty() || url.password().is_some() {
            return false;
        }
        match fixed.split_once("://") {
            // What follows the host and its port is a path, a query or a fragment.
            Some((_, rest)) => url.has_host() && (rest.contains(['/', '?', '#']) || self.pieces.len() == 1),
            // A URN has no authority, and begins with its namespace.
            None => !url.has_authority() && fixed.matches(':').count() > 1,
        }
    }

    /// The text with `x` for each value, to see what it is like.
    pub(super) fn like(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Path(_) => "x",
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_put_where_their_paths_are() {
        let entity = json!({"uuid": "a/b?c", "id": 5, "data": {"title": "ü #1", "tags": ["x"]}});
        let fill = |text: &str| Filled::parse("f", text).unwrap().fill("f", &entity);
        let url = |text: &str| Filled::parse("f", text).unwrap().fill_url("f", &entity);
        assert_eq!(fill("object-{id}").unwrap(), "object-5");
        assert_eq!(
            url("https://e.nl/{uuid}?t={data.title}").unwrap(),
            "https://e.nl/a%2Fb%3Fc?t=%C3%BC%20%231"
        );
        for none in ["{data.tags}", "{data.none}", "{uuid.x}"] {
            let error = fill(none).unwrap_err().to_string();
            assert!(error.starts_with("f: there is no text or number at "), "{error}");
        }
        for dots in [".", ".."] {
            let entity = json!({"a": dots, "b": "x"});
            let filled = Filled::parse("f", "https://e.nl/{b}/{a}/c").unwrap();
            assert!(filled.fill_url("f", &entity).is_err(), "{dots}");
            let filled = Filled::parse("f", "https://e.nl/{b}?q={a}").unwrap();
            assert!(filled.fill_url("f", &entity).is_ok(), "{dots}");
        }
        let is_url = |text: &str| Filled::parse("f", text).unwrap().is_url(&["https", "urn"], true);
        for good in [
            "https://e.nl/{a}",
            "https://e.nl",
            "https://e.nl?q={a}",
            "urn:nld:{a}",
            "/a/{b}",
            "/{b}",
        ] {
            assert!(is_url(good), "{good}");
        }
        for wrong in [
            "https://{a}/b",
            "https://e.nl{a}/b",
            "https://{a}.nl/b",
            "https://e.nl:{p}/b",
            "https://u@e.nl/{a}",
            "https://e.nl@{a}/",
            "https://e.nl/\n{a}",
            "{a}://e.nl/",
            "urn:{a}",
            "//e.nl/{a}",
            "ftp://e.nl/",
            "https:{a}",
        ] {
            assert!(!is_url(wrong), "{wrong}");
        }
        for wrong in ["", "{", "}", "{}", "{a..b}", "{a b}", "{{a}}", &"x".repeat(1001)] {
            assert!(Filled::parse("f", wrong).is_err(), "{wrong}");
        }
    }
}
