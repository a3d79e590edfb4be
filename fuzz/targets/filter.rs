//! Any filter on any document: evaluation does not panic, and the laws hold that do not depend on the operators (a negation is
//! true where its operand is false, and so on). The fuzzer also measures the promised bounds of time and memory.
//!
//! Input that begins with `{` or `[` is a filter and, after the first line end, a document, both as text. All other input
//! drives a generator, which gets deeper into evaluation.

use orw_filter::{Document, EvalError, Filter, FilterIndex};
use orw_model::json::parse;
use serde_json::{Map, Number, Value, json};

use super::source::Source;

/// The laws alone.
pub(crate) fn check(bytes: &[u8]) {
    check_with(bytes, |filter, document, _| filter.matches(document));
}

/// The laws, with evaluations by a function that may measure them. It also gets the filter's text, to be named in a message.
pub(crate) fn check_with(
    bytes: &[u8],
    evaluate: impl Fn(&Filter, &Document, &Value) -> Result<bool, EvalError>,
) {
    if let Some((filter, document)) = read(bytes) {
        laws(&filter, &document, evaluate);
    }
}

fn read(bytes: &[u8]) -> Option<(Value, Value)> {
    if matches!(bytes.first()?, b'{' | b'[') {
        let text = std::str::from_utf8(bytes).ok()?;
        let (filter, document) = text.split_once('\n')?;
        return Some((parse(filter).ok()?, parse(document).ok()?));
    }
    let mut source = Generator(Source::new(bytes));
    let document = source.object(0);
    let filter = source.query(0);
    Some((filter, document))
}

fn laws(
    filter: &Value,
    document: &Value,
    evaluate: impl Fn(&Filter, &Document, &Value) -> Result<bool, EvalError>,
) {
    let Ok(document) = Document::from_json(document) else {
        return;
    };
    let evaluate = |filter: &Value| -> Option<Result<bool, EvalError>> {
        Some(evaluate(
            &Filter::parse_leniently(filter).ok()?,
            &document,
            filter,
        ))
    };
    let strict = Filter::parse(filter);
    let Some(plain) = evaluate(filter) else {
        assert!(strict.is_err());
        return;
    };
    if let Ok(lenient) = Filter::parse_leniently(filter)
        && FilterIndex::new([Some(&lenient)])
            .candidates(&document)
            .is_some_and(|found| found.is_empty())
    {
        assert_eq!(plain, Ok(false), "an index leaves it out");
    }
    if let Ok(strict) = &strict {
        let _ = (strict.warnings(), strict.needs());
        same(&plain, &strict.matches(&document), false);
    }
    // Wrapped, filters nest deeper and may be refused; a negation is true where the other is false.
    let laws = [
        (json!({"$not": {"$not": filter}}), false),
        (json!({"$not": filter}), true),
        (json!({"$nor": [filter]}), true),
        (json!({"$or": [filter]}), false),
        (json!({"$and": [filter]}), false),
    ];
    if !filter.is_null() {
        for (law, negated) in laws {
            if let Some(wrapped) = evaluate(&law) {
                same(&plain, &wrapped, negated);
            }
        }
    }
}

fn same(a: &Result<bool, EvalError>, b: &Result<bool, EvalError>, negated: bool) {
    // Where evaluation was stopped for its length, it is stopped a little earlier or later.
    let stopped = |r: &Result<bool, EvalError>| matches!(r, Err(e) if e.0.contains("stopped"));
    if stopped(a) || stopped(b) {
        return;
    }
    match (a, b) {
        (Ok(a), Ok(b)) => assert_eq!(*a, *b != negated),
        (Err(_), Err(_)) => {}
        _ => panic!("{a:?} but {b:?}"),
    }
}

/// Makes filters and documents.
struct Generator<'b>(Source<'b>);

const KEYS: [&str; 12] = [
    "a", "b", "c", "0", "1", "", "01", "a.b", "a.b.c", "b.0", "a.a", "nosuch",
];
const TEXTS: [&str; 32] = [
    "",
    "0",
    "1",
    "a",
    "b",
    "abc",
    "1 ",
    " 1",
    "1e1",
    "10",
    "01",
    "-1",
    ".5",
    "5 apples",
    "true",
    "é",
    "9223372036854775808",
    "9223372036854775809",
    "1e999",
    "-1e999",
    "Array",
    "INF",
    "1.0E+25",
    "//",
    "/a/",
    "/A/i",
    "/^a$/D",
    "/(a+)+$/",
    "/(/",
    "/a/b/",
    "/é/u",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
];
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "1.0",
    "0.5",
    "-0.0",
    "1e1",
    "1e25",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "9007199254740993",
    "1711971024.5",
];
const OPERATORS: [&str; 13] = [
    "$e", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$all", "$exists", "$mod", "$not", "$bogus",
];

