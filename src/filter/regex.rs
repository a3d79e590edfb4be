//! `"/pattern/flags"` as PHP's `preg_match` takes it.
//!
//! Guarantees: a pattern that PHP refuses matches nothing, as there; one that runs away is stopped after
//! [`MATCH_LIMIT`] steps of PCRE2, matches nothing, as there, and is counted and logged.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use pcre2::bytes::{Regex as Pcre, RegexBuilder};

/// PHP's `pcre.backtrack_limit`.
const MATCH_LIMIT: u32 = 1_000_000;
/// The largest stack that PHP gives a compiled pattern.
const JIT_STACK: usize = 192 * 1024;

static RUNAWAYS: AtomicU64 = AtomicU64::new(0);

/// How many regular expressions were stopped because they ran away, since the process started.
#[must_use]
pub fn regex_runaways() -> u64 {
    RUNAWAYS.load(Ordering::Relaxed)
}

/// A regular expression in a filter.
#[derive(Debug)]
pub(super) struct Regex {
    /// `None` where PHP refuses the pattern.
    compiled: Option<Pcre>,
    /// PHP's `A`: the match must begin where the text does. PCRE2 finds the leftmost match, so it is enough to look
    /// where that begins.
    anchored: bool,
    /// As the filter has it, for the log.
    written: Box<str>,
    runaways: AtomicU64,
}

/// How a match went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Match,
    NoMatch,
    RanAway,
}

/// Why PHP refuses a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is a / inside the pattern; write it \\/")]
    Delimiter,
    #[error("the / at its end is escaped, so the pattern never ends")]
    Unending,
    #[error("{0:?} is no flag of preg_match; the flags are i m s x n u A D J S U X")]
    Flag(char),
    #[error("{0}")]
    Syntax(String),
}

/// The pattern and the flags of `text` if PHPMongoQuery takes it for a regular expression: it begins with `/`, and nothing but
/// letters follow its last `/` (and perhaps one line end).
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('/')?;
    let (pattern, flags) = rest.rsplit_once('/')?;
    let flags = flags.strip_suffix('\n').unwrap_or(flags);
    (flags.bytes().all(|b| b.is_ascii_alphabetic()) && !pattern.contains('\n')).then_some((pattern, flags))
}

impl Regex {
    /// Compiles what [`split`] found in `written`; the second value says why PHP refuses it, if it does.
    pub(super) fn new(written: &str, pattern: &str, flags: &str) -> (Self, Option<Refused>) {
        let compiled = Flags::parse(pattern, flags).and_then(|flags| compile(pattern, &flags));
        let (compiled, anchored, refused) = match compiled {
            Ok((regex, anchored)) => (Some(regex), anchored, None),
            Err(refused) => (None, false, Some(refused)),
        };
        let regex = Self {
            compiled,
            anchored,
            written: written.into(),
            runaways: AtomicU64::new(0),
        };
        (regex, refused)
    }

    pub(super) fn is_match(&self, text: &str) -> Outcome {
        let Some(regex) = &self.compiled else {
            return Outcome::NoMatch;
        };
        let found = if self.anchored {
            regex
                .find(text.as_bytes())
                .map(|found| found.is_some_and(|found| found.start() == 0))
        } else {
            regex.is_match(text.as_bytes())
        };
        match found {
            Ok(true) => Outcome::Match,
            Ok(false) => Outcome::NoMatch,
            Err(error) => {
                self.ran_away(text.len(), &error);
                Outcome::RanAway
            }
        }
    }

    /// Counts it, and logs the first, second, fourth, eighth … time, so that a filter cannot flood the log.
    fn ran_away(&self, length: usize, error: &pcre2::Error) {
        RUNAWAYS.fetch_add(1, Ordering::Relaxed);
        let times = self.runaways.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let pattern: String = self.written.chars().take(200).collect();
            tracing::warn!(
                pattern,
                text_bytes = length,
                times,
                %error,
                "a filter's regular expression was stopped before it came to a result, which counts as no match; \
                 simplify the pattern (nested repetition such as (a+)+ is the usual cause)"
            );
        }
    }
}

/// What PHP's flags ask for.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent flags")]
struct Flags {
    caseless: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    unicode: bool,
    anchored: bool,
    dollar_end_only: bool,
    /// Those that PCRE2 can set inside the pattern: `n`, `J`, `U`.
    inline: String,
}

