//! What is refused, and what is warned of.

use serde_json::{Value as Json, json};

use crate::{Document, Filter};

fn refusal(filter: Json) -> String {
    Filter::parse(&filter).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_place() {
    for (filter, start, part) in [
        (json!({"a": {"$eq": 1}}), "a.$eq: ", "did you mean $e?"),
        (
            json!({"$or": [{}, {"user.uid": {"$gt": 1, "$foo": 2}}]}),
            "$or[1].user.uid.$foo: ",
            "is not an operator",
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
        (json!({"a": {"$mod": ["x", 1]}}), "a.$mod: ", "is not a number"),
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
        (json!({"time": {"$mod": [2, "0"]}}), "is not an integer"),
    ] {
        let filter = Filter::parse(&filter).unwrap();
        assert!(filter.warnings()[0].contains(part), "{:?}", filter.warnings());
    }
    let fine = json!({"user.uid": "bob", "group": "editors", "event.object.data.title": "/^A/i"});
    assert!(Filter::parse(&fine).unwrap().warnings().is_empty());
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
