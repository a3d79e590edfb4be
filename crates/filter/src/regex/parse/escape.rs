//! What begins with a backslash.

use super::parser::Parser;
use crate::regex::node::{Node, PcreOnly, Position};

impl Parser<'_> {
    pub(super) fn escape(&mut self) -> Option<Node> {
        let whole = self.rest;
        let c = whole[1..].chars().next()?;
        let after = &whole[1 + c.len_utf8()..];
        let braced = |rest: &str| {
            rest.strip_prefix('{')
                .and_then(|r| r.find('}'))
                .map(|end| end + 2)
        };
        let digits = |rest: &str, most: usize, digit: fn(&u8) -> bool| {
            rest.bytes().take(most).take_while(digit).count()
        };
        // How many bytes after the letter belong to the escape.
        let taken = match c {
            'p' | 'P' => braced(after).or_else(|| after.chars().next().map(char::len_utf8))?,
            'x' => braced(after).unwrap_or_else(|| digits(after, 2, u8::is_ascii_hexdigit)),
            'o' => braced(after)?,
            'N' if after.starts_with("{U+") => braced(after)?,
            'c' => after.chars().next()?.len_utf8(),
            '0' => digits(after, 2, |b| matches!(b, b'0'..=b'7')),
            // Some of these are octal numbers; a backreference is the more expensive reading.
            '1'..='9' => digits(after, usize::MAX, u8::is_ascii_digit),
            'g' | 'k' => match after.chars().next()? {
                '{' => braced(after)?,
                '<' => after.find('>')? + 1,
                '\'' => after[1..].find('\'')? + 2,
                _ => digits(after, usize::MAX, |b| {
                    b.is_ascii_digit() || matches!(b, b'+' | b'-')
                }),
            },
            _ => 0,
        };
        self.rest = &after[taken..];
        let source = &whole[..whole.len() - self.rest.len()];
        Some(match c {
            '1'..='9' | 'k' => self.pcre_only(PcreOnly::Backreference(0)),
            'g' if source.starts_with("\\g<") || source.starts_with("\\g'") => {
                self.pcre_only(PcreOnly::Recursion)
            }
            'g' => self.pcre_only(PcreOnly::Backreference(0)),
            'R' | 'X' => self.pcre_only(PcreOnly::Several),
            'K' => self.pcre_only(PcreOnly::Free),
            'A' => Node::At(Position::Start),
            'G' => {
                self.separable = false;
                Node::At(Position::Start)
            }
            'Z' => Node::At(Position::End),
            'z' => Node::At(Position::VeryEnd),
            'b' => Node::At(Position::WordBoundary),
            'B' => Node::At(Position::NoWordBoundary),
            'C' => {
                // One byte, even in the middle of a character.
                self.pcre_only = true;
                self.one(source)
            }
            'a' | 'c' | 'd' | 'D' | 'e' | 'f' | 'h' | 'H' | 'n' | 'N' | 'o' | 'p' | 'P' | 'r' | 's' | 'S'
            | 't' | 'v' | 'V' | 'w' | 'W' | 'x' | '0' => self.one(source),
            other if other.is_ascii_alphanumeric() => return None,
            other if !other.is_ascii() && !self.modes.unicode => {
                // A backslash before the first of several bytes is not understood.
                return None;
            }
            _ => self.one(source),
        })
    }
}
