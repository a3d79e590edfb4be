//! What runs with the owner's rights and without a pinned search path names the schema of everything: a session's search path then
//! decides nothing.

use orw_testkit::Generation;

use crate::support::capture::Scene;

/// Constructs that are no functions although a parenthesis follows.
const NO_FUNCTIONS: [&str; 5] = ["values", "coalesce", "operator", "and", "or"];
/// Constructs that find an operator by the search path.
const BY_SEARCH_PATH: [&str; 9] = [
    "in", "like", "ilike", "similar", "between", "nullif", "distinct", "any", "all",
];

/// What finds something by the search path in the source of a PL/pgSQL function; empty: nothing.
fn by_search_path(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("--").next().unwrap())
        .collect();
    // Without texts: every second part.
    let code: Vec<String> = code.join(" ").split('\'').step_by(2).map(str::to_owned).collect();
    let mut code = code.join("''").to_lowercase();
    for fine in [
        "in row exclusive mode",
        ":=",
        "operator(pg_catalog.",
        "when others",
    ] {
        let instead = if fine.starts_with("operator") {
            "qualified("
        } else {
            "fine"
        };
        code = code.replace(fine, instead);
    }
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(place) = rest.find("qualified(") {
        let end = rest[place..].find(')').unwrap() + place;
        check(&rest[..place], &mut found);
        rest = &rest[end + 1..];
    }
    check(rest, &mut found);
    found
}

fn check(code: &str, found: &mut Vec<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '"' | '$');
    for (at, c) in code.char_indices() {
        if "<>=&|+-*/%~!@#^?`".contains(c) {
            found.push(format!("the operator {c}"));
        }
        let before = code[..at].trim_end();
        let start = before.rfind(|c| !is_name(c)).map_or(0, |place| place + 1);
        let name = &before[start..];
        let qualified = name.starts_with("pg_catalog.") || name.starts_with("openregister_webhooks.");
        if c == '(' && !name.is_empty() && !qualified && !NO_FUNCTIONS.contains(&name) {
            // A table's columns follow INSERT INTO; there are none here.
            found.push(format!("the function {name}"));
        }
    }
    let words: Vec<&str> = code
        .split(|c| !is_name(c))
        .filter(|word| !word.is_empty())
        .collect();
    found.extend(
        words
            .iter()
            .filter(|word| BY_SEARCH_PATH.contains(word))
            .map(|word| format!("the word {word}")),
    );
    for pair in words.windows(2) {
        if pair[0] == "case" && pair[1] != "when" {
            found.push("a CASE that compares".to_owned());
        }
    }
    // A type follows a cast; declarations are `name type;`. What the grammar knows as a type needs no schema.
    for cast in code.split("::").skip(1) {
        if !["pg_catalog.", "bigint"]
            .iter()
            .any(|fine| cast.starts_with(fine))
        {
            found.push(format!(
                "the type {}",
                cast.split_whitespace().next().unwrap_or_default()
            ));
        }
    }
    if let Some((_, declarations)) = code.split_once("declare") {
        for declaration in declarations.split("begin").next().unwrap().split(';') {
            let declared: Vec<&str> = declaration.split_whitespace().collect();
            if declared.len() > 1 && !declared[1].starts_with("pg_catalog.") {
                found.push(format!("the type of {}", declared[0]));
            }
        }
    }
}

#[tokio::test]
async fn what_has_no_search_path_of_its_own_needs_none() {
    for (hostile, what) in [
        ("DECLARE x text; BEGIN", "the type of x"),
        ("a := b + 1", "the operator +"),
        ("a := length(b)", "the function length"),
        ("a := b IN (1)", "the word in"),
        ("CASE a WHEN 1 THEN 2 END", "a CASE that compares"),
        ("a := b::text", "the type text"),
    ] {
        assert!(by_search_path(hostile).contains(&what.to_owned()), "{hostile}");
    }
    let scene = Scene::new(Generation::V0_2_13).await;
    let functions = scene
        .client
        .query(
            "SELECT p.proname::text, p.prosrc FROM pg_proc p WHERE p.pronamespace = 'openregister_webhooks'::regnamespace \
             AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=pg_catalog, pg_temp') ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let mut names = Vec::new();
    for function in &functions {
        let (name, source): (String, String) = (function.get(0), function.get(1));
        assert_eq!(by_search_path(&source), Vec::<String>::new(), "{name}");
        names.push(name);
    }
    assert_eq!(
        names,
        ["capture_audit", "capture_object", "kinds", "outbox_limit", "slot"]
    );
    scene.capture.stop().await;
}
