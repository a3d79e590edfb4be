//! The server of the stand-in.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::api::{caller, ocs};
use super::pages::{Body, cut, download, drip, echo, hops, plain, trailers, upload, websocket};
use super::state::{self, Mood, Seen, State};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use orw_testkit::port::HeldPort;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// `admin` is an administrator, `bob` may log in; tokens and sessions are in [`Nextcloud::BEARER`] and [`Nextcloud::SESSION`].
pub(crate) struct Nextcloud {
    pub(crate) address: SocketAddr,
    /// Keeps the address while nothing listens.
    _port: HeldPort,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    running: Option<(watch::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Nextcloud {
    /// `Authorization: Bearer` of the administrator.
    pub(crate) const BEARER: &str = state::BEARER;
    /// Cookie and request token of the administrator's session.
    pub(crate) const SESSION: (&str, &str) = state::SESSION;

    /// An external app: its id, and user and secret as AppAPI sends them.
    pub(crate) const APP: (&str, &str) = state::APP;

    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let port = HeldPort::take().unwrap();
        let account = |user: &str| (user.to_owned(), format!("{user}-password"));
        let mut nextcloud = Self {
            address: port.address(),
            _port: port,
            state: Arc::new(Mutex::new(State {
                passwords: HashMap::from([account("admin"), account("bob")]),
                mood: Mood {
                    app: true,
                    maintenance: false,
                    needs_upgrade: false,
                    installed: true,
                    delay: Duration::ZERO,
                    refusal_delay: Duration::ZERO,
                    broken: None,
                    names_user: true,
                    token_needed: false,
                    admins: vec!["admin".to_owned()],
                },
                webhooks: Vec::new(),
                next_id: 1,
                seen: Vec::new(),
            })),
            tls,
            running: None,
        };
        nextcloud.run().await;
        nextcloud
    }

    /// Listens, at the same address as before if there was one.
    pub(crate) async fn run(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, mut stopped) = watch::channel(());
        let (state, tls) = (Arc::clone(&self.state), self.tls.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = stopped.changed() => return,
                };
                let _ = stream.set_nodelay(true);
                let (state, tls) = (Arc::clone(&state), tls.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(answer(&state, request).await) }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => {
                            let _ = builder
                                .serve_connection(TokioIo::new(stream), service)
                                .with_upgrades()
                                .await;
                        }
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let _ = builder
                                    .serve_connection(TokioIo::new(stream), service)
                                    .with_upgrades()
                                    .await;
                            }
                        }
                    }
                });
            }
        });
        self.running = Some((stop, task));
    }

    /// Ends at once, with every connection.
    pub(crate) async fn kill(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            drop(stop);
            task.await.unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.state.lock().unwrap().mood);
    }

    pub(crate) fn set_password(&self, user: &str, password: &str) {
        let mut state = self.state.lock().unwrap();
        state.passwords.insert(user.to_owned(), password.to_owned());
    }

    pub(crate) fn webhooks(&self) -> Vec<Value> {
        self.state.lock().unwrap().webhooks.clone()
    }

    /// Gives the webhooks the field that an upgrade to Nextcloud 33 gives them.
    pub(crate) fn upgrade_webhooks(&self) {
        for webhook in &mut self.state.lock().unwrap().webhooks {
            webhook["tokenNeeded"] = json!([]);
        }
    }

    /// How many requests arrived.
    pub(crate) fn seen(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }

    /// What arrived so far; nothing of it is told again.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let delay = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            method: request.method().to_string(),
            path: request
                .uri()
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
        });
        match caller(&state, request.headers()) {
            Ok(_) => state.mood.delay,
            Err(()) => state.mood.delay + state.mood.refusal_delay,
        }
    };
    if path.contains("/ocs/v") {
        tokio::time::sleep(delay).await;
        return ocs(state, request).await;
    }
    match path.rsplit('/').next().unwrap_or_default() {
        "status.php" => {
            let mood = state.lock().unwrap().mood.clone();
            let status = json!({"installed": mood.installed, "maintenance": mood.maintenance,
                "needsDbUpgrade": mood.needs_upgrade,
                "version": "32.0.1.2", "versionstring": "32.0.1", "edition": "", "productname": "Nextcloud"});
            plain(StatusCode::OK, status.to_string())
        }
        "upload" => upload(request).await,
        "download" => download(&request),
        "trailers" => trailers(request).await,
        "hops" => hops(),
        "refuse" => plain(StatusCode::UNAUTHORIZED, "no"),
        "hang" => std::future::pending().await,
        "drip" => drip(),
        "cut" => cut(),
        "websocket" => websocket(request),
        _ => echo(request).await,
    }
}
