//! Templates and objects that want too much: a thousand stay within their limits.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::allowed::{FILTERS, TESTS};
use super::*;

/// Templates that want too much, each with a hole for a piece of another one.
const GREEDY: [&str; 32] = [
    "{% for a in list %}{% for b in list %}{% for c in list %}{{ § }}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in text %}{% for b in text %}{{ § ~ a }}{% endfor %}{% endfor %}",
    "{% set s = text ~ text %}{% set s = s ~ s %}{% set s = s ~ s %}{% set s = s ~ s %}{% set s = s ~ s %}{{ s ~ § }}",
    "{% set s = text %}{% for a in list %}{% set s = s ~ s %}{{ s == § }}{% endfor %}",
    "{% for a in list %}{% for b in list %}{{ deep == deep2 }}{{ § == deep }}{% endfor %}{% endfor %}",
    "{% for a in list %}{% for b in list %}{{ text == text2 }}{{ text < text2 }}{{ § }}{% endfor %}{% endfor %}",
    "{% for a in list %}{% for b in list %}{{ deep in list }}{{ list == list2 }}{{ § in list }}{% endfor %}{% endfor %}",
    "{{ text | replace('', text) | replace('', text) | replace('', text) | length }}",
    "{{ list | join(text) | split('') | join(text) }}",
    "{{ text | split('') | join(text ~ §) }}",
    "{{ text | urlencode | urlencode | urlencode | urlencode | urlencode | urlencode | urlencode ~ § }}",
    "{{ text | list | reverse | sort | unique | list | join(text) }}",
    "{{ list | sort(attribute='n', reverse=true) | map(attribute='t') | join(text) }}",
    "{% for a in list %}{{ list | sort(attribute='t') | unique | list | length }}{{ § }}{% endfor %}",
    "{% for a in list %}{{ text[::-1][::2][1:] }}{{ text[5:] ~ § }}{% endfor %}",
    "{% for a in list %}{{ list[::-1] | first }}{{ list[1:] | length }}{{ § }}{% endfor %}",
    "{% for k, v in wide | items %}{% for a, b in wide | dictsort %}{{ k ~ a }}{{ § }}{% endfor %}{% endfor %}",
    "{% for a in list %}{{ deep }}{{ wide }}{{ § }}{% endfor %}",
    "{{ deep ~ deep ~ deep ~ deep ~ deep ~ deep ~ § }}",
    "{{ list ~ list ~ wide ~ wide | length }}{{ § }}",
    "{% for a in list %}{{ (list | max) == (list | min) }}{{ wide | length ~ § }}{% endfor %}",
    "{{ 999999999999999999999999999999999999999 - -999999999999999999999999999 - 1 // 0 % § }}",
    "{{ text | round(1000000000) ~ (1e308 - -1e308) / § }}",
    "{{ text | title | capitalize | lower | upper | trim | trim(text) | lines | list | length - § }}",
    "{% set l = (text ~ 'ΣΣΣΣ') | split(',') | list %}{% for a in list %}{% if l | unique %}{% endif %}{{ § }}{% endfor %}",
    "{% set l = (text ~ ',' ~ text) | split(',') | list %}{% for a in list %}{% if l | sort %}{% endif %}{{ § }}{% endfor %}",
    "{% set l = (text ~ ',' ~ text) | split(',') | list %}{% for a in list %}{% if l | max == l | min %}{% endif %}{{ § }}{% endfor %}",
    "{% for a in list %}{% if wide | dictsort(by='value') %}{% endif %}{{ § }}{% endfor %}",
    "{% for a in list %}{% if list | sort(attribute='n.n.n.n.n.n.n.n,t,t,t,t,t,t') %}{% endif %}{{ § }}{% endfor %}",
    "{% for a in list %}{{ text[5:6] ~ text[-2] ~ § }}{% endfor %}",
    "{% for a in list %}{% if list | selectattr('t', 'in', text) %}{% endif %}{{ § }}{% endfor %}",
    "{{ (text ~ text) is endingwith(text) and (text ~ §) is startingwith(text ~ text) or text in text2 ~ text }}",
];
const PIECES: [&str; 10] = [
    "1",
    "text",
    "deep",
    "list",
    "wide",
    "(text ~ text)",
    "nothing.at.all",
    "((((((((((1))))))))))",
    "deep[0][0][0][0]",
    "(text | split(''))",
];

