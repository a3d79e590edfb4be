//! From a request to its answer: who calls, what for, in which dialect.
//!
//! The order of the checks is Nextcloud's: wrong credentials (401), unknown route (404, 998), another method (405), no
//! login (401), no administrator (403), no `OCS-APIRequest` (412); then the format and the body.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::auth::{Authenticator, Denied, Session};
use super::deliveries::DeliveryContext;
use super::input;
use super::operations::{API_OF, Call, Context, NextcloudPart};
use super::probe::REQUEST_TOKEN;
use super::reply::{Body, Dialect, Reply, Syntax, Version, full};
use super::routes::{Access, Found, Operation, Route, Table};
use super::routing::{self, Destination};
use crate::proxy::{self, Arrival, Proxy, ProxyError, canonical};
use crate::random::random;
use crate::registry::{Registry, TargetPolicy};

/// How long an operation may take.
const OPERATION_TIME: Duration = Duration::from_secs(60);
const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";
const NOT_ADMIN: &str =
    "Logged in account must be an admin, a sub admin or gotten special right to access this setting";

/// Answers a route of its own, outside the OCS rules: health, metrics.
pub type PlainHandler = Arc<dyn Fn() -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// The API, ready to serve.
pub struct Api {
    table: Table,
    authenticator: Authenticator,
    context: Context,
    plain: HashMap<String, PlainHandler>,
    /// Answers what is not ours.
    proxy: Option<Arc<Proxy>>,
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
        let proxy = match &authenticator {
            Authenticator::Standalone(_) => None,
            Authenticator::Nextcloud(callers) => Some(Arc::clone(callers.proxy())),
        };
        Ok(Self {
            table: Table::new()?,
            authenticator,
            context: Context {
                registry,
                targets,
                deliveries: None,
            },
            plain: HashMap::new(),
            proxy,
        })
    }

    /// Adds a route outside the OCS rules, for GET: no login is asked for.
    #[must_use]
    pub fn with_plain(mut self, path: &str, handler: PlainHandler) -> Self {
        self.plain.insert(path.to_owned(), handler);
        self
    }

    /// Serves the routes about deliveries too.
    #[must_use]
    pub fn with_deliveries(mut self, deliveries: DeliveryContext) -> Self {
        self.context.deliveries = Some(deliveries);
        self
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        if matches!(*request.method(), Method::GET | Method::HEAD)
            && let Some(handler) = self.plain.get(request.uri().path())
        {
            return handler().await;
        }
        let begun = Instant::now();
        let asked = (request.method().clone(), self.route_of(&request));
        let mut response = match &self.proxy {
            None => match Target::of(request.uri().path(), "") {
                Some(target) => self.answer_ocs(request, target, arrival).await,
                None => answer_alone(&request),
            },
            Some(proxy) => self.answer_before(proxy, request, arrival).await,
        };
        stamp(response.headers_mut());
        tracing::debug!(
            client = %arrival.client, method = %asked.0, route = asked.1, status = response.status().as_u16(),
            ms = begun.elapsed().as_millis(), "answered"
        );
        response
    }

    /// The route that a request asks for, as the log names it: never the path itself, which holds names of files and the
    /// tokens of shares, nor the query, which may hold a receiver's URL.
    fn route_of(&self, request: &Request<Incoming>) -> &'static str {
        let path = request.uri().path();
        let base = self.proxy.as_ref().map_or("", |proxy| proxy.upstream().base());
        let target = Target::of(path, base);
        let found = target.map(|target| {
            self.table.find(
                target.version == Version::V1,
                request.method(),
                &path[target.start..],
            )
        });
        match found {
            Some(Found::Route(route, _)) => route.path,
            _ => "(another)",
        }
    }

    /// Answers before Nextcloud: what is ours here, the rest there.
    async fn answer_before(
        &self,
        proxy: &Proxy,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Response<Body> {
        if let Err(error) = proxy.vet(&request) {
            return gateway(&error, request.uri(), request.headers(), proxy);
        }
        let path = request.uri().path();
        if let Some(target) = Target::of(path, proxy.upstream().base()) {
            let found = self.table.find(
                target.version == Version::V1,
                request.method(),
                &path[target.start..],
            );
            if is_here(&found) || self.is_here_without_slash(target, request.method(), path) {
                return self.answer_ocs(request, target, arrival).await;
            }
        }
        if let Err(error) = self.is_plain(path, proxy.upstream().base()) {
            return gateway(&error, request.uri(), request.headers(), proxy);
        }
        let (uri, accept) = (request.uri().clone(), of_accept(request.headers()));
        match proxy.forward(request, arrival).await {
            Ok(response) => response,
            Err(error) => gateway(&error, &uri, &accept, proxy),
        }
    }

    /// Whether a path is that of a route of ours with a slash at the end. To Nextcloud that is a path that does not exist, and
    /// so it is here: the table of routes does not find it.
    fn is_here_without_slash(&self, target: Target, method: &Method, path: &str) -> bool {
        path.strip_suffix('/').is_some_and(|path| {
            path.get(target.start..).is_some_and(|rest| {
                let found = self.table.find(target.version == Version::V1, method, rest);
                is_here(&found)
            })
        })
    }

    /// Refuses another way to write the path of a route of ours: to Nextcloud it is the same one, and would be
    /// answered without what is ours.
    fn is_plain(&self, path: &str, base: &str) -> Result<(), ProxyError> {
        let below = |path: &str| path.strip_prefix(base).unwrap_or(path).to_owned();
        let plain = canonical(&below(path));
        let ours = plain != below(path)
            && Target::of(&plain, "").is_some_and(|target| {
                let found = self.table.find(
                    target.version == Version::V1,
                    &Method::GET,
                    &plain[target.start..],
                );
                is_here(&found)
            });
        if ours {
            return Err(ProxyError::Refused {
                status: StatusCode::BAD_REQUEST,
                reason: "This is another way to write a path of the webhook API: write it as the manual does",
            });
        }
        Ok(())
    }

    async fn answer_ocs(
        &self,
        request: Request<Incoming>,
        target: Target,
        arrival: Arrival,
    ) -> Response<Body> {
        let path = request.uri().path()[target.start..].to_owned();
        let found = self
            .table
            .find(target.version == Version::V1, request.method(), &path);
        let host = proxy::host(&request).ok().flatten();
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

        let list = match &found {
            Found::Route(route, _) if route.operation == Operation::List => {
                Some(query.get("uri").and_then(Value::as_str))
            }
            _ => None,
        };
        let mut caller = match routing::caller(&self.authenticator, &parts.headers, host, arrival, list).await
        {
            Ok(caller) => caller,
            Err(denied) => return deny(&denied, dialect),
        };
        let session = caller.session.clone();
        let cookies = std::mem::take(&mut caller.cookies);
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
        let asked = Asked {
            route,
            parameter,
            query,
            bad_format,
            parts,
        };
        let answer = self
            .answer_route(asked, &mut dialect, caller, body, arrival)
            .await;
        let mut response = match answer {
            Outcome::Reply(reply) => with_user(reply.into_response(dialect), session.as_ref()),
            Outcome::Passed(response) => response,
        };
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// Whether a request has a session's cookie and the request token that only Nextcloud's own pages know. Nextcloud was asked
    /// about the two as they came, and took them: else there would be no session.
    fn is_page_request(&self, headers: &HeaderMap) -> bool {
        self.proxy.is_some() && headers.contains_key(header::COOKIE) && headers.contains_key(REQUEST_TOKEN)
    }

    async fn answer_route(
        &self,
        asked: Asked,
        dialect: &mut Dialect,
        mut caller: routing::Caller,
        body: Incoming,
        arrival: Arrival,
    ) -> Outcome {
        let operation = asked.route.operation;
        match (asked.route.access, &caller.session) {
            (Access::Anyone, _) => {}
            (_, None) => return Reply::failure(997, "Current user is not logged in").into(),
            (Access::Admin, Some(session)) if !session.admin => {
                return Reply::failure(403, NOT_ADMIN).into();
            }
            _ => {}
        }
        if asked.route.access != Access::Anyone
            && !is_api_request(&asked.parts.headers)
            && !self.is_page_request(&asked.parts.headers)
        {
            return no_api_request().into();
        }
        if let Some(name) = asked.bad_format {
            return Reply::failure(400, format!("format: must be json or xml, not {name:?}")).into();
        }
        let bytes = match input::read_body(body).await {
            Ok(bytes) => bytes,
            Err(reply) => return reply.into(),
        };
        let fields = match input::fields(&asked.parts.headers, &bytes, &asked.query) {
            Ok(fields) => fields,
            Err(reply) => return reply.into(),
        };
        // A form may ask for the format too, as in Nextcloud.
        if !asked.query.contains_key("format")
            && let Ok(Some(name)) = fields.text("format")
            && let Some(syntax) = Syntax::parse(name)
        {
            dialect.syntax = syntax;
        }
        let mut their = NextcloudPart::Nothing;
        if let Authenticator::Nextcloud(callers) = &self.authenticator {
            match routing::destination(operation, &asked.parameter, &fields) {
                Destination::Here => {}
                Destination::Nowhere(reply) => return reply.into(),
                Destination::Nextcloud => {
                    let passed = callers
                        .proxy()
                        .forward_buffered(&asked.parts, bytes, arrival)
                        .await;
                    return routing::passed(passed, callers, &caller);
                }
            }
            their = match routing::their_part(callers, operation, &asked.parameter, &mut caller).await {
                Ok(their) => their,
                Err(reply) => return reply.into(),
            };
        }
        let call = Call {
            operation,
            parameter: asked.parameter,
            query: asked.query,
            fields,
            session: caller.session,
            client: arrival.client.to_string(),
            their,
        };
        match tokio::time::timeout(OPERATION_TIME, self.context.run(call)).await {
            Ok(reply) => reply.into(),
            Err(_) => {
                Reply::failure(503, "The database did not answer in time; try again in a moment").into()
            }
        }
    }
}

/// Whether a route is answered here, also before Nextcloud.
fn is_here(found: &Found<'_>) -> bool {
    let Found::Route(route, params) = found else {
        return matches!(found, Found::OtherMethod(_));
    };
    match route.operation {
        Operation::CloudUser | Operation::Capabilities => false,
        Operation::Show | Operation::Delete => params
            .iter()
            .last()
            .is_some_and(|(_, id)| routing::is_ours(&input::decode_segment(id))),
        _ => true,
    }
}

/// A path outside `/ocs/`, without Nextcloud.
fn answer_alone(request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/status.php" && request.method() == Method::GET {
        return status_php();
    }
    let dialect = Dialect {
        version: Version::V2,
        syntax: Syntax::of_accept(request.headers()),
    };
    Reply::failure(998, UNKNOWN_ROUTE).into_response(dialect)
}

