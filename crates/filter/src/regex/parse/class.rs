//! Character classes in brackets.

use super::parser::Parser;

impl<'p> Parser<'p> {
    /// Takes a class, `[…]`.
    pub(super) fn class(&mut self) -> Option<&'p str> {
        let whole = self.rest;
        let mut rest = &whole[1..];
        rest = rest.strip_prefix('^').unwrap_or(rest);
        let mut first = true;
        loop {
            let c = rest.chars().next()?;
            let taken = match c {
                ']' if !first => break,
                '\\' if rest.starts_with("\\Q") => rest.find("\\E")? + 2,
                '\\' if rest.starts_with("\\c") => 2 + rest[2..].chars().next()?.len_utf8(),
                '\\' => 1 + rest[1..].chars().next()?.len_utf8(),
                '[' if rest.starts_with("[:<:]") || rest.starts_with("[:>:]") => return None,
                '[' => named_class(rest).unwrap_or(1),
                _ => c.len_utf8(),
            };
            // A lone `\E` means nothing, so what follows is still the first item.
            first = first && rest.starts_with("\\E");
            rest = &rest[taken..];
        }
        let length = whole.len() - rest.len() + 1;
        self.rest = &whole[length..];
        Some(&whole[..length])
    }
}

/// The length in bytes of a `[:alpha:]` at the start of `rest`. `None` without a name and `:]`: then `[` stands for itself.
pub(in super::super) fn named_class(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix("[:")?;
    let name = name.strip_prefix('^').unwrap_or(name);
    let after = name
        .trim_start_matches(|c: char| c.is_ascii_lowercase())
        .strip_prefix(":]")?;
    Some(rest.len() - after.len())
}
