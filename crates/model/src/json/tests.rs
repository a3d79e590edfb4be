//! JSON of users is read and written unchanged, at any depth.

use proptest::prelude::*;

use super::*;

const RAW: &str = "$serde_json::private::RawValue";

#[test]
fn the_keys_of_serde_json_are_ordinary_ones() {
    for key in [NUMBER, RAW] {
        for value in [
            "\"12\"",
            "\"1e5\"",
            "\"many\"",
            "\"\\u0031\"",
            "\"[1,2]\"",
            "12",
            "1.50",
            "null",
            "true",
            "[]",
            "[1,{}]",
            "{}",
            "{\"a\":1}",
        ] {
            let plain = value.replace("\\u0031", "1");
            for (text, back) in [
                (format!("{{\"{key}\":{value}}}"), format!("{{\"{key}\":{plain}}}")),
                (
                    format!("{{\"{key}\":{value},\"b\":2}}"),
                    format!("{{\"{key}\":{plain},\"b\":2}}"),
                ),
                (
                    format!("{{\"a\":[{{\"{key}\":{value}}}]}}"),
                    format!("{{\"a\":[{{\"{key}\":{plain}}}]}}"),
                ),
                (
                    format!("{{\"\\u0024{}\":{value}}}", &key[1..]),
                    format!("{{\"{key}\":{plain}}}"),
                ),
                (
                    format!("{{\"{key}\":{{\"{key}\":{value}}}}}"),
                    format!("{{\"{key}\":{{\"{key}\":{plain}}}}}"),
                ),
            ] {
                assert_eq!(parse(&text).unwrap().to_string(), back, "{text}");
                assert_eq!(parse_bytes(text.as_bytes()).unwrap().to_string(), back, "{text}");
                assert_eq!(
                    Value::Object(parse_object(&text).unwrap()).to_string(),
                    back,
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn numbers_keep_their_digits() {
    for text in [
        "0",
        "-0",
        "12345678901234567890123",
        "1.50",
        "-1e-400",
        "1E+2",
        "[1,-2.0,3e4]",
    ] {
        let value = parse(text).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap(), "{text}");
    }
    assert_eq!(
        parse("12345678901234567890123").unwrap().to_string(),
        "12345678901234567890123"
    );
    assert_eq!(parse("7").unwrap().as_i64(), Some(7));
    assert!(parse("[0.5]").unwrap()[0].is_f64());
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        "{",
        "{\"a\":}",
        "01",
        "1.",
        "[1,]",
        "\"\\ud800\"",
        "nul",
        "{} {}",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    for text in ["1", "\"a\"", "[]", "null", "true"] {
        assert!(
            parse_object(text)
                .unwrap_err()
                .to_string()
                .contains("is not an object"),
            "{text}"
        );
    }
    let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&deep(127)).is_ok());
    assert!(parse(&deep(128)).is_err());
}

/// `levels` objects in each other, around 1.
fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

#[test]
fn rows_may_nest_deeper_than_what_people_send() {
    let text = nested(DEEPEST);
    assert!(parse(&text).is_err());
    assert_eq!(parse_deep(&text, DEEPEST).unwrap().to_string(), text);
    assert_eq!(
        Value::Object(parse_deep_object(&text, DEEPEST).unwrap()).to_string(),
        text
    );
    let error = parse_deep(&nested(DEEPEST + 1), DEEPEST).unwrap_err();
    assert_eq!(error.to_string(), "nested deeper than 1000 levels");
    assert!(
        parse_deep_object(&format!("[{}]", nested(200)), DEEPEST)
            .unwrap_err()
            .to_string()
            .contains("not an object")
    );
    // The errors of a shallow text are `serde_json`'s.
    assert!(
        parse_deep("{\"a\":}", DEEPEST)
            .unwrap_err()
            .to_string()
            .contains("line 1 column")
    );
}

/// Everything that walks the deepest value recursively needs less than half of a thread's stack.
#[test]
fn the_stack_is_enough() {
    let work = || {
        let value = parse_deep(&nested(DEEPEST + AROUND), DEEPEST + AROUND).unwrap();
        let copy = value.clone();
        assert_eq!(copy, value);
        assert_eq!(copy.to_string().len(), value.to_string().len());
        // Masking and writing an entity walk it, too.
        let row =
            crate::parse_row(&format!("{{\"id\":1,\"configuration\":{}}}", nested(DEEPEST - 1))).unwrap();
        let kind = crate::EntityKind::Agent;
        let entity = crate::other_entity(kind, &row);
        let again = crate::Entity::from_text(&entity.to_text()).unwrap();
        assert_eq!(again, entity);
    };
    let thread = std::thread::Builder::new().stack_size(STACK / 2).spawn(work);
    thread.unwrap().join().unwrap();
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::String),
    ];
    let key = prop_oneof![3 => ".{0,5}", 1 => Just(NUMBER.to_owned()), 1 => Just(RAW.to_owned())];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in values()) {
        let text = value.to_string();
        prop_assert_eq!(parse(&text).unwrap().to_string(), text.clone());
        prop_assert_eq!(parse_bytes(text.as_bytes()).unwrap().to_string(), text);
    }
}
