//! Connections of the receiver: each request is read to its end, recorded and answered.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Body};
use super::received::Received;
use super::record::Record;
#[cfg(feature = "faults")]
use super::reset::{Reset, Socket};

/// The largest request body that is read, in bytes.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// What every request of a connection needs.
#[derive(Clone)]
struct Connection {
    number: u64,
    record: Arc<Record>,
    #[cfg(feature = "faults")]
    reset: Reset,
}

/// Accepts connections until it is aborted; its connections end with it.
pub(super) async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, record: Arc<Record>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&record)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, record: Arc<Record>) {
    let connection = Connection {
        number: record.connection(),
        record,
        #[cfg(feature = "faults")]
        reset: Reset::default(),
    };
    #[cfg(feature = "faults")]
    let stream = Socket::new(stream, connection.reset.clone());
    let service = service_fn(move |request| answer(request, connection.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    // Errors are ignored: clients may end connections as they like, and complete requests have been recorded by then.
    match acceptor {
        Some(acceptor) => {
            if let Ok(tls) = acceptor.accept(stream).await {
                let _ = builder.serve_connection(TokioIo::new(tls), service).await;
            }
        }
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
    }
}

async fn answer(request: Request<Incoming>, connection: Connection) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let answer = connection.record.add(Received {
        number: 0,
        connection: connection.number,
        version: head.version,
        method: head.method,
        path: head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        headers: head.headers,
        body,
        at: Utc::now(),
        instant: Instant::now(),
        answer: Answer::Status(200),
    });
    #[cfg(feature = "faults")]
    return super::faults::give(answer, connection.reset).await;
    #[cfg(not(feature = "faults"))]
    answer.response()
}
