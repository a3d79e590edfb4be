//! Compiles the JSON of a filter: splits paths, types operands and compiles regular expressions, once for all evaluations.
//!
//! Where PHPMongoQuery would throw, the compiled filter has a part that fails when evaluation reaches it. Often evaluation does
//! not (`{"a": 1, "b": {"$oops": 1}}` is simply false if `a` is not 1). `Filter::parse` refuses such

mod php_array;
mod place;

use orw_model::EventClass;

use self::php_array::{Key, entries, is_list};
use self::place::Place;
use crate::check;
use crate::clause::{Clause, Equality, Op, Path, Segment, Test};
use crate::error::ParseError;
use crate::needs::Needs;
use crate::number;
use crate::regex::{self, Regex};
use crate::set::Set;
use crate::shown::shown;
use crate::value::Value;

/// How many regular expressions a filter may have. Compiling one takes microseconds.
const MAX_REGEXES: usize = 1000;
/// How many items these may have together in compiled form, where something repeated n times counts n times.
const MAX_REGEX_ITEMS: f64 = 100_000.0;
/// How many warnings, and how many faults, are kept.
const MAX_WARNINGS: usize = 20;

/// A compiled filter, and what was noticed while compiling it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) root: Clause,
    pub(crate) faults: Vec<ParseError>,
    pub(crate) warnings: Vec<String>,
    pub(crate) needs: Needs,
}

pub(crate) fn compile(filter: &Value<'_>, classes: Option<&[EventClass]>) -> Compiled {
    let mut compiler = Compiler {
        classes,
        faults: Vec::new(),
        warnings: Vec::new(),
        needs: Needs::default(),
        regexes: 0,
        regex_items: 0.0,
    };
    let root = compiler.query(filter, &Place::ROOT);
    Compiled {
        root,
        faults: compiler.faults,
        warnings: compiler.warnings,
        needs: compiler.needs,
    }
}

struct Compiler<'c> {
    /// The events that the filter is for, if these are known.
    classes: Option<&'c [EventClass]>,
    faults: Vec<ParseError>,
    warnings: Vec<String>,
    needs: Needs,
    regexes: usize,
    regex_items: f64,
}

