//! The fields of a request body, read one by one with a message that names the field and what it needs.

use std::time::Duration;

use serde_json::{Map, Value};

/// A field of a request that is missing or wrong: what the caller reads in the 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidField {
    pub field: String,
    pub reason: String,
}

/// A request's fields by name. From a form every value is text, so numbers and booleans are read from text too.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    values: Map<String, Value>,
    form: bool,
}

/// A field that is absent or null.
const MISSING: &str = "is required";

pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> InvalidField {
    InvalidField {
        field: field.into(),
        reason: reason.into(),
    }
}

impl Fields {
    /// Fields of a JSON body.
    #[must_use]
    pub const fn json(values: Map<String, Value>) -> Self {
        Self { values, form: false }
    }

    /// Fields of a form.
    #[must_use]
    pub const fn form(values: Map<String, Value>) -> Self {
        Self { values, form: true }
    }

    /// The value of a field; `None` where it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// Sets a field that is absent.
    pub fn or_insert(&mut self, name: &str, value: impl FnOnce() -> Value) {
        if !self.values.contains_key(name) {
            self.values.insert(name.to_owned(), value());
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, InvalidField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(invalid(name, format!("must be a string, not {}", kind(other)))),
        }
    }

    /// A text, or a number as text.
    pub(crate) fn scalar(&self, name: &str) -> Result<Option<String>, InvalidField> {
        match self.get(name) {
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => Ok(self.text(name)?.map(str::to_owned)),
        }
    }

    /// Text of at most `most` characters.
    pub(crate) fn short_text(&self, name: &str, most: usize) -> Result<Option<&str>, InvalidField> {
        match self.text(name)? {
            Some(text) if text.chars().count() > most || text.contains('\0') => {
                Err(invalid(name, format!("must have at most {most} characters")))
            }
            text => Ok(text),
        }
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<&str, InvalidField> {
        self.text(name)?
            .ok_or_else(|| invalid(name, format!("{MISSING} and must be a string")))
    }

    /// What PHP calls an array: a JSON object or list.
    pub(crate) fn array(&self, name: &str) -> Result<Option<&Value>, InvalidField> {
        match self.get(name) {
            None => Ok(None),
            Some(value @ (Value::Object(_) | Value::Array(_))) => Ok(Some(value)),
            Some(other) => Err(invalid(name, format!("must be an object, not {}", kind(other)))),
        }
    }

    /// An object; the empty list counts as the empty object, as PHP writes it.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, InvalidField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(Value::Array(list)) if list.is_empty() => Ok(Some(Map::new())),
            Some(other) => Err(invalid(
                name,
                format!("must be an object of names and values, not {}", kind(other)),
            )),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, InvalidField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if self.form && (text == "true" || text == "1") => Ok(Some(true)),
            Some(Value::String(text)) if self.form && (text == "false" || text == "0") => Ok(Some(false)),
            Some(other) => Err(invalid(
                name,
                format!("must be true or false, not {}", kind(other)),
            )),
        }
    }

    /// A whole number between `least` and `most`.
    pub(crate) fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, InvalidField> {
        self.get(name)
            .map(|value| whole(name, value, self.form, least, most))
            .transpose()
    }

    /// One of a closed set of names.
    pub(crate) fn one_of<T>(
        &self,
        name: &str,
        names: &[&str],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, InvalidField> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => parse(text)
                .map(Some)
                .ok_or_else(|| invalid(name, format!("must be one of {}", names.join(", ")))),
        }
    }

    /// Whether there is no field at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Refuses a field with another name than these: a misspelt one would be ignored.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), InvalidField> {
        match self.values.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(other) => Err(invalid(
                other,
                format!("is not known; there are {}", known.join(", ")),
            )),
        }
    }

    /// The fields of the object that `name` holds.
    pub(crate) fn nested(&self, name: &str) -> Result<Option<Self>, InvalidField> {
        Ok(self.object(name)?.map(|values| Self {
            values,
            form: self.form,
        }))
    }

    /// A list of delays in seconds.
    pub(crate) fn delays(
        &self,
        name: &str,
        most: usize,
        longest: u32,
    ) -> Result<Option<Vec<Duration>>, InvalidField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) if (1..=most).contains(&list.len()) => list
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    whole(&format!("{name}[{at}]"), value, self.form, 1, longest)
                        .map(|seconds| Duration::from_secs(seconds.into()))
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(invalid(
                name,
                format!("must be a list of 1 to {most} delays in seconds"),
            )),
        }
    }
}

/// Puts the name of the object before the names in an error of its fields.
pub(crate) fn within(name: &str) -> impl Fn(InvalidField) -> InvalidField + '_ {
    move |error| invalid(format!("{name}.{}", error.field), error.reason)
}

fn whole(name: &str, value: &Value, form: bool, least: u32, most: u32) -> Result<u32, InvalidField> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if form => text.parse().ok(),
        _ => None,
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| invalid(name, format!("must be a whole number from {least} to {most}")))
}

/// What a value is, for messages.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
