//! The language of a page: English or Dutch.

use hyper::header::{self, HeaderMap};

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Language {
    #[default]
    English,
    Dutch,
}

impl Language {
    /// The name by which HTML and the switch know it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Dutch => "nl",
        }
    }

    pub(crate) fn parse(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::English),
            "nl" => Some(Self::Dutch),
            _ => None,
        }
    }

    /// The text in this language.
    pub(crate) const fn choose<'a>(self, english: &'a str, dutch: &'a str) -> &'a str {
        match self {
            Self::English => english,
            Self::Dutch => dutch,
        }
    }

    /// The first language of `Accept-Language`, by weight, that the page has; else English.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let text = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let mut best = (0.0, Self::English);
        for part in text.split(',') {
            let mut pieces = part.split(';');
            let code = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = pieces
                .find_map(|piece| piece.trim().strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            if let Some(language) = Self::parse(code.split('-').next().unwrap_or_default())
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_language_is_taken() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, text.parse().unwrap());
            Language::accepted(&headers)
        };
        assert_eq!(of("nl-NL,nl;q=0.9,en;q=0.8"), Language::Dutch);
        assert_eq!(of("de,en;q=0.3,nl;q=0.5"), Language::Dutch);
        assert_eq!(of("en-GB,nl"), Language::English);
        assert_eq!(of("fr, *;q=0.1"), Language::English);
        assert_eq!(of("nl;q=0"), Language::English);
        assert_eq!(Language::accepted(&HeaderMap::new()), Language::English);
    }
}
