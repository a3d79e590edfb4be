//! Bodies on their way: each frame is handed on as it comes, a client's body has to come at a minimum rate, and Nextcloud may be
//! silent for a bounded time only.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::error::{BoxError, ProxyError};
use crate::patience::{Pace, Patience};
use crate::shares::{Place, Shares};

/// A body, in memory or streamed.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// How often the wait for a client is checked: places may have become scarce.
const LOOK: Duration = Duration::from_secs(5);
/// How long a body waits for a `100 Continue`; then it is sent without one.
const CONTINUE: Duration = Duration::from_secs(1);

/// The progress of a request: when a part of it last moved, and whether its client failed.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<(Instant, Option<Fault>)>>);

#[derive(Debug, Clone, Copy)]
enum Fault {
    Stalled,
    Cut,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), None))))
    }

    pub(super) fn last(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn fault(&self) -> Option<ProxyError> {
        let fault = self.0.lock().unwrap_or_else(PoisonError::into_inner).1;
        fault.map(|fault| match fault {
            Fault::Stalled => ProxyError::Stalled,
            Fault::Cut => ProxyError::Cut,
        })
    }

    fn moved(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Instant::now();
    }

    fn fail(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(fault);
    }
}

/// Holds a body back until Nextcloud wants it, for a client that asked for that (`Expect: 100-continue`).
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(CancellationToken);

impl Gate {
    pub(super) fn open(&self) {
        self.0.cancel();
    }
}

/// How fast a client has to send its body.
pub(super) struct Allowed {
    pub(super) pace: Pace,
    pub(super) places: Arc<Shares>,
}

type Cancelled = Pin<Box<WaitForCancellationFutureOwned>>;

/// A client's body on its way to Nextcloud.
pub(super) struct Upload {
    inner: Incoming,
    progress: Progress,
    /// Opens when Nextcloud wants the body, or after [`CONTINUE`].
    gate: Option<(Cancelled, Pin<Box<Sleep>>)>,
    abandoned: Cancelled,
    patience: Patience,
    places: Arc<Shares>,
    look: Pin<Box<Sleep>>,
}

impl Upload {
    /// `abandoned` ends the body early, if nobody needs the rest of it.
    pub(super) fn new(
        inner: Incoming,
        progress: Progress,
        allowed: Allowed,
        gate: Option<&Gate>,
        abandoned: CancellationToken,
    ) -> Self {
        Self {
            inner,
            progress,
            gate: gate.map(|gate| {
                let held = tokio::time::sleep(CONTINUE);
                (Box::pin(gate.0.clone().cancelled_owned()), Box::pin(held))
            }),
            abandoned: Box::pin(abandoned.cancelled_owned()),
            patience: Patience::new(allowed.pace),
            places: allowed.places,
            look: Box::pin(tokio::time::sleep(LOOK)),
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.abandoned.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the answer came before the body ended".into())));
        }
        if let Some((gate, held)) = &mut this.gate {
            if gate.as_mut().poll(cx).is_pending() && held.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.gate = None;
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                this.patience
                    .moved(std::time::Instant::now(), data.map_or(0, Bytes::len));
                this.progress.moved();
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| {
                        this.progress.fail(Fault::Cut);
                        error.into()
                    })
                }))
            }
            Poll::Pending => loop {
                let left = this
                    .patience
                    .wait(std::time::Instant::now(), this.places.scarce());
                if left == Duration::ZERO {
                    this.progress.fail(Fault::Stalled);
                    return Poll::Ready(Some(Err(ProxyError::Stalled.into())));
                }
                this.look.as_mut().reset(Instant::now() + left.min(LOOK));
                if this.look.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is held until an answer has ended, however it ends.
pub(super) struct Held {
    /// The place among the requests under way.
    pub(super) _place: Place,
    /// Ends an upload that is still under way.
    pub(super) _upload: DropGuard,
}

/// Nextcloud's body on its way to the client.
pub(super) struct Download {
    inner: Incoming,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
    waiting: bool,
    _held: Held,
}

impl Download {
    pub(super) fn new(inner: Incoming, limit: Duration, held: Held) -> Self {
        Self {
            inner,
            limit,
            silence: Box::pin(tokio::time::sleep(limit)),
            waiting: false,
            _held: held,
        }
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                if !this.waiting {
                    this.waiting = true;
                    this.silence.as_mut().reset(Instant::now() + this.limit);
                }
                if this.silence.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(ProxyError::Late { after: this.limit }.into())));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
