//! From a request to its answer: who calls, what for, in which dialect.
//!
//! The order of the checks is Nextcloud's: wrong credentials (401), unknown route (404, 998), another method (405), no
//! login (401), no administrator (403), no `OCS-APIRequest` (412); then the format and the body.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::auth::{Authenticator, Denied, Session};
use super::input;
use super::operations::{API_OF, Call, Context};
use super::reply::{Body, Dialect, Reply, Syntax, Version, full};
use super::routes::{Access, Found, Route, Table};
use crate::registry::{Registry, TargetPolicy, random};

/// How long an operation may take.
const OPERATION_TIME: Duration = Duration::from_secs(60);
const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";
const NOT_ADMIN: &str =
    "Logged in account must be an admin, a sub admin or gotten special right to access this setting";

/// Answers a route of its own, outside the OCS rules: health, metrics.
pub type PlainHandler = Arc<dyn Fn() -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Answers every path that is not ours: the proxy to Nextcloud, when there is one.
pub trait Fallback: Send + Sync {
    fn answer(&self, request: Request<Incoming>, client: IpAddr) -> BoxFuture<'_, Response<Body>>;
}

/// The API, ready to serve.
pub struct Api {
    table: Table,
    authenticator: Authenticator,
    context: Context,
    plain: HashMap<String, PlainHandler>,
    fallback: Option<Box<dyn Fallback>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("authenticator", &self.authenticator)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// # Errors
    /// Where the routes contradict each other.
    pub fn new(
        registry: Arc<Registry>,
        targets: Arc<dyn TargetPolicy>,
        authenticator: Authenticator,
    ) -> Result<Self, matchit::InsertError> {
        Ok(Self {
            table: Table::new()?,
            authenticator,
            context: Context { registry, targets },
            plain: HashMap::new(),
            fallback: None,
        })
    }

    /// Adds a route outside the OCS rules, for GET: no login is asked for.
    #[must_use]
    pub fn with_plain(mut self, path: &str, handler: PlainHandler) -> Self {
        self.plain.insert(path.to_owned(), handler);
        self
    }

    /// Answers what is not ours.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Box<dyn Fallback>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Answers one request of the client at this address.
    pub async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
        if matches!(*request.method(), Method::GET | Method::HEAD)
            && let Some(handler) = self.plain.get(request.uri().path())
        {
            return handler().await;
        }
        let begun = Instant::now();
        // The query may hold a receiver's URL, and with it a token: it is not logged.
        let asked = (request.method().clone(), request.uri().path().to_owned());
        let mut response = match Target::of(request.uri().path()) {
            Some(target) => self.answer_ocs(request, target, client).await,
            None => self.answer_other(request, client).await,
        };
        stamp(response.headers_mut());
        tracing::debug!(
            %client, method = %asked.0, path = asked.1, status = response.status().as_u16(),
            ms = begun.elapsed().as_millis(), "answered"
        );
        response
    }

    async fn answer_ocs(&self, request: Request<Incoming>, target: Target, client: IpAddr) -> Response<Body> {
        let path = request.uri().path()[target.start..].to_owned();
        let found = self
            .table
            .find(target.version == Version::V1, request.method(), &path);
        if matches!(found, Found::Nothing)
            && let Some(fallback) = &self.fallback
        {
            return fallback.answer(request, client).await;
        }
        let (parts, body) = request.into_parts();
        let query = match input::form(parts.uri.query().unwrap_or_default().as_bytes()) {
            Ok(query) => query,
            Err(reply) => {
                return reply.into_response(Dialect {
                    version: target.version,
                    syntax: Syntax::Xml,
                });
            }
        };
        let mut dialect = Dialect {
            version: target.version,
            syntax: Syntax::of_accept(&parts.headers),
        };
        let format = query.get("format").and_then(Value::as_str);
        let mut bad_format = None;
        match format.map(|name| (name, Syntax::parse(name))) {
            Some((_, Some(syntax))) => dialect.syntax = syntax,
            Some((name, None)) => bad_format = Some(name.to_owned()),
            None => {}
        }

        let session = match self.authenticator.session(&parts.headers, client).await {
            Ok(session) => session,
            Err(denied) => return deny(&denied, dialect),
        };
        let (route, params) = match found {
            Found::Route(route, params) => (route, params),
            Found::OtherMethod(methods) => return other_method(&methods, dialect),
            Found::Nothing => {
                let reply = Reply::failure(998, UNKNOWN_ROUTE);
                return with_user(reply.into_response(dialect), session.as_ref());
            }
        };
        let parameter = params
            .iter()
            .last()
            .map(|(_, value)| input::decode_segment(value))
            .unwrap_or_default();
        let request = Asked {
            route,
            parameter,
            query,
            bad_format,
            headers: parts.headers,
        };
        let reply = self
            .answer_route(request, &mut dialect, session.clone(), body, client)
            .await;
        with_user(reply.into_response(dialect), session.as_ref())
    }

    async fn answer_route(
        &self,
        asked: Asked,
        dialect: &mut Dialect,
        session: Option<Session>,
        body: Incoming,
        client: IpAddr,
    ) -> Reply {
        match (asked.route.access, &session) {
            (Access::Anyone, _) => {}
            (_, None) => return Reply::failure(997, "Current user is not logged in"),
            (Access::Admin, Some(session)) if !session.admin => return Reply::failure(403, NOT_ADMIN),
            _ => {}
        }
        if asked.route.access != Access::Anyone && !is_api_request(&asked.headers) {
            let message = json!({"message": "CSRF check failed"}).to_string();
            return Reply::Plain(StatusCode::PRECONDITION_FAILED, message.into());
        }
        if let Some(name) = asked.bad_format {
            return Reply::failure(400, format!("format: must be json or xml, not {name:?}"));
        }
        let fields = match input::read_body(body).await {
            Ok(bytes) => input::fields(&asked.headers, &bytes, &asked.query),
            Err(reply) => return reply,
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        // A form may ask for the format too, as in Nextcloud.
        if !asked.query.contains_key("format")
            && let Ok(Some(name)) = fields.text("format")
            && let Some(syntax) = Syntax::parse(name)
        {
            dialect.syntax = syntax;
        }
        let call = Call {
            operation: asked.route.operation,
            parameter: asked.parameter,
            query: asked.query,
            fields,
            session,
            client: client.to_string(),
        };
        match tokio::time::timeout(OPERATION_TIME, self.context.run(call)).await {
            Ok(reply) => reply,
            Err(_) => Reply::failure(503, "The database did not answer in time; try again in a moment"),
        }
    }

    /// A path outside `/ocs/`.
    async fn answer_other(&self, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
        if let Some(fallback) = &self.fallback {
            return fallback.answer(request, client).await;
        }
        if request.uri().path() == "/status.php" && request.method() == Method::GET {
            return status_php();
        }
        let dialect = Dialect {
            version: Version::V2,
            syntax: Syntax::of_accept(request.headers()),
        };
        Reply::failure(998, UNKNOWN_ROUTE).into_response(dialect)
    }
}

