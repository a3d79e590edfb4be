//! An index of many filters: which of them a document may match.
//!
//! Guarantees: every filter that matches the document, or whose evaluation fails on it, is among those that [`FilterIndex::candidates`]
//! names. A filter is left out only if one of its first comparisons is false and nothing before that comparison can fail.
//!
//! Many filters begin with comparisons of a field with one value (`{"event.object.organisation": "…", …}`). Each such filter is filed under
//! one of these: the one that it shares with the fewest filters. A document then needs one look-up for each field, however many filters there are.

use hashbrown::HashMap;

use crate::clause::{Clause, Op, Path, Segment, Test};
use crate::document::Document;
use crate::filter::Filter;
use crate::value::Value;

/// How many comparisons of each filter are considered: this bounds the work for a document, which no budget does.
const CONSIDERED: usize = 8;

/// An index of filters, which it calls by their places in the given order.
#[derive(Debug, Default)]
pub struct FilterIndex {
    /// The filters that are always candidates, ascending.
    always: Vec<u32>,
    fields: Vec<Field>,
}

/// A field with which filters begin, and the filters filed under one of its values.
#[derive(Debug)]
struct Field {
    path: Path,
    texts: HashMap<Box<str>, Vec<u32>>,
    numbers: HashMap<i64, Vec<u32>>,
}

/// A comparison that a document passes if the value at the path is this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Comparison<'f> {
    path: &'f [Segment],
    with: Operand<'f>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Operand<'f> {
    Text(&'f str),
    Number(i64),
}

/// What is at a path.
enum Found<'d> {
    /// Nothing that equals a text or a number.
    Nothing,
    Value(&'d Value<'d>),
    /// A list is there or on the way: then a comparison means more than one look.
    List,
}

impl FilterIndex {
    /// An index of these filters. `None` in the place of a filter makes it a candidate for every document.
    #[must_use]
    pub fn new<'f>(filters: impl IntoIterator<Item = Option<&'f Filter>>) -> Self {
        let begun: Vec<Vec<Comparison<'f>>> = filters
            .into_iter()
            .map(|filter| filter.map_or_else(Vec::new, |filter| comparisons(filter.root())))
            .collect();
        let mut shared: HashMap<Comparison<'_>, u32> = HashMap::new();
        for comparison in begun.iter().flatten() {
            *shared.entry(*comparison).or_default() += 1;
        }
        let mut index = Self::default();
        let mut places: HashMap<&[Segment], usize> = HashMap::new();
        // A process holds far fewer filters than 2^32.
        for (filter, comparisons) in (0_u32..).zip(&begun) {
            // All fields are looked at, not only those under which a filter is filed: a list in one makes evaluation fail there.
            for comparison in comparisons {
                places.entry(comparison.path).or_insert_with(|| {
                    index.fields.push(Field::new(comparison.path));
                    index.fields.len() - 1
                });
            }
            let rarest = comparisons.iter().min_by_key(|c| shared.get(*c));
            let filed = rarest.and_then(|c| Some((index.fields.get_mut(*places.get(c.path)?)?, c.with)));
            match filed {
                Some((field, with)) => field.file(with, filter),
                None => index.always.push(filter),
            }
        }
        index
    }

    /// The places of the filters that may match, ascending; `None`: any may.
    #[must_use]
    pub fn candidates(&self, document: &Document<'_>) -> Option<Vec<u32>> {
        let mut found = self.always.clone();
        for field in &self.fields {
            match find(document.root(), &field.path) {
                Found::Nothing => {}
                Found::Value(value) => field.add_equal(value, &mut found),
                Found::List => return None,
            }
        }
        found.sort_unstable();
        // A reference may have one name twice.
        found.dedup();
        Some(found)
    }
}

