//! A stand-in for Nextcloud that answers as the recordings of a real one do: accounts, sessions, the webhook_listeners API;
//! and routes that try a proxy: echo, uploads, downloads, trailers, websocket, silence.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

const NOT_ADMIN: &str =
    "Logged in account must be an admin, a sub admin or gotten special right to access this setting";
const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or_default())
    }
}

/// What it is like at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Mood {
    /// Whether the app webhook_listeners is enabled.
    pub(crate) app: bool,
    pub(crate) maintenance: bool,
    /// Whether its database waits for `occ upgrade`, and whether it is set up at all.
    pub(crate) needs_upgrade: bool,
    pub(crate) installed: bool,
    /// Before the answer to an API request.
    pub(crate) delay: Duration,
    /// Before the answer to an API request with wrong credentials: Nextcloud slows down whoever guesses.
    pub(crate) refusal_delay: Duration,
    /// Every API request gets this status instead.
    pub(crate) broken: Option<u16>,
    /// Whether answers name the user in `X-User-Id`.
    pub(crate) names_user: bool,
    /// Users with this right besides the administrators.
    pub(crate) admins: Vec<String>,
}

struct State {
    passwords: HashMap<String, String>,
    mood: Mood,
    webhooks: Vec<Value>,
    next_id: i64,
    seen: Vec<Seen>,
}

