//! What templates give, and what is refused and where.

mod hostile;

use serde_json::{Value as Json, json};

use super::allowed::{FILTERS, TESTS};
use super::*;

fn render(text: &str, data: &Json) -> Result<String, TemplateError> {
    Template::parse(text)?.render(data.as_object().unwrap())
}

fn rendered(text: &str, data: &Json) -> Json {
    serde_json::from_str(&render(text, data).unwrap()).unwrap()
}

fn fails(text: &str, data: &Json) -> String {
    render(text, data).unwrap_err().to_string()
}

#[test]
fn values_are_written_as_json() {
    let data = json!({"title": "He said \"no\"\n{{ 1 }} </script>", "count": 3, "big": 9_223_372_036_854_775_807_i64,
        "list": [1, "a", null, 1.5], "map": {"z": 1, "a": {"b": true}}, "empty": null});
    assert_eq!(
        rendered(
            r#"{"text": {{ "New: " ~ title }}, "n": {{ count - 1 }}, "big": {{ big }}}"#,
            &data
        ),
        json!({"text": "New: He said \"no\"\n{{ 1 }} </script>", "n": 2, "big": 9_223_372_036_854_775_807_i64})
    );
    assert_eq!(render("{{ map }}", &data).unwrap(), r#"{"z":1,"a":{"b":true}}"#);
    assert_eq!(render("{{ list }}", &data).unwrap(), r#"[1,"a",null,1.5]"#);
    assert_eq!(
        rendered(
            "[{% for item in list %}{{ item }}{% if not loop.last %},{% endif %}{% endfor %}]",
            &data
        ),
        json!([1, "a", null, 1.5])
    );
    // What is null is like what is not there, however deep.
    assert_eq!(rendered("{{ nothing.at.all }}", &data), Json::Null);
    assert_eq!(
        rendered(
            r#"[{{ nothing | default("-") }},{{ empty | default("-") }}]"#,
            &data
        ),
        json!(["-", "-"])
    );
    assert_eq!(rendered(r#"{{ "by " ~ empty.name }}"#, &data), json!("by "));
}

#[test]
fn lists_and_maps_are_looked_through() {
    let data = json!({"people": [{"name": "Ada", "age": 36}, {"name": "Bob", "age": null}], "map": {"b": 2, "a": "x"}});
    for (text, result) in [
        (
            r#"{{ people | map(attribute="name") | join(", ") }}"#,
            json!("Ada, Bob"),
        ),
        (
            r#"{{ (people | first).name ~ people[1].name ~ people | length }}"#,
            json!("AdaBob2"),
        ),
        (
            r#"[{% for p in people if p.age is defined %}{{ p.name }}{% endfor %}]"#,
            json!(["Ada"]),
        ),
        (
            r#"[{% for k, v in map | items %}{{ k }},{{ v }}{% if not loop.last %},{% endif %}{% endfor %}]"#,
            json!(["b", 2, "a", "x"]),
        ),
        (r#"{{ map | dictsort | first }}"#, json!(["a", "x"])),
        (
            r#"{{ people | selectattr("name", "startingwith", "B") | list | length }}"#,
            json!(1),
        ),
        (
            r#"{% set first = people[0] %}[{{ first == people[0] }},{{ "Ada" in first.name }},{{ "b" in map }}]"#,
            json!([true, true, true]),
        ),
        (r#"{{ "ab,c" | split(",") }}"#, json!(["ab", "c"])),
        (r#"{{ people[0].name[:2] | upper ~ "…" }}"#, json!("AD…")),
        (r#"{{ "a b/ü" | urlencode }}"#, json!("a%20b/%C3%BC")),
        (r#"{{ "x" if people else "y" }}"#, json!("x")),
        (
            "{% raw %}[\"{{ }}\"]{% endraw %}{# a comment #}",
            json!(["{{ }}"]),
        ),
    ] {
        assert_eq!(rendered(text, &data), result, "{text}");
    }
}

#[test]
fn lists_and_maps_are_equal_if_they_hold_the_same() {
    let data = json!({"a": {"x": [1, {"y": null}], "z": "t"}, "b": {"z": "t", "x": [1, {"y": null}]}, "c": {"x": [1, {"y": ""}], "z": "t"},
        "list": [["b"], ["a"], ["b"]], "numbers": [1, "1"]});
    for (text, result) in [
        ("{{ a == b }}", true),
        ("{{ a != c }}", true),
        ("{{ a.x == b.x and a.x != c.x }}", true),
        ("{{ list[0] == list[2] and list[0] != list[1] }}", true),
        (
            "{{ list[1] in list and (list | unique | list | length) == 2 }}",
            true,
        ),
        ("{{ numbers[0] == numbers[1] }}", false),
        ("{{ list == 'b' }}", false),
    ] {
        assert_eq!(rendered(text, &data), json!(result), "{text}");
    }
}

#[test]
fn a_template_is_known_to_read_the_user() {
    let names = |text: &str| Template::parse(text).unwrap().names_user();
    assert!(names("{{ user.uid }}") && names("{% if 'a' in groups %}1{% else %}2{% endif %}"));
    assert!(!names("{{ data.user }}") && !names("{{ event }}"));
}

#[test]
fn faults_name_their_place() {
    let data = json!({"title": "a text of an object", "count": 3});
    for (text, place, message) in [
        ("{\"a\":\n  {{ title ~ }}}", "line 2, column ", "unexpected"),
        ("{{ title | nosuch }}", "line 1, column 12: ", "nosuch is unknown"),
        (
            "{{ title is nosuch }}",
            "line 1, column 13: ",
            "nosuch is unknown",
        ),
        (
            "1\n{{ count }}\n {{ title - count }}",
            "line 3, column ",
            "another type",
        ),
        ("{{ title", "line 1, column ", "unexpected"),
        ("{% if 1 %}", "line 1, column ", "unexpected"),
        ("\"{{ title }}\"", "what it gives is not JSON: ", "line 1"),
        ("", "what it gives is not JSON: ", "EOF"),
        ("{{ title | default(1, 2, 3) }}", "line 1, column ", "argument"),
    ] {
        let error = fails(text, &data);
        assert!(
            error.starts_with(place) && error.contains(message),
            "{text:?}: {error}"
        );
        assert!(!error.contains("of an object"), "{text:?}: {error}");
    }
    let long = "x".repeat(LONGEST + 1);
    assert!(fails(&long, &data).contains("may have 32768"));
}

#[test]
fn what_could_grow_is_refused_where_it_stands() {
    for (text, column, message) in [
        ("{{ count + 1 }}", 10, "not available"),
        ("{{ 'x' * 10 }}", 8, "not available"),
        ("{{ 2 ** 10 }}", 6, "not available"),
        ("{{ [title] }}", 4, "a list"),
        ("{{ a and [a] }}", 10, "a list"),
        ("{{ a if b else [a] }}", 16, "a list"),
        ("{{ a is in [a] }}", 12, "a list"),
        ("{{ (a, a) }}", 6, "a list"),
        ("{{ a, a }}", 5, "a list"),
        ("{{ a[a, a] }}", 7, "a list"),
        ("{{ a | default((a, a)) }}", 18, "a list"),
        ("{{ {'a': 1} }}", 4, "a list or map"),
        ("{% set a, b = c %}", 9, "a list"),
        ("{% for a in b, c %}{% endfor %}", 14, "a list"),
        ("{{ range(5) }}", 9, "functions"),
        ("{{ loop(x) }}", 8, "functions"),
        ("{{ a.b(c) }}", 7, "functions"),
        ("{{ (a)(c) }}", 7, "functions"),
        ("{{ a | batch(2) }}", 8, "batch is unknown"),
        ("{{ a | tojson }}", 8, "not needed"),
        ("{{ a | safe }}", 8, "not needed"),
        ("{{ a is none }}", 9, "is undefined"),
        ("{{ a == None }}", 9, "is defined"),
        ("{{ a | first.b }}", 13, "parentheses"),
        ("{% include 'x' %}", 4, "include is not available"),
        ("{% set a %}x{% endset %}", 16, "endset is not available"),
        ("{% filter upper %}{% endfilter %}", 4, "filter is not available"),
        ("{% with a = 1 %}{% endwith %}", 4, "with is not available"),
        ("{% macro a() %}{% endmacro %}", 4, "macro is not available"),
        (
            "{% autoescape false %}{% endautoescape %}",
            4,
            "autoescape is not available",
        ),
        ("{% call a() %}{% endcall %}", 4, "call is not available"),
        ("{% do a %}", 4, "do is not available"),
    ] {
        let error = Template::parse(text).unwrap_err().to_string();
        let place = format!("line 1, column {column}: ");
        assert!(
            error.starts_with(&place) && error.contains(message),
            "{text}: {error}"
        );
    }
    // The engine's own `map` takes the name of any filter.
    assert!(fails("{{ a | map('batch', 2) }}", &json!({"a": [1]})).starts_with("line 1, column "));
}

#[test]
fn a_test_is_reached_by_its_name_only_if_a_template_may_use_it() {
    let data = json!({"l": [{"n": 1}, {"n": 2}], "n": [1, 2, 3]});
    assert_eq!(rendered("{{ n | select('odd') | list }}", &data), json!([1, 3]));
    assert_eq!(
        rendered("{{ l | rejectattr('n', 'even') | map(attribute='n') }}", &data),
        json!([1])
    );
    for name in ["sameas", "filter", "test", "eq", "none", "lt", "escaped"] {
        let error = fails(&format!("{{{{ n | select('{name}', 1) }}}}"), &data);
        assert!(error.contains("no test of this name"), "{name}: {error}");
        assert!(fails(&format!("{{{{ l | selectattr('n', '{name}') }}}}"), &data).contains("no test"));
    }
}

#[test]
fn lists_are_sorted_and_compared_without_regard_to_case() {
    let data = json!({"l": ["b", "A", "a", "C"], "p": [{"n": "B", "a": 2}, {"n": "a", "a": 2}, {"n": "c", "a": 1}],
        "m": {"b": 1, "A": 2}});
    for (text, result) in [
        ("{{ l | sort }}", json!(["A", "a", "b", "C"])),
        (
            "{{ l | sort(case_sensitive=true, reverse=true) }}",
            json!(["b", "a", "C", "A"]),
        ),
        ("{{ l | unique }}", json!(["b", "A", "C"])),
        ("{{ l | unique(case_sensitive=true) | list | length }}", json!(4)),
        ("{{ (l | min) ~ (l | max) }}", json!("AC")),
        (
            "{{ p | sort(attribute='a, n') | join('-', attribute='n') }}",
            json!("c-a-B"),
        ),
        ("{{ (p | max(attribute='a')).n }}", json!("B")),
        ("{{ m | dictsort }}", json!([["A", 2], ["b", 1]])),
        (
            "{{ m | dictsort(by='value') | map(attribute='0') | list | length }}",
            json!(2),
        ),
        ("{{ nothing | sort }}", json!([])),
    ] {
        assert_eq!(rendered(text, &data), result, "{text}");
    }
}

/// Every filter and test exists, and none of them puts a value of the data into its message.
#[test]
fn no_error_shows_the_data() {
    let data = json!({"text": "secret-a", "map": {"secret-b": "secret-c"}, "list": ["secret-d", {"secret-e": 1}], "number": 424_242});
    let filters = FILTERS.map(|name| format!("| {name}"));
    let tests = TESTS.map(|name| format!("is {name}"));
    let mut failed = 0;
    for operator in [
        "~", "-", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or",
    ] {
        for a in ["text", "map", "list", "number", "nothing", "0"] {
            for b in ["text", "map", "list", "number", "nothing", "0"] {
                for text in [
                    format!("{{% set x = {a} {operator} {b} %}}1"),
                    format!("{{% for x, y in {a} %}}{{{{ -({a} {operator} {b}) }}}}{{% endfor %}}1"),
                    format!("{{% set x = {a}[{b}:{a}] %}}1"),
                ] {
                    if let Err(error) = render(&text, &data) {
                        failed += 1;
                        let error = error.to_string();
                        assert!(
                            !error.contains("secret") && !error.contains("424242"),
                            "{text}: {error}"
                        );
                    }
                }
            }
        }
    }
    for applied in filters.iter().chain(&tests) {
        for argument in [
            "",
            "(text)",
            "(map, list)",
            "(attribute=text)",
            "(number, text, map, 1, 2)",
        ] {
            for value in ["text", "map", "list", "number", "nothing"] {
                let text = format!("{{{{ {value} {applied}{argument} }}}}");
                if let Err(error) = render(&text, &data) {
                    failed += 1;
                    let error = error.to_string();
                    assert!(
                        !error.contains("secret") && !error.contains("424242"),
                        "{text}: {error}"
                    );
                    assert!(!error.contains("is unknown"), "{text}: {error}");
                }
            }
        }
    }
    assert!(failed > 100, "{failed}");
}
