//! What templates give, what is refused and where, and that nothing takes them beyond their limits.

use serde_json::{Value as Json, json};

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
        "list": [1, "a", null], "map": {"z": 1, "a": {"b": true}}});
    assert_eq!(
        rendered(
            r#"{"text": {{ "New: " ~ title }}, "n": {{ count - 1 }}, "big": {{ big }}}"#,
            &data
        ),
        json!({"text": "New: He said \"no\"\n{{ 1 }} </script>", "n": 2, "big": 9_223_372_036_854_775_807_i64})
    );
    assert_eq!(
        rendered("{{ map }}", &data).to_string(),
        r#"{"z":1,"a":{"b":true}}"#
    );
    assert_eq!(
        rendered(
            r#"[{% for item in list %}{{ item }}{% if not loop.last %},{% endif %}{% endfor %}]"#,
            &data
        ),
        json!([1, "a", null])
    );
    // What is not there is null, however deep.
    assert_eq!(rendered("{{ nothing.at.all }}", &data), Json::Null);
    assert_eq!(rendered(r#"{{ nothing | default("-") }}"#, &data), json!("-"));
}

#[test]
fn a_template_is_known_to_read_the_user() {
    let names = |text: &str| Template::parse(text).unwrap().names_user();
    assert!(names("{{ user.uid }}") && names("{% if 'a' in groups %}1{% else %}2{% endif %}"));
    assert!(!names("{{ data.user }}") && !names("{{ event }}"));
}

#[test]
fn faults_name_their_place() {
    let data = json!({"title": "secret of an object", "count": 3});
    for (text, place, message) in [
        ("{\"a\":\n  {{ title ~ }}}", "line 2, column ", "unexpected"),
        ("{{ count + 1 }}", "line 1, column 10: ", "not available"),
        ("{{ [title] }}", "line 1, column 4: ", "a list"),
        ("{{ (title, title) }}", "line 1, column ", "a list"),
        ("{{ title, title }}", "line 1, column ", "a list"),
        ("{% set a = title %}", "line 1, column 4: ", "not available"),
        ("{{ title | nosuch }}", "line 1, column ", "nosuch is unknown"),
        ("1\n{{ count }}\n {{ title - count }}", "line 3, column ", "-"),
        ("{% include 'x' %}", "line 1, column ", "include"),
        ("{{ debug() }}", "line 1, column ", "unknown"),
        ("\"{{ title }}\"", "what it gives is not JSON: ", "line 1"),
        ("", "what it gives is not JSON: ", "EOF"),
        ("{{ title | safe }}", "what it gives is not JSON: ", "line 1"),
    ] {
        let error = fails(text, &data);
        assert!(
            error.starts_with(place) && error.contains(message),
            "{text:?}: {error}"
        );
        assert!(!error.contains("secret"), "{text:?}: {error}");
    }
    let long = "x".repeat(LONGEST + 1);
    assert!(fails(&long, &data).contains("may have 32768"));
}

/// Templates that want too much, each with a hole for a piece of another one.
const GREEDY: [&str; 20] = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{{ § }}{% endfor %}{% endfor %}",
    "{% set s = 'xxxxxxxxxxxxxxxx' %}{% for i in range(60) %}{% set s = s ~ s ~ § %}{% endfor %}{{ s }}",
    "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s ~ § }}",
    "{{ 'x' * 1000000000 ~ § }}",
    "{{ ('x' * 100000) * 100000 }}",
    "{{ [§] * 1000000000 }}",
    "{{ range(1000000000) | list }}",
    "{{ ('a' * 10000) | replace('a', 'b' * 10000) | length + § }}",
    "{{ (range(50000) | list) | join('x' * 10000) }}",
    "{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 ~ § }}",
    "{{ 999999999999999999999999999999999999999 * 999999999999999999999999999 }}",
    "{{ text | indent(1000000000) }}",
    "{{ '%1000000000d' | format(§) }}",
    "{{ (range(20000) | list | sort(reverse=true)) | unique | list | length }}",
    "{{ list | batch(1000000000, §) | list }}",
    "{{ list | slice(1000000000) | list }}",
    "{% for x in deep recursive %}{{ loop(x) }}{% endfor %}{{ § }}",
    "{{ deep | tojson(indent=1000000) }}",
    "{{ text | urlencode | upper | lower | title | trim | reverse | list | length }}",
    "{% filter upper %}{% for i in range(1000000) %}{{ text }}{% endfor %}{% endfilter %}{{ § }}",
];
const PIECES: [&str; 10] = [
    "1",
    "text",
    "deep",
    "list",
    "'x' * 65536",
    "range(100000)",
    "(text ~ text)",
    "{'a': list, 'b': deep}",
    "nothing.at.all",
    "((((((((((1))))))))))",
];