/// `admin` may everything, `bob` may log in; tokens and sessions are in [`Nextcloud::BEARER`] and [`Nextcloud::SESSION`].
pub(crate) struct Nextcloud {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    running: Option<(watch::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Nextcloud {
    /// `Authorization: Bearer` of the administrator.
    pub(crate) const BEARER: &str = "administrators-token";
    /// Cookie and request token of the administrator's session.
    pub(crate) const SESSION: (&str, &str) = ("nc_session=s3ss10n", "requ3st");

    /// An external app: its id, and user and secret as AppAPI sends them.
    pub(crate) const APP: (&str, &str) = ("my app", "YWRtaW46YXBwLXMzY3IzdA==");

    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let account = |user: &str| (user.to_owned(), format!("{user}-password"));
        let mut nextcloud = Self {
            address: "127.0.0.1:0".parse().unwrap(),
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

    /// Listens again where it listened before.
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

    /// Gone at once, with every connection.
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

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(
        Full::new(body.into())
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
}

/// What came, as the server understood it.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let headers: HashMap<String, Vec<String>> = parts
        .headers
        .keys()
        .map(|name| {
            let values = parts
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (name.to_string(), values.collect())
        })
        .collect();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let told = json!({"method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8_lossy(&body)});
    let mut response = plain(StatusCode::OK, told.to_string());
    let location = HeaderValue::from_static("http://elsewhere.example/x?y=1");
    response.headers_mut().insert("location", location);
    response
}

async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let (mut bytes, mut sum) = (0_u64, 0_u64);
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            sum = data
                .iter()
                .fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
    }
    plain(StatusCode::OK, format!("{bytes} {sum}"))
}

fn download(request: &Request<Incoming>) -> Response<Body> {
    let bytes: u64 = request.uri().query().unwrap().parse().unwrap();
    let chunk = Bytes::from(vec![7_u8; 64 * 1024]);
    let chunks = futures::stream::unfold(bytes, move |left| {
        let chunk = chunk.clone();
        async move {
            (left > 0).then(|| {
                let size = left.min(chunk.len() as u64);
                let data = chunk.slice(..usize::try_from(size).unwrap());
                (Ok::<_, std::io::Error>(Frame::data(data)), left - size)
            })
        }
    });
    Response::builder()
        .header("content-length", bytes)
        .body(StreamBody::new(chunks).boxed_unsync())
        .unwrap()
}

/// Answers the request's trailers as its own.
async fn trailers(request: Request<Incoming>) -> Response<Body> {
    let collected = request.into_body().collect().await.unwrap();
    let sent = collected.trailers().cloned().unwrap_or_default();
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(collected.to_bytes())),
        Ok(Frame::trailers(sent)),
    ];
    Response::builder()
        .header("trailer", "x-sum")
        .body(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
        .unwrap()
}

/// Headers of one connection in an answer.
fn hops() -> Response<Body> {
    let mut response = plain(StatusCode::OK, "hops");
    for (name, value) in [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=9"),
        ("x-end", "1"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A piece every 100 ms.
fn drip() -> Response<Body> {
    let pieces = futures::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (n < 20).then(|| {
            (
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"drip"))),
                n + 1,
            )
        })
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

/// An answer that breaks off, once its beginning has gone out.
fn cut() -> Response<Body> {
    let frames = futures::stream::unfold(0, |n| async move {
        if n == 0 {
            return Some((Ok(Frame::data(Bytes::from_static(b"half"))), 1));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Err(std::io::Error::other("cut")), n + 1))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Switches and sends back what it gets.
fn websocket(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let mut io = TokioIo::new(upgraded);
            let (mut read, mut write) = tokio::io::split(&mut io);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
        .unwrap()
}

/// Who calls: a user, nobody, or somebody with wrong credentials.
fn caller(state: &State, headers: &HeaderMap) -> Result<Option<String>, ()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // As Nextcloud does: an external app that is right is taken; else the rest decides.
    if let Some(given) = text("authorization-app-api") {
        if (text("ex-app-id"), given) == (Some(Nextcloud::APP.0), Nextcloud::APP.1) {
            return Ok(Some("admin".to_owned()));
        }
        if !headers.contains_key("authorization") && !headers.contains_key("cookie") {
            return Err(());
        }
    }
    if let Some(given) = text("authorization") {
        if let Some(token) = given.strip_prefix("Bearer ") {
            return if token == Nextcloud::BEARER {
                Ok(Some("admin".into()))
            } else {
                Err(())
            };
        }
        let decoded = STANDARD.decode(given.strip_prefix("Basic ").ok_or(())?);
        let decoded = String::from_utf8(decoded.map_err(drop)?).map_err(drop)?;
        let (user, password) = decoded.split_once(':').ok_or(())?;
        let right = state.passwords.get(user).is_some_and(|known| known == password);
        return if right { Ok(Some(user.to_owned())) } else { Err(()) };
    }
    let session = text("cookie").is_some_and(|cookies| cookies.contains(Nextcloud::SESSION.0));
    Ok(session.then(|| "admin".to_owned()))
}

/// How to answer: version and format.
#[derive(Clone, Copy)]
struct Form {
    v1: bool,
    json: bool,
}

impl Form {
    fn reply(self, code: u16, message: &str, data: &Value) -> Response<Body> {
        let ok = code == 200;
        let shown = if ok && self.v1 { 100 } else { code };
        let mut meta =
            json!({"status": if ok { "ok" } else { "failure" }, "statuscode": shown, "message": message});
        if self.v1 {
            meta["totalitems"] = "".into();
            meta["itemsperpage"] = "".into();
        }
        let status = match code {
            997 => 401,
            _ if self.v1 => 200,
            998 => 404,
            code => code,
        };
        let body = if self.json {
            json!({"ocs": {"meta": meta, "data": data}}).to_string()
        } else {
            let mut out = "<?xml version=\"1.0\"?>\n".to_owned();
            xml(&mut out, 0, "ocs", &json!({"meta": meta, "data": data}));
            out
        };
        let mut response = plain(StatusCode::from_u16(status).unwrap(), body);
        let kind = if self.json {
            "application/json; charset=utf-8"
        } else {
            "application/xml; charset=utf-8"
        };
        response
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        response
    }
}

fn xml(out: &mut String, depth: usize, name: &str, value: &Value) {
    let blank = " ".repeat(depth);
    let inside: Vec<(String, &Value)> = match value {
        Value::Array(list) => list.iter().map(|value| ("element".to_owned(), value)).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        other => {
            let text = match other {
                Value::String(text) => text.replace('&', "&amp;").replace('<', "&lt;"),
                Value::Bool(true) => "1".to_owned(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            out.push_str(&if other.is_null() {
                format!("{blank}<{name}/>\n")
            } else {
                format!("{blank}<{name}>{text}</{name}>\n")
            });
            return;
        }
    };
    if inside.is_empty() {
        out.push_str(&format!("{blank}<{name}/>\n"));
        return;
    }
    out.push_str(&format!("{blank}<{name}>\n"));
    for (name, value) in inside {
        xml(out, depth + 1, &name, value);
    }
    out.push_str(&format!("{blank}</{name}>\n"));
}

async fn ocs(state: &Mutex<State>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let json = query.get("format").map_or_else(
        || {
            parts
                .headers
                .get("accept")
                .is_some_and(|accept| accept == "application/json")
        },
        |format| format == "json",
    );
    let (_, rest) = parts.uri.path().split_once("/ocs/").unwrap();
    let form = Form {
        v1: rest.starts_with("v1.php"),
        json,
    };
    let rest = rest[6..].to_owned();
    let sent: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();

    let mut state = state.lock().unwrap();
    if state.mood.maintenance {
        return form.reply(503, "Service unavailable", &json!([]));
    }
    if let Some(status) = state.mood.broken {
        return plain(StatusCode::from_u16(status).unwrap(), "broken");
    }
    let user = match caller(&state, &parts.headers) {
        Ok(user) => user,
        Err(()) => {
            let mut response = form.reply(997, "Unauthorised", &json!([]));
            let basic = HeaderValue::from_static("Basic realm=\"Authorisation Required\"");
            response.headers_mut().insert("www-authenticate", basic);
            return response;
        }
    };
    let mut response = routes(
        &mut state,
        &parts.method,
        &rest,
        &query,
        &parts.headers,
        user.as_deref(),
        &sent,
        form,
    );
    if let Some(user) = user
        && state.mood.names_user
    {
        response.headers_mut().insert("x-user-id", user.parse().unwrap());
    }
    // A session that was renewed at this occasion.
    if parts.headers.contains_key("cookie") {
        let cookie = HeaderValue::from_static("nc_token=renewed; HttpOnly");
        response.headers_mut().append("set-cookie", cookie);
    }
    response
}

#[allow(clippy::too_many_arguments, reason = "one request in pieces")]
fn routes(
    state: &mut State,
    method: &Method,
    rest: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    user: Option<&str>,
    sent: &Value,
    form: Form,
) -> Response<Body> {
    let admin = user.is_some_and(|user| state.mood.admins.iter().any(|admin| admin == user));
    match rest {
        "/cloud/capabilities" => {
            let data = json!({"version": {"major": 32, "minor": 0, "micro": 1, "string": "32.0.1", "edition": "",
                "extendedSupport": false}, "capabilities": {"core": {"pollinterval": 60}}});
            return form.reply(200, "OK", &data);
        }
        "/cloud/user" => {
            let Some(user) = user else {
                return form.reply(997, "Current user is not logged in", &json!([]));
            };
            let groups = if admin { json!(["admin"]) } else { json!([]) };
            return form.reply(
                200,
                "OK",
                &json!({"id": user, "groups": groups, "display-name": user}),
            );
        }
        _ => {}
    }
    const WEBHOOKS: &str = "/apps/webhook_listeners/api/v1/webhooks";
    let Some(id) = rest.strip_prefix(WEBHOOKS).filter(|_| state.mood.app) else {
        return form.reply(998, UNKNOWN_ROUTE, &json!([]));
    };
    if user.is_none() {
        return form.reply(997, "Current user is not logged in", &json!([]));
    }
    if !admin {
        return form.reply(403, NOT_ADMIN, &json!([]));
    }
    let bearer = headers
        .get("authorization")
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    let token = headers
        .get("requesttoken")
        .is_some_and(|token| token == Nextcloud::SESSION.1);
    if !bearer && !token && headers.get("ocs-apirequest").is_none_or(|value| value != "true") {
        return plain(
            StatusCode::PRECONDITION_FAILED,
            r#"{"message":"CSRF check failed"}"#,
        );
    }
    let id = id.trim_start_matches('/');
    let place = state
        .webhooks
        .iter()
        .position(|webhook| webhook["id"].as_i64() == id.parse().ok());
    match (method.as_str(), id) {
        ("GET", "") => {
            let uri = query.get("uri");
            let listed: Vec<_> = state
                .webhooks
                .iter()
                .filter(|webhook| uri.is_none_or(|uri| webhook["uri"] == uri.as_str()))
                .collect();
            form.reply(200, "OK", &json!(listed))
        }
        ("POST", _) => {
            let event = sent["event"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches('\\');
            if !event.starts_with("OCP\\") {
                let message = format!("{event} is not an event class compatible with webhooks");
                return form.reply(400, &message, &json!([]));
            }
            let new = id.is_empty();
            if new {
                state.next_id += 1;
            }
            let number = if new {
                state.next_id - 1
            } else {
                id.parse().unwrap_or(0)
            };
            let webhook = json!({"id": number, "appId": headers.get("ex-app-id").map(|id| id.to_str().unwrap()),
                "userId": user, "httpMethod": sent["httpMethod"], "uri": sent["uri"], "event": event,
                "eventFilter": sent.get("eventFilter").filter(|f| !f.is_null()).cloned().unwrap_or(json!([])),
                "userIdFilter": sent.get("userIdFilter").and_then(Value::as_str).unwrap_or_default(),
                "headers": sent["headers"], "authMethod": "none", "authData": null});
            match place {
                Some(place) => state.webhooks[place] = webhook.clone(),
                None if new => state.webhooks.push(webhook.clone()),
                None => {}
            }
            form.reply(200, "OK", &webhook)
        }
        ("GET", _) => match place {
            Some(place) => form.reply(200, "OK", &state.webhooks[place].clone()),
            None => form.reply(
                404,
                "Did expect one result but found none when executing: query",
                &json!([]),
            ),
        },
        ("DELETE", _) => {
            if let Some(app) = id.strip_prefix("byappid/") {
                let before = state.webhooks.len();
                state.webhooks.retain(|webhook| webhook["appId"] != app);
                return form.reply(200, "OK", &json!(before - state.webhooks.len()));
            }
            let gone = place.map(|place| state.webhooks.remove(place)).is_some();
            form.reply(200, "OK", &json!(gone))
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}
