//! Asks Nextcloud who a caller is, by trying the caller's own credentials there.
//!
//! A caller whom Nextcloud lets list webhooks is an administrator here: in Nextcloud, administrators may, and those whom they gave
//! that right. If the app `webhook_listeners` is disabled, or Nextcloud is older than 30 and does not have it (404, 998), the
//! members of the group `admin` are.

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;
use sha2::Sha256;

use super::session::{Denied, Digest, Session};
use crate::error_text::chain;
use crate::proxy::{
    Arrival, BufferedResponse, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Proxy, ProxyError,
};

const WEBHOOKS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks?format=json";
const USER: &str = "/ocs/v2.php/cloud/user?format=json";
/// No webhook has this `uri`, so the answer is short if only the caller is asked for.
pub(super) const NO_URI: &str = "urn:openregister-webhooks:nobody";
pub(super) const LATE: &str = "Nextcloud, which knows who you are, does not answer in time";
/// How long a caller has to wait after a 429 of Nextcloud that does not say how long.
const WAIT: Duration = Duration::from_secs(30);

pub(super) const REQUEST_TOKEN: HeaderName = HeaderName::from_static("requesttoken");
/// An external app's secret, as AppAPI has it, and the name that it is the secret of.
const APP_SECRET: HeaderName = HeaderName::from_static("authorization-app-api");
const APP_NAME: HeaderName = HeaderName::from_static("ex-app-id");
/// The headers by which Nextcloud knows who calls.
const IDENTIFYING: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::COOKIE,
    REQUEST_TOKEN,
    APP_SECRET,
    APP_NAME,
    HeaderName::from_static("ex-app-version"),
    HeaderName::from_static("aa-version"),
];
/// The headers that are sent along. The first is what Nextcloud demands of API requests; it is never added if the client did not
/// send it.
const SENT_ALONG: [HeaderName; 3] = [
    HeaderName::from_static("ocs-apirequest"),
    header::USER_AGENT,
    header::ACCEPT_LANGUAGE,
];

/// The credentials of a caller, as a request carries them.
#[derive(Clone)]
pub(crate) struct Credentials {
    headers: HeaderMap,
    host: HeaderValue,
    arrival: Arrival,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// `None` if a request has no credentials.
    pub(crate) fn of(headers: &HeaderMap, host: HeaderValue, arrival: Arrival) -> Option<Self> {
        let names = [header::AUTHORIZATION, header::COOKIE, APP_SECRET];
        if !names.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let mut kept = HeaderMap::new();
        for name in IDENTIFYING.iter().chain(&SENT_ALONG) {
            for value in headers.get_all(name) {
                kept.append(name.clone(), value.clone());
            }
        }
        kept.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if arrival.trusted {
            // Nextcloud's own brute-force protection has to count the client, not the proxy in front of us.
            if arrival.client != arrival.peer
                && let Ok(client) = HeaderValue::from_str(&arrival.client.to_string())
            {
                kept.insert(FORWARDED_FOR, client);
            }
            for name in [FORWARDED_HOST, FORWARDED_PROTO] {
                if let Some(value) = headers.get(&name) {
                    kept.insert(name, value.clone());
                }
            }
        }
        Some(Self {
            headers: kept,
            host,
            arrival,
        })
    }

    pub(crate) const fn client(&self) -> IpAddr {
        self.arrival.client
    }

    /// A keyed hash of everything that Nextcloud decides by: the credentials, the protection against forged requests
    /// (`OCS-APIRequest`), and the address, to which it may restrict administrators.
    pub(crate) fn digest(&self, key: &Digest) -> Digest {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        #[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
        let mut part = |bytes: &[u8]| {
            mac.update(&(bytes.len() as u64).to_be_bytes());
            mac.update(bytes);
        };
        part(self.client().to_string().as_bytes());
        for name in IDENTIFYING.iter().chain(&SENT_ALONG[..1]) {
            part(name.as_str().as_bytes());
            // The number of values, so that no value can be mistaken for the next name.
            part(&(self.headers.get_all(name).iter().count() as u64).to_be_bytes());
            for value in self.headers.get_all(name) {
                part(value.as_bytes());
            }
        }
        mac.finalize().into_bytes().into()
    }

