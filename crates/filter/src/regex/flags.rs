//! The flags that follow a pattern, as PHP's `preg_match` reads them.

use pcre2::bytes::RegexBuilder;

use super::node::Modes;
use super::refused::Refused;

/// The flags of one pattern.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent flags")]
pub(super) struct Flags {
    pub(super) caseless: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
    pub(super) extended: bool,
    pub(super) unicode: bool,
    pub(super) anchored: bool,
    pub(super) dollar_end_only: bool,
    /// The flags that are passed to PCRE2 as a setting inside of the pattern: `n`, `J`, `U`.
    pub(super) inline: String,
}

impl Flags {
    /// A builder with these flags; `native` makes machine code of the pattern.
    pub(super) fn builder(&self, native: bool) -> RegexBuilder {
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

    /// The modes in which the parser starts.
    pub(super) fn modes(&self) -> Modes {
        Modes {
            caseless: self.caseless,
            dot_all: self.dot_all,
            multi_line: self.multi_line,
            extended: self.extended,
            ungreedy: self.inline.contains('U'),
            unicode: self.unicode,
        }
    }

    /// Reads `flags`. PHP takes the first unescaped `/` for the end of the pattern, so `pattern` may contain none.
    pub(super) fn parse(pattern: &str, flags: &str) -> Result<Self, Refused> {
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
                // PCRE2 always does what they ask for: it studies the pattern, and refuses unknown escapes.
                'S' | 'X' => {}
                'n' | 'J' | 'U' if parsed.inline.contains(flag) => {}
                'n' | 'J' | 'U' => parsed.inline.push(flag),
                other => return Err(Refused::Flag(other)),
            }
        }
        Ok(parsed)
    }
}
