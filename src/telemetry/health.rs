//! The listener for health and metrics: `/healthz` (the process answers), `/readyz` (it does its work) and `/metrics`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::form::Form;
use super::metrics::MetricRegistry;
use crate::shares::Shares;

/// The most connections at one time. A scraper needs one. One client gets at most half of them, so that it cannot make the process
/// look dead to others.
const CONNECTIONS: usize = 32;
/// The longest that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the process does its work, and why or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    /// One line for a person.
    pub reason: String,
}

/// What the answers are made from.
#[derive(Clone)]
pub struct Health {
    metrics: MetricRegistry,
    readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// `readiness` is called for every request of `/readyz`.
    #[must_use]
    pub fn new(metrics: MetricRegistry, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        Self {
            metrics,
            readiness: Arc::new(readiness),
        }
    }

    /// The answer to `path`; `None` if there is no such path. `accept` decides the form of the metrics.
    #[must_use]
    pub fn answer(&self, path: &str, accept: Option<&str>) -> Option<Response<Full<Bytes>>> {
        let (status, kind, text) = match path {
            "/healthz" => (StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned()),
            "/readyz" => {
                let Readiness { ready, reason } = (self.readiness)();
                let status = if ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, "text/plain; charset=utf-8", reason + "\n")
            }
            "/metrics" => {
                let form = Form::of(accept);
                (StatusCode::OK, form.content_type(), self.metrics.render_as(form))
            }
            _ => return None,
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            hyper::header::CONTENT_TYPE,
            hyper::header::HeaderValue::from_static(kind),
        );
        Some(response)
    }
}

/// Serves the three paths until `shutdown` is cancelled.
pub async fn serve(listener: Arc<TcpListener>, health: Health, shutdown: CancellationToken) {
    let places = Shares::new(CONNECTIONS);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // No file descriptor is left, or the peer has gone already: the next connection may succeed.
                Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
            () = shutdown.cancelled() => return,
        };
        let Some(place) = places.take(peer.ip()) else {
            continue;
        };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let accept = request.headers().get(hyper::header::ACCEPT);
                let accept = accept.and_then(|value| value.to_str().ok());
                let answer = health.answer(request.uri().path(), accept).unwrap_or_else(|| {
                    let mut missing = Response::new(Full::new(Bytes::from_static(b"not found\n")));
                    *missing.status_mut() = StatusCode::NOT_FOUND;
                    missing
                });
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn one_client_that_sends_nothing_does_not_make_the_process_look_dead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::new(MetricRegistry::with(|_| {}), || Readiness {
            ready: true,
            reason: "leading".to_owned(),
        });
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(Arc::new(listener), health, stop.clone()));
        let connect = async |from: &str| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from.parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            held.push(connect("127.0.0.2:0").await);
        }
        let mut other = connect("127.0.0.3:0").await;
        let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        other.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stop.cancel();
        serving.await.unwrap();
    }
}
