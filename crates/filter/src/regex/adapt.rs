//! Rewrites a pattern so that our PCRE2 reads it as PHP's does.

use std::borrow::Cow;

use super::flags::Flags;
use super::parse;

/// Rewrites what PHP's PCRE2 reads differently:
///
/// * With the flag `D`, `$` matches only at the very end and not before a final line end. PCRE2 has an option for this, but
///   the `pcre2` crate does not offer it, so each `$` that is an assertion becomes `\z`.
/// * `{,3}` and `{1, 3}` are quantifiers since PCRE2 10.43; the version that comes with PHP up to 8.3 reads them literally.
pub(super) fn adapt<'p>(pattern: &'p str, flags: &Flags) -> Cow<'p, str> {
    let mut dollars = flags.dollar_end_only && !flags.multi_line;
    let rewritten = pattern.contains('{') || (dollars && pattern.contains('$'));
    if !rewritten {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        // How many bytes are copied unchanged.
        let taken = match c {
            '\\' if rest.starts_with("\\Q") => rest.find("\\E").map_or(rest.len(), |end| end + 2),
            // `\c$` is a control character.
            '\\' if rest.starts_with("\\c") => 2 + rest[2..].chars().next().map_or(0, char::len_utf8),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' if in_class => parse::named_class(rest).unwrap_or(1),
            '[' if !in_class => {
                in_class = true;
                // A `]` that comes first belongs to the class.
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
                // `D` has no effect in multi-line mode.
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

/// Whether `rest` begins with a quantifier that only PCRE2 10.43 and later know: one without a lower bound, or with spaces.
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

/// Whether `rest` begins with a setting such as `(?m)` or `(?im:`, which turns multi-line mode on.
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
