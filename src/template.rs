//! Templates that make the JSON body of a request: the language of Jinja, within limits.
//!
//! Guarantees: rendering is a pure function of the template and its data, it takes bounded time and memory whatever the two are, and what
//! it gives is JSON of at most [`LARGEST`] bytes. `{{ … }}` writes a value as JSON, so no text of an object can break out of its string.
//! An error names the place in the template and shows no value of the data.
//!
//! The engine's fuel bounds steps and the texts that are made. It does not bound what a list or map becomes when it is written, and a
//! template could build one that holds another many times. So a template can make no list, map or tuple of its own: what it writes is
//! a part of the data.

use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

/// The longest template, in bytes.
pub(crate) const LONGEST: usize = 32 * 1024;
/// The largest body, in bytes.
pub(crate) const LARGEST: usize = 1024 * 1024;
/// What one rendering may use: one unit pays for an instruction, or for 64 bytes of what the template makes. So it makes 16 MiB at
/// most. A body of 200 KiB that is one value of the data takes 50,000.
const FUEL: u64 = 250_000;
/// The filters that make lists of lists, or texts whose size nothing bounds.
const GROWING: [&str; 11] = [
    "batch", "chain", "format", "groupby", "indent", "items", "map", "pprint", "slice", "tojson", "zip",
];
/// How deep blocks and loops may nest.
const DEEPEST: usize = 50;
/// The longest explanation that an error keeps, in characters.
const LONGEST_REASON: usize = 300;

/// The language, with everything that is not pure left out. It holds no template.
static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    language.set_fuel(Some(FUEL));
    language.set_recursion_limit(DEEPEST);
    language.set_auto_escape_callback(|_| AutoEscape::Json);
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    // The engine would keep the data in its errors.
    language.set_debug(false);
    for name in ["debug", "dict", "namespace"] {
        language.remove_global(name);
    }
    for name in GROWING {
        language.remove_filter(name);
    }
    language
});

/// A template whose text is valid.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    names_user: bool,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

/// A place in a text, counted from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a template cannot be used, or gave no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has {0} bytes, and may have {LONGEST}")]
    TooLong(usize),
    #[error("{place}: {reason}")]
    Wrong { place: Place, reason: String },
    #[error("{0}: it takes more steps or memory than a template may")]
    TooMuch(Place),
    #[error("it gives {0} bytes, and a body may have {LARGEST}")]
    TooLarge(usize),
    /// The place is in the text that was made, not in the template.
    #[error(
        "what it gives is not JSON: {reason} at {place} of the result; write a text with values in it as {{{{ \"…\" ~ value }}}}, \
         without quotes around the braces"
    )]
    NotJson { place: Place, reason: String },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If it is too long, or is no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::TooLong(text.len()));
        }
        refuse_what_grows(text)?;
        let names = LANGUAGE
            .template_from_str(text)
            .map_err(|error| from_engine(text, &error))?
            .undeclared_variables(false);
        Ok(Self {
            text: text.into(),
            names_user: ["user", "group", "groups"]
                .iter()
                .any(|name| names.contains(*name)),
        })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may read who caused the event.
    #[must_use]
    pub const fn names_user(&self) -> bool {
        self.names_user
    }

    /// The body that it makes of this data.
    ///
    /// # Errors
    /// If it fails, exceeds a limit, or gives no JSON.
    pub fn render(&self, data: &Map<String, Json>) -> Result<String, TemplateError> {
        let context = Value::from_pairs(data.iter().map(|(name, data)| (name.as_str(), value(data))));
        let body = LANGUAGE
            .template_from_str(&self.text)
            .and_then(|template| template.render(context))
            .map_err(|error| from_engine(&self.text, &error))?;
        let body = body.trim();
        if body.len() > LARGEST {
            return Err(TemplateError::TooLarge(body.len()));
        }
        match serde_json::from_str::<IgnoredAny>(body) {
            Ok(_) => Ok(body.to_owned()),
            Err(error) => Err(TemplateError::NotJson {
                place: Place {
                    line: error.line(),
                    column: error.column(),
                },
                reason: plain(&error),
            }),
        }
    }
}

/// Refuses what could make a list, a map or a tuple.
fn refuse_what_grows(text: &str) -> Result<(), TemplateError> {
    let refused = |offset: u32, reason: &str| TemplateError::Wrong {
        place: place(text, usize::try_from(offset).unwrap_or(usize::MAX)),
        reason: reason.to_owned(),
    };
    // Of each open parenthesis, whether it is that of a call; and whether the next comma belongs to the names of a loop.
    let (mut open, mut in_names): (Vec<bool>, bool) = (Vec::new(), false);
    let (mut before, mut begins) = (false, false);
    for token in tokenize(text, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| from_engine(text, &error))?;
        let at = span.start_offset;
        match &token {
            Token::Plus | Token::Mul | Token::Pow => {
                return Err(refused(
                    at,
                    "the operators +, * and ** are not available; ~ joins texts",
                ));
            }
            Token::BraceOpen => return Err(refused(at, "a map cannot be written out here")),
            Token::BracketOpen if !before => return Err(refused(at, "a list cannot be written out here")),
            Token::Ident("set" | "with" | "filter" | "do") if begins => {
                return Err(refused(at, "set, with, filter and do are not available"));
            }
            Token::Ident("for") if begins => in_names = true,
            Token::Ident("in") => in_names = false,
            Token::ParenOpen => open.push(before),
            Token::ParenClose => {
                open.pop();
            }
            Token::Comma if !in_names && open.last() != Some(&true) => {
                return Err(refused(at, "a list cannot be written out here"));
            }
            _ => {}
        }
        begins = matches!(token, Token::BlockStart);
        before = matches!(
            token,
            Token::Ident(_) | Token::BracketClose | Token::ParenClose | Token::Str(_) | Token::String(_)
        );
    }
    Ok(())
}

/// JSON as the engine computes with it. A number with a fraction is a double here, so 9.90 is written as 9.9.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(it) => Value::from(*it),
        Json::Number(number) => number.as_i64().map_or_else(
            || match number.to_string().parse::<i128>() {
                Ok(whole) => Value::from(whole),
                Err(_) => Value::from(number.as_f64().unwrap_or_default()),
            },
            Value::from,
        ),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => list.iter().map(value).collect(),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(name, json)| (name.as_str(), value(json)))),
    }
}

fn from_engine(text: &str, error: &Error) -> TemplateError {
    let place = match error.range() {
        Some(range) => place(text, range.start),
        None => Place {
            line: error.line().unwrap_or(1),
            column: 1,
        },
    };
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::TooMuch(place);
    }
    let reason = error
        .detail()
        .map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    TemplateError::Wrong {
        place,
        reason: reason.chars().take(LONGEST_REASON).collect(),
    }
}

fn place(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    Place {
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
    }
}

/// The reader's message without its place.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
