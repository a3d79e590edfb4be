//! Searches with a compiled pattern, in bounded time.
//!
//! Nothing ends a match of PCRE2 from outside, so it is only begun if the pattern and the length of the text say that it is
//! short ([`cost`]). Other searches are made by the [`Backtracker`], which can be stopped. What only PCRE2 can search is tried
//! with a match limit that makes the search short, and is given up if it reaches that limit.

use std::borrow::Cow;
use std::sync::OnceLock;

use pcre2::bytes::Regex as Pcre;

use super::adapt::adapt;
use super::backtrack::{Backtracker, Stopped};
use super::cost;
use super::flags::Flags;
use super::leading::{Limits, MATCH_LIMIT, Settings};
use super::node::Parsed;
use super::parse;
use super::refused::Refused;
use crate::budget::Fuel;

/// How many steps (see [`cost`]) PCRE2 makes in 10 ms at least.
const LONG: Pace = Pace {
    compiled: 4e6,
    interpreted: 4e5,
};
/// How many steps PCRE2 makes in 0.2 ms at least.
const SHORT: Pace = Pace {
    compiled: 8e4,
    interpreted: 8e3,
};
/// Larger patterns (in items of [`cost::size`]) are not compiled to machine code.
const MAX_COMPILED: f64 = 2000.0;
/// The match limits to choose from: the first one that makes PCRE2's work short enough is taken.
const LOWER_LIMITS: [u32; 4] = [MATCH_LIMIT, 65_536, 4096, 256];

/// A number of steps that PCRE2 makes in some time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Where the pattern is machine code.
    compiled: f64,
    /// Where PCRE2 interprets the pattern.
    interpreted: f64,
}

/// A pattern that PCRE2 accepted, with what decides how a text is searched.
#[derive(Debug)]
pub(super) struct CompiledPattern {
    pcre: Pcre,
    /// Whether `pcre` is machine code.
    native: bool,
    /// PHP's flag `A`: a match must begin at the start of the text. PCRE2 finds the leftmost match, so it is enough to compare
    /// where that match begins.
    anchored: bool,
    /// The length in bytes up to which searching a text is [`SHORT`]. `None`: not even in an empty text.
    short_up_to: Option<usize>,
    /// The length in bytes up to which searching a text is [`LONG`] at most.
    long_up_to: Option<usize>,
    rest: Box<LongTexts>,
}

/// What is needed to search longer texts.
#[derive(Debug)]
struct LongTexts {
    /// `None` if the pattern was not understood.
    parsed: Option<Parsed>,
    backtracker: OnceLock<Option<Backtracker>>,
    /// The pattern with each of [`LOWER_LIMITS`]: in the first row to search a whole text, in the second to try one place of
    /// it.
    limited: [[OnceLock<Option<Pcre>>; LOWER_LIMITS.len()]; 2],
    limits: Limits,
    /// The settings in front of the pattern, without the limits.
    prefix: String,
    pattern: String,
    flags: Flags,
    /// Whether a setting changes the meaning of characters or line ends. Then only PCRE2 searches.
    special: bool,
}

