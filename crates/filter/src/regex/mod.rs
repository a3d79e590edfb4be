//! `"/pattern/flags"` as PHP's `preg_match` takes it.
//!
//! Guarantees: a pattern that PHP refuses matches nothing, as there; one that runs away is stopped after
//! [`MATCH_LIMIT`] steps of PCRE2, matches nothing, as there, and is counted and logged.

mod cost;
mod machine;
mod parse;

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pcre2::bytes::{Regex as Pcre, RegexBuilder};

use self::machine::{Machine, Stopped};
use self::parse::{Modes, Parsed};
use super::budget::Fuel;

/// PHP's `pcre.backtrack_limit`.
const MATCH_LIMIT: u32 = 1_000_000;
/// Kibibytes that a match may take where PCRE2 interprets the pattern. Compiled to machine code it takes 32 KiB of stack.
const HEAP_LIMIT: u32 = 8192;
/// So many steps (see [`cost`]) take PCRE2 10 ms at most, compiled to machine code and interpreted.
const LONG: Pace = Pace {
    compiled: 4e6,
    interpreted: 4e5,
};
/// And so many 0.2 ms at most.
const SHORT: Pace = Pace {
    compiled: 8e4,
    interpreted: 8e3,
};
/// Larger patterns are not compiled to machine code.
const MAX_COMPILED: f64 = 2000.0;
/// The match limits that are tried in turn: the first with which PCRE2's work is bounded is taken.
const LOWER_LIMITS: [u32; 4] = [MATCH_LIMIT, 65_536, 4096, 256];

/// Steps in some time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    compiled: f64,
    interpreted: f64,
}

/// The log filter is written for the program (`openregister_webhooks=debug`), not for its crates.
const LOG_TARGET: &str = "openregister_webhooks::filter::regex";

static RUNAWAYS: AtomicU64 = AtomicU64::new(0);

/// How many regular expressions were stopped because they ran away, since the process started.
#[must_use]
pub fn regex_runaways() -> u64 {
    RUNAWAYS.load(Ordering::Relaxed)
}

/// A regular expression in a filter.
///
/// Nothing ends a match of PCRE2 from outside, so it is begun only where the pattern and the length of the text say that it
/// is short ([`cost`]). Other searches are made by [`machine`], which can be stopped; those that only PCRE2 can make are
/// tried with a match limit that makes them short, and are given up where they reach it.
#[derive(Debug)]
pub(super) struct Regex {
    /// `None` where PHP refuses the pattern.
    compiled: Option<Compiled>,
    /// As the filter has it, for the log.
    written: Box<str>,
    runaways: AtomicU64,
}

#[derive(Debug)]
struct Compiled {
    pcre: Pcre,
    /// Whether it became machine code.
    native: bool,
    /// PHP's `A`: the match must begin where the text does. PCRE2 finds the leftmost match, so it is enough to look
    /// where that begins.
    anchored: bool,
    /// In texts up to this length a search is [`SHORT`]; `None`: not even in an empty one.
    short_up_to: Option<usize>,
    /// In texts up to this length a search is [`LONG`] at most.
    long_up_to: Option<usize>,
    rest: Box<Rest>,
}