/// A request for a route.
struct Asked {
    route: Route,
    parameter: String,
    query: Map<String, Value>,
    bad_format: Option<String>,
    headers: HeaderMap,
}

/// Which version a path names, and where the rest of it starts.
#[derive(Debug, Clone, Copy)]
struct Target {
    version: Version,
    start: usize,
}

impl Target {
    fn of(path: &str) -> Option<Self> {
        const V1: &str = "/ocs/v1.php";
        const V2: &str = "/ocs/v2.php";
        let of = |version, prefix: &str| {
            path.starts_with(prefix).then_some(Self {
                version,
                start: prefix.len(),
            })
        };
        of(Version::V1, V1).or_else(|| of(Version::V2, V2))
    }
}

/// What Nextcloud demands of API requests, so that no web page can send them with a visitor's cookies.
fn is_api_request(headers: &HeaderMap) -> bool {
    headers.get("ocs-apirequest").is_some_and(|value| value == "true")
        || headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "))
}

fn deny(denied: &Denied, dialect: Dialect) -> Response<Body> {
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
        Denied::Unavailable => {
            Reply::failure(503, "Credentials cannot be checked now; try again in a moment")
                .into_response(dialect)
        }
    }
}

fn other_method(methods: &[Method], dialect: Dialect) -> Response<Body> {
    let mut response = Reply::Empty(StatusCode::METHOD_NOT_ALLOWED).into_response(dialect);
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn with_user(mut response: Response<Body>, session: Option<&Session>) -> Response<Body> {
    if let Some(session) = session
        && let Ok(value) = HeaderValue::from_bytes(session.user.as_bytes())
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-user-id"), value);
    }
    response
}

/// Names the request, for the log of whoever asked.
fn stamp(headers: &mut HeaderMap) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
    if let Ok(bytes) = random::<20>() {
        let id: Vec<u8> = bytes.iter().map(|byte| LETTERS[usize::from(byte & 63)]).collect();
        if let Ok(value) = HeaderValue::from_bytes(&id) {
            headers
                .entry(HeaderName::from_static("x-request-id"))
                .or_insert(value);
        }
    }
}

/// What clients ask a Nextcloud before anything else.
fn status_php() -> Response<Body> {
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

/// An answer in plain text, for plain routes.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
