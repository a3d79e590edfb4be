use super::*;

#[test]
fn paths_of_the_document_pass() {
    for path in [
        "event.class",
        "event.object",
        "event.object.register",
        "event.object.data.items.x",
        "event.newObject.data.count",
        "event.oldRegister.title",
        "data.object.data.title",
        "user",
        "user.uid",
        "user.displayName",
        "user.groups",
        "group",
        "groups",
        "time",
        "event.conversation.title",
        "event.transition.to",
        "data.transition.declaredActions",
    ] {
        assert_eq!(super::path(path, None), None, "{path}");
    }
}

#[test]
fn paths_that_never_match_are_named_with_what_was_meant() {
    for (path, part) in [
        ("object.register", "did you mean event.object.register?"),
        ("user.id", "did you mean user.uid?"),
        ("user.name", "did you mean user.uid?"),
        ("user.displayname", "did you mean user.displayName?"),
        ("users.uid", "did you mean user.uid?"),
        ("evnt.object", "did you mean event.object?"),
        ("event.objct.register", "did you mean event.object.register?"),
        ("event.newobject.id", "did you mean event.newObject.id?"),
        ("newobject.id", "did you mean event.newObject.id?"),
        ("event.user.uid", "no document has event.user"),
        ("event.class.x", "nothing below it"),
        ("time.x", "nothing below it"),
        ("user.uid.x", "nothing below it"),
        ("group.0", "cannot be evaluated"),
        ("event.object.data.tags.0", "does not select an element"),
        ("event.object.data.items[0].x", "does not select an element"),
        ("", "at its top"),
        (" user.uid", "white space"),
        ("transition.to", "did you mean event.transition.to?"),
        (
            "event.transition.target",
            "it has field, from, to, action, declaredActions",
        ),
        ("event.object.title", "did you mean event.object.data.title?"),
        (
            "data.newObject.tags.x",
            "did you mean data.newObject.data.tags.x?",
        ),
    ] {
        let warning = super::path(path, None).unwrap_or_default();
        assert!(warning.contains(part), "{path}: {warning}");
    }
}

#[test]
fn paths_that_no_subscribed_event_has_are_named() {
    let of = |pattern: &str, path: &str| {
        let classes: Vec<_> = EventClass::all()
            .filter(|class| class.to_string().contains(pattern))
            .collect();
        super::path(path, Some(&classes))
    };
    for (pattern, path, part) in [
        (
            "ObjectCreated",
            "event.newObject.data.count",
            "did you mean event.object.data.count?",
        ),
        (
            "ObjectDeleted",
            "data.oldObject.id",
            "did you mean data.object.id?",
        ),
        (
            "ObjectCreated",
            "event.register.title",
            "(they have event.object)",
        ),
        (
            "RegisterUpdated",
            "event.newObject.id",
            "(they have event.newRegister, event.oldRegister, event.register)",
        ),
        ("Register", "event.object", "never matches"),
        ("ObjectUpdated", "event.transition.to", "none of the events"),
    ] {
        let warning = of(pattern, path).unwrap_or_default();
        assert!(warning.contains(part), "{pattern}, {path}: {warning}");
    }
    for (pattern, path) in [
        ("ObjectUpdated", "event.object.register"),
        ("ObjectUpdated", "event.newObject.data.anything.at.all"),
        ("Object", "event.oldObject.data.newObject"),
        ("ObjectCreated", "event.object.data.register.title"),
        ("RegisterUpdated", "event.register.whateverColumn"),
        ("Register", "event.oldRegister.configuration.x"),
        ("ObjectLocked", "event.object.lock.user"),
        ("Created", "event.view.query.x"),
        ("Transitioned", "data.transition.from"),
        ("ObjectCreated", "user.uid"),
        ("ObjectCreated", "event.class"),
    ] {
        assert_eq!(of(pattern, path), None, "{pattern}, {path}");
    }
}
