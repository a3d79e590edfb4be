//! PHP 8's `==`, `===` and `<=>` for decoded JSON.
//!
//! Guarantee: the work is charged to [`Fuel`]. Once no fuel is left, comparisons return at once, with a meaningless answer.

use std::cmp::Ordering;

use crate::budget::Fuel;
use crate::number::{self, Numeric};
use crate::value::Value;

/// `$a === $b` where not both are arrays.
pub(crate) fn identical_scalars(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        #[expect(clippy::float_cmp, reason = "PHP's === is exact")]
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Alias(alias), Value::Text(text)) | (Value::Text(text), Value::Alias(alias)) => {
            alias.names().any(|name| name == text)
        }
        (Value::Alias(alias), Value::Int(i)) | (Value::Int(i), Value::Alias(alias)) => alias.id() == Some(*i),
        _ => false,
    }
}

/// `$a == $b`.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>, fuel: &mut Fuel) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => equal_texts(a, b, fuel),
        (Value::Alias(alias), other) | (other, Value::Alias(alias)) => {
            fuel.spend(1);
            alias.any(|name| equal(name, other, fuel))
        }
        _ => compare(a, b, fuel) == Some(Ordering::Equal),
    }
}

fn equal_texts(a: &str, b: &str, fuel: &mut Fuel) -> bool {
    if a == b {
        fuel.spend_bytes(a.len());
        return true;
    }
    fuel.spend_bytes(a.len().min(b.len()));
    // Different texts are equal only as numbers.
    match (numeric(a, fuel), numeric(b, fuel)) {
        (Some(x), Some(y)) => compare_numeric(x, y) == Numerically::Ordered(Ordering::Equal),
        _ => false,
    }
}

/// [`number::numeric`], charged to `fuel`.
fn numeric(text: &str, fuel: &mut Fuel) -> Option<Numeric> {
    number::charge(text, fuel);
    if fuel.is_empty() {
        return None;
    }
    number::numeric(text)
}

/// `$a <=> $b`; `None` if PHP cannot compare two arrays, so that neither is less and they are not equal.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>, fuel: &mut Fuel) -> Option<Ordering> {
    fuel.spend(1);
    Some(match (a, b) {
        (Value::Alias(alias), other) => return compare(&alias.beside(other), other, fuel),
        (other, Value::Alias(alias)) => return compare(other, &alias.beside(other), fuel),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            floats(as_float(a), as_float(b))
        }
        (Value::Text(a), Value::Text(b)) => compare_texts(a, b, fuel),
        (Value::Int(_) | Value::Float(_), Value::Text(b)) => number_with_text(a, b, fuel),
        (Value::Text(a), Value::Int(_) | Value::Float(_)) => number_with_text(b, a, fuel).reverse(),
        (Value::Null, Value::Text(b)) => "".cmp(b.as_ref()),
        (Value::Text(a), Value::Null) => a.as_ref().cmp(""),
        (Value::Null | Value::Bool(_), _) | (_, Value::Null | Value::Bool(_)) => a.truthy().cmp(&b.truthy()),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => {
            return compare_arrays(a, b, fuel);
        }
        (Value::List(_) | Value::Map(_), _) => Ordering::Greater,
        (_, Value::List(_) | Value::Map(_)) => Ordering::Less,
    })
}

/// Whether `$a < $b`. PHP evaluates `$b > $a` in the same way.
pub(crate) fn less(a: &Value<'_>, b: &Value<'_>, fuel: &mut Fuel) -> bool {
    compare(a, b, fuel) == Some(Ordering::Less)
}

/// Whether `$a <= $b`.
pub(crate) fn less_or_equal(a: &Value<'_>, b: &Value<'_>, fuel: &mut Fuel) -> bool {
    matches!(compare(a, b, fuel), Some(Ordering::Less | Ordering::Equal))
}

