//! A browser without JavaScript: it keeps cookies, follows redirects, and sends the forms that it was shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orw_testkit::Generation;

use crate::support::postgres::Db;
use crate::support::scene::Scene;
use crate::support::sidecar::ADMIN;

pub(crate) const PAGE: &str = "/apps/openregister_webhooks";

/// A running sidecar that delivers fast, and an operator who has opened the form of a new webhook.
pub(crate) async fn at_the_form() -> (Scene, Visitor) {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .running()
        .await;
    let mut visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
    visitor.get("/webhooks/new").await;
    (scene, visitor)
}

pub(crate) struct Visitor {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Headers of every request.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The token of the last form that was shown.
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// A stream of events.
pub(crate) struct Watched(Incoming);

impl Watched {
    /// What came next; `None` if the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let frame = self.0.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
}

impl Shown {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// The forms that change something, by their actions.
    pub(crate) fn forms(&self) -> Vec<&str> {
        let parts = self.text.split("<form ").skip(1);
        parts
            .filter_map(|form| form.split('>').next())
            .filter(|head| head.contains("method=\"post\""))
            .filter_map(|head| head.split("action=\"").nth(1)?.split('"').next())
            .collect()
    }
}

impl Visitor {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            cookies: BTreeMap::new(),
            headers: Vec::new(),
            token: String::new(),
        }
    }

    /// With a session of Nextcloud's.
    pub(crate) fn with_cookie(address: SocketAddr, cookie: &str) -> Self {
        let mut visitor = Self::new(address);
        let (name, value) = cookie.split_once('=').unwrap();
        visitor.cookies.insert(name.to_owned(), value.to_owned());
        visitor
    }

    /// Logged in to a sidecar that stands alone.
    pub(crate) async fn logged_in(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut visitor = Self::new(address);
        visitor.get("/login").await;
        let shown = visitor
            .post("/login", &[("user", user), ("password", password)])
            .await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        visitor
    }

    async fn send(&mut self, method: &str, path: &str, form: Option<&[(&str, &str)]>) -> Shown {
        let uri = if path.starts_with("/apps/") {
            format!("http://{}{path}", self.address)
        } else {
            format!("http://{}{PAGE}{path}", self.address)
        };
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut request = Request::builder().method(method).uri(uri);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut body = String::new();
        if let Some(form) = form {
            let mut to = url::form_urlencoded::Serializer::new(String::new());
            body = to.extend_pairs(form).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        for set in parts.headers.get_all("set-cookie") {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        if let Some(token) = text.split("name=\"token\" value=\"").nth(1) {
            self.token = token.split('"').next().unwrap().to_owned();
        }
        Shown {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }

    /// A stream of events, as it comes.
    pub(crate) async fn watch(&self, path: &str) -> Watched {
        let uri = format!("http://{}{PAGE}{path}", self.address);
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let request = Request::builder()
            .uri(uri)
            .header("cookie", cookies.join("; "))
            .body(Full::new(Bytes::new()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Watched(response.into_body())
    }

    /// Follows redirects, as browsers do.
    async fn follow(&mut self, mut shown: Shown) -> Shown {
        for _ in 0..5 {
            if shown.status != 303 {
                return shown;
            }
            let to = shown.header("location").to_owned();
            shown = self.send("GET", &to, None).await;
        }
        panic!("redirects without an end");
    }

    pub(crate) async fn get(&mut self, path: &str) -> Shown {
        let shown = self.send("GET", path, None).await;
        self.follow(shown).await
    }

    /// Sends a form with the token of the last one that was shown.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let shown = self.post_once(path, fields).await;
        self.follow(shown).await
    }

    /// The same without following where it leads.
    pub(crate) async fn post_once(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let token = self.token.clone();
        let mut form = vec![("token", token.as_str())];
        form.extend_from_slice(fields);
        self.send("POST", path, Some(&form)).await
    }

    /// Sends a form as it is, without a token.
    pub(crate) async fn forge(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        self.send("POST", path, Some(fields)).await
    }

    pub(crate) async fn method(&mut self, method: &str, path: &str) -> Shown {
        self.send(method, path, None).await
    }
}
