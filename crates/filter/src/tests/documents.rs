//! Documents of events, and references.

use orw_model::json::{AROUND, DEEPEST, STACK, parse_deep};
use serde_json::{Value as Json, json};

use crate::{Document, Filter, State, Subject, User, Value};

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
    let moved = json!({"field": "status", "from": "draft", "to": "published", "action": null, "declaredActions": ["publish"]});
    let mut subject = Subject {
        class: EventClass::object(Action::Updated),
        current: state(&new),
        old: Some(state(&old)),
        transition: None,
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
    subject.class = EventClass::object(Action::Transitioned);
    subject.transition = Some(&moved);
    for filter in [
        json!({"event.transition.to": "published", "event.object.data.title": "New"}),
        json!({"data.transition.from": {"$in": ["draft"]}, "event.transition.declaredActions": "publish"}),
        json!({"event.transition.action": {"$exists": false}}),
    ] {
        assert!(holds(&subject, filter.clone()), "{filter}");
    }
    assert!(!holds(&subject, json!({"event.transition.to": "draft"})));
    let narrow = Filter::parse(&json!({"event.object.id": 1})).unwrap();
    let document = Document::of_event(&subject, narrow.needs()).unwrap();
    let everything =
        Filter::parse(&json!({"event.object.data": {"$exists": true}, "data": {"$exists": true}})).unwrap();
    assert_eq!(everything.matches(&document), Ok(false));
}

/// The deepest value that a row may hold needs less than half of a thread's stack.
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