fn as_float(value: &Value<'_>) -> f64 {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "PHP converts the same way")]
        Value::Int(i) => *i as f64,
        Value::Float(f) => *f,
        _ => 0.0,
    }
}

/// JSON has no NaN, so two floats always have an order.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Greater)
}

fn number_with_text(number: &Value<'_>, text: &str, fuel: &mut Fuel) -> Ordering {
    fuel.spend_bytes(text.len());
    match (numeric(text, fuel), number) {
        (Some(Numeric::Int(text)), Value::Int(i)) => i.cmp(&text),
        (Some(text), _) => floats(as_float(number), text.as_f64()),
        (None, _) => number.to_text().as_str().cmp(text),
    }
}

fn compare_texts(a: &str, b: &str, fuel: &mut Fuel) -> Ordering {
    fuel.spend_bytes(a.len().min(b.len()));
    if let (Some(x), Some(y)) = (numeric(a, fuel), numeric(b, fuel))
        && let Numerically::Ordered(order) = compare_numeric(x, y)
    {
        return order;
    }
    a.cmp(b)
}

/// How two numeric strings compare.
#[derive(PartialEq, Eq)]
enum Numerically {
    Ordered(Ordering),
    /// Their values are too large to be told apart, so they are compared as text.
    Undecided,
}

fn compare_numeric(a: Numeric, b: Numeric) -> Numerically {
    use Numeric::{Float, Int};
    Numerically::Ordered(match (a, b) {
        (Int(a), Int(b)) => a.cmp(&b),
        (
            Float {
                value: a,
                overflow: oa,
            },
            Float {
                value: b,
                overflow: ob,
            },
        ) => {
            #[expect(clippy::float_cmp, reason = "PHP compares exactly here")]
            let same = a == b;
            if same && ((oa != 0 && oa == ob) || !a.is_finite()) {
                return Numerically::Undecided;
            }
            floats(a, b)
        }
        (Int(_), Float { overflow, .. }) if overflow != 0 => 0.cmp(&overflow),
        (Float { overflow, .. }, Int(_)) if overflow != 0 => overflow.cmp(&0),
        (a, b) => floats(a.as_f64(), b.as_f64()),
    })
}

/// The shorter array is less. For arrays of the same length the first differing value decides, in the order of `a`'s keys. If `b`
/// lacks one of these keys, the two cannot be compared.
fn compare_arrays(a: &Value<'_>, b: &Value<'_>, fuel: &mut Fuel) -> Option<Ordering> {
    match a.count().cmp(&b.count()) {
        Ordering::Equal => {}
        unequal => return Some(unequal),
    }
    let mut decide = |value: &Value<'_>, other: Option<&Value<'_>>| -> Option<Option<Ordering>> {
        let Some(other) = other else {
            return Some(None);
        };
        if fuel.is_empty() {
            return Some(None);
        }
        // An alias is equal by any of its names, but ordered by one of them.
        if matches!((value, other), (Value::Alias(_), _) | (_, Value::Alias(_))) && equal(value, other, fuel)
        {
            return None;
        }
        match compare(value, other, fuel) {
            Some(Ordering::Equal) => None,
            unequal => Some(unequal),
        }
    };
    let decided = match (a, b) {
        (Value::List(a), Value::List(b)) => a.iter().zip(b).find_map(|(a, b)| decide(a, Some(b))),
        (Value::List(items), Value::Map(map)) => items.iter().enumerate().find_map(|(index, value)| {
            let key = number::int_text(i64::try_from(index).unwrap_or(-1));
            decide(value, map.get(key.as_str()))
        }),
        (Value::Map(map), _) => map.entries().iter().find_map(|(key, value)| {
            decide(
                value,
                match b {
                    Value::Map(other) => other.get(key),
                    Value::List(items) => number::list_index(key).and_then(|index| items.get(index)),
                    _ => None,
                },
            )
        }),
        _ => None,
    };
    decided.unwrap_or(Some(Ordering::Equal))
}
