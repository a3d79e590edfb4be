//! `filter check --template`: reads a template and shows what it makes of an example.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::output;
use crate::catalogue;
use crate::delivery::format;
use crate::lifecycle::EventType;
use crate::template::{Template, TemplateError};
use orw_model::{Action, EventClass};

/// The exit code is 0 if the template makes a body of the example.
pub(super) fn run(text: &str, class: Option<EventType>, as_json: bool) -> ExitCode {
    let class = class.unwrap_or(EventType::Class(EventClass::object(Action::Updated)));
    match made(text, class) {
        Ok(body) => {
            if as_json {
                output::json_line(&json!({"ok": true, "class": class.name(), "body": body}));
            } else {
                output::json(&body);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let reason = error.to_string();
            if as_json {
                output::json_line(&json!({"ok": false, "place": "template", "reason": reason}));
            } else {
                output::say(format_args!("refused: template: {reason}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn made(text: &str, class: EventType) -> Result<Value, TemplateError> {
    let template = Template::parse(text)?;
    let body = template.render(&format::variables(&catalogue::example_of(class)))?;
    // What is rendered is JSON, but may be nested deeper than a value may be.
    Ok(orw_model::json::parse(&body).unwrap_or(Value::String(body)))
}
