//! Flags, refusals, and that all ways to search agree.

use super::super::budget::Budget;
use super::*;

fn matches(written: &str, text: &str) -> bool {
    let (pattern, flags) = split(written).unwrap();
    found(&Regex::new(written, pattern, flags).0, text) == Outcome::Match
}

fn found(regex: &Regex, text: &str) -> Outcome {
    regex.is_match(text, &mut Budget::default().fuel())
}

fn refused(written: &str) -> Option<Refused> {
    let (pattern, flags) = split(written).unwrap();
    Regex::new(written, pattern, flags).1
}

#[test]
fn what_is_a_regular_expression() {
    assert_eq!(split("//"), Some(("", "")));
    assert_eq!(split("/a/i"), Some(("a", "i")));
    assert_eq!(split("/a/i\n"), Some(("a", "i")));
    assert_eq!(split("/home/user"), Some(("home", "user")));
    assert_eq!(split("/a/b/"), Some(("a/b", "")));
    for text in [
        "", "/", "a/b/", "/a", "/a/1", "/a\n/", "/a/i\n\n", "/a/ i", " /a/",
    ] {
        assert_eq!(split(text), None, "{text:?}");
    }
}

#[test]
fn flags_mean_what_they_mean_in_php() {
    assert!(matches("/ADMIN/i", "admin"));
    assert!(!matches("/ADMIN/", "admin"));
    assert!(matches("/^b$/m", "a\nb\nc"));
    assert!(matches("/a.b/s", "a\nb"));
    assert!(!matches("/a.b/", "a\nb"));
    assert!(matches("/a b # c/x", "ab"));
    assert!(matches("/^.$/u", "é"));
    assert!(!matches("/^.$/", "é"));
    assert!(matches("/^..$/", "é"));
    assert!(matches("/b/", "ab"));
    assert!(!matches("/b/A", "ab"));
    assert!(matches("/b|a/A", "ab"));
    assert!(matches("/a\\K/A", "ab"));
    assert!(!matches("/b\\K/A", "ab"));
    assert!(matches("/\\c$?/D", "a"));
    assert!(matches("/^a$/", "a\n"));
    assert!(!matches("/^a$/D", "a\n"));
    assert!(matches("/^a$/Dm", "a\n"));
    assert!(matches("/[$]/D", "$"));
    assert!(matches("/\\$/D", "$"));
    assert!(matches("/\\Q$\\E$/D", "$"));
    assert!(matches("/É/ui", "é"));
    assert!(matches("/a+b/USJn", "aab"));
}

#[test]
fn quantifiers_are_those_of_the_pcre2_that_comes_with_php() {
    assert!(matches("/^a{,2}$/", "a{,2}"));
    assert!(!matches("/^a{,2}$/", "a"));
    assert!(matches("/^a{1, 2}$/", "a{1, 2}"));
    assert!(matches("/^a{0,2}$/", "aa"));
    assert!(matches("/^a{2}b{1,}[{,2}]\\x{61}$/", "aabb,a"));
}

#[test]
fn what_php_refuses_matches_nothing() {
    assert_eq!(refused("/a/xyz"), Some(Refused::Flag('y')));
    assert_eq!(refused("/a/b/"), Some(Refused::Delimiter));
    assert_eq!(refused("/a\\/"), Some(Refused::Unending));
    assert_eq!(refused("/a/e"), Some(Refused::Flag('e')));
    assert!(
        matches!(refused("/(/"), Some(Refused::Syntax(text)) if text.contains("parenthesis (at offset 1)"))
    );
    assert!(matches!(refused("/\\y/"), Some(Refused::Syntax(_))));
    for written in ["/a/xyz", "/a/b/", "/a\\/", "/(/", "/home/user"] {
        assert!(!matches(written, "a"), "{written}");
        assert!(!matches(written, "/home/user"), "{written}");
    }
}

#[test]
fn runaways_are_stopped_and_counted() {
    let before = regex_runaways();
    let text = format!("{}!", "a".repeat(50_000));
    for pattern in [
        "((a+)\\2?)+$",
        "(*LIMIT_MATCH=4000000000)(*UTF)(a+)+$",
        "(a|(?R))+$",
    ] {
        let (regex, refused) = Regex::new("", pattern, "");
        assert_eq!(refused, None);
        assert_eq!(found(&regex, &text), Outcome::RanAway, "{pattern}");
    }
    assert!(regex_runaways() >= before + 3);
    // What can be stopped comes to a result.
    let (regex, _) = Regex::new("/(a+)+$/", "(a+)+$", "");
    assert_eq!(found(&regex, &text), Outcome::NoMatch);
}