impl Flags {
    /// Reads the text after the first unescaped `/`, as PHP does: so a `/` inside the pattern begins the flags.
    fn parse(pattern: &str, flags: &str) -> Result<Self, Refused> {
        let mut escaped = false;
        for b in pattern.bytes() {
            match (escaped, b) {
                (false, b'/') => return Err(Refused::Delimiter),
                (false, b'\\') => escaped = true,
                _ => escaped = false,
            }
        }
        if escaped {
            return Err(Refused::Unending);
        }
        let mut parsed = Self::default();
        for flag in flags.chars() {
            match flag {
                'i' => parsed.caseless = true,
                'm' => parsed.multi_line = true,
                's' => parsed.dot_all = true,
                'x' => parsed.extended = true,
                'u' => parsed.unicode = true,
                'A' => parsed.anchored = true,
                'D' => parsed.dollar_end_only = true,
                // "Study the pattern" and "unknown escapes are errors": what PCRE2 does anyway.
                'S' | 'X' => {}
                'n' | 'J' | 'U' if parsed.inline.contains(flag) => {}
                'n' | 'J' | 'U' => parsed.inline.push(flag),
                other => return Err(Refused::Flag(other)),
            }
        }
        Ok(parsed)
    }
}

/// Compiles a pattern with PCRE2, which PHP uses too, so that it means the same. The second value says whether a match
/// counts only at the start of the text.
fn compile(pattern: &str, flags: &Flags) -> Result<(Pcre, bool), Refused> {
    let (settings, rest) = leading_settings(pattern);
    let mut prefix = String::new();
    let mut limit = MATCH_LIMIT;
    for setting in settings {
        match setting
            .strip_prefix("(*LIMIT_MATCH=")
            .and_then(|n| n.strip_suffix(')'))
        {
            // A pattern may lower the limit, never raise it.
            Some(lower) => limit = lower.parse().unwrap_or(limit).min(MATCH_LIMIT),
            None => prefix.push_str(setting),
        }
    }
    prefix.push_str(&format!("(*LIMIT_MATCH={limit})"));
    if !flags.inline.is_empty() {
        prefix.push_str(&format!("(?{})", flags.inline));
    }
    let rest = adapt(rest, flags);
    let mut builder = RegexBuilder::new();
    builder
        .caseless(flags.caseless)
        .multi_line(flags.multi_line)
        .dotall(flags.dot_all)
        .extended(flags.extended)
        .ucp(flags.unicode)
        .jit_if_available(true)
        .max_jit_stack_size(Some(JIT_STACK));
    let compiled = builder
        .build(&format!("{prefix}{rest}"))
        .map_err(|error| Refused::Syntax(describe(&error, prefix.len())))?;
    // `\K` moves the reported start, so there the anchor must be in the pattern; that it compiles without shows
    // that its parentheses are its own. The line end closes a comment.
    if flags.anchored && rest.contains("\\K") {
        let line_end = if flags.extended { "\n" } else { "" };
        if let Ok(anchored) = builder.build(&format!("{prefix}\\G(?:{rest}{line_end})")) {
            return Ok((anchored, false));
        }
    }
    Ok((compiled, flags.anchored))
}

/// PCRE2's reason, with the offset in the pattern without our prefix.
fn describe(error: &pcre2::Error, prefix: usize) -> String {
    let text = error.to_string();
    let offset = error.offset().and_then(|offset| offset.checked_sub(prefix));
    match (text.rsplit_once(": "), offset) {
        (Some((_, reason)), Some(offset)) => format!("{reason} (at offset {offset})"),
        _ => text,
    }
}

/// The `(*NAME)` settings that PCRE2 accepts at the start of a pattern, and what follows them.
fn leading_settings(pattern: &str) -> (Vec<&str>, &str) {
    const NAMES: [&str; 17] = [
        "UTF",
        "UCP",
        "NOTEMPTY",
        "NOTEMPTY_ATSTART",
        "NO_AUTO_POSSESS",
        "NO_DOTSTAR_ANCHOR",
        "NO_JIT",
        "NO_START_OPT",
        "CR",
        "LF",
        "CRLF",
        "ANY",
        "NUL",
        "ANYCRLF",
        "BSR_ANYCRLF",
        "BSR_UNICODE",
        "CASELESS_RESTRICT",
    ];
    const NUMBERED: [&str; 4] = ["LIMIT_HEAP=", "LIMIT_MATCH=", "LIMIT_DEPTH=", "LIMIT_RECURSION="];
    let mut settings = Vec::new();
    let mut rest = pattern;
    while let Some(end) = rest.strip_prefix("(*").and_then(|inner| inner.find(')')) {
        let name = &rest[2..end + 2];
        let known = NAMES.contains(&name)
            || NUMBERED.iter().any(|numbered| {
                name.strip_prefix(numbered)
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            });
        if !known {
            break;
        }
        settings.push(&rest[..end + 3]);
        rest = &rest[end + 3..];
    }
    (settings, rest)
}