impl CompiledPattern {
    /// Compiles a pattern with PCRE2. PHP uses PCRE2 as well, so the pattern means the same here.
    ///
    /// # Errors
    /// If PCRE2 refuses the pattern.
    pub(super) fn new(pattern: &str, flags: Flags) -> Result<Self, Refused> {
        let settings = Settings::leading(pattern);
        let adapted = adapt(settings.rest, &flags);
        let limits = settings.limits;
        let mut prefix = settings.kept;
        if !flags.inline.is_empty() {
            prefix.push_str(&format!("(?{})", flags.inline));
        }
        let in_front = format!("{limits}{prefix}");
        let build =
            |pattern: &str, native: bool| flags.builder(native).build(&format!("{in_front}{pattern}"));
        let interpreted = build(&adapted, false).map_err(|error| Refused::syntax(&error, in_front.len()))?;
        // `\K` moves the start that PCRE2 reports, so the anchor must then be part of the pattern. The pattern compiled on its
        // own, so its parentheses are balanced and it can be put into a group. The line end closes a comment.
        let mut anchored = flags.anchored;
        let (mut pattern, mut interpreted) = (adapted, interpreted);
        if anchored && pattern.contains("\\K") {
            let line_end = if flags.extended { "\n" } else { "" };
            let inside = format!("\\G(?:{pattern}{line_end})");
            if let Ok(pcre) = build(&inside, false) {
                (pattern, interpreted, anchored) = (Cow::Owned(inside), pcre, false);
            }
        }
        // A limit that follows a setting unknown to us could raise ours, so no cost is known.
        let parsed = if settings.rest.contains("(*LIMIT_") {
            None
        } else {
            parse::parse(&pattern, flags.modes())
        };
        let small = parsed
            .as_ref()
            .is_some_and(|parsed| cost::size(&parsed.root) <= MAX_COMPILED);
        // PCRE2 interprets what it cannot make machine code of, and everything on systems that forbid executable memory.
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
            rest: Box::new(LongTexts {
                parsed,
                backtracker: OnceLock::new(),
                limited: [const { [const { OnceLock::new() }; LOWER_LIMITS.len()] }; 2],
                limits,
                prefix,
                pattern: pattern.into_owned(),
                special: settings.special,
                flags,
            }),
        })
    }

    /// The size of the compiled form, in items.
    pub(super) fn size(&self) -> f64 {
        match &self.rest.parsed {
            Some(parsed) => cost::size(&parsed.root),
            // PCRE2 compiles no larger pattern.
            None => 32_768.0,
        }
    }

    /// Whether there is a match anywhere in `text`.
    pub(super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
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
        let backtracker = match self.rest.backtracker.get() {
            Some(made) => made.as_ref(),
            // Compiling it takes a millisecond or two.
            None => fuel
                .long(|| self.rest.backtracker(self.anchored))
                .ok_or(Stopped)?,
        };
        match backtracker {
            Some(backtracker) => backtracker.is_match(text, fuel),
            None => self.search_limited(text, fuel),
        }
    }

    /// Searches the whole text with PCRE2; this cannot be stopped.
    fn search(&self, pcre: &Pcre, text: &str) -> Result<bool, pcre2::Error> {
        // PCRE2's interpreter keeps the memory of a match for the next one; dropping a copy frees it.
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

    /// Searches with a pattern that only PCRE2 understands: one place of the text after the other if that is possible,
    /// otherwise all at once. A match limit bounds what cannot be stopped.
    fn search_limited(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        let parsed = self.rest.parsed.as_ref().ok_or(Stopped)?;
        let most = pace(LONG, self.native, parsed);
        // The estimates take time, too.
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
            // Without the flag `u` every byte is a place.
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

impl LongTexts {
    /// The pattern with a lower match limit; `one_by_one`: it only matches at the place where the search begins.
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

    /// The backtracker for this pattern, `None` if it cannot search with it.
    fn backtracker(&self, anchored: bool) -> Option<&Backtracker> {
        self.backtracker
            .get_or_init(|| {
                if self.special {
                    return None;
                }
                Backtracker::new(self.parsed.as_ref()?, self.flags.unicode, anchored)
            })
            .as_ref()
    }
}

/// How many steps PCRE2 makes with this pattern at `pace`.
fn pace(pace: Pace, native: bool, parsed: &Parsed) -> f64 {
    if native {
        pace.compiled
    } else {
        // Each step may copy the contents of the groups.
        pace.interpreted / (1.0 + f64::from(parsed.captures) / 4.0)
    }
}

/// The length in bytes of the longest text that is searched completely within the steps of `within`. `None` if even an empty
/// text may take longer.
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

#[cfg(test)]
mod tests;
