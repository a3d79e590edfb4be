//! All ways to search agree.

use super::*;
use crate::budget::Budget;
use crate::regex::expression::split;

/// The other ways to search give the same answer as PCRE2, whose time is not limited here.
fn agree(written: &str, text: &str) {
    let Some((pattern, flags)) = split(written) else {
        return;
    };
    let Ok(compiled) = Flags::parse(pattern, flags).and_then(|flags| CompiledPattern::new(pattern, flags))
    else {
        return;
    };
    let Ok(expected) = compiled.search(&compiled.pcre, text) else {
        return;
    };
    let mut budget = Budget::default().fuel();
    if let Some(backtracker) = compiled.rest.backtracker(compiled.anchored)
        && let Ok(found) = backtracker.is_match(text, &mut budget)
    {
        assert_eq!(found, expected, "{written} on {text:?}, by the backtracker");
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
        pattern in crate::tests::pattern(), flags in "[imsxuADU]{0,3}", text in "[abcé1 A\n]{0,12}",
    ) {
        agree(&format!("/{pattern}/{flags}"), &text);
    }
}
