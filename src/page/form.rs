//! The parameters of a query or a form, as text.

use serde_json::{Map, Value};

use crate::ocs::Refusal;

/// Names and values in their order. A name may occur more than once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Browsers send the line breaks of a text with a carriage return, which the page would show.
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        let plain = |(name, value): (String, String)| (name, value.replace("\r\n", "\n"));
        Self(pairs.into_iter().map(plain).collect())
    }

    pub(crate) fn of_query(query: Option<&str>) -> Self {
        let bytes = query.unwrap_or_default().as_bytes();
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value with this name, trimmed; `None` if it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The same as text for a field; empty if it is absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every value with this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a box is ticked.
    pub(crate) fn is_ticked(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Those of these parameters that are there, for a query of the API.
    pub(crate) fn query(&self, names: &[&str]) -> Map<String, Value> {
        names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Value::from(self.get(name)?))))
            .collect()
    }

    /// Those of these parameters that are there, with their names.
    pub(crate) fn pairs<'a>(&self, names: &[&'a str]) -> Vec<(&'a str, &str)> {
        names
            .iter()
            .filter_map(|name| Some((*name, self.get(name)?)))
            .collect()
    }

    /// Those of these parameters that are there, as a query of a URL without `?`.
    pub(crate) fn url_query(&self, names: &[&str]) -> String {
        let mut to = url::form_urlencoded::Serializer::new(String::new());
        for name in names {
            if let Some(value) = self.get(name) {
                to.append_pair(name, value);
            }
        }
        to.finish()
    }

    /// The whole query with one parameter set.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let mut to = url::form_urlencoded::Serializer::new(String::new());
        for (known, value) in self.0.iter().filter(|(known, _)| known != name) {
            to.append_pair(known, value);
        }
        to.append_pair(name, value);
        to.finish()
    }
}

/// An id in a path. It becomes part of another path, so nothing but a number passes.
///
/// # Errors
/// 404 if it is no number.
pub(crate) fn number(id: &str) -> Result<i64, Refusal> {
    let parsed = id.parse().ok().filter(|id| *id > 0);
    parsed.ok_or_else(|| Refusal::new(404, format!("{id:?} is not an id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_written() {
        let form = Form::of_query(Some("a=+1+&b=&c=x%26y&c=z"));
        assert_eq!(
            (form.get("a"), form.get("b"), form.get("d")),
            (Some("1"), None, None)
        );
        assert_eq!(form.all("c").collect::<Vec<_>>(), ["x&y", "z"]);
        assert_eq!(form.url_query(&["c", "a", "d"]), "c=x%26y&a=1");
        assert_eq!(Form::of_query(Some("a=1&b=2")).with("a", "3"), "b=2&a=3");
    }
}
