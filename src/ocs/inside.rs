//! The API as another face in this process uses it: the same handlers, the same accounts, and so the same answers, refusals and rows
//! of the audit table.
//!
//! Guarantee: nothing here says who may do what. Whoever calls [`Inside::call`] has checked that, as the API does for its own callers.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use orw_egress::Destination;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::auth::Authenticator;
use super::handlers::context::{Call, NextcloudPart};
use super::handlers::error::HandlerError;
use super::input;
use super::nextcloud_api::Credentials;
use super::reply::Reply;
use super::routes::Found;
use super::service::Service;
use super::session::{Denied, Session};
use crate::delivery::{Failure, trial};
use crate::proxy::{Arrival, Body, FORWARDED_HOST, FORWARDED_PROTO};
use crate::registry::view::Keys;
use crate::registry::{Fields, Registration, Webhook, WebhookId};

/// Pages for people, served by the API's listener.
pub trait Pages: Send + Sync + std::fmt::Debug {
    /// Answers a request below the path of the pages.
    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> BoxFuture<'_, Response<Body>>;
}

/// The API from the inside; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inside(Arc<Service>);

/// Why the API does not do what was asked: its status, and its message for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The language of the message; the API's is English.
    pub(crate) language: &'static str,
}

impl Refusal {
    /// A refusal in English.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            language: "en",
        }
    }
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Failure(status, message) => Self::new(status, message),
            Reply::Plain(..) | Reply::Empty(_) | Reply::Data(..) => {
                Self::new(500, "An internal error occurred")
            }
        }
    }
}

/// Who a browser's request comes from, as Nextcloud says.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// `None` if nobody is logged in.
    pub(crate) session: Option<Session>,
    /// Cookies that Nextcloud renewed; the answer hands them to the browser.
    pub(crate) cookies: Vec<HeaderValue>,
}

/// What of a browser's request tells Nextcloud who it is. Its other credentials do not count for a page.
const OF_A_BROWSER: [HeaderName; 5] = [
    header::COOKIE,
    header::USER_AGENT,
    header::ACCEPT_LANGUAGE,
    FORWARDED_HOST,
    FORWARDED_PROTO,
];

impl Inside {
    pub(super) const fn new(service: Arc<Service>) -> Self {
        Self(service)
    }

    /// Whether Nextcloud says who a caller is; otherwise the configuration does.
    pub(crate) fn is_before_nextcloud(&self) -> bool {
        matches!(self.0.authenticator, Authenticator::Nextcloud(_))
    }

    /// The path that Nextcloud is installed at, without a slash at its end; empty for a sidecar that stands alone.
    pub(crate) fn base(&self) -> &str {
        match &self.0.authenticator {
            Authenticator::Standalone(_) => "",
            Authenticator::Nextcloud(accounts) => accounts.proxy().upstream().base(),
        }
    }

