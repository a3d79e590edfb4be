//! Templates that make the JSON body of a request: the language of Jinja, within limits.
//!
//! Guarantees: rendering is a pure function of the template and its data, it takes bounded time and memory whatever the two are, and what
//! it gives is JSON of at most 1 MiB. `{{ … }}` writes a value as JSON, so no text of an object can break out of its string. An error
//! names the place in the template and shows no value of the data.
//!
//! Four limits work together: only a part of the language is allowed (`allowed`), so a template makes nothing that is nested; the engine's
//! fuel pays for steps and bytes, also for those that a filter compares (`filters`); lists and maps are compared in one step (`values`); a value is written into a bounded place (`writing`).

mod allowed;
mod error;
mod filters;
#[cfg(test)]
mod tests;
mod values;
mod writing;

use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

use self::error::{LARGEST, LONGEST};
use self::values::Data;

pub use self::error::{Place, TemplateError};

/// What one rendering may use: one unit pays for a step, or for 64 bytes that the template makes or writes. A body of 1 MiB that is one
/// text of the data takes 16,400; a loop takes about ten for each round.
const FUEL: u64 = 40_000;
/// A step may look at every byte of a text (a comparison does), so the longer the data's longest text is, the fewer steps there are.
const MOST_BYTES_SEEN: u64 = 20_000_000_000;

/// The language, with everything that is not pure left out. It holds no template.
static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    // Nothing is escaped but by the formatter.
    language.set_auto_escape_callback(|_| AutoEscape::None);
    language.set_formatter(writing::write);
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    // The engine would keep the data in its errors.
    language.set_debug(false);
    for name in ["debug", "dict", "namespace", "range"] {
        language.remove_global(name);
    }
    filters::add(&mut language);
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

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If it is too long, is no template, or uses what is not allowed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::TooLong(text.len()));
        }
        allowed::check(text)?;
        let names = LANGUAGE
            .template_from_str(text)
            .map_err(|error| TemplateError::of_engine(text, &error))?
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
        let data = Data::of(data);
        let mut language = LANGUAGE.clone();
        let longest = u64::try_from(data.longest).unwrap_or(u64::MAX).max(1);
        language.set_fuel(Some(FUEL.min(MOST_BYTES_SEEN / longest)));
        let body = language
            .template_from_str(&self.text)
            .and_then(|template| template.render(data.context))
            .map_err(|error| TemplateError::of_rendering(&self.text, &error))?;
        let body = body.trim();
        if body.len() > LARGEST {
            return Err(TemplateError::TooLarge(body.len()));
        }
        match serde_json::from_str::<IgnoredAny>(body) {
            Ok(_) => Ok(body.to_owned()),
            Err(error) => Err(TemplateError::of_result(&error)),
        }
    }
}
