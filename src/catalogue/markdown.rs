//! `docs/events.md`.

use std::fmt::Write as _;

use super::example::example;
use super::field::{Field, Shape};
use super::fields::fields;
use super::occasion::when;
use crate::lifecycle::housekeeping;
use orw_model::{Action, EntityKind, EventClass, UNAVAILABLE};

/// The part of the page that is not made of the catalogue.
const HEAD: &str = include_str!("events-head.md");

/// The page as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str(&silent_columns());
    for kind in EntityKind::ALL {
        let _ = write!(out, "\n## {}\n\n| event | when |\n|---|---|\n", kind.class_name());
        for class in EventClass::all().filter(|class| class.kind() == kind) {
            let _ = writeln!(out, "| `{}` | {} |", class.name(), when(class));
        }
        out.push_str("\n| field | holds | |\n|---|---|---|\n");
        for field in fields(kind) {
            let _ = writeln!(out, "| `{}` | {} | {} |", field.name, holds(field), field.about);
        }
        for action in examples(kind) {
            if let Some(class) = EventClass::new(kind, *action) {
                let _ = write!(out, "\n`{class}`:\n\n```json\n{:#}\n```\n", example(class));
            }
        }
    }
    out.push_str(&unavailable());
    out
}

/// What OpenRegister has and no webhook can get.
fn unavailable() -> String {
    let mut out = String::from(
        "\n## What cannot be told\n\n\
         OpenRegister has more event classes (up to 2.1, October 2026). Registering one of these is answered with 400 and the reason.\n\n\
         | event | why |\n|---|---|\n",
    );
    for group in &UNAVAILABLE {
        let names: Vec<String> = group.classes.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| {} | {} |", names.join(", "), group.reason);
    }
    out
}

/// The columns whose change alone gives no event.
fn silent_columns() -> String {
    let mut out = String::from(
        "\n## What is no event\n\n\
         OpenRegister writes rows for reasons of its own: a second write after a save, a folder, the bookkeeping of a job. An update that \
         changes nothing, or only these columns, gives no event. `ORW_HOUSEKEEPING_COLUMNS` replaces the list, for every entity.\n\n\
         | entity | columns |\n|---|---|\n",
    );
    for kind in EntityKind::ALL {
        let columns: Vec<String> = housekeeping(kind)
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = writeln!(out, "| {kind} | {} |", columns.join(", "));
    }
    out
}

/// The events of which an example is shown. The others look like the first one.
const fn examples(kind: EntityKind) -> &'static [Action] {
    match kind {
        EntityKind::Object => &[
            Action::Created,
            Action::Updated,
            Action::Locked,
            Action::Transitioned,
        ],
        _ => &[Action::Created],
    }
}

fn holds(field: Field) -> String {
    let mut text = match field.shape {
        Shape::Text => "text",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Bool => "true or false",
        Shape::Time => "time",
        Shape::List => "list",
        Shape::Map => "map",
        Shape::Any => "any",
    }
    .to_owned();
    if field.nullable && field.shape != Shape::Any {
        text.push_str(" or null");
    }
    if field.optional {
        text.push_str(", *newer*");
    }
    text
}
