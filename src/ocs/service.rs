//! One request below `/ocs/`, stage by stage: accept, authenticate, find the route, authorise, read, route to Nextcloud, handle,
//! answer.
//!
//! The order of the refusals is Nextcloud's: wrong credentials (401), unknown route (404, 998), another method (405), no login
//! (401), no administrator (403), no `OCS-APIRequest` (412); then the format and the body.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde_json::{Map, Value};

use super::auth::{Authenticated, Authenticator, ListRequest};
use super::fixed_answers::{self, with_user};
use super::handlers::context::{Call, Context, NextcloudPart};
use super::handlers::error::HandlerError;
use super::input;
use super::nextcloud_api::REQUEST_TOKEN;
use super::ocs_path::OcsPath;
use super::reply::{Dialect, Outcome, Reply, Syntax, Version};
use super::routes::{Access, AnsweredBy, Found, Route, Table};
use super::routing::{self, Destination};
use super::session::Session;
use crate::proxy::{self, Arrival, Body};
use crate::registry::Fields;
use crate::registry::view::Keys;

/// How long a handler may take.
const HANDLER_TIME: Duration = Duration::from_secs(60);

/// The routes below `/ocs/`.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) table: Table,
    pub(super) authenticator: Authenticator,
    pub(super) context: Context,
}

/// A request's head, read before anything is known of its caller.
struct Head {
    parts: Parts,
    query: Map<String, Value>,
    dialect: Dialect,
    /// What the query calls the format, if it is none of ours.
    bad_format: Option<String>,
    /// The host that the request names.
    host: Option<HeaderValue>,
}

/// A request for a route.
struct RouteRequest {
    route: Route,
    /// The last part of the path that varies.
    parameter: String,
    head: Head,
}

impl Service {
    /// # Errors
    /// If the routes contradict each other.
    pub(super) fn new(authenticator: Authenticator, context: Context) -> Result<Self, matchit::InsertError> {
        Ok(Self {
            table: Table::new()?,
            authenticator,
            context,
        })
    }

    /// The route of a method and path; `path` is the whole path of which `ocs` was parsed.
    pub(super) fn find<'a>(&'a self, ocs: OcsPath, method: &Method, path: &'a str) -> Found<'a> {
        match ocs.route(path) {
            Some(route) => self.table.find(ocs.version == Version::V1, method, route),
            None => Found::Nothing,
        }
    }

    /// Answers a request.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        ocs: OcsPath,
        arrival: Arrival,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let found = self.find(ocs, request.method(), &path);
        let (head, body) = match Head::accept(request, ocs.version) {
            Ok(accepted) => accepted,
            Err((reply, dialect)) => return reply.into_response(dialect),
        };
        let dialect = head.dialect;
        let authenticated = self
            .authenticator
            .authenticate(&head.parts.headers, head.host.clone(), arrival, head.list(&found))
            .await;
        let mut caller = match authenticated {
            Ok(caller) => caller,
            Err(denied) => return fixed_answers::denied(&denied, dialect),
        };
        let session = caller.session.clone();
        let cookies = std::mem::take(&mut caller.cookies);
        let (route, parameter) = match found {
            Found::Route(route, params) => (route, input::last_parameter(&params)),
            Found::OtherMethod(methods) => return fixed_answers::other_method(&methods, dialect),
            Found::Nothing => {
                let reply = fixed_answers::unknown_route();
                return with_user(reply.into_response(dialect), session.as_ref());
            }
        };
        let mut request = RouteRequest {
            route,
            parameter,
            head,
        };
        let outcome = self
            .answer_route(&mut request, caller, body, arrival)
            .await
            .unwrap_or_else(Outcome::Reply);
        let mut response = match outcome {
            Outcome::Reply(reply) => with_user(reply.into_response(request.head.dialect), session.as_ref()),
            Outcome::Nextcloud(response) => response,
        };
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// Authorises the caller of a route, reads the rest of the request, and has it answered here or by Nextcloud.
    ///
    /// # Errors
    /// The answer, if one of these stages refuses the request.
    async fn answer_route(
        &self,
        request: &mut RouteRequest,
        mut caller: Authenticated,
        body: Incoming,
        arrival: Arrival,
    ) -> Result<Outcome, Reply> {
        self.authorise(request, caller.session.as_ref())?;
        if let Some(name) = &request.head.bad_format {
            let reason = format!("format: must be json or xml, not {name:?}");
            return Err(Reply::failure(400, reason));
        }
        let (body, fields) = request.read(body).await?;
        let mut keys = Keys::Twelve;
        let nextcloud = match &self.authenticator {
            Authenticator::Standalone(_) => NextcloudPart::Nothing,
            Authenticator::Nextcloud(accounts) => {
                let (answered_by, parameter) = (request.route.answered_by, &request.parameter);
                match routing::destination(answered_by, parameter, &fields) {
                    Destination::Here => {}
                    Destination::Refused(reply) => return Err(reply),
                    Destination::Nextcloud => {
                        let parts = &request.head.parts;
                        let answer = accounts.proxy().forward_buffered(parts, body, arrival).await;
                        return Ok(routing::forwarded(answer, accounts, &caller));
                    }
                }
                if request.route.shows_webhook()
                    && let Some(credentials) = &caller.credentials
                {
                    keys = accounts.webhook_keys(credentials).await;
                }
                routing::nextcloud_part(accounts, answered_by, parameter, &mut caller).await?
            }
        };
        let call = Call {
            parameter: std::mem::take(&mut request.parameter),
            query: std::mem::take(&mut request.head.query),
            fields,
            session: caller.session,
            client: arrival.client.to_string(),
            nextcloud,
            keys,
        };
        Ok(Outcome::Reply(self.handle(&request.route, call).await))
    }