/// What is needed for longer texts.
#[derive(Debug)]
struct Rest {
    /// `None` where the pattern was not understood.
    parsed: Option<Parsed>,
    machine: OnceLock<Option<Machine>>,
    /// With lower match limits; those that try one place only come second.
    limited: [[OnceLock<Option<Pcre>>; LOWER_LIMITS.len()]; 2],
    limits: Limits,
    /// The other settings in front of the pattern, the pattern, and the flags.
    prefix: String,
    pattern: String,
    flags: Flags,
    /// Settings that change what characters and line ends are; with them only PCRE2 searches.
    special: bool,
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
        let compiled = Flags::parse(pattern, flags).and_then(|flags| Compiled::new(pattern, flags));
        let (compiled, refused) = match compiled {
            Ok(compiled) => (Some(compiled), None),
            Err(refused) => (None, Some(refused)),
        };
        let regex = Self {
            compiled,
            written: written.into(),
            runaways: AtomicU64::new(0),
        };
        (regex, refused)
    }

    /// How large it is, compiled: so many items.
    pub(super) fn size(&self) -> f64 {
        let parsed = self.compiled.as_ref().map(|compiled| &compiled.rest.parsed);
        match parsed {
            None => 0.0,
            Some(Some(parsed)) => cost::size(&parsed.root),
            // PCRE2 compiles nothing that is larger.
            Some(None) => 32_768.0,
        }
    }

    pub(super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Outcome {
        let Some(compiled) = &self.compiled else {
            return Outcome::NoMatch;
        };
        match compiled.is_match(text, fuel) {
            Ok(true) => Outcome::Match,
            Ok(false) => Outcome::NoMatch,
            Err(Stopped) => {
                self.ran_away(text.len());
                Outcome::RanAway
            }
        }
    }

    /// Counts it, and logs the first, second, fourth, eighth … time, so that a filter cannot flood the log.
    fn ran_away(&self, length: usize) {
        RUNAWAYS.fetch_add(1, Ordering::Relaxed);
        let times = self.runaways.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let pattern: String = self.written.chars().take(200).collect();
            tracing::warn!(
                target: LOG_TARGET,
                pattern,
                text_bytes = length,
                times,
                "a filter's regular expression was stopped before it came to a result, which counts as no match; \
                 simplify the pattern (nested repetition such as (a+)+ is the usual cause)"
            );
        }
    }
}

impl Compiled {
    /// Compiles a pattern with PCRE2, which PHP uses too, so that it means the same.
    fn new(pattern: &str, flags: Flags) -> Result<Self, Refused> {
        let settings = Settings::leading(pattern);
        let adapted = adapt(settings.rest, &flags);
        let limits = Limits {
            matches: settings.match_limit,
            heap: settings.heap_limit,
        };
        let mut prefix = settings.kept;
        if !flags.inline.is_empty() {
            prefix.push_str(&format!("(?{})", flags.inline));
        }
        let in_front = format!("{limits}{prefix}");
        let build =
            |pattern: &str, native: bool| flags.builder(native).build(&format!("{in_front}{pattern}"));
        let interpreted =
            build(&adapted, false).map_err(|error| Refused::Syntax(describe(&error, in_front.len())))?;
        // `\K` moves the reported start, so there the anchor must be in the pattern; that it compiles without shows
        // that its parentheses are its own. The line end closes a comment.
        let mut anchored = flags.anchored;
        let (mut pattern, mut interpreted) = (adapted, interpreted);
        if anchored && pattern.contains("\\K") {
            let line_end = if flags.extended { "\n" } else { "" };
            let inside = format!("\\G(?:{pattern}{line_end})");
            if let Ok(pcre) = build(&inside, false) {
                (pattern, interpreted, anchored) = (Cow::Owned(inside), pcre, false);
            }
        }
        // A limit behind a setting that is not known here could be raised.
        let parsed = if settings.rest.contains("(*LIMIT_") {
            None
        } else {
            parse::parse(&pattern, flags.modes())
        };
        let small = parsed
            .as_ref()
            .is_some_and(|parsed| cost::size(&parsed.root) <= MAX_COMPILED);
        // What machine code cannot be made of, or where memory must not become code, is interpreted.
        let native = if small { build(&pattern, true).ok() } else { None };
        let is_native = native.is_some();
        let up_to = |pace: Pace| {
            parsed
                .as_ref()
                .and_then(|parsed| longest(parsed, is_native, pace))
        };
        Ok(Self {
            native: is_native,
            anchored,
            short_up_to: up_to(SHORT),
            long_up_to: up_to(LONG),
            pcre: native.unwrap_or(interpreted),
            rest: Box::new(Rest {
                parsed,
                machine: OnceLock::new(),
                limited: [const { [const { OnceLock::new() }; LOWER_LIMITS.len()] }; 2],
                limits,
                prefix,
                pattern: pattern.into_owned(),
                special: settings.special,
                flags,
            }),
        })
    }

    fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        let n = text.len();
        if !fuel.allows_regex() {
            return Err(Stopped);
        }
        let within = |longest: Option<usize>| longest.is_some_and(|longest| n <= longest);
        if within(self.short_up_to) {
            fuel.short();
            if let Ok(found) = self.search(&self.pcre, text) {
                return Ok(found);
            }
        } else if within(self.long_up_to)
            && let Some(Ok(found)) = fuel.long(|| self.search(&self.pcre, text))
        {
            return Ok(found);
        }
        let machine = match self.rest.machine.get() {
            Some(made) => made.as_ref(),
            // Making it takes a millisecond or two.
            None => fuel.long(|| self.rest.machine(self.anchored)).ok_or(Stopped)?,
        };
        match machine {
            Some(machine) => machine.is_match(text, fuel),
            None => self.search_limited(text, fuel),
        }
    }

    fn search(&self, pcre: &Pcre, text: &str) -> Result<bool, pcre2::Error> {
        // Interpreted, a match keeps the memory that it took for the next one; a copy gives it back.
        let copy;
        let pcre = if self.native {
            pcre
        } else {
            copy = pcre.clone();
            &copy
        };
        if self.anchored {
            let found = pcre.find(text.as_bytes())?;
            Ok(found.is_some_and(|found| found.start() == 0))
        } else {
            pcre.is_match(text.as_bytes())
        }
    }

    /// What only PCRE2 can search: one place of the text after the other where that is possible, or all at once; with a
    /// match limit that bounds what cannot be stopped.
    fn search_limited(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        let parsed = self.rest.parsed.as_ref().ok_or(Stopped)?;
        let most = pace(LONG, self.native, parsed);
        // Estimating takes its time, too.
        fuel.spend(self.rest.pattern.len() as u64);
        let one_by_one = parsed.separable && !self.rest.special && !self.anchored;
        let steps = |limit: u32| match (one_by_one, limit) {
            (true, MATCH_LIMIT) => cost::attempt(&parsed.root, text.len()),
            (true, _) => cost::limited_attempt(&parsed.root, text.len(), limit),
            (false, MATCH_LIMIT) => cost::whole(&parsed.root, text.len()),
            (false, _) => cost::limited(&parsed.root, text.len(), limit),
        };
        let place = LOWER_LIMITS
            .iter()
            .position(|limit| steps(*limit) <= most)
            .ok_or(Stopped)?;
        let pcre = &self.rest.limited[usize::from(one_by_one)][place];
        let pcre = match pcre.get() {
            Some(made) => made,
            None => fuel
                .long(|| pcre.get_or_init(|| self.rest.build(LOWER_LIMITS[place], one_by_one, self.native)))
                .ok_or(Stopped)?,
        };
        let pcre = pcre.as_ref().ok_or(Stopped)?;
        if !one_by_one {
            return fuel
                .long(|| self.search(pcre, text))
                .and_then(Result::ok)
                .ok_or(Stopped);
        }
        let attempt = steps(LOWER_LIMITS[place]);
        let short = pace(SHORT, self.native, parsed);
        let mut scratch = None;
        for (start, _) in text.char_indices().chain([(text.len(), ' ')]) {
            // Without `u` every byte is a place.
            let places = if self.rest.flags.unicode {
                1
            } else {
                text[start..].chars().next().map_or(1, char::len_utf8)
            };
            for start in start..start + places {
                fuel.spend(20);
                if fuel.is_empty() {
                    return Err(Stopped);
                }
                let pcre = if self.native {
                    pcre
                } else {
                    scratch.get_or_insert_with(|| pcre.clone())
                };
                let tried = || pcre.find_at(text.as_bytes(), start);
                let found = if attempt <= short {
                    fuel.short();
                    tried()
                } else {
                    fuel.long(tried).ok_or(Stopped)?
                };
                if found.map_err(|_| Stopped)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Rest {
    /// The pattern with another match limit; only for the place where the search begins.
    fn build(&self, limit: u32, one_by_one: bool, native: bool) -> Option<Pcre> {
        let Self {
            prefix,
            pattern,
            flags,
            ..
        } = self;
        let limits = Limits {
            matches: self.limits.matches.min(limit),
            ..self.limits
        };
        let whole = if one_by_one {
            // The line end closes a comment.
            let line_end = if flags.extended { "\n" } else { "" };
            format!("{limits}{prefix}\\G(?:{pattern}{line_end})")
        } else {
            format!("{limits}{prefix}{pattern}")
        };
        flags.builder(native).build(&whole).ok()
    }

    fn machine(&self, anchored: bool) -> Option<&Machine> {
        self.machine
            .get_or_init(|| {
                if self.special {
                    return None;
                }
                Machine::new(self.parsed.as_ref()?, self.flags.unicode, anchored)
            })
            .as_ref()
    }
}

/// The steps that PCRE2 makes in the time of `pace`.
fn pace(pace: Pace, native: bool, parsed: &Parsed) -> f64 {
    if native {
        pace.compiled
    } else {
        // Each step may copy what the groups hold.
        pace.interpreted / (1.0 + f64::from(parsed.captures) / 4.0)
    }
}

/// The length of the longest text in which the whole search takes no longer than `within`; `None` where it may take longer even in
/// an empty one.
fn longest(parsed: &Parsed, native: bool, within: Pace) -> Option<usize> {
    let most = pace(within, native, parsed);
    let (mut fits, mut too_long) = (0_usize, 1 << 26);
    if cost::whole(&parsed.root, 0) > most {
        return None;
    }
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        if cost::whole(&parsed.root, middle) <= most {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    Some(fits)
}

/// The settings that bound a match, as they stand in front of a pattern. Of several PCRE2 takes the last, so those of
/// the pattern are taken out.
#[derive(Debug, Clone, Copy)]
struct Limits {
    matches: u32,
    heap: u32,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(*LIMIT_MATCH={})(*LIMIT_HEAP={})", self.matches, self.heap)
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
    fn builder(&self, native: bool) -> RegexBuilder {
        let mut builder = RegexBuilder::new();
        builder
            .caseless(self.caseless)
            .multi_line(self.multi_line)
            .dotall(self.dot_all)
            .extended(self.extended)
            .ucp(self.unicode)
            .jit(native);
        builder
    }

    fn modes(&self) -> Modes {
        Modes {
            caseless: self.caseless,
            dot_all: self.dot_all,
            multi_line: self.multi_line,
            extended: self.extended,
            ungreedy: self.inline.contains('U'),
            unicode: self.unicode,
        }
    }

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

/// PCRE2's reason, with the offset in the pattern without our prefix.
fn describe(error: &pcre2::Error, prefix: usize) -> String {
    let text = error.to_string();
    let offset = error.offset().and_then(|offset| offset.checked_sub(prefix));
    match (text.rsplit_once(": "), offset) {
        (Some((_, reason)), Some(offset)) => format!("{reason} (at offset {offset})"),
        _ => text,
    }
}

/// The `(*NAME)` settings that PCRE2 accepts at the start of a pattern.
struct Settings<'p> {
    /// Those that are left to PCRE2. Limits are ours to set, and whether machine code is made.
    kept: String,
    match_limit: u32,
    heap_limit: u32,
    /// Whether some change what characters, line ends or matches are.
    special: bool,
    /// What follows them.
    rest: &'p str,
}

impl<'p> Settings<'p> {
    fn leading(pattern: &'p str) -> Self {
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
        // They change only how PCRE2 works, or lower a limit that we do not set.
        const KEPT: [&str; 3] = ["NO_AUTO_POSSESS", "NO_DOTSTAR_ANCHOR", "NO_START_OPT"];
        let mut settings = Self {
            kept: String::new(),
            match_limit: MATCH_LIMIT,
            heap_limit: HEAP_LIMIT,
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
                // Which of the two is made is ours to decide.
                ("NO_JIT", _) => {}
                // A pattern may lower a limit, never raise it.
                (_, Some(("LIMIT_MATCH", lower))) => {
                    settings.match_limit = settings.match_limit.min(lower);
                    settings.special = true;
                }
                (_, Some(("LIMIT_HEAP", lower))) => {
                    settings.heap_limit = settings.heap_limit.min(lower);
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
            '[' if in_class => parse::named_class(rest).unwrap_or(1),
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
mod tests;
