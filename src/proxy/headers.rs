//! Headers on their way: those of one connection are not forwarded, and we say who the client is.

use std::fmt::Write as _;
use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::arrival::Arrival;

/// The headers that belong to one connection, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The headers that give a request its meaning, or that decisions are based on. `Connection` must not remove them: a client could
/// make what a trusted proxy says, or a condition, disappear on its way to Nextcloud.
const MEANING: [&str; 24] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "requesttoken",
    "ocs-apirequest",
    "authorization-app-api",
    "ex-app-id",
    "ex-app-version",
    "aa-version",
    "x-requested-with",
    "x-nextcloud-federation",
    "origin",
    "referer",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "if",
];

/// The headers that say on whose behalf a request is made: they count from trusted proxies only. `proxy` would become the variable
/// HTTP_PROXY of a CGI program.
const ON_BEHALF: [&str; 13] = [
    "forwarded",
    "x-forwarded",
    "x-original-forwarded-for",
    "x-original-host",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-envoy-external-address",
    "proxy",
];

/// The sidecars that a request came through. A request that came back to one of them would go round for ever.
pub(super) const THROUGH: HeaderName = HeaderName::from_static("orw-through");

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn is_on_behalf(name: &str) -> bool {
    name.starts_with("x-forwarded-") || ON_BEHALF.contains(&name)
}

/// The items of a list, from all lines of the header. A byte that is no text affects its own item only.
pub(crate) fn items<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let items: Vec<&[u8]> = lines
        .into_iter()
        .flat_map(|line| line.split(|byte| *byte == b','))
        .collect();
    items.into_iter().map(<[u8]>::trim_ascii)
}

/// Removes the headers that belong to the connection on which a message came.
pub(super) fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = items(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_managed(name.as_str()))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Rewrites a request's headers for Nextcloud: end to end, `Host` as the client sent it, and who the client is.
pub(super) fn request(headers: &mut HeaderMap, arrival: Arrival, host: &HeaderValue) {
    let trailers = names(headers, &header::TE, "trailers");
    end_to_end(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    // HTTP/2 splits cookies into several lines; HTTP/1.1 has one.
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
    // Some servers read `X_Forwarded_For`, or `X.Forwarded.For`, as `X-Forwarded-For`.
    let disguised: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let plain = name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            plain != name.as_str() && is_managed(&plain)
        })
        .cloned()
        .collect();
    for name in disguised {
        headers.remove(name);
    }
    if !arrival.trusted {
        let claimed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_on_behalf(name.as_str()))
            .cloned()
            .collect();
        for name in claimed {
            headers.remove(name);
        }
    }
    headers.insert(header::HOST, host.clone());
    on_behalf(headers, arrival, host);
}

/// Whether we set or remove a header, or we or Nextcloud base decisions on it.
fn is_managed(name: &str) -> bool {
    is_on_behalf(name)
        || name.starts_with("sec-fetch-")
        || name == THROUGH.as_str()
        || MEANING.contains(&name)
        || HOP_BY_HOP.iter().any(|known| known.as_str() == name)
}

