//! What can be said about a filter before any event: legal parts that can never match, and what was probably meant.

use std::sync::LazyLock;

use orw_model::{Action, EntityKind, EventClass};

use super::compile::shown;
use super::eval;
use super::regex::{self, Refused};
use super::value::Value;

const ROOTS: [&str; 6] = ["event", "data", "user", "group", "groups", "time"];
const USER: [&str; 3] = ["uid", "displayName", "groups"];
const FIELD_OPERATORS: [&str; 12] = [
    "$e", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all", "$exists", "$mod", "$not",
];

/// What is wrong with a path that no document has, or that says something else than it seems to. `classes` are the events
/// that the filter is for, where they are known.
pub(super) fn path(path: &str, classes: Option<&[EventClass]>) -> Option<String> {
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

/// The state `name` is in none of the events that the filter is for.
fn of_classes(path: &str, root: &str, name: &str, classes: &[EventClass]) -> Option<String> {
    let names = |class: &EventClass| {
        let old = (class.action() == Action::Updated).then_some(());
        class.kind().states((), old).map(|(name, ())| name)
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
    // The same kind's, if there is one.
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

/// A field that objects do not have: mostly a property, without the `data` that it is below. Other kinds have the fields
/// of their table, which differ between versions.
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

/// Paths that go on below a text or number.
fn below(path: &str, leaf: &str) -> Option<String> {
    (path != leaf).then(|| format!("{leaf} is a single value with nothing below it, so this never matches"))
}

fn below_list(path: &str, list: &str) -> Option<String> {
    (path != list).then(|| {
        format!(
            "{list} is a list of group ids with nothing below them, so this cannot be evaluated where there are any; \
             write {{\"{list}\": \"editors\"}}"
        )
    })
}

/// `tags.0`, `items[0].x`, `items.*.x`: ways to name an element that this dialect does not have.
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

/// `object`, `newObject`, `oldObject`, `register`, …
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
            .collect()
    });
    &NAMES
}

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

/// The candidate that differs from `word` in the fewest letters, if they are few.
fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    if word.len() > 40 {
        return None;
    }
    let allowed = if word.len() < 4 { 1 } else { 2 };
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}

/// How many letters must be changed, added or removed; upper and lower case are the same.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            let changed = diagonal + usize::from(x != *y);
            row[j + 1] = changed.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Why `operator` cannot stand where conditions on the whole document are combined.
pub(super) fn unknown_logical_operator(operator: &str) -> String {
    if FIELD_OPERATORS.contains(&operator) {
        return format!("{operator} belongs to a path: {{\"user.uid\": {{\"{operator}\": …}}}}");
    }
    let suggestion = nearest(operator, &["$and", "$or", "$nor", "$not"].map(str::to_owned))
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    format!("is no operator that combines conditions: these are $and, $or, $nor and $not{suggestion}")
}

/// Why `operator` cannot stand at `path`.
pub(super) fn unknown_operator(path: &str, operator: &str) -> String {
    let list = FIELD_OPERATORS.join(" ");
    if !operator.starts_with('$') {
        return format!(
            "is no operator; write {{\"{path}.{operator}\": …}} to look inside, or {{\"$e\": {{…}}}} to compare with a whole object"
        );
    }
    if matches!(operator, "$and" | "$or" | "$nor") {
        return format!(
            "combines whole conditions: write {{\"{operator}\": [{{\"{path}\": …}}, {{\"{path}\": …}}]}}"
        );
    }
    let meant = match operator {
        "$eq" | "$equals" | "$is" => Some("$e"),
        "$neq" | "$not_eq" | "$not_equal" => Some("$ne"),
        "$exist" => Some("$exists"),
        "$regex" | "$regexp" | "$like" | "$match" => {
            return format!("is no operator; a regular expression is a text: {{\"{path}\": \"/^abc/i\"}}");
        }
        _ => None,
    };
    let meant = meant
        .map(str::to_owned)
        .or_else(|| nearest(operator, &FIELD_OPERATORS.map(str::to_owned)))
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    format!("is no operator{meant} (there are {list})")
}

/// `$in` and its like compare texts; they know no regular expressions.
pub(super) fn regex_in_list(list: &Value<'_>) -> Option<String> {
    let text = list.items().find_map(|item| match item {
        Value::Text(text) => regex::split(text).is_some().then_some(text),
        _ => None,
    })?;
    Some(format!(
        "{} is compared as a text here, not used as a regular expression; combine expressions with $or",
        shown(&Value::text(text.as_ref()))
    ))
}

