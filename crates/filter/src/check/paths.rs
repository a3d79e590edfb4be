//! Paths that no document has, or that mean something else than they seem to.

use std::sync::LazyLock;

use orw_model::{Action, EntityKind, EventClass};

use super::nearest::nearest;

const ROOTS: [&str; 6] = ["event", "data", "user", "group", "groups", "time"];
const USER: [&str; 3] = ["uid", "displayName", "groups"];
/// What says what moved; only an ObjectTransitionedEvent has it.
const TRANSITION: &str = "transition";
const TRANSITION_FIELDS: [&str; 5] = ["field", "from", "to", "action", "declaredActions"];

/// What is wrong with `path`, if no document has it or it means something else than it seems to. `classes` are the events that
/// the filter is for, if these are known.
pub(crate) fn path(path: &str, classes: Option<&[EventClass]>) -> Option<String> {
    let mut segments = path.split('.');
    let root = segments.next().unwrap_or_default();
    let second = segments.next();
    let missing = |of: &str, suggestion: Option<String>, known: &str| {
        let suggestion = suggestion.map_or_else(String::new, |s| format!("; did you mean {s}?"));
        Some(format!(
            "no document has {of}, so this never matches{suggestion} ({known})"
        ))
    };
    if path != path.trim() {
        return Some("there is white space around this path, so it never matches".into());
    }
    if !ROOTS.contains(&root) {
        return missing(
            &format!("{root:?} at its top"),
            root_suggestion(root, path),
            "a document has event, data, user, group, groups and time",
        );
    }
    match (root, second) {
        ("event" | "data", Some(name)) => {
            if name == "class" && root == "event" {
                return below(path, "event.class");
            }
            if !is_state(name) {
                let rest = path.split_once('.').and_then(|(_, rest)| rest.split_once('.'));
                let suggestion = nearest(name, state_names()).map(|name| match rest {
                    Some((_, rest)) => format!("{root}.{name}.{rest}"),
                    None => format!("{root}.{name}"),
                });
                return missing(
                    &format!("{root}.{name}"),
                    suggestion,
                    &format!(
                        "{root} has object, newObject and oldObject, or the same for another kind of entity"
                    ),
                );
            }
            classes
                .and_then(|classes| of_classes(path, root, name, classes))
                .or_else(|| of_object(path, root, name))
                .or_else(|| of_transition(path, root, name))
                .or_else(|| numbered(path))
        }
        ("user", Some("groups")) => below_list(path, "user.groups"),
        ("user", Some(name)) if USER.contains(&name) => below(path, &format!("user.{name}")),
        ("user", Some(name)) => {
            let suggestion = match name {
                "id" | "userId" | "user_id" | "name" | "username" | "login" => Some("user.uid".to_owned()),
                "group" => Some("user.groups".to_owned()),
                "email" | "mail" => None,
                _ => nearest(name, &USER.map(str::to_owned)).map(|n| format!("user.{n}")),
            };
            missing(
                &format!("user.{name}"),
                suggestion,
                "user has uid, displayName and groups",
            )
        }
        ("group" | "groups", Some(_)) => below_list(path, root),
        ("time", Some(_)) => below(path, "time"),
        _ => None,
    }
}

/// A warning if none of the events that the filter is for has the state `name`.
fn of_classes(path: &str, root: &str, name: &str, classes: &[EventClass]) -> Option<String> {
    let names = |class: &EventClass| {
        let old = (class.action() == Action::Updated).then_some(());
        let transition = (class.action() == Action::Transitioned).then_some(TRANSITION);
        let states = class.kind().states((), old).map(|(name, ())| name);
        states.chain(transition)
    };
    let mut known: Vec<&str> = Vec::new();
    for state in classes.iter().flat_map(names) {
        if !known.contains(&state) {
            known.push(state);
        }
    }
    if known.is_empty() || known.contains(&name) {
        return None;
    }
    // Suggest the state of the same kind, if there is one.
    let kind = EntityKind::ALL
        .into_iter()
        .find(|kind| kind.states((), Some(())).any(|(state, ())| state == name));
    let suggestion = kind
        .filter(|kind| known.contains(&kind.name()))
        .and_then(|kind| {
            let rest = path.strip_prefix(root)?.strip_prefix('.')?.strip_prefix(name)?;
            Some(format!("; did you mean {root}.{}{rest}?", kind.name()))
        })
        .unwrap_or_default();
    let more = if known.len() > 6 { ", …" } else { "" };
    known.truncate(6);
    Some(format!(
        "none of the events that this webhook listens to has {root}.{name}, so this never matches{suggestion} (they have {}{more})",
        known
            .iter()
            .map(|state| format!("{root}.{state}"))
            .collect::<Vec<_>>()
            .join(", ")
    ))
}

