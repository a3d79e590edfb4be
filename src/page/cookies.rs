//! The page's cookies: one that names the browser, and the language.
//!
//! Guarantee: the first is out of reach of scripts and of requests that another site causes, and over TLS it is never sent in clear.

use hyper::header::{self, HeaderMap, HeaderValue};

/// Names the browser, or its login. The second name is that over TLS: browsers then demand `Secure`.
const BROWSER: [&str; 2] = ["orw_page", "__Secure-orw_page"];
pub(crate) const LANGUAGE: &str = "orw_language";
/// The longest value that is read.
const LONGEST: usize = 128;

/// Whose cookies they are: below which path, and whether the browser speaks TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jar<'a> {
    pub(crate) path: &'a str,
    pub(crate) secure: bool,
}

/// The value of a cookie.
pub(crate) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
        .filter(|value| value.len() <= LONGEST)
}

impl Jar<'_> {
    const fn browser_name(self) -> &'static str {
        BROWSER[if self.secure { 1 } else { 0 }]
    }

    /// What names the browser.
    pub(crate) fn browser(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.browser_name())
    }

    /// Gives the browser a name, until it is closed.
    pub(crate) fn name_browser(self, id: &str) -> Option<HeaderValue> {
        self.set(&format!(
            "{}={id}; HttpOnly; SameSite=Strict",
            self.browser_name()
        ))
    }

    /// Takes the browser's name away.
    pub(crate) fn forget_browser(self) -> Option<HeaderValue> {
        self.set(&format!(
            "{}=; HttpOnly; SameSite=Strict; Max-Age=0",
            self.browser_name()
        ))
    }

    /// Remembers the language for a year.
    pub(crate) fn remember_language(self, code: &str) -> Option<HeaderValue> {
        self.set(&format!(
            "{LANGUAGE}={code}; HttpOnly; SameSite=Lax; Max-Age=31536000"
        ))
    }

    fn set(self, cookie: &str) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{cookie}; Path={}{secure}", self.path)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; xorw_page=2;orw_page=3".parse().unwrap());
        headers.append(header::COOKIE, "orw_language=nl".parse().unwrap());
        assert_eq!(read(&headers, "orw_page"), Some("3"));
        assert_eq!(read(&headers, LANGUAGE), Some("nl"));
        assert_eq!(read(&headers, "orw_pag"), None);
        let jar = Jar {
            path: "/p",
            secure: true,
        };
        assert_eq!(jar.browser(&headers), None);
        let set = jar.name_browser("id").unwrap();
        assert_eq!(
            set.to_str().unwrap(),
            "__Secure-orw_page=id; HttpOnly; SameSite=Strict; Path=/p; Secure"
        );
    }
}
