//! Reads settings from a TOML file.

use std::path::Path;

use super::problem::Problem;
use super::setting::Setting;
use super::values::{Origin, Values, put, unknown};

/// Adds the settings of the file at `path`; reports what is wrong with it.
pub(super) fn read_file(path: &Path, values: &mut Values, problems: &mut Vec<Problem>) {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return problems.push(Problem::new(
                name,
                format!("cannot be read: {error}; give --config a readable file"),
            ));
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // The parser's own text would quote the line, which may contain a secret.
            let error: toml::de::Error = error;
            let line = error
                .span()
                .map_or(0, |span| text[..span.start].lines().count().max(1));
            return problems.push(Problem::new(
                name,
                format!("is not TOML: line {line}: {}", error.message()),
            ));
        }
    };
    for (key, value) in table {
        let Some(setting) = Setting::find(&key) else {
            let mut problem = unknown(&key, &key, |setting| setting.name.to_owned());
            problem.reason = format!("in {name}: {}", problem.reason);
            problems.push(problem);
            continue;
        };
        match as_text(&value) {
            Some(text) => put(values, setting, text, Origin::File(path.to_owned())),
            None => problems.push(Problem::new(
                key,
                format!("in {name} must be a string, a number, true or false, or a list of strings"),
            )),
        }
    }
}

/// The value as it would be written in a variable; a list becomes text with commas.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