/// The other ways to search give what PCRE2 gives, which has all the time that it wants here.
fn agree(written: &str, text: &str) {
    let Some((pattern, flags)) = split(written) else {
        return;
    };
    let (regex, _) = Regex::new(written, pattern, flags);
    let Some(compiled) = &regex.compiled else {
        return;
    };
    let Ok(expected) = compiled.search(&compiled.pcre, text) else {
        return;
    };
    let mut budget = Budget::default().fuel();
    if let Some(machine) = compiled.rest.machine(compiled.anchored)
        && let Ok(found) = machine.is_match(text, &mut budget)
    {
        assert_eq!(found, expected, "{written} on {text:?}, by the machine");
    }
    let mut budget = Budget::default().fuel();
    if let Ok(found) = compiled.search_limited(text, &mut budget) {
        assert_eq!(found, expected, "{written} on {text:?}, piece by piece");
    }
}

#[test]
fn all_ways_to_search_agree() {
    for written in [
        "/^a/m",
        "/a$/",
        "/a$/m",
        "/a\\Z/",
        "/a\\z/",
        "/\\bé/u",
        "/\\bé/",
        "/É/i",
        "/É/ui",
        "/[^é]b/",
        "/(?i)A(?-i)b/",
        "/(?<=é)b/u",
        "/(?<=é)b/",
        "/(?<!a|é)b/u",
        "/(?>a|ab)b/",
        "/a*+ab/",
        "/(?:a|b)*+$/",
        "/(a)\\1/",
        "/(?s).b/",
        "/.b/",
        "/\\Qa.\\E/",
        "/a # b\n b/x",
        "/[[:alpha:]b-d]\\d/",
        "/[]a]b/",
        "/[^]a]/",
        "/a{2}/",
        "/a{,2}/",
        "/a{/",
        "/(?|(a)|(b))\\1/",
        "/\\R/",
        "/\\X$/u",
        "/a\\Kb/",
        "/(?(?=a)ab|b)/",
        "/(?:){3}a/",
        "/(?:a?)*b/",
        "/^*a/",
        "/\\p{L}+\\d/u",
        "/\\x{e9}/u",
        "/\\xe9/",
        "/ß/ui",
        "/\\w+é/u",
        "/\\w+é/",
        "/(?U)a+b/",
        "/\\Gb/",
        "/\\H\\N/",
    ] {
        for text in [
            "", "a", "ab", "aab\n", "b\na\n", "éb", "aé1", "É", "a.", "x\r\nb", "aa{", "ẞ", "1",
        ] {
            agree(written, text);
        }
    }
}

/// Whatever PCRE2 takes, its structure is read without a panic, and in a time that grows with its length only.
#[test]
fn odd_patterns_are_read() {
    assert!(matches("/[[:]/", ":"));
    assert!(matches("/[[:]$/D", "["));
    assert!(!matches("/[[:]$/D", "[\n"));
    assert!(matches("/[[:x:y]+$/", "[:xy"));
    let start = std::time::Instant::now();
    let open = format!("/[{}]/", "[:".repeat(30_000));
    assert!(matches(&open, "["));
    assert!(start.elapsed() < std::time::Duration::from_secs(60));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 5000, ..Default::default() })]

    #[test]
    fn no_pattern_panics(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "[", "]", "[:", ":]", "^", "-", "alpha", "\\", "\\Q", "\\E", "\\c", "\\x", "\\g", "\\k", "\\p", "\\o", "\\N", "{", "}",
            "U+", "<", ">", "'", "(", ")", "(?", "(*", "?", "*", "+", "P", "R", "C", "&", "#", "|", "=", "!", ":", "1",
            ",", " ", "é", "$", "a", "i", "x", "U", "pla", "(?(", "0", "\n",
        ]), 0..12),
        flags in "[imsxuADU]{0,2}", text in "[abcé1 A\n]{0,6}",
    ) {
        agree(&format!("/{}/{flags}", pieces.concat()), &text);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 3000, ..Default::default() })]

    #[test]
    fn all_ways_to_search_agree_on_any_pattern(
        pattern in super::super::limits::pattern(), flags in "[imsxuADU]{0,3}", text in "[abcé1 A\n]{0,12}",
    ) {
        agree(&format!("/{pattern}/{flags}"), &text);
    }
}