/// Rewrites what PHP's PCRE2 takes differently:
///
/// * With the flag `D`, `$` matches only at the very end, not before a final line end too. PCRE2 has an option for it that
///   the crate does not offer, so each `$` that is an assertion becomes `\z`.
/// * `{,3}` and `{1, 3}` are quantifiers since PCRE2 10.43; the one that comes with PHP up to 8.3 takes them literally.
fn adapt<'p>(pattern: &'p str, flags: &Flags) -> Cow<'p, str> {
    let mut dollars = flags.dollar_end_only && !flags.multi_line;
    let rewritten = pattern.contains('{') || (dollars && pattern.contains('$'));
    if !rewritten {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        // What is copied as it is.
        let taken = match c {
            '\\' if rest.starts_with("\\Q") => rest.find("\\E").map_or(rest.len(), |end| end + 2),
            // `\c$` is a control character.
            '\\' if rest.starts_with("\\c") => 2 + rest[2..].chars().next().map_or(0, char::len_utf8),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' if in_class && rest.starts_with("[:") => rest.find(":]").map_or(1, |end| end + 2),
            '[' if !in_class => {
                in_class = true;
                // A `]` that comes first is one of the class.
                let first = 1 + usize::from(rest[1..].starts_with('^'));
                first + usize::from(rest[first..].starts_with(']'))
            }
            ']' => {
                in_class = false;
                1
            }
            _ if in_class => c.len_utf8(),
            '(' if rest.starts_with("(?#") => rest.find(')').map_or(rest.len(), |end| end + 1),
            '(' => {
                // `D` has no effect where lines count.
                dollars = dollars && !turns_on_multi_line(rest);
                1
            }
            '#' if flags.extended => rest.find('\n').map_or(rest.len(), |end| end + 1),
            '$' if dollars => {
                out.push_str("\\z");
                rest = &rest[1..];
                continue;
            }
            '{' if is_new_quantifier(rest) => {
                out.push('\\');
                1
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

/// Whether `rest` begins with what PCRE2 takes for a quantifier only since 10.43: no lower bound, or white space.
fn is_new_quantifier(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else {
        return false;
    };
    let mut bounds = inside.split(',');
    let lower = bounds.next().unwrap_or_default();
    let upper = bounds.next();
    let is_number = |bound: &str| bound.bytes().all(|b| b.is_ascii_digit());
    let is_spaced = |bound: &str| is_number(bound.trim_matches([' ', '\t']));
    bounds.next().is_none()
        && is_spaced(lower)
        && upper.is_none_or(is_spaced)
        && (lower.is_empty() || !is_number(lower) || !upper.is_none_or(is_number))
}

/// Whether `rest` begins with a setting such as `(?m)` or `(?im:`; `D` has no effect where lines count.
fn turns_on_multi_line(rest: &str) -> bool {
    rest.strip_prefix("(?").is_some_and(|settings| {
        settings
            .chars()
            .take_while(|c| c.is_ascii_alphabetic() || *c == '^')
            .any(|c| c == 'm')
            && settings
                .trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '^' || c == '-')
                .starts_with([')', ':'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(written: &str, text: &str) -> bool {
        let (pattern, flags) = split(written).unwrap();
        Regex::new(written, pattern, flags).0.is_match(text) == Outcome::Match
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
        let start = std::time::Instant::now();
        let (regex, _) = Regex::new("/(a+)+$/", "(a+)+$", "");
        assert_eq!(regex.is_match(&text), Outcome::RanAway);
        assert!(
            start.elapsed() < std::time::Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
        assert!(regex_runaways() > before);
        let (raised, _) = Regex::new("", "(*LIMIT_MATCH=4000000000)(*UTF)(a+)+$", "");
        assert_eq!(raised.is_match(&text), Outcome::RanAway);
    }
}