/// How many different objects there are; a prime, so that every template meets most of them.
const OBJECTS: usize = 13;

/// A number from another, as good as drawn.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// An expression of the allowed language.
    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self
                .of(&[
                    "text",
                    "deep",
                    "list",
                    "wide",
                    "text2",
                    "item",
                    "made",
                    "'ü'",
                    "0",
                    "7",
                    "-1",
                    "2.5",
                    "nothing.x",
                    "loop.index",
                ])
                .to_owned();
        }
        match self.below(8) {
            0 | 1 => {
                let operator = self.of(&[
                    "~", "~", "-", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or",
                ]);
                format!(
                    "({} {operator} {})",
                    self.expression(depth - 1),
                    self.expression(depth - 1)
                )
            }
            2 | 3 => {
                let (filter, value) = (self.of(&FILTERS), self.expression(depth - 1));
                match self.below(3) {
                    0 => format!("({value} | {filter}({}))", self.expression(depth - 1)),
                    1 => format!(
                        "({value} | {filter}({}, {}))",
                        self.expression(depth - 1),
                        self.expression(0)
                    ),
                    _ => format!("({value} | {filter})"),
                }
            }
            4 => format!(
                "({})[{}:{}]",
                self.expression(depth - 1),
                self.below(9),
                self.below(9999)
            ),
            5 => format!("({})[{}]", self.expression(depth - 1), self.expression(0)),
            6 => format!("({} is {})", self.expression(depth - 1), self.of(&TESTS)),
            _ => format!(
                "({} if {} else {})",
                self.expression(depth - 1),
                self.expression(0),
                self.expression(depth - 1)
            ),
        }
    }

    fn statements(&mut self, depth: usize) -> String {
        (0..=self.below(3))
            .map(|_| match self.below(5) {
                0 if depth > 0 => format!(
                    "{{% if {} %}}{}{{% endif %}}",
                    self.expression(2),
                    self.statements(depth - 1)
                ),
                1 | 2 if depth > 0 => {
                    let (over, inner) = (self.expression(1), self.statements(depth - 1));
                    format!("{{% for item in {over} %}}{inner},{{% endfor %}}")
                }
                3 => format!("{{% set made = {} %}}", self.expression(3)),
                _ => format!("{{{{ {} }}}}", self.expression(3)),
            })
            .collect()
    }
}

/// Objects that are large, deep, wide, or odd.
fn hostile_data(n: usize) -> Json {
    let n = n * 79;
    let nest = |depth| (0..depth).fold(json!([1]), |inner, _| json!([inner]));
    let (deep, deep2) = (nest((n * 37) % 900), nest((n * 37) % 900));
    let text = ["\u{0}\"\\\u{202e}{{ 1 }}{% endfor %}", "💥", "%&"][n % 3].repeat((n * 997) % 20_000 + 1);
    let list: Vec<Json> = (0..(n * 31) % 3_000).map(|i| json!({"n": i, "t": "y"})).collect();
    let wide: serde_json::Map<_, _> = (0..(n * 17) % 3_000)
        .map(|i| (format!("key{i}"), json!(i)))
        .collect();
    json!({"text": text, "text2": text, "deep": deep, "deep2": deep2, "list": list, "list2": list, "wide": wide})
}

/// Of the thousand templates the one with this number.
fn hostile_template(n: usize) -> String {
    let mut text = if n.is_multiple_of(2) {
        let at = n / 2;
        GREEDY[at % GREEDY.len()].replace('§', PIECES[at / GREEDY.len() % PIECES.len()])
    } else {
        Draw(0x9E37_79B9_7F4A_7C15 ^ (u64::try_from(n).unwrap() << 20)).statements(3)
    };
    if n.is_multiple_of(14) {
        // Cut anywhere: what is left may be no template.
        text.truncate(text.floor_char_boundary(text.len() - (n / 7) % text.len()));
    }
    text
}

