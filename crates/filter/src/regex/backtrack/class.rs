//! Finds the set of characters that an item of a pattern matches.

use pcre2::bytes::RegexBuilder;

use super::program::{Class, Others};
use crate::regex::node::One;

impl Class {
    /// The set for an item that is one literal character. `None` for other items.
    pub(super) fn literal(one: &One, unicode: bool) -> Option<Self> {
        let plain = one.source.strip_prefix('\\').map_or_else(
            || (one.source != ".").then_some(one.source.as_str()),
            |rest| {
                rest.starts_with(|c: char| c.is_ascii_punctuation())
                    .then_some(rest)
            },
        )?;
        let mut chars = plain.chars();
        let (Some(c), None) = (chars.next(), chars.next()) else {
            return None;
        };
        if one.caseless && (!c.is_ascii() || c.is_ascii_alphabetic()) {
            return None;
        }
        let mut bytes = [0; 4];
        let only = if c.is_ascii() {
            set(&mut bytes, c as usize);
            None
        } else if unicode {
            Some(c)
        } else {
            // Without the flag `u` it is several bytes.
            return None;
        };
        Some(Self {
            bytes,
            others: Others::Only(only),
        })
    }

    /// The set for any item, by asking PCRE2 about each byte. `None` if PCRE2 cannot compile the item alone.
    pub(super) fn ask(one: &One, unicode: bool) -> Option<Self> {
        let flags = match (one.caseless, one.dot_all) {
            (false, false) => "",
            (true, false) => "(?i)",
            (false, true) => "(?s)",
            (true, true) => "(?is)",
        };
        let pcre = RegexBuilder::new()
            .ucp(unicode)
            .build(&format!("{flags}\\A(?:{})\\z", one.source))
            .ok()?;
        let mut bytes = [0; 4];
        for byte in 0..if unicode { 128_u8 } else { 255 } {
            if pcre.is_match(&[byte]).ok()? {
                set(&mut bytes, byte.into());
            }
        }
        if !unicode && pcre.is_match(&[255]).ok()? {
            set(&mut bytes, 255);
        }
        Some(Self {
            bytes,
            others: if unicode {
                Others::Asked(pcre, 30 + one.source.len() as u64 / 8)
            } else {
                Others::Only(None)
            },
        })
    }
}

const fn set(bytes: &mut [u64; 4], place: usize) {
    bytes[place / 64] |= 1 << (place % 64);
}
