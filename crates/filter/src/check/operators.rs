//! Operators that do not exist, and operands that mean something else than they seem to.

use super::nearest::nearest;
use crate::regex::{self, Refused};
use crate::shown::shown;
use crate::value::Value;

const FIELD_OPERATORS: [&str; 12] = [
    "$e", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all", "$exists", "$mod", "$not",
];

/// Why `operator` cannot combine conditions on the whole document.
pub(crate) fn unknown_logical_operator(operator: &str) -> String {
    if FIELD_OPERATORS.contains(&operator) {
        return format!("{operator} belongs to a path: {{\"user.uid\": {{\"{operator}\": …}}}}");
    }
    let suggestion = nearest(operator, &["$and", "$or", "$nor", "$not"].map(str::to_owned))
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    format!("is not an operator that combines conditions: these are $and, $or, $nor and $not{suggestion}")
}

/// Why `operator` cannot test the value at `path`.
pub(crate) fn unknown_operator(path: &str, operator: &str) -> String {
    let list = FIELD_OPERATORS.join(" ");
    if !operator.starts_with('$') {
        return format!(
            "is not an operator; write {{\"{path}.{operator}\": …}} to look inside, or {{\"$e\": {{…}}}} to compare with a whole object"
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
            return format!(
                "is not an operator; a regular expression is a text: {{\"{path}\": \"/^abc/i\"}}"
            );
        }
        _ => None,
    };
    let meant = meant
        .map(str::to_owned)
        .or_else(|| nearest(operator, &FIELD_OPERATORS.map(str::to_owned)))
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    format!("is not an operator{meant} (there are {list})")
}

/// A warning if `list`, an operand of `$in`, `$nin` or `$all`, contains a regular expression: these operators compare texts.
pub(crate) fn regex_in_list(list: &Value<'_>) -> Option<String> {
    let text = list.items().find_map(|item| match item {
        Value::Text(text) => regex::split(text).is_some().then_some(text),
        _ => None,
    })?;
    Some(format!(
        "{} is compared as a text here, not used as a regular expression; combine expressions with $or",
        shown(&Value::text(text.as_ref()))
    ))
}

/// The warning for a text that looks like a regular expression, but that `preg_match` refuses.
pub(crate) fn refused_regex(text: &str, refused: &Refused) -> String {
    format!(
        "{0} is taken for a regular expression because of its slashes, and it is not a valid one ({refused}), so nothing \
         matches; to compare with this very text write {{\"$in\": [{0}]}}",
        shown(&Value::text(text))
    )
}

/// A warning if the value at `path` is a list: regular expressions are not tried on the elements of lists.
pub(crate) fn regex_on_list(path: &str) -> Option<String> {
    matches!(path, "group" | "groups" | "user.groups").then(|| {
        format!("{path} is a list, and a regular expression is not tried on the elements of a list; name the groups with $in")
    })
}

/// Why nothing can be divided by `divisor`.
pub(crate) fn divisor(divisor: &Value<'_>) -> Option<String> {
    match divisor.to_integer() {
        Some(0) => Some(format!("the divisor {} is zero", shown(divisor))),
        Some(_) => None,
        None => Some(format!("the divisor {} is not a number", shown(divisor))),
    }
}