/// A text that looks like a regular expression and is none that `preg_match` takes.
pub(super) fn refused_regex(text: &str, refused: &Refused) -> String {
    format!(
        "{0} is taken for a regular expression because of its slashes, and it is not a valid one ({refused}), so nothing \
         matches; to compare with this very text write {{\"$in\": [{0}]}}",
        shown(&Value::text(text))
    )
}

/// Regular expressions are not tried on the elements of lists.
pub(super) fn regex_on_list(path: &str) -> Option<String> {
    matches!(path, "group" | "groups" | "user.groups").then(|| {
        format!("{path} is a list, and a regular expression is not tried on the elements of a list; name the groups with $in")
    })
}

/// Why nothing can be divided by `divisor`.
pub(super) fn divisor(divisor: &Value<'_>) -> Option<String> {
    match eval::integer(divisor) {
        Some(0) => Some(format!("the divisor {} is zero", shown(divisor))),
        Some(_) => None,
        None => Some(format!("the divisor {} is no number", shown(divisor))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_document_pass() {
        for path in [
            "event.class",
            "event.object",
            "event.object.register",
            "event.object.data.items.x",
            "event.newObject.data.count",
            "event.oldRegister.title",
            "data.object.data.title",
            "user",
            "user.uid",
            "user.displayName",
            "user.groups",
            "group",
            "groups",
            "time",
            "event.conversation.title",
        ] {
            assert_eq!(super::path(path, None), None, "{path}");
        }
    }

    #[test]
    fn paths_that_never_match_are_named_with_what_was_meant() {
        for (path, part) in [
            ("object.register", "did you mean event.object.register?"),
            ("user.id", "did you mean user.uid?"),
            ("user.name", "did you mean user.uid?"),
            ("user.displayname", "did you mean user.displayName?"),
            ("users.uid", "did you mean user.uid?"),
            ("evnt.object", "did you mean event.object?"),
            ("event.objct.register", "did you mean event.object.register?"),
            ("event.newobject.id", "did you mean event.newObject.id?"),
            ("newobject.id", "did you mean event.newObject.id?"),
            ("event.user.uid", "no document has event.user"),
            ("event.class.x", "nothing below it"),
            ("time.x", "nothing below it"),
            ("user.uid.x", "nothing below it"),
            ("group.0", "cannot be evaluated"),
            ("event.object.data.tags.0", "does not select an element"),
            ("event.object.data.items[0].x", "does not select an element"),
            ("", "at its top"),
            (" user.uid", "white space"),
            ("event.object.title", "did you mean event.object.data.title?"),
            (
                "data.newObject.tags.x",
                "did you mean data.newObject.data.tags.x?",
            ),
        ] {
            let warning = super::path(path, None).unwrap_or_default();
            assert!(warning.contains(part), "{path}: {warning}");
        }
    }

    #[test]
    fn paths_that_no_subscribed_event_has_are_named() {
        let of = |pattern: &str, path: &str| {
            let classes: Vec<_> = EventClass::all()
                .filter(|class| class.to_string().contains(pattern))
                .collect();
            super::path(path, Some(&classes))
        };
        for (pattern, path, part) in [
            (
                "ObjectCreated",
                "event.newObject.data.count",
                "did you mean event.object.data.count?",
            ),
            (
                "ObjectDeleted",
                "data.oldObject.id",
                "did you mean data.object.id?",
            ),
            (
                "ObjectCreated",
                "event.register.title",
                "(they have event.object)",
            ),
            (
                "RegisterUpdated",
                "event.newObject.id",
                "(they have event.newRegister, event.oldRegister, event.register)",
            ),
            ("Register", "event.object", "never matches"),
        ] {
            let warning = of(pattern, path).unwrap_or_default();
            assert!(warning.contains(part), "{pattern}, {path}: {warning}");
        }
        for (pattern, path) in [
            ("ObjectUpdated", "event.object.register"),
            ("ObjectUpdated", "event.newObject.data.anything.at.all"),
            ("Object", "event.oldObject.data.newObject"),
            ("ObjectCreated", "event.object.data.register.title"),
            ("RegisterUpdated", "event.register.whateverColumn"),
            ("Register", "event.oldRegister.configuration.x"),
            ("ObjectLocked", "event.object.lock.user"),
            ("Created", "event.view.query.x"),
            ("ObjectCreated", "user.uid"),
            ("ObjectCreated", "event.class"),
        ] {
            assert_eq!(of(pattern, path), None, "{pattern}, {path}");
        }
    }
}
