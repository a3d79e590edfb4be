//! Evaluation, step by step as PHPMongoQuery does it.
//!
//! Guarantees: never panics, allocates only for errors, and ends after a bounded number of steps, whatever the filter and the
//! document are.

use crate::budget::{Budget, Fuel};
use crate::clause::{Clause, Equality, Op, Segment, Test};
use crate::compare;
use crate::error::EvalError;
use crate::number;
use crate::regex::{Outcome, Regex};
use crate::value::Value;

type Answer = Result<bool, EvalError>;

/// One evaluation of one filter.
struct Evaluation {
    fuel: Fuel,
}

/// Whether `document` fulfils `root`.
pub(crate) fn evaluate(root: &Clause, document: &Value<'_>, budget: &mut Budget) -> Answer {
    let mut evaluation = Evaluation { fuel: budget.fuel() };
    let answer = evaluation
        .clause(root, document)
        .and_then(|answer| evaluation.check_fuel().map(|()| answer));
    budget.deduct(&evaluation.fuel);
    answer
}

impl Evaluation {
    /// Comparisons that run out of fuel return a meaningless answer; this turns it into an error.
    #[inline]
    fn check_fuel(&self) -> Result<(), EvalError> {
        if self.fuel.is_empty() {
            return Err(EvalError(
                "evaluation was stopped: this filter takes too many steps on this document; use fewer or shorter lists, \
                 and simpler regular expressions"
                    .into(),
            ));
        }
        Ok(())
    }

