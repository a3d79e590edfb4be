//! The calls that an administrator makes with `curl`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::error::DemoError;
use super::sidecar::Sidecar;

/// The route that Nextcloud's manual documents.
pub(super) const ROUTE: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
const LARGEST_ANSWER: usize = 1 << 20;
const CALL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An administrator of one sidecar.
#[derive(Debug)]
pub(super) struct Administrator {
    address: SocketAddr,
    authorization: String,
}

impl Administrator {
    pub(super) fn new(address: SocketAddr, user: &str, password: &str) -> Self {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        Self {
            address,
            authorization: format!("Basic {credentials}"),
        }
    }

    /// Waits until the sidecar answers.
    pub(super) async fn wait(&self, sidecar: &mut Sidecar) -> Result<(), DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            sidecar.check()?;
            match self.call(Method::GET, None).await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => return Err(unexpected(status, &body)),
                Err(error) if Instant::now() >= deadline => {
                    return Err(DemoError::Call(format!("no answer within {PATIENCE:?}: {error}")));
                }
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Registers a webhook and returns its id.
    pub(super) async fn register(&self, event: &str, uri: &str, secret: &str) -> Result<u64, DemoError> {
        let webhook = json!({"httpMethod": "POST", "uri": uri, "event": event, "secret": secret});
        let (status, body) = self
            .call(Method::POST, Some(&webhook))
            .await
            .map_err(DemoError::Call)?;
        match body["ocs"]["data"]["id"].as_u64() {
            Some(id) if status == 200 => Ok(id),
            _ => Err(unexpected(status, &body)),
        }
    }

    async fn call(&self, method: Method, body: Option<&Value>) -> Result<(u16, Value), String> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{ROUTE}?format=json"))
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .header("OCS-APIRequest", "true")
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        let exchange = async {
            let stream = TcpStream::connect(self.address)
                .await
                .map_err(|e| e.to_string())?;
            let (mut sender, connection) =
                handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(CALL, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {CALL:?}")))
    }
}

fn unexpected(status: u16, body: &Value) -> DemoError {
    DemoError::Call(format!("it answered {status}: {body}"))
}
