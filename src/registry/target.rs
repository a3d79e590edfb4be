//! Where a webhook goes: `uri`, read strictly.

use hyper::Uri;
use url::{Host, Url};

use orw_egress::Guard;

/// The longest `uri`, as in Nextcloud's table.
const LONGEST: usize = 4000;

/// Says whether requests may go to a target, as far as its text tells: the scheme, and a host that is an address or a
/// listed name. What a name resolves to is checked again when it is connected to.
pub trait TargetPolicy: Send + Sync + std::fmt::Debug {
    /// # Errors
    /// Why not, and which setting would allow it.
    fn check(&self, target: &Uri) -> Result<(), String>;
}

/// The delivery's own guard: what it would refuse to connect to is refused at registration.
impl TargetPolicy for Guard {
    fn check(&self, target: &Uri) -> Result<(), String> {
        self.check_url(&target.to_string())
            .map_err(|refused| refused.to_string())
    }
}

/// Lets every target pass; the delivery's guard still decides when it connects.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyTarget;

impl TargetPolicy for AnyTarget {
    fn check(&self, _target: &Uri) -> Result<(), String> {
        Ok(())
    }
}

/// Reads a `uri`: an absolute `http` or `https` URL with a host. What is connected to is the returned form: ASCII, host in
/// punycode or as an address, fragment dropped, so that no two readers of it can understand different hosts.
pub(crate) fn parse(text: &str) -> Result<Uri, String> {
    if text.chars().count() > LONGEST {
        return Err(format!("must have at most {LONGEST} characters"));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || *c == '\\')
    {
        return Err(format!("must not contain {bad:?}; percent-encode it"));
    }
    let scheme = text
        .split_once("://")
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let Some((_, rest)) = scheme.filter(|(scheme, _)| scheme == "https" || scheme == "http") else {
        return Err(
            "must be an absolute URL that starts with https:// (or http://, where the configuration allows it)".into(),
        );
    };
    // A lenient reader skips further slashes; another one sees an empty host there.
    if rest.starts_with('/') {
        return Err("must name a host".into());
    }
    let mut url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not contain a user or password; send them as authData {\"Authorization\": \"Basic …\"}"
                .into(),
        );
    }
    if matches!(url.host(), None | Some(Host::Domain(""))) {
        return Err("must name a host".into());
    }
    if url.port() == Some(0) {
        return Err("must not have port 0".into());
    }
    url.set_fragment(None);
    Uri::try_from(url.as_str()).map_err(|error| format!("is no URL: {error}"))
}

/// The origin of a target that [`parse`] gave: scheme, host and port, the port also where it is the scheme's own. It may be logged: path and query,
/// which often hold the receiver's token, are not in it.
pub(crate) fn origin(target: &Uri) -> String {
    let scheme = target.scheme_str().unwrap_or_default();
    let port = target
        .port_u16()
        .unwrap_or(if scheme == "http" { 80 } else { 443 });
    format!("{scheme}://{}:{port}", target.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_however_it_is_written() {
        let of = |text: &str| origin(&parse(text).unwrap());
        for same in [
            "https://example.com",
            "HTTPS://EXAMPLE.com:443/a?b#c",
            "https://example.com/x",
        ] {
            assert_eq!(of(same), "https://example.com:443");
        }
        assert_eq!(of("http://[::1]/"), "http://[::1]:80");
        let others = [
            "http://example.com",
            "https://example.com:8443",
            "https://example.org",
            "https://example.com.evil.example/",
            "https://evil.example/https://example.com:443",
        ];
        for other in others {
            assert_ne!(of(other), "https://example.com:443");
        }
    }

    #[test]
    fn urls_are_read_strictly_and_made_ascii() {
        let ok = |text: &str| parse(text).unwrap().to_string();
        assert_eq!(ok("https://example.com/webhook"), "https://example.com/webhook");
        assert_eq!(ok("HTTPS://Example.COM"), "https://example.com/");
        assert_eq!(
            ok("https://example.com/full?a=1&b=<2>#top"),
            "https://example.com/full?a=1&b=%3C2%3E"
        );
        assert_eq!(ok("https://exämple.com/ü"), "https://xn--exmple-cua.com/%C3%BC");
        assert_eq!(ok("http://0x7f.1:9000/x"), "http://127.0.0.1:9000/x");
        assert_eq!(ok("https://[::1]:8443/"), "https://[::1]:8443/");
        let long = format!("https://example.com/{}", "a".repeat(4000));
        for no in [
            "",
            "not a url",
            "ftp://example.com",
            "https:example.com",
            "https://",
            "https:///x",
            "//example.com/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://u:p@example.com/",
            "https://u@example.com/",
            "https://exa mple.com/",
            "https://example.com\\@evil.example/",
            "https://example.com/\n",
            long.as_str(),
        ] {
            assert!(parse(no).is_err(), "{no:?} gave {:?}", parse(no));
        }
    }
}
