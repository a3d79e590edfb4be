//! Answers that are always the same: refusals in Nextcloud's words, and what clients ask any Nextcloud.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use serde_json::json;

use super::handlers::about::API_OF;
use super::ocs_path::OcsPath;
use super::reply::{Dialect, Reply, Syntax, Version, full};
use super::session::{Denied, Session};
use crate::proxy::{Body, ProxyError};

const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";
const NOT_LOGGED_IN: &str = "Current user is not logged in";
const NOT_ADMIN: &str =
    "Logged in account must be an admin, a sub admin or gotten special right to access this setting";

/// No route has this path.
pub(super) fn unknown_route() -> Reply {
    Reply::failure(998, UNKNOWN_ROUTE)
}

/// The route needs a caller who is logged in.
pub(super) fn not_logged_in() -> Reply {
    Reply::failure(997, NOT_LOGGED_IN)
}

/// The route needs an administrator.
pub(super) fn not_admin() -> Reply {
    Reply::failure(403, NOT_ADMIN)
}

/// The request lacks what protects against forged requests. Nextcloud's answer is the message alone, which helps nobody who does not
/// know the header.
pub(super) fn no_api_request() -> Reply {
    let answer = json!({"message": "CSRF check failed", "hint": "send the header OCS-APIRequest: true"});
    Reply::Plain(StatusCode::PRECONDITION_FAILED, answer.to_string().into())
}

/// The caller's credentials are not accepted.
pub(super) fn denied(denied: &Denied, dialect: Dialect) -> Response<Body> {
    match denied {
        Denied::Wrong => {
            let mut response = Reply::failure(997, "Unauthorised").into_response(dialect);
            let basic = HeaderValue::from_static("Basic realm=\"Authorisation Required\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            response
        }
        Denied::TooMany { retry_after } => {
            let mut response = Reply::failure(429, "Too many wrong passwords; wait before you try again")
                .into_response(dialect);
            let seconds = retry_after.as_secs().saturating_add(1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
        Denied::NoApiRequest => no_api_request().into_response(dialect),
        Denied::Unavailable => {
            Reply::failure(503, "Credentials cannot be checked now; try again in a moment")
                .into_response(dialect)
        }
        Denied::Away(why) | Denied::Busy(why) => {
            Reply::failure(503, format!("{why}; try again in a moment")).into_response(dialect)
        }
    }
}

/// The path has a route, but not for this method.
pub(super) fn other_method(methods: &[Method], dialect: Dialect) -> Response<Body> {
    let mut response = Reply::Empty(StatusCode::METHOD_NOT_ALLOWED).into_response(dialect);
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// Adds the header that names the user, as Nextcloud does.
pub(super) fn with_user(mut response: Response<Body>, session: Option<&Session>) -> Response<Body> {
    if let Some(session) = session
        && let Ok(value) = HeaderValue::from_bytes(session.user.as_bytes())
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-user-id"), value);
    }
    response
}

/// Why Nextcloud gave no answer: in the OCS envelope below `/ocs/`, in plain text elsewhere. `base` is the path that Nextcloud
/// is installed below.
pub(super) fn gateway(error: &ProxyError, uri: &Uri, headers: &HeaderMap, base: &str) -> Response<Body> {
    let code = error.status().as_u16();
    let mut response = match OcsPath::parse(uri.path(), base) {
        None => text(error.status(), format!("{error}\n")),
        Some(path) => {
            let query = uri.query().unwrap_or_default();
            let named = url::form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| name == "format")
                .and_then(|(_, format)| Syntax::parse(&format));
            Reply::failure(code, error.to_string()).into_response(Dialect {
                version: path.version,
                syntax: named.unwrap_or_else(|| Syntax::of_accept(headers)),
            })
        }
    };
    // Also below v1.php, where the API answers errors with 200: this is not the API's answer.
    *response.status_mut() = error.status();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `/status.php`, which clients read before anything else.
pub(super) fn status_php() -> Response<Body> {
    let (major, minor, micro) = API_OF;
    let body = json!({"installed": true, "maintenance": false, "needsDbUpgrade": false,
        "version": format!("{major}.{minor}.{micro}.2"), "versionstring": format!("{major}.{minor}.{micro}"),
        "edition": "", "productname": "Nextcloud", "extendedSupport": false});
    let dialect = Dialect {
        version: Version::V2,
        syntax: Syntax::Json,
    };
    let mut response = Reply::Plain(StatusCode::OK, body.to_string().into()).into_response(dialect);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer in plain text, outside of the OCS envelope.
fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