/// Objects that are large, deep, wide, or odd.
fn hostile_data(n: usize) -> Json {
    let mut deep = json!([1]);
    for _ in 0..(n * 37) % 900 {
        deep = json!([deep]);
    }
    let text = ["\u{0}\"\\\u{202e}{{ 1 }}{% endfor %}", "💥", "x"][n % 3].repeat((n * 997) % 20_000 + 1);
    let list: Vec<Json> = (0..(n * 31) % 3_000).map(|i| json!({"n": i, "t": "y"})).collect();
    json!({"text": text, "deep": deep, "list": list})
}

/// The CPU time that this thread has used.
fn cpu() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(
        u64::try_from(now.tv_sec).unwrap(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// On a thread with the stack that the program's threads have.
fn with_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(orw_model::json::STACK)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_thousand_hostile_templates_stay_within_their_limits() {
    // In a process of its own, so that its memory is not that of other tests.
    const ALONE: &str = "ORW_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "template::tests::a_thousand_hostile_templates_stay_within_their_limits";
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{told}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(told.contains("1000 templates"), "{told}");
        return;
    }
    with_stack(|| {
        let (mut most, mut failed) = (std::time::Duration::ZERO, 0);
        for n in 0..1000 {
            let (greedy, piece) = (GREEDY[n % GREEDY.len()], PIECES[n / GREEDY.len() % PIECES.len()]);
            let mut text = greedy.replace('§', piece);
            if n % 7 == 0 {
                // Cut anywhere: what is left may be no template.
                text.truncate(text.floor_char_boundary(text.len() - (n / 7) % text.len()));
            }
            let begun = cpu();
            match render(&text, &hostile_data(n)) {
                Ok(body) => assert!(body.len() <= LARGEST, "{text}"),
                Err(error) => {
                    failed += 1;
                    assert!(error.to_string().len() < 2_000, "{text}: {error}");
                }
            }
            let took = cpu() - begun;
            most = most.max(took);
            // CPU time, so a busy machine makes no difference. An optimised build takes milliseconds.
            assert!(took < std::time::Duration::from_secs(5), "{text} took {took:?}");
        }
        assert!(failed > 500, "{failed}");
        let peak = peak();
        assert!(peak < 256 * 1024, "{peak} KiB");
        println!("1000 templates: {failed} failed, the longest took {most:?}, peak {peak} KiB");
    });
}

#[test]
fn what_is_nested_deep_is_refused_or_rendered_and_never_breaks_the_stack() {
    with_stack(|| {
        let data = hostile_data(24);
        assert!(render("{{ deep }}", &data).is_ok());
        for (open, close) in [("(", ")"), ("[", "]"), ("-", "1"), ("not ", "1"), ("{'a':", "}")] {
            let text = format!("{{{{ {}1{} }}}}", open.repeat(3_000), close.repeat(3_000));
            let _ = render(&text, &data);
        }
        let blocks = format!("{}1{}", "{% if 1 %}".repeat(1_000), "{% endif %}".repeat(1_000));
        let _ = render(&blocks, &data);
        let chain = format!("{{{{ text{} }}}}", "|upper".repeat(4_000));
        let _ = render(&chain, &data);
        let dots = format!("{{{{ text{} }}}}", ".a".repeat(10_000));
        let _ = render(&dots, &data);
    });
}
