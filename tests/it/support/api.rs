//! The registration API served over TCP, on a database of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use deadpool_postgres::Pool;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openregister_webhooks::capture::{self, InstallOptions};
use openregister_webhooks::database::Database;
use openregister_webhooks::listener_tls::ListenerTls;
use openregister_webhooks::ocs::{Api, Authenticator, LocalAccounts, NextcloudAccounts, Server};
use openregister_webhooks::proxy::{Proxy, Upstream};
use openregister_webhooks::registry::{Defaults, Registry};
use orw_egress::Guard;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::nextcloud::Nextcloud;
use super::postgres::{Db, NEXTCLOUD};

/// 32 bytes in base64.
pub(crate) const MASTER_KEY: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=";

/// A served API. `admin` is an administrator, `bob` may log in.
pub(crate) struct Service {
    pub(crate) db: Db,
    pub(crate) registry: Arc<Registry>,
    pub(crate) address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: DropGuard,
    serving: tokio::task::JoinHandle<()>,
}

/// A database with everything installed.
pub(crate) async fn installed() -> Db {
    let db = Db::openregister_0_2_13().await;
    let mut client = db.client().await;
    let options = InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: None,
        capture_all: false,
    };
    capture::install(&mut client, &options, |_, _| {}).await.unwrap();
    db
}

/// A pool of connections as the sidecar makes them.
pub(crate) fn pool(db: &Db) -> Pool {
    let tls = orw_egress::client_config(None).unwrap();
    Database::new(&db.url(NEXTCLOUD).into(), tls)
        .unwrap()
        .pool(8)
        .unwrap()
}

/// How a served API differs from the usual one.
pub(crate) struct Setup {
    pub(crate) authenticator: Authenticator,
    pub(crate) trusted_proxies: Vec<ipnet::IpNet>,
    pub(crate) tls: Option<Arc<ListenerTls>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let account = |user: &str, password: &str| (user.to_owned(), password.to_owned().into());
        let accounts = LocalAccounts::new(
            &[account("admin", "admin-password")],
            &[account("bob", "bob-password")],
        )
        .unwrap();
        Self::start_with(Setup {
            authenticator: Authenticator::Standalone(accounts),
            trusted_proxies: Vec::new(),
            tls: None,
        })
        .await
    }

    /// In front of this Nextcloud.
    pub(crate) async fn before(nextcloud: &Nextcloud) -> Self {
        Self::before_trusting(nextcloud, &[]).await
    }

    /// In front of this Nextcloud, and behind proxies in these networks.
    pub(crate) async fn before_trusting(nextcloud: &Nextcloud, proxies: &[&str]) -> Self {
        let proxy = proxy_to(&nextcloud.url(), Duration::from_secs(60));
        let accounts = NextcloudAccounts::new(proxy).unwrap();
        Self::start_with(Setup {
            authenticator: Authenticator::Nextcloud(Arc::new(accounts)),
            trusted_proxies: proxies.iter().map(|network| network.parse().unwrap()).collect(),
            tls: None,
        })
        .await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        Self::start_with_room_for(4096, setup).await
    }

    /// The same, for this number of connections.
    pub(crate) async fn start_with_room_for(connections: usize, setup: Setup) -> Self {
        let db = installed().await;
        let key = MASTER_KEY.to_owned().into();
        let registry = Registry::open(pool(&db), Some(&key), Defaults::default())
            .await
            .unwrap();
        let guard = Guard::new(Vec::new(), false);
        let api = Api::new(Arc::clone(&registry), Arc::new(guard), setup.authenticator).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), setup.trusted_proxies)
            .await
            .unwrap()
            .with_room_for(connections);
        let server = match setup.tls {
            None => server,
            Some(tls) => server.with_tls(tls),
        };
        let address = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(Arc::new(api), stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            db,
            registry,
            address,
            client,
            stop: stop.drop_guard(),
            serving,
        }
    }

    /// Stops the server and waits until it ended.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        drop(self.client);
        self.serving.await.unwrap();
    }

    /// A request with nothing but a method and a path.
    pub(crate) fn request(&self, method: &str, path: &str) -> Asked<'_> {
        let uri = format!("http://{}{path}", self.address);
        Asked {
            service: self,
            builder: Request::builder().method(method).uri(uri),
            body: Bytes::new(),
        }
    }

    /// A request of the administrator's that asks for JSON.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Asked<'_> {
        self.request(method, path)
            .basic("admin", "admin-password")
            .header("OCS-APIRequest", "true")
            .header("Accept", "application/json")
    }
}

/// A proxy to the Nextcloud at this URL, which may keep silent as long as that.
pub(crate) fn proxy_to(url: &str, silence: Duration) -> Arc<Proxy> {
    let tls = orw_egress::client_config(None).unwrap();
    let upstream = Upstream::new(url, tls, Duration::from_secs(5), silence).unwrap();
    Arc::new(Proxy::new(Arc::new(upstream)).unwrap())
}

/// A request that is being made.
pub(crate) struct Asked<'a> {
    service: &'a Service,
    builder: hyper::http::request::Builder,
    body: Bytes,
}

impl Asked<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", &format!("Basic {encoded}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    pub(crate) async fn send(self) -> Answer {
        let request = self.builder.body(Full::new(self.body)).unwrap();
        let response = self.service.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The data of an envelope.
    pub(crate) fn data(&self) -> Value {
        self.json()["ocs"]["data"].clone()
    }
}
