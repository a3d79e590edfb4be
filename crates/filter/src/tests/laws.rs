//! Laws that hold for every filter on every document.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::eval;
use crate::{Document, Filter, FilterIndex};

/// JSON of every type, with many values that PHP treats in a special way.
fn any_json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| json!(n)),
        (-3_i64..12).prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        prop::sample::select(vec!["1e999", "-0.0", "9223372036854775808", "1e25", "0.1"])
            .prop_map(|n| Json::Number(n.parse().unwrap())),
    ];
    let text = prop_oneof![
        prop::sample::select(vec![
            "",
            "0",
            "1",
            "1 ",
            " 1",
            "1e1",
            "abc",
            "5 apples",
            "9223372036854775808",
            "/a/",
            "/A/i",
            "/(a+)+$/",
            "/(/",
            "//",
            "é",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
        "/[a-z.*+?()\\[\\]|^$\\\\]{0,8}/[imsxuADUX]{0,2}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(|b| json!(b)),
        number,
        text.prop_map(|t| json!(t)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::vec((path(), inner), 0..4)
                .prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c", "a.b", "a.b.c", "0", "1", "b.0", "", "01"]).prop_map(str::to_owned),
        1 => "[a-c.0]{0,5}",
    ]
}

fn any_filter() -> impl Strategy<Value = Json> {
    let operators = [
        "$e", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$all", "$exists", "$mod", "$not", "$oops",
    ];
    let test =
        (prop::sample::select(operators.to_vec()), any_json(), any_json()).prop_map(|(operator, a, b)| {
            match operator {
                "$in" | "$nin" | "$all" | "$mod" => (operator, json!([a, b])),
                "$not" => (operator, json!({"$e": a, "$gt": b})),
                _ => (operator, a),
            }
        });
    let condition = prop_oneof![
        3 => prop::collection::vec(test, 1..3).prop_map(|tests| tests.into_iter().collect::<Json>()),
        1 => any_json(),
    ];
    let leaf = (path(), condition).prop_map(|(path, condition)| json!({path: condition}));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (
                prop::sample::select(vec!["$and", "$or", "$nor", "$xor"]),
                prop::collection::vec(inner.clone(), 0..3)
            )
                .prop_map(|(operator, parts)| json!({operator: parts})),
            inner.clone().prop_map(|part| json!({"$not": part})),
            prop::collection::vec(inner, 1..3).prop_map(Json::Array),
        ]
    })
}

/// A few values, so that a filter and a document often have the same one.
fn few_values() -> impl Strategy<Value = Json> {
    let values = [
        json!("x"),
        json!("1"),
        json!(1),
        json!(null),
        json!(true),
        json!(["x"]),
    ];
    prop::sample::select(values.to_vec())
}

/// Filters that begin with comparisons, and others.
fn compared() -> impl Strategy<Value = Json> {
    let keys = || prop::sample::select(vec!["a", "b", "a.b", "0"]);
    let condition = (keys(), few_values(), any::<bool>()).prop_map(|(key, value, plain)| {
        let operand = if plain { value } else { json!({"$e": value}) };
        json!({key: operand})
    });
    let parts = prop::collection::vec(condition, 1..4).prop_map(Json::Array);
    prop_oneof![4 => parts, 1 => any_filter()]
}

fn small_document() -> impl Strategy<Value = Json> {
    let inner = prop_oneof![
        3 => few_values(),
        1 => few_values().prop_map(|value| json!({"b": value})),
        1 => few_values().prop_map(|value| json!({"0": value, "b": value})),
    ];
    (inner.clone(), inner).prop_map(|(a, b)| json!({"a": a, "b": b}))
}

/// A result as the laws compare it: all errors are equal.
fn outcome(filter: &Json, document: &Json) -> Option<bool> {
    eval(filter, document).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_a_filter_or_refused_and_never_panics(filter in any_json(), document in any_json()) {
        let start = std::time::Instant::now();
        let _ = Filter::parse(&filter);
        let _ = eval(&filter, &document);
        prop_assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn not_twice_is_the_identity(filter in any_filter(), document in any_json()) {
        let twice = json!({"$not": {"$not": filter}});
        prop_assert_eq!(outcome(&filter, &document), outcome(&twice, &document));
        let tests = json!({"a": {"$not": {"$not": {"$gt": 1}}}});
        prop_assert_eq!(outcome(&json!({"a": {"$gt": 1}}), &document), outcome(&tests, &document));
    }

    #[test]
    fn nor_is_not_or(a in any_filter(), b in any_filter(), document in any_json()) {
        let nor = json!({"$nor": [a, b]});
        let not_or = json!({"$not": {"$or": [a, b]}});
        prop_assert_eq!(outcome(&nor, &document), outcome(&not_or, &document));
    }

    #[test]
    fn the_order_of_keys_matters_only_for_which_error_comes_first(
        a in any_json(), b in any_json(), document in any_json(),
    ) {
        // The order may also decide whether there is an error, since a false part hides it. Without errors, the results agree.
        let one = outcome(&json!({"a": {"$e": a}, "b": {"$ne": b}}), &document);
        let other = outcome(&json!({"b": {"$ne": b}, "a": {"$e": a}}), &document);
        if let (Some(one), Some(other)) = (one, other) {
            prop_assert_eq!(one, other);
        }
        // Nor does the order of keys in compared objects.
        let compared = json!({"k": {"$e": {"x": a, "y": b}}});
        let (straight, turned) = (json!({"k": {"x": a, "y": b}}), json!({"k": {"y": b, "x": a}}));
        prop_assert_eq!(outcome(&compared, &straight), outcome(&compared, &turned));
    }

    #[test]
    fn accepted_filters_mean_the_same_when_read_leniently(filter in any_filter(), document in any_json()) {
        if let (Ok(strict), Ok(document)) = (Filter::parse(&filter), Document::from_json(&document)) {
            let lenient = Filter::parse_leniently(&filter).unwrap();
            prop_assert_eq!(strict.matches(&document), lenient.matches(&document));
        }
    }

    #[test]
    fn what_an_index_leaves_out_is_false(
        filters in prop::collection::vec(compared(), 1..8), document in small_document(),
    ) {
        let filters: Vec<Filter> = filters.iter().filter_map(|json| Filter::parse_leniently(json).ok()).collect();
        let document = Document::from_json(&document).unwrap();
        let index = FilterIndex::new(filters.iter().map(Some));
        let Some(candidates) = index.candidates(&document) else {
            return Ok(());
        };
        prop_assert!(candidates.is_sorted());
        for (place, filter) in filters.iter().enumerate() {
            if !candidates.contains(&u32::try_from(place).unwrap()) {
                prop_assert_eq!(filter.matches(&document), Ok(false));
            }
        }
    }

    #[test]
    fn what_is_not_needed_makes_no_difference(filter in any_filter(), document in any_json()) {
        let (Ok(filter), Json::Object(parts)) = (Filter::parse_leniently(&filter), document) else {
            return Ok(());
        };
        // An element "0" makes an object a list to PHPMongoQuery, so that every part counts.
        prop_assume!(!parts.contains_key("0"));
        let whole = Json::Object(parts.clone());
        let needed: Json = parts.into_iter().filter(|(key, _)| filter.needs().wants(key)).collect();
        let on = |json: &Json| filter.matches(&Document::from_json(json).unwrap()).ok();
        prop_assert_eq!(on(&whole), on(&needed));
    }
}
