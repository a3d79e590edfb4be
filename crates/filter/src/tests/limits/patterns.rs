//! Generates patterns, settings and texts for tests of cost.

use proptest::prelude::*;

/// A pattern made of pieces that affect its cost.
pub(crate) fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "c",
        ".",
        "[ab]",
        "[^b]",
        "\\w",
        "\\b",
        "^",
        "$",
        "\\d",
        "aa",
        "",
        "\\1",
        "\\R",
        "\\X",
        "é",
        "[[:alpha:]]",
        "\\z",
        "\\x61",
        "\\Qab\\E",
        "(?i)",
        "(?#c)",
        "\\K",
        "(?R)",
        "x|",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (
                inner.clone(),
                prop::sample::select(vec![
                    "*", "+", "?", "{2}", "{0,3}", "{7,}", "*?", "+?", "*+", "{1,40}"
                ])
            )
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
            (
                inner,
                prop::sample::select(vec!["(", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?(?=a)"])
            )
                .prop_map(|(part, open)| format!("{open}{part})")),
        ]
    })
}

pub(super) fn settings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "",
        "",
        "(*NO_JIT)",
        "(*LIMIT_MATCH=4000000000)",
        "(*CRLF)",
        "(*NO_START_OPT)",
    ])
}

pub(super) fn letters() -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec!["a", "ab", "aab ", "abc", "é", "aé\n", "1a", "A"]),
        0_usize..3000,
        ".{0,3}",
    )
        .prop_map(|(unit, times, end)| unit.repeat(times) + &end)
}
