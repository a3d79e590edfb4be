//! Why PHP refuses a pattern.

/// Why PHP refuses a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is a / inside the pattern; write it \\/")]
    Delimiter,
    #[error("the / at its end is escaped, so the pattern never ends")]
    Unending,
    #[error("{0:?} is no flag of preg_match; the flags are i m s x n u A D J S U X")]
    Flag(char),
    #[error("{0}")]
    Syntax(String),
}

impl Refused {
    /// PCRE2's reason. The offset counts from the start of the filter's pattern, which follows `prefix` bytes of ours.
    pub(super) fn syntax(error: &pcre2::Error, prefix: usize) -> Self {
        let text = error.to_string();
        let offset = error.offset().and_then(|offset| offset.checked_sub(prefix));
        Self::Syntax(match (text.rsplit_once(": "), offset) {
            (Some((_, reason)), Some(offset)) => format!("{reason} (at offset {offset})"),
            _ => text,
        })
    }
}
