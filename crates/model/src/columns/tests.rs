//! Column by column is as the whole at once.

use proptest::prelude::*;

use super::*;

fn json() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "1",
        "-0.50",
        "1E5",
        "12345678901234567890.10",
        "\"\"",
        "\"ä\"",
        "\"a\\\"b\"",
        "\"\\u0000\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ude00x\"",
        "\"\\\\ud800\"",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec(inner, 0..3).prop_map(|items| {
                let each = items.iter().enumerate();
                let each: Vec<String> = each.map(|(n, item)| format!("\"k{n}\" : {item}")).collect();
                format!("{{{}}}", each.join(", "))
            }),
        ]
    })
}

proptest! {
    /// Reading column by column gives what reading the text at once gives.
    #[test]
    fn a_column_has_the_value_that_it_has_in_the_whole(
        columns in prop::collection::vec((prop::sample::select(vec!["a", "_a", "b", "_uuid", "ü", "c\\n"]), json()), 0..6)
    ) {
        let each: Vec<String> = columns.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", each.join(","));
        let row = Row::read(&text).unwrap();
        let expected = whole(&text).unwrap();
        let read: Vec<_> = row.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
        let wanted: Vec<_> = expected.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        prop_assert_eq!(read, wanted);
        for name in ["a", "b", "uuid", "none"] {
            prop_assert_eq!(row.get(name), expected.get(name));
            prop_assert_eq!(row.get_underscored(name), expected.get(&format!("_{name}")));
        }
    }

    /// An image that is read beside another is as one that is read alone.
    #[test]
    fn beside_another_an_image_is_the_same(
        columns in prop::collection::vec((prop::sample::select(vec!["a", "_a", "b", "ü", "c\\n"]), json(), json()), 0..6),
        changed: u8, cut in prop::option::of(0..80_usize), space: bool
    ) {
        let image = |new: bool| {
            let each = columns.iter().enumerate();
            let each: Vec<String> = each
                .map(|(n, (name, old, other))| {
                    let value = if new && changed & (1 << n) != 0 { other } else { old };
                    format!("\"{name}\":{value}")
                })
                .collect();
            format!("{{{}}}", each.join(if space { ", " } else { "," }))
        };
        let (one, mut two) = (image(false), image(true));
        if let Some(cut) = cut.filter(|cut| two.is_char_boundary(*cut) && *cut < two.len()) {
            two.truncate(cut);
        }
        let other = Row::read(&one).unwrap();
        match (parse_row_beside(&two, &other), Row::read(&two)) {
            (Ok(row), Ok(alone)) => {
                prop_assert_eq!(&row, &alone);
                let names = |row: &Row| row.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
                prop_assert_eq!(names(&row), names(&alone));
                prop_assert_eq!(row.changed(&other).collect::<Vec<_>>(), alone.changed(&other).collect::<Vec<_>>());
                prop_assert_eq!(row.text(), alone.text());
            }
            (row, alone) => prop_assert_eq!(row.is_err(), alone.is_err()),
        }
    }

    /// Which columns differ, compared as values.
    #[test]
    fn columns_differ_if_their_values_do(
        old in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), json()), 0..3),
        new in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), json()), 0..3)
    ) {
        let text = |columns: &[(&str, String)]| {
            let each: Vec<String> = columns.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", each.join(","))
        };
        let (old, new) = (text(&old), text(&new));
        let changed: std::collections::BTreeSet<String> =
            Row::read(&new).unwrap().changed(&Row::read(&old).unwrap()).map(str::to_owned).collect();
        let (old, new) = (whole(&old).unwrap(), whole(&new).unwrap());
        let value = |row: &Map<String, Value>, name: &str| row.get(name).cloned().unwrap_or_default();
        let wanted: std::collections::BTreeSet<String> = ["a", "b", "c"]
            .into_iter()
            .filter(|name| value(&old, name) != value(&new, name))
            .map(str::to_owned)
            .collect();
        prop_assert_eq!(changed, wanted);
    }
}

#[test]
fn what_is_no_row_image_is_refused() {
    for text in [
        "",
        "[1]",
        "{",
        "{\"a\":1} x",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{\"a\":01}",
        "{\"a\":\"\u{1}\"}",
        "null",
    ] {
        assert!(Row::read(text).is_err(), "{text}");
        assert_eq!(
            Row::read(text).unwrap_err().to_string(),
            whole(text).unwrap_err().to_string()
        );
    }
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(Row::read(&nested(json::DEEPEST)).is_ok());
    assert!(Row::read(&nested(json::DEEPEST + 1)).is_err());
}