/// A warning if objects have no such field. Mostly it is a property that is written without `data`. The fields of other kinds
/// are the columns of their tables, which differ between versions, so these are not checked.
fn of_object(path: &str, root: &str, name: &str) -> Option<String> {
    if !matches!(name, "object" | "newObject" | "oldObject") {
        return None;
    }
    let rest = path
        .strip_prefix(root)?
        .strip_prefix('.')?
        .strip_prefix(name)?
        .strip_prefix('.')?;
    let field = rest.split('.').next()?;
    if orw_model::object_has_field(field) {
        return None;
    }
    Some(format!(
        "objects have no field {field:?}, so this never matches; did you mean {root}.{name}.data.{rest}? (the properties of \
         an object are below data)"
    ))
}

/// A warning if what moved has no such field.
fn of_transition(path: &str, root: &str, name: &str) -> Option<String> {
    let rest = path
        .strip_prefix(root)?
        .strip_prefix('.')?
        .strip_prefix(name)?
        .strip_prefix('.')?;
    let field = rest.split('.').next().filter(|_| name == TRANSITION)?;
    if TRANSITION_FIELDS.contains(&field) {
        return None;
    }
    Some(format!(
        "{root}.{TRANSITION} has no field {field:?}, so this never matches (it has {})",
        TRANSITION_FIELDS.join(", ")
    ))
}

/// A warning if `path` continues below `leaf`, which is a text or number.
fn below(path: &str, leaf: &str) -> Option<String> {
    (path != leaf).then(|| format!("{leaf} is a single value with nothing below it, so this never matches"))
}

/// A warning if `path` continues below `list`, a list of group ids.
fn below_list(path: &str, list: &str) -> Option<String> {
    (path != list).then(|| {
        format!(
            "{list} is a list of group ids with nothing below them, so this cannot be evaluated if there are any; \
             write {{\"{list}\": \"editors\"}}"
        )
    })
}

/// A warning for `tags.0`, `items[0].x` and `items.*.x`: this dialect cannot select an element of a list.
fn numbered(path: &str) -> Option<String> {
    let odd = path.split('.').find(|segment| {
        *segment == "*"
            || segment.ends_with(']')
            || (!segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()))
    })?;
    Some(format!(
        "{odd:?} does not select an element: a path goes through every element of a list by itself, so leave it out"
    ))
}

fn is_state(name: &str) -> bool {
    state_names().iter().any(|n| n == name)
}

/// `object`, `newObject`, `oldObject`, `register`, …, `transition`.
fn state_names() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        EntityKind::ALL
            .into_iter()
            .flat_map(|kind| {
                [
                    kind.name().to_owned(),
                    format!("new{}", kind.class_name()),
                    format!("old{}", kind.class_name()),
                ]
            })
            .chain([TRANSITION.to_owned()])
            .collect()
    });
    &NAMES
}

/// The path that was probably meant by `path`, whose first segment `root` no document has.
fn root_suggestion(root: &str, path: &str) -> Option<String> {
    let rest = path.strip_prefix(root).unwrap_or_default();
    if is_state(root) || root == "class" {
        return Some(format!("event.{path}"));
    }
    match root {
        "uid" | "displayName" => return Some(format!("user.{path}")),
        "userId" | "user_id" => return Some("user.uid".into()),
        "uuid" | "id" | "organisation" => return Some(format!("event.object.{path}")),
        "created" | "updated" | "timestamp" => return Some("time".into()),
        _ => {}
    }
    let roots = ROOTS.map(str::to_owned);
    let mut candidates = roots.to_vec();
    candidates.extend_from_slice(state_names());
    let near = nearest(root, &candidates)?;
    Some(if roots.contains(&near) {
        format!("{near}{rest}")
    } else {
        format!("event.{near}{rest}")
    })
}

#[cfg(test)]
mod tests;