/// What an answer's form hangs on.
fn of_accept(headers: &HeaderMap) -> HeaderMap {
    headers
        .get(header::ACCEPT)
        .map(|accept| (header::ACCEPT, accept.clone()))
        .into_iter()
        .collect()
}

/// Why there is no answer of Nextcloud's: in OCS's form below `/ocs/`, in plain text elsewhere.
fn gateway(error: &ProxyError, uri: &hyper::Uri, headers: &HeaderMap, proxy: &Proxy) -> Response<Body> {
    let code = error.status().as_u16();
    let mut response = match Target::of(uri.path(), proxy.upstream().base()) {
        None => text(error.status(), format!("{error}\n")),
        Some(target) => {
            let query = uri.query().unwrap_or_default();
            let named = url::form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| name == "format")
                .and_then(|(_, format)| Syntax::parse(&format));
            Reply::failure(code, error.to_string()).into_response(Dialect {
                version: target.version,
                syntax: named.unwrap_or_else(|| Syntax::of_accept(headers)),
            })
        }
    };
    // Also below v1.php, where errors of the API are 200: it is not the API that answers.
    *response.status_mut() = error.status();
    // What is left of the request is not read.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer of ours, or Nextcloud's.
pub(super) enum Outcome {
    Reply(Reply),
    Passed(Response<Body>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// A request for a route.
struct Asked {
    route: Route,
    parameter: String,
    query: Map<String, Value>,
    bad_format: Option<String>,
    parts: Parts,
}

/// Which version a path names, and where the rest of it starts.
#[derive(Debug, Clone, Copy)]
struct Target {
    version: Version,
    start: usize,
}

impl Target {
    /// `base` is what Nextcloud is installed below.
    fn of(path: &str, base: &str) -> Option<Self> {
        const V1: &str = "/ocs/v1.php";
        const V2: &str = "/ocs/v2.php";
        let below = path.strip_prefix(base)?;
        let of = |version, prefix: &str| {
            below.starts_with(prefix).then_some(Self {
                version,
                start: base.len() + prefix.len(),
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

fn no_api_request() -> Reply {
    let message = json!({"message": "CSRF check failed"}).to_string();
    Reply::Plain(StatusCode::PRECONDITION_FAILED, message.into())
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