    fn clause(&mut self, clause: &Clause, document: &Value<'_>) -> Answer {
        match clause {
            Clause::Field { path, tests } => self.tests(tests, path, document),
            Clause::All(clauses) => {
                for clause in clauses {
                    if !self.clause(clause, document)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Clause::Any(clauses) => self.any(clauses, document),
            Clause::Neither(clauses) => Ok(!self.any(clauses, document)?),
            Clause::Not(clause) => Ok(!self.clause(clause, document)?),
            Clause::Unknown(first) => {
                self.clause(first, document)?;
                Ok(false)
            }
            Clause::Fault(fault) => Err(EvalError(fault.to_string())),
        }
    }

    fn any(&mut self, clauses: &[Clause], document: &Value<'_>) -> Answer {
        for clause in clauses {
            if self.clause(clause, document)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tests(&mut self, tests: &[Test], path: &[Segment], document: &Value<'_>) -> Answer {
        for test in tests {
            let holds = match test {
                Test::Is(op) => self.at_path(op, path, document)?,
                Test::Not(tests) => !self.tests(tests, path, document)?,
                Test::Fault(fault) => return Err(EvalError(fault.to_string())),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Applies `op` to the value at `path`. If the path leads through a list, applies it in each element of that list.
    fn at_path(&mut self, op: &Op, path: &[Segment], document: &Value<'_>) -> Answer {
        self.fuel.spend(1);
        self.check_fuel()?;
        let mut value = document;
        for (place, segment) in path.iter().enumerate() {
            let next = match value {
                Value::Map(map) => {
                    if map.zero_is_set() {
                        return self.each(op, &path[place..], value);
                    }
                    map.get(&segment.key)
                }
                Value::List(items) => match items.first() {
                    Some(first) if !first.is_null() => return self.each(op, &path[place..], value),
                    _ => segment.index.and_then(|index| items.get(index)),
                },
                // PHP takes a text for a list of characters, warns that it cannot iterate over it, and stops.
                Value::Text(_) | Value::Alias(_) if value.truthy() => return Ok(false),
                _ => None,
            };
            match next {
                Some(next) if !next.is_null() => value = next,
                _ => return self.missing(op),
            }
        }
        self.holds(op, value)
    }

    /// Whether `op` holds for `path` in any element of `list`.
    fn each(&mut self, op: &Op, path: &[Segment], list: &Value<'_>) -> Answer {
        for item in list.items() {
            if !item.is_array() {
                return Err(EvalError(format!(
                    "{} leads into a list whose elements are not all objects: there is a value of type {}",
                    path.iter().map(|s| s.key.as_ref()).collect::<Vec<_>>().join("."),
                    item.type_name()
                )));
            }
            if self.at_path(op, path, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The answer of `op` if there is no value, or null.
    #[expect(clippy::unused_self, reason = "reads as the counterpart of `holds`")]
    fn missing(&self, op: &Op) -> Answer {
        Ok(match op {
            Op::Equal(_)
            | Op::Less(_)
            | Op::LessOrEqual(_)
            | Op::Greater(_)
            | Op::GreaterOrEqual(_)
            | Op::In(_)
            | Op::All(_)
            | Op::Mod { .. } => false,
            Op::NotEqual(equality) => !equality.operand.is_null(),
            Op::NotIn(_) => true,
            Op::Exists(wanted) => !wanted,
            Op::Refused { missing, fault } => match missing {
                Some(answer) => *answer,
                None => return Err(EvalError(fault.to_string())),
            },
        })
    }

    /// Whether `op` holds for a value that is not null.
    fn holds(&mut self, op: &Op, value: &Value<'_>) -> Answer {
        let fuel = &mut self.fuel;
        Ok(match op {
            Op::Equal(equality) => self.is_equal(value, equality)?,
            Op::NotEqual(equality) => !self.is_equal(value, equality)?,
            Op::Less(operand) => compare::less(value, operand, fuel),
            Op::LessOrEqual(operand) => compare::less_or_equal(value, operand, fuel),
            Op::Greater(operand) => compare::less(operand, value, fuel),
            Op::GreaterOrEqual(operand) => compare::less_or_equal(operand, value, fuel),
            Op::In(set) if value.is_array() => set.count_shared(value, fuel) > 0,
            Op::In(set) => set.has(value, fuel),
            Op::NotIn(set) if value.is_array() => set.count_shared(value, fuel) == 0,
            Op::NotIn(set) => !set.has(value, fuel),
            Op::All(set) if set.len() == 0 => false,
            Op::All(set) if value.is_array() => set.count_shared(value, fuel) == set.len(),
            Op::All(set) => set.len() == 1 && compare::identical_scalars(value, set.first()),
            Op::Exists(wanted) => *wanted,
            Op::Mod { divisor, remainder } => {
                if let Value::Text(text) = value {
                    number::charge(text, fuel);
                    self.check_fuel()?;
                }
                let left = modulo(value, divisor)?;
                matches!(remainder, Value::Int(wanted) if *wanted == left)
            }
            Op::Refused { fault, .. } => return Err(EvalError(fault.to_string())),
        })
    }

    fn is_equal(&mut self, value: &Value<'_>, equality: &Equality) -> Answer {
        let operand = &equality.operand;
        if value.is_array() {
            if operand.is_array() {
                return Ok(compare::equal(value, operand, &mut self.fuel));
            }
            // `in_array`: any element that is loosely equal.
            let fuel = &mut self.fuel;
            return Ok(value
                .items()
                .any(|element| fuel.is_empty() || compare::equal(operand, element, fuel)));
        }
        match (&equality.regex, value) {
            (Some(regex), Value::Alias(alias)) => {
                for name in alias.names() {
                    if self.is_match(regex, name)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Some(regex), _) => self.is_match(regex, value.to_text().as_str()),
            (None, Value::Text(text)) if text.len() > 64 => {
                self.fuel.spend_bytes(text.len());
                Ok(compare::identical_scalars(value, operand))
            }
            (None, _) => Ok(compare::identical_scalars(value, operand)),
        }
    }

    fn is_match(&mut self, regex: &Regex, text: &str) -> Answer {
        self.fuel.spend(20);
        self.fuel.spend_bytes(text.len());
        self.check_fuel()?;
        match regex.is_match(text, &mut self.fuel) {
            Outcome::Match => Ok(true),
            Outcome::NoMatch => Ok(false),
            Outcome::RanAway => Err(EvalError(
                "a regular expression was stopped before it came to a result; nested repetition such as (a+)+ and \
                 references such as \\1 are the usual causes, and shorter texts help"
                    .into(),
            )),
        }
    }
}

/// `$value % $divisor`.
fn modulo(value: &Value<'_>, divisor: &Value<'_>) -> Result<i64, EvalError> {
    let number = match value {
        Value::Alias(alias) => alias.beside(divisor).to_integer(),
        _ => value.to_integer(),
    };
    let (Some(number), Some(by)) = (number, divisor.to_integer()) else {
        return Err(EvalError(format!(
            "$mod cannot divide a value of type {} by one of type {}",
            value.type_name(),
            divisor.type_name()
        )));
    };
    // The smallest integer divided by -1 would overflow.
    match by {
        0 => Err(EvalError("$mod cannot divide by zero".into())),
        -1 => Ok(0),
        _ => Ok(number % by),
    }
}
