//! What has arrived, and how the next requests are answered: shared by the receiver and its connections.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::answer::Answer;
use super::received::Received;
use crate::mutex::lock;

/// Decides the answer from the request, whose own `answer` is not set yet.
pub(super) type Decide = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// The record.
pub(super) struct Record {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    connections: AtomicU64,
}

/// How requests are answered.
struct Script {
    /// The answers to the next requests, in order of arrival.
    next: VecDeque<Answer>,
    /// The answer to all later requests.
    then: Decide,
}

impl Record {
    /// Nothing has arrived; every request is answered with 200.
    pub(super) fn new() -> Self {
        Self {
            script: Mutex::new(Script {
                next: VecDeque::new(),
                then: Arc::new(|_| Answer::Status(200)),
            }),
            received: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicU64::new(0),
        }
    }

    /// A number for a new connection.
    pub(super) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Plans the answers to the next requests.
    pub(super) fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.script).next.extend(answers);
    }

    /// Sets how later requests are answered.
    pub(super) fn then(&self, decide: Decide) {
        lock(&self.script).then = decide;
    }

    /// Numbers a request, decides its answer and records both.
    pub(super) fn add(&self, mut request: Received) -> Answer {
        let mut received = lock(&self.received);
        request.number = received.len();
        let planned = {
            let mut script = lock(&self.script);
            script.next.pop_front().ok_or_else(|| Arc::clone(&script.then))
        };
        let answer = planned.unwrap_or_else(|decide| decide(&request));
        request.answer = answer.clone();
        received.push(request);
        self.count.send_replace(received.len());
        answer
    }

    /// Forgets all requests; numbers start from 0 again. This is not an arrival: nobody who waits for one is woken.
    pub(super) fn clear(&self) {
        let mut received = lock(&self.received);
        received.clear();
        self.count.send_if_modified(|count| {
            *count = 0;
            false
        });
    }

    /// All requests, in order of arrival.
    pub(super) fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        lock(&self.received)
    }

    /// The number of requests; it changes whenever one arrives.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}
