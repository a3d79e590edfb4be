//! Evaluation, step by step as PHPMongoQuery does it.
//!
//! Guarantees: no panic; no allocation but for errors; ends after a bounded number of steps, whatever the filter and the
//! document.

use std::time::Instant;

use super::compare::{self, Fuel};
use super::compile::{Clause, Equality, Op, Segment, Test};
use super::error::EvalError;
use super::number;
use super::regex::{Outcome, Regex};
use super::value::Value;

/// What one evaluation may cost, in steps of some nanoseconds each: tens of milliseconds at worst.
const FUEL: u64 = 5_000_000;
/// What a runaway regular expression costs: about as many steps as it takes time.
const RUNAWAY: u64 = 500_000;
/// So many regular expressions run before their time is measured, which costs as much as a short match.
const UNTIMED: u32 = 8;

type Answer = Result<bool, EvalError>;

/// One evaluation of one filter.
pub(super) struct Evaluation {
    fuel: Fuel,
    regex_runs: u32,
}

/// Whether `document` fulfils `root`.
pub(super) fn evaluate(root: &Clause, document: &Value<'_>) -> Answer {
    let mut evaluation = Evaluation {
        fuel: Fuel::new(FUEL),
        regex_runs: 0,
    };
    let answer = evaluation.clause(root, document)?;
    evaluation.check_fuel()?;
    Ok(answer)
}

impl Evaluation {
    /// Comparisons that run out of fuel return anything; this turns that into an error.
    #[inline]
    fn check_fuel(&self) -> Result<(), EvalError> {
        if self.fuel.is_empty() {
            return Err(EvalError(
                "evaluation was stopped: this filter takes too many steps on this document; use fewer or shorter lists".into(),
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

    /// Applies `op` to what is at `path`, or to each of several where a list is on the way.
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
                // PHP takes a text for a list of characters, warns that it cannot go through it, and is done.
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

    /// Whether `op` holds for the path in any element.
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

    /// What `op` is where there is nothing, or null.
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
            Op::Equal(equality) => self.is_equal(value, equality),
            Op::NotEqual(equality) => !self.is_equal(value, equality),
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
                let left = modulo(value, divisor)?;
                matches!(remainder, Value::Int(wanted) if *wanted == left)
            }
            Op::Refused { fault, .. } => return Err(EvalError(fault.to_string())),
        })
    }

    fn is_equal(&mut self, value: &Value<'_>, equality: &Equality) -> bool {
        let operand = &equality.operand;
        if value.is_array() {
            if operand.is_array() {
                return compare::equal(value, operand, &mut self.fuel);
            }
            // `in_array`: any element, loosely.
            let fuel = &mut self.fuel;
            return value
                .items()
                .any(|element| fuel.is_empty() || compare::equal(operand, element, fuel));
        }
        match (&equality.regex, value) {
            (Some(regex), Value::Alias(alias)) => alias.names().any(|name| self.is_match(regex, name)),
            (Some(regex), _) => self.is_match(regex, value.to_text().as_str()),
            (None, _) => compare::identical_scalars(value, operand),
        }
    }

    fn is_match(&mut self, regex: &Regex, text: &str) -> bool {
        self.fuel.spend(20);
        self.fuel.spend_bytes(text.len());
        if self.fuel.is_empty() {
            return false;
        }
        self.regex_runs += 1;
        let start = (self.regex_runs > UNTIMED).then(Instant::now);
        let outcome = regex.is_match(text);
        if let Some(start) = start {
            let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.fuel.spend(nanos / 10);
        } else if outcome == Outcome::RanAway {
            self.fuel.spend(RUNAWAY);
        }
        outcome == Outcome::Match
    }
}

/// `$value % $divisor`.
fn modulo(value: &Value<'_>, divisor: &Value<'_>) -> Result<i64, EvalError> {
    let number = match value {
        Value::Alias(alias) => integer(&alias.beside(divisor)),
        _ => integer(value),
    };
    let (Some(number), Some(by)) = (number, integer(divisor)) else {
        return Err(EvalError(format!(
            "$mod cannot divide a value of type {} by one of type {}",
            value.type_name(),
            divisor.type_name()
        )));
    };
    // -1 would overflow with the smallest integer.
    match by {
        0 => Err(EvalError("$mod cannot divide by zero".into())),
        -1 => Ok(0),
        _ => Ok(number % by),
    }
}

/// The integer that PHP's `%` makes of a value.
pub(super) fn integer(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Int(i) => Some(*i),
        Value::Float(f) => Some(number::float_to_int(*f)),
        Value::Text(text) => number::leading(text).map(|(number, _)| match number {
            number::Numeric::Int(i) => i,
            // Unlike floats, numeric strings saturate, as Rust does; but infinity is 0.
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            number::Numeric::Float { value, .. } if value.is_finite() => value as i64,
            number::Numeric::Float { .. } => 0,
        }),
        Value::Alias(alias) => alias.id(),
        Value::List(_) | Value::Map(_) => None,
    }
}