    /// The external app that acts, after Nextcloud accepted these credentials. Nextcloud has checked the app's secret only if
    /// nothing else could have let the caller in, so everything else is left out and asked again.
    async fn app_id(&self, proxy: &Proxy, path: &str) -> Option<String> {
        self.headers.get(&APP_SECRET)?;
        let mut names = self.headers.get_all(&APP_NAME).iter();
        // If there are several names, Nextcloud may have checked another one.
        let (name, None) = (names.next()?, names.next()) else {
            return None;
        };
        let name = name.to_str().ok()?.to_owned();
        let mut alone = self.clone();
        let more = [header::AUTHORIZATION, header::COOKIE, REQUEST_TOKEN];
        let others = more.iter().filter(|name| alone.headers.remove(*name).is_some());
        if others.count() > 0 {
            let answered = alone.ask(proxy, Method::GET, path).await.ok()?;
            if answered.status != StatusCode::OK {
                return None;
            }
        }
        Some(name)
    }

    async fn ask(&self, proxy: &Proxy, method: Method, path: &str) -> Result<BufferedResponse, Denied> {
        let asked = proxy.fetch(
            method,
            path,
            self.headers.clone(),
            self.host.clone(),
            self.arrival,
        );
        asked.await.map_err(|error| {
            tracing::debug!(
                error = chain(&error),
                "Nextcloud could not be asked who the caller is"
            );
            Denied::Away(match error {
                // Nextcloud delays its answers to an address that guesses, so this counts as an attempt.
                ProxyError::Late { .. } => return Denied::Busy(LATE),
                ProxyError::Away { .. } => "Nextcloud, which knows who you are, cannot be reached",
                _ => "Nextcloud, which knows who you are, gave no whole answer",
            })
        })
    }
}

/// Nextcloud's own webhooks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NextcloudWebhooks {
    Listed(Vec<Value>),
    /// The app `webhook_listeners` is not enabled there.
    AppDisabled,
}

/// A caller as Nextcloud knows them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identified {
    /// `None` if nobody is logged in.
    pub(crate) session: Option<Session>,
    /// Cookies that Nextcloud renewed with its answer; the client has to get them.
    pub(crate) cookies: Vec<HeaderValue>,
    pub(crate) webhooks: NextcloudWebhooks,
}

/// Asks who the caller is, and for the webhooks with this `uri`; for all of them if it is `None`.
///
/// # Errors
/// [`Denied`].
pub(crate) async fn list(
    proxy: &Proxy,
    credentials: &Credentials,
    uri: Option<&str>,
) -> Result<Identified, Denied> {
    let mut path = WEBHOOKS.to_owned();
    if let Some(uri) = uri {
        path.push_str("&uri=");
        path.extend(url::form_urlencoded::byte_serialize(uri.as_bytes()));
    }
    let answered = credentials.ask(proxy, Method::GET, &path).await?;
    let mut cookies = set_cookies(&answered);
    let user = answered
        .headers
        .get("x-user-id")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    match answered.status {
        StatusCode::OK => {
            let Some(Value::Array(listed)) = data(&answered) else {
                return Err(strange(answered.status));
            };
            let user = match user {
                Some(user) => user,
                None => {
                    let (session, more) = who(proxy, credentials).await?;
                    cookies.extend(more);
                    session.map(|session| session.user).unwrap_or_default()
                }
            };
            Ok(Identified {
                session: Some(Session {
                    user,
                    admin: true,
                    app_id: credentials
                        .app_id(proxy, &format!("{WEBHOOKS}&uri={NO_URI}"))
                        .await,
                }),
                cookies,
                webhooks: NextcloudWebhooks::Listed(listed),
            })
        }
        StatusCode::FORBIDDEN => Ok(Identified {
            session: Some(Session {
                user: user.unwrap_or_default(),
                admin: false,
                app_id: None,
            }),
            cookies,
            webhooks: NextcloudWebhooks::Listed(Vec::new()),
        }),
        StatusCode::NOT_FOUND => {
            let (session, more) = who(proxy, credentials).await?;
            cookies.extend(more);
            Ok(Identified {
                session,
                cookies,
                webhooks: NextcloudWebhooks::AppDisabled,
            })
        }
        StatusCode::UNAUTHORIZED if !credentials.headers.contains_key(header::AUTHORIZATION) => {
            Ok(Identified {
                session: None,
                cookies,
                webhooks: NextcloudWebhooks::Listed(Vec::new()),
            })
        }
        _ => Err(refusal(&answered)),
    }
}