impl Compiler<'_> {
    /// Notes that the filter cannot be evaluated, and returns the message for those who evaluate it nevertheless.
    fn fault(&mut self, place: &Place<'_>, reason: String) -> Box<str> {
        let fault = ParseError {
            place: place.to_string(),
            reason,
        };
        let message = fault.to_string().into_boxed_str();
        // One is enough to refuse the filter; more would only take memory.
        if self.faults.len() < MAX_WARNINGS {
            self.faults.push(fault);
        }
        message
    }

    fn warn(&mut self, place: &Place<'_>, warning: impl FnOnce() -> Option<String>) {
        if self.warnings.len() < MAX_WARNINGS
            && let Some(warning) = warning()
        {
            self.warnings.push(format!("{place}: {warning}"));
        }
    }

    /// Conditions that must all hold.
    fn query(&mut self, query: &Value<'_>, place: &Place<'_>) -> Clause {
        if !query.is_array() {
            let reason = format!(
                "needs an object of conditions such as {{\"user.uid\": \"bob\"}}, or a list of such objects, but is {}",
                shown(query)
            );
            return Clause::Fault(self.fault(place, reason));
        }
        let is_list = is_list(query);
        let clauses = entries(query)
            .map(|(key, condition)| match key {
                Key::Name(key) if key.starts_with('$') => self.operator(key, condition, &place.key(key)),
                _ if is_list => self.query(condition, &key.place(place)),
                Key::Name(key) => self.field(key, condition, &place.key(key)),
                // Unreachable for an object, whose keys are names; a list of conditions is handled above.
                Key::Index(index) => self.query(condition, &place.index(index)),
            })
            .collect();
        Clause::All(clauses)
    }

    fn operator(&mut self, operator: &str, operand: &Value<'_>, place: &Place<'_>) -> Clause {
        match operator {
            "$not" => return Clause::Not(Box::new(self.query(operand, place))),
            "$and" => return self.query(operand, place),
            _ => {}
        }
        let known = matches!(operator, "$or" | "$nor");
        if !known {
            let reason = check::unknown_logical_operator(operator);
            self.fault(place, reason);
        }
        if !operand.is_array() || operand.at(0).is_null() {
            let reason = format!(
                "needs a list with at least one object of conditions, but is {}",
                shown(operand)
            );
            return Clause::Fault(self.fault(place, reason));
        }
        let mut clauses = entries(operand).map(|(key, condition)| match key {
            Key::Name(key) if key.starts_with('$') => self.operator(key, condition, &place.key(key)),
            _ => self.query(condition, &key.place(place)),
        });
        if known {
            let clauses = clauses.collect();
            return match operator {
                "$or" => Clause::Any(clauses),
                _ => Clause::Neither(clauses),
            };
        }
        // Element 0 is set, so there is a first clause.
        let first = clauses.next().unwrap_or(Clause::All(Box::default()));
        Clause::Unknown(Box::new(first))
    }

    fn field(&mut self, key: &str, condition: &Value<'_>, place: &Place<'_>) -> Clause {
        let path: Path = key
            .split('.')
            .map(|segment| Segment {
                key: segment.into(),
                index: number::list_index(segment),
            })
            .collect();
        self.needs.add(key);
        let classes = self.classes;
        self.warn(place, || check::path(key, classes));
        let tests = if condition.is_array() {
            if condition.count() == 0 {
                self.warn(place, || Some("has no condition, so it always holds".into()));
            }
            self.tests(key, condition, place)
        } else {
            Box::new([Test::Is(self.equality(key, condition, place, Op::Equal))])
        };
        Clause::Field { path, tests }
    }

    fn tests(&mut self, path: &str, operators: &Value<'_>, place: &Place<'_>) -> Box<[Test]> {
        if is_list(operators) {
            let reason = format!(
                "a list is no condition; write {{\"$in\": {0}}} for any of these values or {{\"$e\": {0}}} for exactly this list",
                shown(operators)
            );
            let fault = self.fault(place, reason);
            // PHPMongoQuery takes the indices for operators, and fails at the first one.
            return Box::new([Test::Is(Op::Refused { missing: None, fault })]);
        }
        entries(operators)
            .map(|(key, operand)| match key {
                Key::Name(operator) => self.test(path, operator, operand, &place.key(operator)),
                Key::Index(index) => self.test(path, "", operand, &place.index(index)),
            })
            .collect()
    }

    fn test(&mut self, path: &str, operator: &str, operand: &Value<'_>, place: &Place<'_>) -> Test {
        let owned = || operand.owned();
        Test::Is(match operator {
            "$not" if operand.is_array() => {
                return Test::Not(self.tests(path, operand, place));
            }
            "$not" => {
                let reason = format!(
                    "needs an object of operators such as {{\"$e\": {0}}}, but is {0}; to exclude a value write {{\"$ne\": {0}}}",
                    shown(operand)
                );
                return Test::Fault(self.fault(place, reason));
            }
            "$e" => self.equality(path, operand, place, Op::Equal),
            "$ne" => self.equality(path, operand, place, Op::NotEqual),
            "$lt" => Op::Less(owned()),
            "$lte" => Op::LessOrEqual(owned()),
            "$gt" => Op::Greater(owned()),
            "$gte" => Op::GreaterOrEqual(owned()),
            "$in" | "$nin" | "$all" => return self.membership(operator, operand, place),
            "$exists" => Op::Exists(operand.truthy()),
            "$mod" => self.modulo(operand, place),
            _ => Op::Refused {
                missing: None,
                fault: self.fault(place, check::unknown_operator(path, operator)),
            },
        })
    }

    fn membership(&mut self, operator: &str, operand: &Value<'_>, place: &Place<'_>) -> Test {
        if !operand.is_array() {
            let reason = format!("needs a list of values, but is {}", shown(operand));
            return Test::Is(Op::Refused {
                missing: Some(operator == "$nin"),
                fault: self.fault(place, reason),
            });
        }
        if operand.count() == 0 && operator != "$nin" {
            self.warn(place, || Some("the list is empty, so nothing matches".into()));
        }
        self.warn(place, || check::regex_in_list(operand));
        let set = Set::new(operand);
        Test::Is(match operator {
            "$in" => Op::In(set),
            "$nin" => Op::NotIn(set),
            _ => Op::All(set),
        })
    }

    fn modulo(&mut self, operand: &Value<'_>, place: &Place<'_>) -> Op {
        let (divisor, remainder) = (operand.at(0), operand.at(1));
        let reason = if !operand.is_array() || operand.count() != 2 {
            Some(format!(
                "needs a list of divisor and remainder such as [2, 0], but is {}",
                shown(operand)
            ))
        } else {
            check::divisor(divisor)
        };
        if let Some(reason) = reason {
            return Op::Refused {
                missing: Some(false),
                fault: self.fault(place, reason),
            };
        }
        if !matches!(remainder, Value::Int(_)) {
            self.warn(place, || {
                Some(format!(
                    "the remainder {} is not an integer, so nothing matches",
                    shown(remainder)
                ))
            });
        }
        Op::Mod {
            divisor: divisor.owned(),
            remainder: remainder.owned(),
        }
    }

    fn equality(&mut self, path: &str, operand: &Value<'_>, place: &Place<'_>, op: fn(Equality) -> Op) -> Op {
        let mut regex = None;
        if let Value::Text(text) = operand
            && let Some((pattern, flags)) = regex::split(text)
        {
            self.regexes += 1;
            if self.regexes > MAX_REGEXES {
                let reason = format!(
                    "a filter may have {MAX_REGEXES} regular expressions, and this is one more; use $in for texts"
                );
                return Op::Refused {
                    missing: None,
                    fault: self.fault(place, reason),
                };
            }
            let (compiled, refused) = Regex::new(text, pattern, flags);
            self.regex_items += compiled.size();
            if self.regex_items > MAX_REGEX_ITEMS {
                let reason = "with this one the filter's regular expressions are too large; what is repeated {n} times \
                              counts n times"
                    .to_owned();
                return Op::Refused {
                    missing: None,
                    fault: self.fault(place, reason),
                };
            }
            self.warn(place, || match refused {
                Some(refused) => Some(check::refused_regex(text, &refused)),
                None => check::regex_on_list(path),
            });
            regex = Some(compiled);
        }
        if operand.is_null() {
            self.warn(place, || {
                Some("null equals nothing, not even a missing value; write {\"$exists\": false}".into())
            });
        }
        op(Equality {
            operand: operand.owned(),
            regex,
        })
    }
}
