//! The front door: which of the routes answers a request, and which requests go on to Nextcloud.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::auth::Authenticator;
use super::fixed_answers;
use super::handlers::context::{Context, DeliveryContext};
use super::input;
use super::inside::{Inside, Pages};
use super::ocs_path::OcsPath;
use super::reply::{Dialect, Syntax, Version};
use super::routes::Found;
use super::routing;
use super::service::Service;
use crate::proxy::{Arrival, Body, Proxy, ProxyError, canonical};
use crate::random::random;
use crate::registry::{Registry, TargetPolicy};

/// The path of the web page, below the path that Nextcloud is installed at.
pub(crate) const PAGES: &str = "/apps/openregister_webhooks";

/// The API, ready to serve.
pub struct Api {
    service: Arc<Service>,
    /// Answers below [`PAGES`].
    pages: Option<Arc<dyn Pages>>,
    /// Answers what is not ours.
    proxy: Option<Arc<Proxy>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("authenticator", &self.service.authenticator)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// # Errors
    /// If the routes contradict each other.
    pub fn new(
        registry: Arc<Registry>,
        targets: Arc<dyn TargetPolicy>,
        authenticator: Authenticator,
    ) -> Result<Self, matchit::InsertError> {
        let proxy = match &authenticator {
            Authenticator::Standalone(_) => None,
            Authenticator::Nextcloud(accounts) => Some(Arc::clone(accounts.proxy())),
        };
        let context = Context {
            registry,
            targets,
            deliveries: OnceLock::new(),
        };
        Ok(Self {
            service: Arc::new(Service::new(authenticator, context)?),
            pages: None,
            proxy,
        })
    }

    /// Serves the routes about deliveries and jobs too.
    #[must_use]
    pub fn with_deliveries(self, deliveries: DeliveryContext) -> Self {
        // Only this function sets it, and it takes the API before it serves.
        let _ = self.service.context.deliveries.set(deliveries);
        self
    }

    /// Serves pages for people, too.
    #[must_use]
    pub fn with_pages(mut self, pages: Arc<dyn Pages>) -> Self {
        self.pages = Some(pages);
        self
    }

    /// The API as another face in this process uses it.
    #[must_use]
    pub fn inside(&self) -> Inside {
        Inside::new(Arc::clone(&self.service))
    }

    /// Who answers a path for people; nobody, if it is another path.
    fn pages(&self, path: &str, base: &str) -> Option<&dyn Pages> {
        let rest = path.strip_prefix(base)?.strip_prefix(PAGES)?;
        let below = rest.is_empty() || rest.starts_with('/');
        self.pages.as_deref().filter(|_| below)
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        let begun = Instant::now();
        let (method, route) = (request.method().clone(), self.route_name(&request));
        let mut response = match &self.proxy {
            None => {
                let path = request.uri().path();
                match (OcsPath::parse(path, ""), self.pages(path, "")) {
                    (Some(path), _) => self.service.answer(request, path, arrival).await,
                    (None, Some(pages)) => pages.answer(request, arrival).await,
                    (None, None) => answer_alone(&request),
                }
            }
            Some(proxy) => self.answer_in_front(proxy, request, arrival).await,
        };
        add_request_id(response.headers_mut());
        tracing::debug!(
            client = %arrival.client, %method, route, status = response.status().as_u16(),
            ms = begun.elapsed().as_millis(), "answered"
        );
        response
    }

    /// The route that a request asks for, as the log names it: never the path itself, which holds names of files and the
    /// tokens of shares, nor the query, which may hold a receiver's URL.
    fn route_name(&self, request: &Request<Incoming>) -> &'static str {
        let path = request.uri().path();
        let base = self.proxy.as_ref().map_or("", |proxy| proxy.upstream().base());
        let found = OcsPath::parse(path, base).map(|ocs| self.service.find(ocs, request.method(), path));
        match found {
            Some(Found::Route(route, _)) => route.path,
            _ => "(another)",
        }
    }

    /// Answers in front of Nextcloud: what is ours here, the rest there.
    async fn answer_in_front(
        &self,
        proxy: &Proxy,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Response<Body> {
        let base = proxy.upstream().base();
        if let Err(error) = proxy.vet(&request) {
            return fixed_answers::gateway(&error, request.uri(), request.headers(), base);
        }
        let path = request.uri().path();
        if let Some(ocs) = OcsPath::parse(path, base)
            && (self.is_here(ocs, request.method(), path)
                || self.is_here_without_slash(ocs, request.method(), path))
        {
            return self.service.answer(request, ocs, arrival).await;
        }
        if let Some(pages) = self.pages(path, base) {
            return pages.answer(request, arrival).await;
        }
        if let Err(error) = self.refuse_disguised(path, base) {
            return fixed_answers::gateway(&error, request.uri(), request.headers(), base);
        }
        let (uri, accept) = (request.uri().clone(), accept_header(request.headers()));
        match proxy.forward(request, arrival).await {
            Ok(response) => response,
            Err(error) => fixed_answers::gateway(&error, &uri, &accept, base),
        }
    }

    /// Whether a path is that of a route which is answered here, in front of Nextcloud.
    fn is_here(&self, ocs: OcsPath, method: &Method, path: &str) -> bool {
        match self.service.find(ocs, method, path) {
            Found::Route(route, params) => {
                routing::is_here(route.answered_by, &input::last_parameter(&params))
            }
            Found::OtherMethod(_) => true,
            Found::Nothing => false,
        }
    }

    /// Whether a path is that of a route of ours with a slash at the end. To Nextcloud that is a path that does not exist, and
    /// so it is here: the table of routes does not find it.
    fn is_here_without_slash(&self, ocs: OcsPath, method: &Method, path: &str) -> bool {
        path.strip_suffix('/')
            .is_some_and(|path| self.is_here(ocs, method, path))
    }

    /// Refuses another way to write the path of a route of ours: Nextcloud would take it for that route and answer it without
    /// what is ours.
    fn refuse_disguised(&self, path: &str, base: &str) -> Result<(), ProxyError> {
        let below = path.strip_prefix(base).unwrap_or(path);
        let plain = canonical(below);
        let is_ours = plain != below
            && OcsPath::parse(&plain, "").is_some_and(|ocs| self.is_here(ocs, &Method::GET, &plain));
        if is_ours {
            return Err(ProxyError::Refused {
                status: StatusCode::BAD_REQUEST,
                reason: "This is another way to write a path of the webhook API: write it as the manual does",
            });
        }
        Ok(())
    }
}

/// A path outside `/ocs/`, without Nextcloud.
fn answer_alone(request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/status.php" && request.method() == Method::GET {
        return fixed_answers::status_php();
    }
    let dialect = Dialect {
        version: Version::V2,
        syntax: Syntax::of_accept(request.headers()),
    };
    fixed_answers::unknown_route().into_response(dialect)
}

/// The one header that the format of an answer depends on.
fn accept_header(headers: &HeaderMap) -> HeaderMap {
    headers
        .get(header::ACCEPT)
        .map(|accept| (header::ACCEPT, accept.clone()))
        .into_iter()
        .collect()
}

/// Gives the answer an id, for the caller's log.
fn add_request_id(headers: &mut HeaderMap) {
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
