//! What holds for whole filters.

use orw_model::json::{AROUND, DEEPEST, STACK, parse_deep};
use serde_json::{Value as Json, json};

use super::*;

pub(super) fn eval(filter: &Json, document: &Json) -> Result<bool, EvalError> {
    let filter = Filter::parse_leniently(filter).map_err(|e| EvalError(e.to_string()))?;
    filter.matches(&Document::from_json(document)?)
}

fn yes(filter: Json, document: &Json) -> bool {
    eval(&filter, document).unwrap()
}

fn refusal(filter: Json) -> String {
    Filter::parse(&filter).unwrap_err().to_string()
}

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
    // Each operator looks for its own element.
    assert!(yes(json!({"items.x": {"$gt": 1, "$lt": 2}}), &document));
    assert!(yes(json!({"tags": "b"}), &document));
    assert!(yes(json!({"tags": {"$all": ["b", "a"]}}), &document));
    // A list whose first element is null is no list to PHPMongoQuery.
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
    // Below a text every operator fails, negative ones too.
    assert!(!yes(json!({"text.x": {"$exists": false}}), &document));
    assert!(!yes(json!({"text.x": {"$ne": 1}}), &document));
    assert!(yes(json!({"text.x": {"$not": {"$e": 1}}}), &document));
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_place() {
    for (filter, start, part) in [
        (json!({"a": {"$eq": 1}}), "a.$eq: ", "did you mean $e?"),
        (
            json!({"$or": [{}, {"user.uid": {"$gt": 1, "$foo": 2}}]}),
            "$or[1].user.uid.$foo: ",
            "is no operator",
        ),
        (json!({"$xor": [{"a": 1}]}), "$xor: ", "did you mean $or?"),
        (json!({"$or": []}), "$or: ", "at least one"),
        (json!({"$or": {"a": 1}}), "$or: ", "at least one"),
        (json!({"$nor": 5}), "$nor: ", "but is 5"),
        (json!({"$not": "x"}), "$not: ", "but is \"x\""),
        (json!([5]), "filter[0]: ", "but is 5"),
        (json!({"a": {"$in": 1}}), "a.$in: ", "needs a list"),
        (json!({"a": {"$mod": [2]}}), "a.$mod: ", "divisor and remainder"),
        (json!({"a": {"$mod": [0, 1]}}), "a.$mod: ", "is zero"),
        (json!({"a": {"$mod": ["x", 1]}}), "a.$mod: ", "is no number"),
        (json!({"a": {"$not": 5}}), "a.$not: ", "{\"$ne\": 5}"),
        (json!({"a": ["x", "y"]}), "a: ", "{\"$in\": [\"x\", \"y\"]}"),
        (json!({"a": {"b": 1}}), "a.b: ", "{\"a.b\": …}"),
        (json!({"$in": ["a"]}), "$in: ", "belongs to a path"),
        (json!({"a": {"$or": [1]}}), "a.$or: ", "combines whole conditions"),
        (json!({"a": {"$regex": "b"}}), "a.$regex: ", "/^abc/i"),
        (json!(true), "filter: ", "needs an object"),
    ] {
        let message = refusal(filter.clone());
        assert!(
            message.starts_with(start) && message.contains(part),
            "{filter}: {message}"
        );
    }
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
fn what_can_never_match_is_warned_of() {
    for (filter, part) in [
        (json!({"object.register": "x"}), "event.object.register"),
        (json!({"$or": [{"user.id": "x"}, {"a": 1}]}), "$or[0].user.id: "),
        (json!({"user.uid": "/home/bob"}), "taken for a regular expression"),
        (json!({"user.uid": {"$in": ["/a/"]}}), "compared as a text"),
        (json!({"group": "/ed/"}), "is a list"),
        (json!({"user.uid": {"$in": []}}), "nothing matches"),
        (json!({"user.uid": null}), "$exists"),
        (json!({"user.uid": {}}), "always holds"),
        (json!({"time": {"$mod": [2, "0"]}}), "is no integer"),
    ] {
        let filter = Filter::parse(&filter).unwrap();
        assert!(filter.warnings()[0].contains(part), "{:?}", filter.warnings());
    }
    let fine = json!({"user.uid": "bob", "group": "editors", "event.object.data.title": "/^A/i"});
    assert!(Filter::parse(&fine).unwrap().warnings().is_empty());
}

#[test]
fn references_answer_to_every_name() {
    let register = || Value::alias(["people", "5e1c-uuid"], Some(7));
    let document = Document::new([(
        "event",
        Value::map([(
            "object",
            Value::map([("register", register()), ("n", Value::Int(1))]),
        )]),
    )]);
    let holds = |condition: Json| {
        Filter::parse(&json!({"event.object.register": condition}))
            .unwrap()
            .matches(&document)
            .unwrap()
    };
    for name in [
        json!("people"),
        json!("5e1c-uuid"),
        json!(7),
        json!("7"),
        json!("/^peo/"),
        json!("/^7$/"),
    ] {
        assert!(holds(name.clone()), "{name}");
        assert!(!holds(json!({"$ne": name})), "{name}");
    }
    for name in [json!("places"), json!(8), json!(7.0), json!("/x/"), json!(null)] {
        assert!(!holds(name.clone()), "{name}");
        assert!(holds(json!({"$ne": name})), "{name}");
    }
    assert!(holds(json!({"$in": ["x", "5e1c-uuid"]})));
    assert!(holds(
        json!({"$in": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "5e1c-uuid"]})
    ));
    assert!(!holds(json!({"$nin": [7]})));
    assert!(holds(json!({"$nin": ["x", 8]})));
    assert!(holds(json!({"$all": ["5e1c-uuid"]})));
    assert!(holds(
        json!({"$gt": 6, "$lt": 8, "$mod": [7, 0], "$exists": true})
    ));
    assert!(holds(json!({"$gte": "people", "$lte": "people"})));
    let whole = |object: Json| {
        Filter::parse(&json!({"event.object": {"$e": object}}))
            .unwrap()
            .matches(&document)
    };
    assert_eq!(whole(json!({"n": 1, "register": "5e1c-uuid"})), Ok(true));
    assert_eq!(whole(json!({"n": 1, "register": "x"})), Ok(false));
    assert!(Value::alias(Vec::<String>::new(), None).is_null());
}