    /// Checks the password of an account of the configuration.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn log_in(
        &self,
        user: &str,
        password: &SecretString,
        client: IpAddr,
    ) -> Result<Session, Denied> {
        match &self.0.authenticator {
            Authenticator::Standalone(accounts) => accounts.check(user, password, client).await,
            Authenticator::Nextcloud(_) => Err(Denied::Wrong),
        }
    }

    /// Asks Nextcloud whose session a browser's cookie is, with a GET that changes nothing there and carries `OCS-APIRequest`, which
    /// browsers cannot send from a link. What Nextcloud accepted a moment ago is remembered as for the API; not if `now`.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn identify_browser(
        &self,
        headers: &HeaderMap,
        host: Option<HeaderValue>,
        arrival: Arrival,
        now: bool,
    ) -> Result<Identity, Denied> {
        let (Authenticator::Nextcloud(accounts), true) =
            (&self.0.authenticator, headers.contains_key(header::COOKIE))
        else {
            return Ok(Identity::default());
        };
        let mut sent = HeaderMap::new();
        for name in &OF_A_BROWSER {
            for value in headers.get_all(name) {
                sent.append(name.clone(), value.clone());
            }
        }
        sent.insert("ocs-apirequest", HeaderValue::from_static("true"));
        let host = host
            .or_else(|| HeaderValue::from_str(accounts.proxy().upstream().authority()).ok())
            .ok_or(Denied::Unavailable)?;
        let Some(credentials) = Credentials::of(&sent, host, arrival) else {
            return Ok(Identity::default());
        };
        let identified = if now {
            accounts.confirm(&credentials).await?
        } else {
            accounts.identify(&credentials).await?
        };
        Ok(Identity {
            session: identified.session,
            cookies: identified.cookies,
        })
    }

    /// Calls a route of the API by its method and its path below `/ocs/v2.php`, on behalf of a caller who may use it; the answer's data and
    /// the warnings.
    ///
    /// # Errors
    /// The API's refusal.
    pub(crate) async fn call(
        &self,
        (session, client): (&Session, IpAddr),
        method: &Method,
        path: &str,
        query: Map<String, Value>,
        fields: Map<String, Value>,
    ) -> Result<(Value, Vec<String>), Refusal> {
        let Found::Route(route, params) = self.0.table.find(false, method, path) else {
            return Err(Refusal::new(404, "There is no such page"));
        };
        let call = Call {
            parameter: input::last_parameter(&params),
            query,
            fields: Fields::json(fields),
            session: Some(session.clone()),
            client: client.to_string(),
            nextcloud: NextcloudPart::Nothing,
            keys: Keys::Twelve,
        };
        match self.0.handle(&route, call).await {
            Reply::Data(data, warnings) => Ok((data, warnings)),
            refused => Err(refused.into()),
        }
    }

    /// What the API would say of a registration; nothing is saved. The registration, or why it would be refused.
    pub(crate) fn check_registration(&self, fields: Map<String, Value>) -> Result<Registration, String> {
        Registration::parse(&Fields::json(fields), &*self.0.context.targets)
            .map_err(|refused| refused.to_string())
    }

    /// Where requests to a target would go now: its name is looked up and judged, and nothing is connected to. `None` if this process sends
    /// none.
    pub(crate) fn destination(
        &self,
        target: Uri,
    ) -> Option<impl Future<Output = Result<Destination, Failure>> + Send + 'static> {
        let client = self.0.context.deliveries.get()?.client.clone();
        Some(async move { trial::destination(&client, &target).await })
    }

    /// A webhook as deliveries are made with it; `None` if there is none with this id.
    ///
    /// # Errors
    /// 503 if the database cannot be asked.
    pub(crate) async fn webhook(&self, id: i64) -> Result<Option<Arc<Webhook>>, Refusal> {
        match self.0.context.registry.refresh().await {
            Ok(snapshot) => Ok(snapshot.get(WebhookId(id)).cloned()),
            Err(error) => Err(HandlerError::from(error).into_reply().into()),
        }
    }

    /// How a webhook authenticates (`authMethod`), and the names of what it does so with. No answer of the API tells the names; an update
    /// that masks their values keeps those.
    ///
    /// # Errors
    /// 503 if the database cannot be asked.
    pub(crate) async fn credential_names(
        &self,
        webhook: i64,
    ) -> Result<(&'static str, Vec<String>), Refusal> {
        let webhook = self.webhook(webhook).await?;
        Ok(webhook.map_or(("none", Vec::new()), |webhook| {
            let (method, names) = webhook.auth.stored();
            (method.as_str(), names.into_iter().map(str::to_owned).collect())
        }))
    }

    /// Reads a form of bounded size and with a bounded number of parameters, in a bounded time.
    ///
    /// # Errors
    /// The API's refusal.
    pub(crate) async fn read_form(&self, body: Incoming) -> Result<Vec<(String, String)>, Refusal> {
        let bytes = input::read_body(body).await?;
        Ok(input::parameters(&bytes)?.into_owned().collect())
    }
}
