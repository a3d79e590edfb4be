//! Watches a client's connection: it may be idle between two requests for a bounded time, the head of a request has to arrive
//! at a minimum rate, and answers have to be read.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::patience::Pace;
use crate::proxy::{Body, BoxError};

/// How long the first request's head may take, and how many bytes earn it one more second.
const HEAD: Duration = Duration::from_secs(10);
const HEAD_RATE: u64 = 500;
/// The most that a head may take, however fast it arrives. The HTTP server applies this to the later heads of HTTP/1.1.
pub(super) const LONGEST_HEAD: Duration = Duration::from_secs(30);
/// How long a connection may be idle between two requests.
const IDLE: Duration = Duration::from_secs(75);
/// How fast a client has to read an answer.
const PACE: Pace = Pace::usual();
/// The limit for heads and for idling while places are scarce.
const SCARCE: Duration = Duration::from_secs(5);

/// What a connection has done lately.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    requests: u64,
    under_way: usize,
    /// Pieces of answers that the client has not read yet, by the number of the request: since when, and how many bytes.
    /// [`super::stall`] notices a write that is blocked, but not a window of HTTP/2 that the client keeps closed.
    handed_out: HashMap<u64, (Instant, usize)>,
    /// Since when no request is under way, and how many bytes were read since then.
    since: Instant,
    bytes: u64,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It never sent a whole request.
    Head,
    /// It has been idle for too long; it is closed in good order.
    Idle,
    /// The client does not read an answer.
    Answer,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            requests: 0,
            under_way: 0,
            handed_out: HashMap::new(),
            since: now,
            bytes: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that came from the client.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_add(bytes as u64);
    }

    /// Notes that a request's head has arrived. The request is under way until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.requests += 1;
        state.under_way += 1;
        UnderWay {
            activity: Arc::clone(self),
            number: state.requests,
        }
    }

    /// Whether the connection keeps us waiting for too long, and with what.
    pub(super) fn overdue(&self, now: Instant, scarce: bool) -> Option<Overdue> {
        let state = self.state();
        if state.under_way > 0 {
            let late = |(since, bytes): &(Instant, usize)| {
                now.saturating_duration_since(*since) > PACE.for_piece(*bytes, scarce)
            };
            return state.handed_out.values().any(late).then_some(Overdue::Answer);
        }
        let (allowed, why) = if state.requests > 0 {
            (IDLE, Overdue::Idle)
        } else {
            let earned = Duration::from_secs(state.bytes / HEAD_RATE);
            (HEAD.saturating_add(earned).min(LONGEST_HEAD), Overdue::Head)
        };
        let allowed = if scarce { allowed.min(SCARCE) } else { allowed };
        (now.saturating_duration_since(state.since) >= allowed).then_some(why)
    }
}

/// How long a TLS handshake may take.
pub(super) const fn handshake(scarce: bool) -> Duration {
    if scarce { SCARCE } else { HEAD }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    number: u64,
}

impl UnderWay {
    /// Notes that the next piece of the answer is asked for: the client has read the one before.
    fn taken(&self) {
        self.activity.state().handed_out.remove(&self.number);
    }

    /// Notes that a piece of the answer was handed to the connection.
    fn handed_out(&self, now: Instant, bytes: usize) {
        let mut state = self.activity.state();
        state.handed_out.insert(self.number, (now, bytes));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.handed_out.remove(&self.number);
        state.under_way -= 1;
        if state.under_way == 0 {
            state.since = Instant::now();
            state.bytes = 0;
        }
    }
}

/// An answer's body. The request is under way until the body was sent.
pub(super) struct Counted {
    pub(super) body: Body,
    pub(super) under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, BoxError>>> {
        self.under_way.taken();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            self.under_way.handed_out(Instant::now(), bytes);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_to_arrive_and_a_pause_to_end() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let activity = Activity::new(begun);
        activity.read(100);
        assert_eq!(activity.overdue(after(9), false), None);
        assert_eq!(activity.overdue(after(10), false), Some(Overdue::Head));
        assert_eq!(activity.overdue(after(5), true), Some(Overdue::Head));
        // Each 500 bytes earn a second, up to half a minute in all.
        activity.read(10_000);
        assert_eq!(activity.overdue(after(29), false), None);
        assert_eq!(activity.overdue(after(30), false), Some(Overdue::Head));
        // While a request is under way, the connection is not idle.
        let first = activity.begin();
        let second = activity.begin();
        assert_eq!(activity.overdue(after(1_000_000), true), None);
        // But the client has to read what is handed out to it: 500 bytes a second after the first minute.
        let handed_out = Instant::now();
        let later = |seconds| handed_out + Duration::from_secs(seconds);
        first.handed_out(handed_out, 50_000);
        assert_eq!(activity.overdue(later(159), false), None);
        assert_eq!(activity.overdue(later(161), false), Some(Overdue::Answer));
        assert_eq!(activity.overdue(later(116), true), Some(Overdue::Answer));
        // A Nextcloud that sends nothing yet is not the client's fault.
        first.taken();
        assert_eq!(activity.overdue(later(1_000_000), true), None);
        drop((first, second));
        let now = Instant::now();
        assert_eq!(activity.overdue(now, true), None);
        assert_eq!(activity.overdue(now + SCARCE, true), Some(Overdue::Idle));
        assert_eq!(activity.overdue(now + HEAD, false), None);
        assert_eq!(activity.overdue(now + IDLE, false), Some(Overdue::Idle));
    }
}
