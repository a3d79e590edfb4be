//! The `(*NAME)` settings at the start of a pattern.

use std::fmt;

/// PHP's `pcre.backtrack_limit`.
pub(super) const MATCH_LIMIT: u32 = 1_000_000;
/// Memory in KiB that a match may take where PCRE2 interprets the pattern. A pattern compiled to machine code takes 32 KiB of
/// stack.
const HEAP_LIMIT: u32 = 8192;

/// The settings that bound a match; they are written in front of the pattern. PCRE2 obeys the last of several such settings,
/// so those of the pattern itself are removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) matches: u32,
    /// KiB.
    pub(super) heap: u32,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(*LIMIT_MATCH={})(*LIMIT_HEAP={})", self.matches, self.heap)
    }
}

/// The `(*NAME)` settings that PCRE2 accepts at the start of a pattern.
pub(super) struct Settings<'p> {
    /// The settings that are passed on to PCRE2. Not among them: limits, and whether machine code is made, which we decide.
    pub(super) kept: String,
    pub(super) limits: Limits,
    /// Whether a setting changes the meaning of characters or line ends, or which matches count.
    pub(super) special: bool,
    /// The pattern after the settings.
    pub(super) rest: &'p str,
}

impl<'p> Settings<'p> {
    pub(super) fn leading(pattern: &'p str) -> Self {
        const SPECIAL: [&str; 14] = [
            "UTF",
            "UCP",
            "NOTEMPTY",
            "NOTEMPTY_ATSTART",
            "CR",
            "LF",
            "CRLF",
            "ANY",
            "NUL",
            "ANYCRLF",
            "BSR_ANYCRLF",
            "BSR_UNICODE",
            "CASELESS_RESTRICT",
            "TURKISH_CASING",
        ];
        // Settings that change only how PCRE2 searches.
        const KEPT: [&str; 3] = ["NO_AUTO_POSSESS", "NO_DOTSTAR_ANCHOR", "NO_START_OPT"];
        let mut settings = Self {
            kept: String::new(),
            limits: Limits {
                matches: MATCH_LIMIT,
                heap: HEAP_LIMIT,
            },
            special: false,
            rest: pattern,
        };
        while let Some(end) = settings.rest.strip_prefix("(*").and_then(|inner| inner.find(')')) {
            let whole = &settings.rest[..end + 3];
            let name = &whole[2..end + 2];
            let number = name
                .split_once('=')
                .filter(|(_, number)| number.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|(limit, number)| Some((limit, number.parse::<u32>().ok()?)));
            match (name, number) {
                // We decide whether machine code is made.
                ("NO_JIT", _) => {}
                // A pattern may lower a limit but never raise it.
                (_, Some(("LIMIT_MATCH", lower))) => {
                    settings.limits.matches = settings.limits.matches.min(lower);
                    settings.special = true;
                }
                (_, Some(("LIMIT_HEAP", lower))) => {
                    settings.limits.heap = settings.limits.heap.min(lower);
                    settings.special = true;
                }
                (_, Some(("LIMIT_DEPTH" | "LIMIT_RECURSION", _))) => {
                    settings.special = true;
                    settings.kept.push_str(whole);
                }
                _ if KEPT.contains(&name) => settings.kept.push_str(whole),
                _ if SPECIAL.contains(&name) => {
                    settings.special = true;
                    settings.kept.push_str(whole);
                }
                _ => break,
            }
            settings.rest = &settings.rest[end + 3..];
        }
        settings
    }
}