#[test]
fn documents_of_events_have_the_shape_of_the_design_and_only_what_is_needed() {
    use orw_model::{Action, EventClass};

    let (Json::Object(new), Json::Object(old)) = (
        json!({"id": 1, "register": "people", "data": {"title": "New"}}),
        json!({"id": 1, "register": "people", "data": {"title": "Old"}}),
    ) else {
        panic!("not objects");
    };
    let groups = ["editors".to_owned()];
    let user = User {
        uid: "bob",
        display_name: "Bob",
        groups: &groups,
    };
    let state = |fields| State {
        fields,
        references: vec![("register", Value::alias(["people"], Some(2)))],
    };
    let mut subject = Subject {
        class: EventClass::object(Action::Updated),
        current: state(&new),
        old: Some(state(&old)),
        user: Some(user),
        at: chrono::DateTime::from_timestamp(42, 0).unwrap(),
    };
    let holds = |subject: &Subject<'_>, filter: Json| {
        let filter = Filter::parse(&filter).unwrap();
        let document = Document::of_event(subject, filter.needs()).unwrap();
        filter.matches(&document).unwrap()
    };
    for filter in [
        json!({"event.class": "OCA\\OpenRegister\\Event\\ObjectUpdatedEvent"}),
        json!({"event.newObject.data.title": "New", "event.oldObject.data.title": "Old"}),
        json!({"data.object.data.title": "New", "data.oldObject.data.title": "Old"}),
        json!({"event.object.data.title": "New", "event.object.register": "people"}),
        json!({"event.newObject.register": 2}),
        json!({"user.uid": "bob", "user.displayName": "Bob", "user.groups": "editors"}),
        json!({"group": "editors", "groups": {"$in": ["editors"]}}),
        json!({"time": 42}),
    ] {
        assert!(holds(&subject, filter.clone()), "{filter}");
    }
    subject.class = EventClass::object(Action::Created);
    subject.old = None;
    subject.user = None;
    for filter in [
        json!({"event.object.data.title": "New", "data.object.id": 1}),
        json!({"event.newObject": {"$exists": false}}),
        json!({"user": {"$exists": false}, "group": {"$ne": "editors"}, "user.uid": {"$ne": "bob"}}),
    ] {
        assert!(holds(&subject, filter.clone()), "{filter}");
    }
    let narrow = Filter::parse(&json!({"event.object.id": 1})).unwrap();
    let document = Document::of_event(&subject, narrow.needs()).unwrap();
    let everything =
        Filter::parse(&json!({"event.object.data": {"$exists": true}, "data": {"$exists": true}})).unwrap();
    assert_eq!(everything.matches(&document), Ok(false));
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
    // Runaway expressions use it up too.
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
fn nesting_has_a_limit() {
    let nested = |depth: usize| (0..depth).fold(json!({"a": 1}), |inner, _| json!({"$not": inner}));
    assert!(Filter::parse(&nested(100)).is_ok());
    assert!(refusal(nested(200)).contains("nested deeper than 128 levels"));
    let document = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let error = Document::from_json(&document).unwrap_err();
    assert!(error.0.contains("nested deeper than 128 levels"), "{error}");
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

/// `operators.json` was written by PHP 8: for each operator a line for each value, a bit for each operand, as a
/// hexadecimal number after a leading 1; for `$mod` the remainders.
#[test]
fn every_value_beside_every_other_is_what_php_says() {
    let recorded: Json = serde_json::from_str(include_str!("../fixtures/operators.json")).unwrap();
    let values = recorded["values"].as_array().unwrap();
    let rows = |operator: &str| {
        recorded[operator]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row.as_str().unwrap())
    };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for operator in ["$e", "$lt", "$lte", "$gt", "$gte", "$in", "$all"] {
        for (value, row) in values.iter().zip(rows(operator)) {
            let document = json!({"v": value});
            let bits = row.chars().flat_map(|digit| {
                let digit = digit.to_digit(16).unwrap();
                (0..4).rev().map(move |bit| digit >> bit & 1 == 1)
            });
            for (operand, expected) in values.iter().zip(bits.skip_while(|bit| !bit).skip(1)) {
                let list = matches!(operator, "$in" | "$all");
                let operand = if list { json!([operand]) } else { operand.clone() };
                cases += 1;
                // A list of more than a few elements is searched in another way; the others equal nothing.
                let more = (operator == "$in" && !value.is_array() && *value != json!(true)).then(|| {
                    let never = json!({"never": "equal", "to": "this"});
                    (0..20)
                        .map(|_| never.clone())
                        .chain([operand[0].clone()])
                        .collect::<Json>()
                });
                for operand in [Some(operand), more].into_iter().flatten() {
                    let filter = json!({"v": {operator: operand}});
                    if eval(&filter, &document) != Ok(expected) {
                        wrong.push(format!("{filter} on {document} is not {expected}"));
                    }
                }
            }
        }
    }
    for (value, remainders) in values.iter().zip(rows("$mod")) {
        let divisors = [
            json!(2),
            json!(-3),
            json!(7),
            json!(2.9),
            json!("3"),
            json!(" 5x"),
        ];
        for (divisor, expected) in divisors.iter().zip(remainders.split(' ')) {
            let remainder: i64 = expected.parse().unwrap_or_default();
            let filter = json!({"v": {"$mod": [divisor, remainder]}});
            let answer = eval(&filter, &json!({"v": value})).map_err(|_| ());
            cases += 1;
            if answer != if expected == "error" { Err(()) } else { Ok(true) } {
                wrong.push(format!("{filter} on {value}: {answer:?}, not {expected}"));
            }
        }
    }
    assert!(cases > 50_000, "{cases}");
    assert!(
        wrong.is_empty(),
        "{} wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

/// The deepest value that a row may hold, with less than half of the stack that threads have.
#[test]
fn the_stack_is_enough() {
    let work = || {
        let levels = DEEPEST + AROUND;
        let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let state = parse_deep(&text, levels).unwrap();
        let seen = Value::from_state(&state).unwrap();
        drop(seen.clone());
    };
    let thread = std::thread::Builder::new().stack_size(STACK / 2).spawn(work);
    thread.unwrap().join().unwrap();
}