    /// Whether the caller may use the route.
    ///
    /// # Errors
    /// The refusal.
    fn authorise(&self, request: &RouteRequest, session: Option<&Session>) -> Result<(), Reply> {
        let headers = &request.head.parts.headers;
        match (request.route.access, session) {
            (Access::Anyone, _) => return Ok(()),
            (Access::LoggedIn | Access::Admin, None) => return Err(fixed_answers::not_logged_in()),
            (Access::Admin, Some(session)) if !session.admin => return Err(fixed_answers::not_admin()),
            (Access::LoggedIn | Access::Admin, Some(_)) => {}
        }
        if !is_api_request(headers) && !self.is_page_request(headers) {
            return Err(fixed_answers::no_api_request());
        }
        Ok(())
    }

    /// Whether a request has a session's cookie and the request token that only Nextcloud's own pages know. Nextcloud was asked
    /// about the two as they came and accepted them: otherwise there would be no session.
    fn is_page_request(&self, headers: &HeaderMap) -> bool {
        matches!(self.authenticator, Authenticator::Nextcloud(_))
            && headers.contains_key(header::COOKIE)
            && headers.contains_key(REQUEST_TOKEN)
    }

    /// Runs the handler, for a bounded time.
    pub(super) async fn handle(&self, route: &Route, call: Call) -> Reply {
        match tokio::time::timeout(HANDLER_TIME, (route.handler)(&self.context, call)).await {
            Ok(answer) => answer.unwrap_or_else(HandlerError::into_reply),
            Err(_) => Reply::failure(503, "The database did not answer in time; try again in a moment"),
        }
    }
}

impl Head {
    /// Accepts a request: reads its query, and what its answer must look like.
    ///
    /// # Errors
    /// The answer, if the query cannot be read.
    fn accept(request: Request<Incoming>, version: Version) -> Result<(Self, Incoming), (Reply, Dialect)> {
        let host = proxy::host(&request).ok().flatten();
        let (parts, body) = request.into_parts();
        let query = input::form(parts.uri.query().unwrap_or_default().as_bytes()).map_err(|reply| {
            let syntax = Syntax::Xml;
            (reply, Dialect { version, syntax })
        })?;
        let mut dialect = Dialect {
            version,
            syntax: Syntax::of_accept(&parts.headers),
        };
        let mut bad_format = None;
        if let Some(name) = query.get("format").and_then(Value::as_str) {
            match Syntax::parse(name) {
                Some(syntax) => dialect.syntax = syntax,
                None => bad_format = Some(name.to_owned()),
            }
        }
        let head = Self {
            parts,
            query,
            dialect,
            bad_format,
            host,
        };
        Ok((head, body))
    }

    /// The list that the request asks for, if it asks for one.
    fn list(&self, found: &Found<'_>) -> Option<ListRequest<'_>> {
        match found {
            Found::Route(route, _) if route.answered_by == AnsweredBy::MergedList => Some(ListRequest {
                uri: self.query.get("uri").and_then(Value::as_str),
            }),
            _ => None,
        }
    }
}

impl RouteRequest {
    /// Reads the body and the fields of the request.
    ///
    /// # Errors
    /// The answer, if the body is too large, too slow or not what its type says.
    async fn read(&mut self, body: Incoming) -> Result<(Bytes, Fields), Reply> {
        let head = &mut self.head;
        let body = input::read_body(body).await?;
        let fields = input::fields(&head.parts.headers, &body, &head.query)?;
        // A form may name the format too, as in Nextcloud.
        if !head.query.contains_key("format")
            && let Ok(Some(name)) = fields.text("format")
            && let Some(syntax) = Syntax::parse(name)
        {
            head.dialect.syntax = syntax;
        }
        Ok((body, fields))
    }
}

/// What Nextcloud demands of API requests, so that no web page can send them with a visitor's cookies.
fn is_api_request(headers: &HeaderMap) -> bool {
    headers.get("ocs-apirequest").is_some_and(|value| value == "true")
        || headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "))
}