/// The CPU time that this thread has used.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
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
        let name = "template::tests::hostile::a_thousand_hostile_templates_stay_within_their_limits";
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
        let objects: Vec<Json> = (0..OBJECTS).map(hostile_data).collect();
        let (mut longest, mut made, mut at_limit, mut refused) = (Duration::ZERO, 0, 0, 0);
        for n in 0..1000 {
            let (text, data) = (hostile_template(n), objects[n % OBJECTS].as_object().unwrap());
            let begun = cpu();
            let template = Template::parse(&text);
            refused += u32::from(template.is_err());
            let result = template.and_then(|template| template.render(data));
            let took = cpu() - begun;
            // CPU time, so a busy machine makes little difference; mostly it is a few milliseconds.
            assert!(took < Duration::from_secs(3), "{text} took {took:?}");
            longest = longest.max(took);
            match result {
                Ok(body) => {
                    made += 1;
                    assert!(body.len() <= LARGEST, "{text}");
                }
                Err(error) => {
                    at_limit += u32::from(matches!(error, TemplateError::TooMuch(_)));
                    let error = error.to_string();
                    assert!(error.len() < 2_000, "{text}: {error}");
                    let placed = error.starts_with("line ")
                        || error.contains(" of the result; ")
                        || error.contains("a body may have");
                    assert!(placed, "{text}: {error}");
                }
            }
        }
        let peak = peak();
        println!(
            "1000 templates: {made} bodies, {at_limit} at a limit, {refused} refused at once; the longest took {longest:?}, peak {peak} KiB"
        );
        assert!(at_limit > 100 && made > 20 && refused < 300);
        assert!(peak < 256 * 1024, "{peak} KiB");
    });
}

/// A template of 8 KB that folded 400 KB again and again, and one that does the same by each filter that compares.
#[test]
fn texts_that_a_template_makes_are_paid_for_when_they_are_folded_and_compared() {
    let data = json!({"a": 1});
    for used in [
        "unique",
        "sort",
        "min",
        "max",
        "sort(case_sensitive=true)",
        "unique(case_sensitive=true)",
        "select('in', s)",
        "reject('endingwith', s)",
        "join(s)",
    ] {
        let text = format!(
            "{{% set s = '{}' %}}{}{{% set l = s | split(',') | list %}}{{% for c in '{}' %}}{{% if l | {used} %}}{{% endif %}}{{% endfor %}}1",
            "Σ".repeat(3_125),
            "{% set s = s ~ s %}".repeat(6),
            "x".repeat(1_500),
        );
        let begun = cpu();
        let result = render(&text, &data);
        let took = cpu() - begun;
        assert!(
            matches!(result, Err(TemplateError::TooMuch(_))),
            "{used}: {result:?}"
        );
        assert!(took < Duration::from_secs(3), "{used} took {took:?}");
    }
}

#[test]
fn what_is_nested_deep_is_refused_or_rendered_and_never_breaks_the_stack() {
    with_stack(|| {
        let data = hostile_data(24);
        assert!(render("{{ deep }}", &data).is_ok());
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("-", ""),
            ("not ", ""),
            ("{'a':", "}"),
            ("1~", ""),
            ("a if b else ", ""),
        ] {
            let text = format!("{{{{ {}1{} }}}}", open.repeat(2_000), close.repeat(2_000));
            assert!(render(&text, &data).is_err(), "{open}");
        }
        let branches = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(2_000));
        assert!(fails(&branches, &data).contains("branches"));
        let blocks = format!("{}1{}", "{% if 1 %}".repeat(1_000), "{% endif %}".repeat(1_000));
        assert!(fails(&blocks, &data).contains("blocks"));
        for chain in ["|upper", ".a", "[0]", "[a", " is defined"] {
            let text = format!("{{{{ text{} }}}}", chain.repeat(2_000));
            assert!(fails(&text, &data).contains("too long"), "{chain}");
        }
        let many = "{{ 1 }}".repeat(4_000);
        assert!(render(&many, &data).is_ok());
    });
}