const PIECES: [&str; 28] = [
    "a",
    "b",
    "c",
    "x",
    "é",
    ".",
    "[ab]",
    "[^b]",
    "[cd]",
    "\\w",
    "\\s",
    "\\b",
    "^",
    "$",
    "\\1",
    "\\2",
    "\\R",
    "\\X",
    "\\C",
    "\\K",
    "(?R)",
    "(?1)",
    "()()()()()()()()",
    "[[:alpha:]]",
    "\\p{L}",
    "(*SKIP)",
    "\\Qab\\E",
    "(?i)",
];
const QUANTIFIERS: [&str; 14] = [
    "", "", "", "", "*", "+", "?", "*?", "*+", "{2}", "{0,3}", "{7,}", "{1,250}", "{1000}",
];

impl Generator<'_> {
    fn byte(&mut self) -> usize {
        self.0.byte()
    }

    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        self.0.pick(from)
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.byte() % if depth < 4 { 10 } else { 7 } {
            0 => Value::Null,
            1 => Value::Bool(self.byte().is_multiple_of(2)),
            2 | 3 => Value::Number(self.pick(&NUMBERS).parse::<Number>().unwrap_or(0.into())),
            4 => Value::String(self.pick(&TEXTS).to_owned()),
            5 => Value::String(self.long_text()),
            6 => Value::String(self.regex()),
            7 | 8 => self.list(depth),
            _ => self.object(depth + 1),
        }
    }

    /// A text long enough to be lost in.
    fn long_text(&mut self) -> String {
        let unit = self.pick(&["a", "ab", "aab ", "é", "aé\n", "1", "A", "ab\r\n"]);
        let times = [0, 3, 40, 300, 2000, 20_000, 100_000][self.byte() % 7];
        unit.repeat(times) + self.pick(&["", "!", "c", "\n"])
    }

    fn regex(&mut self) -> String {
        let settings = [
            "",
            "",
            "(*NO_JIT)",
            "(*LIMIT_MATCH=4000000000)",
            "(*UTF)",
            "(*CRLF)",
            "(*NO_START_OPT)",
        ];
        let settings = self.pick(&settings);
        let pattern = self.pattern(0);
        format!(
            "/{settings}{pattern}/{}",
            self.pick(&["", "", "i", "u", "iu", "s", "m", "x", "A", "D", "U"])
        )
    }

    fn pattern(&mut self, depth: usize) -> String {
        let mut pattern = String::new();
        for _ in 0..1 + self.byte() % 4 {
            let atom = match self.byte() % if depth < 6 { 4 } else { 2 } {
                0 | 1 => self.pick(&PIECES).to_owned(),
                _ => {
                    let open = self.pick(&[
                        "(", "(?:", "(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?|", "(?i:", "(?(?=a)",
                    ]);
                    let inside = self.pattern(depth + 1);
                    let other = if self.byte().is_multiple_of(2) {
                        String::new()
                    } else {
                        format!("|{}", self.pattern(depth + 1))
                    };
                    format!("{open}{inside}{other})")
                }
            };
            pattern.push_str(&atom);
            pattern.push_str(self.pick(&QUANTIFIERS));
        }
        pattern
    }

    fn list(&mut self, depth: usize) -> Value {
        let length = [0, 1, 2, 3, 12][self.byte() % 5];
        (0..length).map(|_| self.value(depth + 1)).collect()
    }

    fn object(&mut self, depth: usize) -> Value {
        let length = self.byte() % 5;
        (0..length)
            .map(|_| (self.pick(&KEYS).to_owned(), self.value(depth + 1)))
            .collect()
    }

    fn query(&mut self, depth: usize) -> Value {
        let length = 1 + self.byte() % 3;
        if (1..4).contains(&depth) && self.byte() % 8 == 1 {
            return (0..length).map(|_| self.query(depth + 1)).collect();
        }
        let mut query = Map::new();
        for _ in 0..length {
            let logical = if depth < 4 { self.byte() % 8 } else { 7 };
            match logical {
                0 => query.insert("$not".into(), self.query(depth + 1)),
                1..=4 => {
                    let operator = ["$and", "$or", "$nor", "$xor"][logical - 1];
                    let length = self.byte() % 4;
                    let conditions = (0..length).map(|_| self.query(depth + 1)).collect();
                    query.insert(operator.into(), conditions)
                }
                _ => {
                    let path = self.pick(&KEYS).to_owned();
                    let condition = match self.byte() % 3 {
                        0 => self.value(2),
                        _ => self.tests(depth),
                    };
                    query.insert(path, condition)
                }
            };
        }
        Value::Object(query)
    }

    fn tests(&mut self, depth: usize) -> Value {
        let length = 1 + self.byte() % 2;
        (0..length)
            .map(|_| {
                let operator = self.pick(&OPERATORS);
                let operand = match operator {
                    "$not" if depth < 6 => self.tests(depth + 1),
                    "$in" | "$nin" | "$all" => self.list(2),
                    "$mod" => json!([self.value(4), self.value(4)]),
                    _ => self.value(2),
                };
                (operator.to_owned(), operand)
            })
            .collect()
    }
}