/// Asks who the caller is, and nothing else.
///
/// # Errors
/// [`Denied`].
pub(crate) async fn caller(proxy: &Proxy, credentials: &Credentials) -> Result<Identified, Denied> {
    list(proxy, credentials, Some(NO_URI)).await
}

/// Removes an app's webhooks in Nextcloud, and says how many there were; `None` if `webhook_listeners` is disabled there.
///
/// # Errors
/// Status and message for the caller, if Nextcloud does not do it.
pub(crate) async fn delete_by_app(
    proxy: &Proxy,
    credentials: &Credentials,
    app: &str,
) -> Result<Option<u64>, (u16, String)> {
    let app: String = url::form_urlencoded::byte_serialize(app.as_bytes()).collect();
    // In a path, a plus sign does not stand for a blank.
    let path = WEBHOOKS.replace('?', &format!("/byappid/{}?", app.replace('+', "%20")));
    let answered = credentials.ask(proxy, Method::DELETE, &path).await.map_err(|_| {
        (
            502,
            "Nextcloud's own webhooks could not be removed, so nothing was removed".to_owned(),
        )
    })?;
    match (answered.status, data(&answered)) {
        (StatusCode::OK, Some(Value::Number(count))) => Ok(Some(count.as_u64().unwrap_or(0))),
        (StatusCode::NOT_FOUND, _) => Ok(None),
        (status, _) => {
            let code = if status.is_client_error() {
                status.as_u16()
            } else {
                502
            };
            Err((
                code,
                format!(
                    "Nextcloud did not remove its own webhooks and answered {status}; nothing was removed here either"
                ),
            ))
        }
    }
}

/// Asks for the caller and their groups, if webhooks cannot be asked for.
async fn who(
    proxy: &Proxy,
    credentials: &Credentials,
) -> Result<(Option<Session>, Vec<HeaderValue>), Denied> {
    let answered = credentials.ask(proxy, Method::GET, USER).await?;
    let cookies = set_cookies(&answered);
    match answered.status {
        StatusCode::OK => {
            let data = data(&answered).unwrap_or_default();
            let Some(user) = data["id"].as_str() else {
                return Err(strange(answered.status));
            };
            let admin = data["groups"]
                .as_array()
                .is_some_and(|groups| groups.iter().any(|group| group == "admin"));
            let session = Session {
                user: user.to_owned(),
                admin,
                app_id: if admin {
                    credentials.app_id(proxy, USER).await
                } else {
                    None
                },
            };
            Ok((Some(session), cookies))
        }
        StatusCode::UNAUTHORIZED if !credentials.headers.contains_key(header::AUTHORIZATION) => {
            Ok((None, cookies))
        }
        _ => Err(refusal(&answered)),
    }
}

fn refusal(answered: &BufferedResponse) -> Denied {
    match answered.status {
        StatusCode::UNAUTHORIZED => Denied::Wrong,
        StatusCode::PRECONDITION_FAILED => Denied::NoApiRequest,
        StatusCode::TOO_MANY_REQUESTS => Denied::TooMany {
            retry_after: answered
                .headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map_or(WAIT, Duration::from_secs),
        },
        StatusCode::SERVICE_UNAVAILABLE => {
            Denied::Away("Nextcloud, which knows who you are, is in maintenance mode or overloaded")
        }
        status => strange(status),
    }
}

fn strange(status: StatusCode) -> Denied {
    tracing::warn!(%status, "Nextcloud's answer does not say who the caller is; ORW_NEXTCLOUD_URL must be Nextcloud's own address");
    Denied::Away("Nextcloud, which knows who you are, gave an answer that does not say so")
}

fn data(answered: &BufferedResponse) -> Option<Value> {
    let mut body: Value = orw_model::json::parse_bytes(&answered.body).ok()?;
    Some(body.get_mut("ocs")?.get_mut("data")?.take())
}

fn set_cookies(answered: &BufferedResponse) -> Vec<HeaderValue> {
    answered
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .cloned()
        .collect()
}
