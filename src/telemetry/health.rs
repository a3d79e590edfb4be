//! `/healthz` (the process answers), `/readyz` (it does its work) and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::capture::CaptureStatus;
use crate::shares::Shares;
use crate::supervise::Board;

/// Connections at one time; a scraper needs one.
/// One client has half of them at most: it must not make the process look dead to others.
const CONNECTIONS: usize = 32;
/// A request takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct Health {
    metrics: Metrics,
    capture: watch::Receiver<CaptureStatus>,
    board: Board,
}

impl Health {
    #[must_use]
    pub const fn new(metrics: Metrics, capture: watch::Receiver<CaptureStatus>, board: Board) -> Self {
        Self {
            metrics,
            capture,
            board,
        }
    }

    /// Whether the process does its work, and in a line why or why not.
    #[must_use]
    pub fn readiness(&self) -> (bool, String) {
        if let Some(down) = self.board.down_now() {
            return (false, down);
        }
        match &*self.capture.borrow() {
            CaptureStatus::Leading => (true, "leading".into()),
            CaptureStatus::Standby => (true, "standby: another process leads".into()),
            CaptureStatus::Away(reason) => (false, format!("capture is away: {reason}")),
            CaptureStatus::Held { .. } => (
                false,
                "held: this database was restored from another cluster; run `openregister-webhooks adopt --deliver` or `--discard`"
                    .into(),
            ),
        }
    }

    fn metrics(&self) -> String {
        let leading = *self.capture.borrow() == CaptureStatus::Leading;
        self.metrics.leading.set(i64::from(leading));
        self.metrics.render()
    }

    /// The answer to `path`; `None` where it is none of ours.
    #[must_use]
    pub fn answer(&self, path: &str) -> Option<Response<Full<Bytes>>> {
        let (status, kind, text) = match path {
            "/healthz" => (StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned()),
            "/readyz" => {
                let (ready, why) = self.readiness();
                let status = if ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, "text/plain; charset=utf-8", why + "\n")
            }
            "/metrics" => (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics(),
            ),
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

/// Serves the three paths until `shutdown`.
pub async fn serve(listener: Arc<TcpListener>, health: Health, shutdown: CancellationToken) {
    let places = Shares::new(CONNECTIONS);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // No descriptor left, or the peer is gone already: the next one may fare better.
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
                let answer = health.answer(request.uri().path()).unwrap_or_else(|| {
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
        let (_status, capture) = watch::channel(CaptureStatus::Leading);
        let health = Health::new(Metrics::default(), capture, Board::default());
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
