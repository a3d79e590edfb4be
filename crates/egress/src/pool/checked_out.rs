//! A connection that is in use for one request, and what becomes of it afterwards.

use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};

use super::connection::{Body, Connection, FAREWELL, NoResponse};
use super::idle::Busy;
use crate::connect::ConnectError;
use crate::stream::Meter;

/// The connection of one request. [`Self::give_back`] returns it to the pool; if it is dropped, it is not used again.
pub(crate) struct CheckedOut {
    pub(super) connection: Option<Connection>,
    pub(super) busy: Busy,
}

impl CheckedOut {
    pub(super) async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, NoResponse> {
        let (sent, meter, before) = match &mut self.connection {
            Some(Connection::Http1(one)) => {
                one.meter.asked(1);
                to_origin(&mut request);
                let before = one.meter.written();
                (one.sender.try_send_request(request).await, &one.meter, before)
            }
            Some(Connection::Http2(one)) => {
                one.meter.asked(one.streams.load(Ordering::Relaxed));
                let before = one.meter.written();
                let sent = one.sender.clone().try_send_request(request).await;
                (sent, &one.meter, before)
            }
            // It is there until it is given back.
            None => {
                let host = self.busy.key().host.clone();
                return Err(NoResponse::Connect(ConnectError::NoAddress { host }));
            }
        };
        match sent {
            Ok(response) => {
                meter.answered();
                Ok(response)
            }
            Err(error) => Err(unanswered(
                error,
                meter,
                before,
                self.busy.key().identity.is_some(),
            )),
        }
    }

    /// The answer was read to its end: the connection can serve again.
    pub(crate) fn give_back(mut self) {
        match (self.connection.take(), self.busy.idle()) {
            (Some(Connection::Http1(mut one)), Some(idle)) => {
                if one.sender.is_ready() {
                    return idle.keep(self.busy.key(), one);
                }
                let key = self.busy.key().clone();
                // It is ready as soon as its task has seen the end of the body; or it is being closed.
                tokio::spawn(async move {
                    if let Ok(Ok(())) = tokio::time::timeout(FAREWELL, one.sender.ready()).await {
                        idle.keep(&key, one);
                    }
                });
            }
            (Some(Connection::Http2(one)), _) => one.leave(),
            _ => {}
        }
    }

    /// The answer was not read to its end, but the connection is not to blame: over HTTP/2 others go on.
    pub(crate) fn cut(mut self) {
        if let Some(Connection::Http2(one)) = self.connection.take() {
            one.leave();
        }
    }
}

/// Dropped without [`CheckedOut::give_back`]: the request failed or was abandoned, so the connection is not used again.
impl Drop for CheckedOut {
    fn drop(&mut self) {
        if let Some(Connection::Http2(one)) = self.connection.take() {
            one.retired.store(true, Ordering::Relaxed);
            one.leave();
        }
    }
}

/// HTTP/1 takes the path as the request's target, and the host as a header.
fn to_origin(request: &mut Request<Body>) {
    let host = host_header(request.uri());
    let path = request.uri().path_and_query().cloned();
    let mut origin = hyper::http::uri::Parts::default();
    origin.path_and_query = path.or_else(|| Some(hyper::http::uri::PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(origin) {
        *request.uri_mut() = uri;
    }
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}

/// The authority, without the scheme's own port.
fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let authority = uri.authority()?;
    let default = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    match authority.port_u16() {
        Some(port) if port == default => HeaderValue::from_str(authority.host()).ok(),
        _ => HeaderValue::from_str(authority.as_str()).ok(),
    }
}

/// Whether the receiver may have processed a request that it did not answer.
fn unanswered(
    mut error: TrySendError<Request<Body>>,
    meter: &Meter,
    written_before: u64,
    identified: bool,
) -> NoResponse {
    // Given back, or no byte has left since: nothing of it was sent.
    let unsent = error.take_message().is_some() || meter.written() == written_before;
    let error = error.into_error();
    // A receiver that refuses by HTTP/2's own means has accepted the certificate.
    if refused_by_receiver(&error) {
        return NoResponse::Unprocessed(error);
    }
    match meter.fault_or_verdict(identified) {
        // Another attempt would fail the same way.
        Some(fault) => NoResponse::Failed(error, Some(fault)),
        None if unsent => NoResponse::Unprocessed(error),
        None => NoResponse::Failed(error, None),
    }
}

/// RFC 9113: REFUSED_STREAM, and GOAWAY for a stream above the last one named in it, both say that nothing was
/// processed. h2 gives the GOAWAY as the error of exactly those streams; what breaks later for the others is an error of
/// the transport.
fn refused_by_receiver(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return h2.is_remote()
                && (h2.is_go_away() || h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        source = inner.source();
    }
    false
}
