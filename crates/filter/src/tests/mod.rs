//! Whole filters.

mod documents;
mod evaluation;
mod laws;
mod limits;
mod parsing;
mod php;

use serde_json::Value as Json;

use crate::{Document, EvalError, Filter};

/// Evaluates a filter as Nextcloud does.
fn eval(filter: &Json, document: &Json) -> Result<bool, EvalError> {
    let filter = Filter::parse_leniently(filter).map_err(|e| EvalError(e.to_string()))?;
    filter.matches(&Document::from_json(document)?)
}

fn yes(filter: Json, document: &Json) -> bool {
    eval(&filter, document).unwrap()
}

pub(crate) use self::limits::patterns::pattern;