impl Field {
    fn new(path: &[Segment]) -> Self {
        Self {
            path: path.iter().cloned().collect(),
            texts: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    fn file(&mut self, with: Operand<'_>, filter: u32) {
        match with {
            Operand::Text(text) => self.texts.entry_ref(text).or_default().push(filter),
            Operand::Number(number) => self.numbers.entry(number).or_default().push(filter),
        }
    }

    /// Adds the filters whose operand `compare::identical_scalars` would find equal to `value`.
    fn add_equal(&self, value: &Value<'_>, found: &mut Vec<u32>) {
        let mut add = |filters: Option<&Vec<u32>>| found.extend(filters.into_iter().flatten());
        match value {
            Value::Text(text) => add(self.texts.get(text.as_ref())),
            Value::Int(number) => add(self.numbers.get(number)),
            Value::Alias(alias) => {
                alias.names().for_each(|name| add(self.texts.get(name)));
                add(alias.id().and_then(|id| self.numbers.get(&id)));
            }
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {}
        }
    }
}

/// The first comparisons with one text or number with which a filter begins: each must hold, and they are evaluated in this order, before
/// anything else.
fn comparisons(root: &Clause) -> Vec<Comparison<'_>> {
    let mut found = Vec::new();
    begin(root, &mut found);
    found
}

/// Adds those of `clause`; whether it consists of nothing else, and more may be added.
fn begin<'f>(clause: &'f Clause, found: &mut Vec<Comparison<'f>>) -> bool {
    match clause {
        _ if found.len() >= CONSIDERED => false,
        Clause::All(clauses) => clauses.iter().all(|clause| begin(clause, found)),
        Clause::Field { path, tests } => {
            let [Test::Is(Op::Equal(equality))] = tests.as_ref() else {
                return false;
            };
            let with = match &equality.operand {
                Value::Text(text) if equality.regex.is_none() => Operand::Text(text),
                Value::Int(number) => Operand::Number(*number),
                _ => return false,
            };
            found.push(Comparison { path, with });
            true
        }
        _ => false,
    }
}

/// What evaluation would find at a path.
fn find<'d>(root: &'d Value<'d>, path: &[Segment]) -> Found<'d> {
    let mut value = root;
    for segment in path {
        match value {
            Value::Map(map) if map.zero_is_set() => return Found::List,
            Value::Map(map) => match map.get(&segment.key) {
                Some(next) => value = next,
                None => return Found::Nothing,
            },
            Value::List(_) => return Found::List,
            _ => return Found::Nothing,
        }
    }
    if value.is_array() {
        return Found::List;
    }
    Found::Value(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn filters(of: &[Json]) -> Vec<Filter> {
        of.iter()
            .map(|json| Filter::parse_leniently(json).unwrap())
            .collect()
    }

    fn candidates(of: &[Json], document: &Json) -> Option<Vec<u32>> {
        let filters = filters(of);
        let index = FilterIndex::new(filters.iter().map(Some));
        index.candidates(&Document::from_json(document).unwrap())
    }

    #[test]
    fn a_filter_is_filed_under_what_it_shares_with_the_fewest() {
        let of = [
            json!({"kind": "a", "tenant": "one"}),
            json!({"kind": "a", "tenant": "two"}),
            json!({"kind": "a"}),
            json!({"number": 5}),
            json!({"$and": [{"tenant": {"$e": "one"}}], "x": {"$gt": 1}}),
            json!({"$or": [{"tenant": "two"}]}),
            json!({}),
        ];
        let of_one = candidates(&of, &json!({"kind": "a", "tenant": "one", "number": 5}));
        assert_eq!(of_one.unwrap(), [0, 2, 3, 4, 5, 6]);
        // An integer and a text are never identical.
        let of_none = candidates(&of, &json!({"kind": "b", "tenant": 1, "number": "5"}));
        assert_eq!(of_none.unwrap(), [5, 6]);
    }

    #[test]
    fn a_list_at_a_path_or_on_the_way_makes_all_filters_candidates() {
        let of = [json!({"a.b": "x"}), json!({"c": "y"})];
        for document in [
            json!({"a": {"b": ["x"]}}),
            json!({"a": [{"b": "x"}]}),
            json!({"a": {"0": 1, "b": "x"}}),
            json!({"c": "n", "a": {"b": {}}}),
        ] {
            assert_eq!(candidates(&of, &document), None, "{document}");
        }
        assert_eq!(candidates(&of, &json!({"a": "x", "c": "y"})), Some(vec![1]));
    }

    #[test]
    fn each_name_of_a_reference_finds_filters() {
        let of = [
            json!({"r": "people"}),
            json!({"r": 7}),
            json!({"r": "7"}),
            json!({"r": 8}),
        ];
        let filters = filters(&of);
        let index = FilterIndex::new(filters.iter().map(Some).chain([None]));
        let document = Document::new([("r", Value::alias(["people", "7"], Some(7)))]);
        assert_eq!(index.candidates(&document).unwrap(), [0, 1, 2, 4]);
    }
}
