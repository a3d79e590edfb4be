//! How filters are evaluated.

use serde_json::{Value as Json, json};

use super::{eval, yes};
use crate::{Document, Filter};

#[test]
fn nothing_set_matches_everything() {
    for filter in [json!(null), json!([]), json!({})] {
        let filter = Filter::parse(&filter).unwrap();
        assert!(filter.needs().is_empty());
        assert_eq!(filter.matches(&Document::new([])), Ok(true));
    }
}

#[test]
fn lists_on_the_way_match_by_any_element() {
    let document = json!({"items": [{"x": 1}, {"x": 2}], "tags": ["a", "b"], "n": [null, {"x": 3}]});
    assert!(yes(json!({"items.x": 2}), &document));
    assert!(!yes(json!({"items.x": 3}), &document));
    // Each operator may find another element.
    assert!(yes(json!({"items.x": {"$gt": 1, "$lt": 2}}), &document));
    assert!(yes(json!({"tags": "b"}), &document));
    assert!(yes(json!({"tags": {"$all": ["b", "a"]}}), &document));
    // PHPMongoQuery takes a list whose first element is null for an object.
    assert!(yes(json!({"n.1.x": 3}), &document));
    assert!(!yes(json!({"n.x": 3}), &document));
    assert!(eval(&json!({"tags.x": 1}), &document).is_err());
}

#[test]
fn what_is_missing_null_or_empty() {
    let document = json!({"null": null, "zero": 0, "empty": {}, "text": "abc"});
    for path in ["null", "nosuch", "zero.x", "empty.x", "nosuch.x"] {
        assert!(yes(json!({path: {"$exists": false}}), &document), "{path}");
        assert!(yes(json!({path: {"$ne": 1, "$nin": [1]}}), &document), "{path}");
        assert!(!yes(json!({path: {"$ne": null}}), &document), "{path}");
        assert!(!yes(json!({path: null}), &document), "{path}");
    }
    // Below a text every operator answers false, negative ones too.
    assert!(!yes(json!({"text.x": {"$exists": false}}), &document));
    assert!(!yes(json!({"text.x": {"$ne": 1}}), &document));
    assert!(yes(json!({"text.x": {"$not": {"$e": 1}}}), &document));
}

#[test]
fn faults_count_only_where_evaluation_gets_to_them() {
    let document = json!({"a": 1});
    assert_eq!(eval(&json!({"a": 2, "b": {"$oops": 1}}), &document), Ok(false));
    assert!(eval(&json!({"a": 1, "b": {"$oops": 1}}), &document).is_err());
    assert_eq!(
        eval(&json!({"$or": [{"a": 1}, {"$or": []}]}), &document),
        Ok(true)
    );
    assert_eq!(eval(&json!({"$xor": [{"a": 1}]}), &document), Ok(false));
    assert_eq!(eval(&json!({"b": {"$in": 1}}), &document), Ok(false));
    assert_eq!(eval(&json!({"b": {"$nin": 1}}), &document), Ok(true));
    assert!(eval(&json!({"a": {"$nin": 1}}), &document).is_err());
}

#[test]
fn too_much_is_stopped_in_time() {
    let start = std::time::Instant::now();
    // 3,000 × 3,000 elements that differ only at their end.
    let list = |c: char| -> Vec<String> { (0..3000).map(|n| format!("{}{n}{c}", "0".repeat(60))).collect() };
    let nested = json!({"a": list('x').into_iter().map(|v| json!({"b": v})).collect::<Vec<_>>()});
    let clauses: Vec<_> = list('y').into_iter().map(|v| json!({"a.b": v})).collect();
    let stopped = eval(&json!({"$or": clauses}), &nested).unwrap_err();
    assert!(stopped.0.contains("too many steps"), "{stopped}");
    // Expressions that take too long use it up as well.
    let runaway: Vec<_> = (0..500).map(|_| json!({"a": "/(a+)+$/"})).collect();
    let text = json!({"a": format!("{}!", "a".repeat(50_000))});
    assert!(
        eval(&json!({"$or": runaway}), &text)
            .unwrap_err()
            .0
            .contains("stopped")
    );
    assert!(
        start.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn long_lists_are_searched_quickly() {
    let list: Vec<_> = (0..100_000).map(|n| format!("uid{n}")).collect();
    let filter = Filter::parse(&json!({"a": {"$in": list}})).unwrap();
    let json = json!({"a": "uid99999"});
    let document = Document::from_json(&json).unwrap();
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(filter.matches(&document), Ok(true));
    }
    assert!(
        start.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn short_and_long_lists_give_the_same() {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(1.5),
        json!("1"),
        json!("1.0"),
        json!(""),
        json!("a"),
        json!("A"),
        json!("0"),
        json!(" 1"),
        json!([]),
        json!(["a"]),
        json!({"k": 1}),
        json!("Array"),
        "1e999".parse::<serde_json::Number>().map(Json::Number).unwrap(),
        json!("INF"),
        json!("1e0"),
    ];
    for value in &values {
        for element in &values {
            for operator in ["$in", "$nin"] {
                let short = json!({"v": {operator: [element]}});
                // An element that equals nothing, repeated, makes it long.
                let mut long = vec![json!({"never": "equal", "to": "this"}); 20];
                long.push(element.clone());
                let document = json!({"v": value});
                let long = json!({"v": {operator: long}});
                if matches!(value, Json::Array(_) | Json::Object(_)) {
                    // As text, every array is "Array".
                    continue;
                }
                // True equals every array that is not empty.
                if *value != json!(true) {
                    assert_eq!(
                        eval(&short, &document),
                        eval(&long, &document),
                        "{value} {operator} {element}"
                    );
                }
            }
        }
    }
}