/// Says who the client is: after what a trusted proxy said, or instead of what the client claimed.
fn on_behalf(headers: &mut HeaderMap, arrival: Arrival, host: &HeaderValue) {
    let peer = arrival.peer.to_canonical();
    append(headers, &FORWARDED_FOR, &peer.to_string());
    if let Ok(proto) = HeaderValue::from_str(arrival.scheme()) {
        headers.entry(FORWARDED_PROTO).or_insert(proto);
    }
    headers.entry(FORWARDED_HOST).or_insert(host.clone());
    let mut element = match peer {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    if let Ok(host) = host.to_str() {
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={}", arrival.scheme());
    append(headers, &header::FORWARDED, &element);
}

/// Adds an element to a list, and joins the list into one line. What was there stays as it is, byte by byte.
pub(super) fn append(headers: &mut HeaderMap, name: &HeaderName, element: &str) {
    let mut all: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    all.push(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(name.clone(), value);
    }
}

/// Whether a list of tokens contains this one.
pub(super) fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| {
        let item = item.split(|byte| *byte == b';').next().unwrap_or_default();
        item.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(trusted: bool) -> Arrival {
        Arrival {
            client: "198.51.100.7".parse().unwrap(),
            peer: "10.0.0.1".parse().unwrap(),
            trusted,
            secure: true,
        }
    }

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn passed(pairs: &[(&str, &str)], trusted: bool) -> HeaderMap {
        let mut headers = map(pairs);
        request(
            &mut headers,
            arrival(trusted),
            &HeaderValue::from_static("cloud.example:8443"),
        );
        headers
    }

    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let headers = passed(
            &[
                ("connection", "close, X-Mine, Cookie, host"),
                ("connection", "x-forwarded-for"),
                ("x-mine", "1"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("keep-alive", "timeout=5"),
                ("te", "gzip, trailers;q=0.5"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("proxy-authorization", "x"),
                ("trailer", "x-sum"),
                ("accept", "*/*"),
            ],
            false,
        );
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept",
                "connection",
                "cookie",
                "forwarded",
                "host",
                "te",
                "trailer",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(
            (&headers["te"], &headers["connection"]),
            (
                &HeaderValue::from_static("trailers"),
                &HeaderValue::from_static("TE")
            )
        );
    }

    #[test]
    fn who_asks_is_said_by_trusted_proxies_only() {
        let claims = [
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=198.51.100.7"),
            ("x-real-ip", "198.51.100.7"),
            ("x_forwarded_for", "198.51.100.7"),
            ("x-forwarded_for", "198.51.100.7"),
            ("content_length", "5"),
            ("proxy", "http://evil.example"),
        ];
        let headers = passed(&claims, false);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "cloud.example:8443");
        assert_eq!(
            headers["forwarded"],
            "for=10.0.0.1;host=\"cloud.example:8443\";proto=https"
        );
        assert_eq!(headers.len(), 5, "{headers:?}");
        let headers = passed(&claims, true);
        assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-real-ip"], "198.51.100.7");
        assert_eq!(
            headers["forwarded"],
            "for=198.51.100.7, for=10.0.0.1;host=\"cloud.example:8443\";proto=https"
        );
        assert!(!headers.contains_key("x_forwarded_for") && !headers.contains_key("content_length"));
    }

    #[test]
    fn connection_takes_nothing_away_that_is_decided_by() {
        let named = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "forwarded",
            "x-real-ip",
            "authorization",
            "cookie",
            "requesttoken",
            "ocs-apirequest",
            "authorization-app-api",
            "ex-app-id",
            "orw-through",
            "content-type",
            "if-match",
            "if-none-match",
            "origin",
            "sec-fetch-site",
        ];
        let connection = format!("\u{fc}, close, {}", named.join(", "));
        let mut headers = map(&named.map(|name| (name, "198.51.100.7")));
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_bytes(connection.as_bytes()).unwrap(),
        );
        request(&mut headers, arrival(true), &HeaderValue::from_static("c"));
        for name in named {
            assert!(headers.contains_key(name), "{name} is gone");
        }
        assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 10.0.0.1");
        assert!(!headers.contains_key("connection"));
        // From anybody else, such a header is replaced as always.
        let headers = passed(
            &[
                ("connection", "x-forwarded-for"),
                ("x-forwarded-for", "198.51.100.7"),
            ],
            false,
        );
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
    }

    #[test]
    fn a_byte_that_is_no_text_hides_nobody() {
        let mut headers = HeaderMap::new();
        let claimed = HeaderValue::from_bytes(b"\xff, 198.51.100.7").unwrap();
        headers.append(FORWARDED_FOR, claimed.clone());
        headers.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.8"));
        headers.append(header::FORWARDED, HeaderValue::from_bytes(b"for=\xff").unwrap());
        request(&mut headers, arrival(true), &HeaderValue::from_static("c"));
        assert_eq!(
            headers["x-forwarded-for"].as_bytes(),
            b"\xff, 198.51.100.7, 198.51.100.8, 10.0.0.1"
        );
        assert!(
            headers["forwarded"]
                .as_bytes()
                .starts_with(b"for=\xff, for=10.0.0.1;")
        );
        let untrusted = {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED_FOR, claimed);
            headers.append("x.forwarded.for", HeaderValue::from_static("198.51.100.7"));
            request(&mut headers, arrival(false), &HeaderValue::from_static("c"));
            headers
        };
        assert_eq!(untrusted["x-forwarded-for"], "10.0.0.1");
        assert!(!untrusted.contains_key("x.forwarded.for"));
    }
}
