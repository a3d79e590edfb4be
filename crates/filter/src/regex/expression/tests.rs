//! Flags, refusals, and patterns that run away.

use super::*;
use crate::budget::Budget;

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
    // The backtracker comes to a result.
    let (regex, _) = Regex::new("/(a+)+$/", "(a+)+$", "");
    assert_eq!(found(&regex, &text), Outcome::NoMatch);
}

/// The structure of every pattern that PCRE2 accepts is read without a panic, in time linear in its length.
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
