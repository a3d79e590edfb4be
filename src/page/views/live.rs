//! Attempts as this process makes them, as server-sent events.
//!
//! Guarantees: watching delays no delivery ([`crate::delivery::Feed`]); who may look is asked again and again while somebody watches; a
//! stream ends with the process, and after an hour; there are not too many, and one network cannot take every place.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::delivery::Watched;
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::{Desk, SharedDesk};
use crate::page::door::{Entry, Pass, Purpose};
use crate::page::form::Form;
use crate::page::records::{Deliveries, Delivery, read, short_class};
use crate::page::visit::Visit;
use crate::proxy::{Body, BoxError};
use crate::shares::Place;
use orw_model::EventClass;

/// How often it is asked again whether the person may look; that is also the sign of life of a quiet stream.
const ASK_EACH: Duration = Duration::from_secs(15);
/// How long a stream lasts; the browser then asks for another.
const LONGEST: Duration = Duration::from_secs(3600);
/// How many people may watch at the same time; one network gets at most half of these places.
pub(crate) const MOST: usize = 128;
/// Attempts that one event of the stream tells at most.
const TOGETHER: usize = 100;

#[derive(Template)]
#[template(path = "live.html")]
struct View<'a> {
    p: &'a Chrome,
    query: &'a Form,
    classes: Vec<String>,
    deliveries: &'a [Delivery],
    stream: String,
}

pub(crate) async fn show(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let mut query = visit.query.query(&["webhook", "class"]);
    if Wanted::of(&visit.query).failures {
        query.insert("state".to_owned(), "retrying,given_up".into());
    }
    query.insert("limit".to_owned(), "25".into());
    let found: Deliveries = read(desk.get(visit, "/deliveries", query).await?)?;
    let view = View {
        p: &visit.chrome,
        query: &visit.query,
        classes: EventClass::all().map(|class| class.to_string()).collect(),
        deliveries: &found.deliveries,
        stream: format!(
            "{}/live/events?{}",
            visit.chrome.base,
            visit.query.url_query(&["webhook", "class", "result"])
        ),
    };
    Ok(answer::html(StatusCode::OK, &visit.chrome, &view))
}

/// Attempts as rows of the view's table.
#[derive(Template)]
#[template(path = "live_rows.html")]
struct Rows<'a> {
    p: &'a Chrome,
    attempts: Vec<&'a Watched>,
}

impl Rows<'_> {
    fn short<'a>(&self, attempt: &'a Watched) -> &'a str {
        short_class(&attempt.class)
    }

    fn subject<'a>(&self, attempt: &'a Watched) -> &'a str {
        attempt.lane.strip_prefix("object:").unwrap_or(&attempt.lane)
    }
}

/// Which attempts somebody wants to see.
struct Wanted {
    webhook: Option<i64>,
    class: Option<String>,
    /// Only those that failed.
    failures: bool,
}

impl Wanted {
    fn of(query: &Form) -> Self {
        Self {
            webhook: query.get("webhook").and_then(|id| id.parse().ok()),
            class: query.get("class").map(str::to_owned),
            failures: query.text("result") == "failed",
        }
    }

    fn takes(&self, attempt: &Watched) -> bool {
        self.webhook.is_none_or(|id| id == attempt.webhook)
            && self
                .class
                .as_ref()
                .is_none_or(|class| short_class(&attempt.class) == class)
            && !(self.failures && attempt.state == "succeeded")
    }
}

struct Watching {
    /// Given back at the end of the stream.
    _place: Place,
    desk: SharedDesk,
    pass: Pass,
    user: String,
    chrome: Chrome,
    wanted: Wanted,
    attempts: tokio::sync::broadcast::Receiver<Arc<Watched>>,
    ends: Instant,
    ask: Instant,
    greeted: bool,
}

pub(crate) fn events(desk: &SharedDesk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let Some(place) = desk.watching.take(visit.client()) else {
        return Err(Refusal::new(
            503,
            "Too many people watch, in all or from your network; try again later",
        ));
    };
    let now = Instant::now();
    let watching = Watching {
        _place: place,
        desk: Arc::clone(desk),
        pass: visit.pass.clone(),
        user: visit.session.user.clone(),
        chrome: visit.chrome.clone(),
        wanted: Wanted::of(&visit.query),
        attempts: desk.feed.watch(),
        ends: now + LONGEST,
        ask: now + ASK_EACH,
        greeted: false,
    };
    let frames = stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        let text = watching.next().await?;
        let frame = Ok::<_, BoxError>(Frame::data(Bytes::from(text)));
        Some((frame, Some(watching)))
    });
    Ok(answer::events(StreamBody::new(frames).boxed_unsync()))
}

impl Watching {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            return Some("retry: 3000\n\n: watching\n\n".to_owned());
        }
        loop {
            let stop = self.desk.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.ask.min(self.ends)) => {
                    if Instant::now() >= self.ends || !self.may_still_look().await {
                        return None;
                    }
                    self.ask = Instant::now() + ASK_EACH;
                    return Some(": still watching\n\n".to_owned());
                }
                attempt = self.attempts.recv() => match attempt {
                    Ok(first) => {
                        if let Some(told) = self.tell(first) {
                            return Some(told);
                        }
                    }
                    Err(RecvError::Lagged(missed)) => return Some(format!("event: missed\ndata: {missed}\n\n")),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// What is there by now, in one event; `None` if nothing of it is wanted.
    fn tell(&mut self, first: Arc<Watched>) -> Option<String> {
        let mut all = vec![first];
        while all.len() < TOGETHER
            && let Ok(more) = self.attempts.try_recv()
        {
            all.push(more);
        }
        let told: Vec<_> = all
            .iter()
            .filter(|attempt| self.wanted.takes(attempt))
            .map(|attempt| &**attempt)
            // The newest stands on top.
            .rev()
            .collect();
        if told.is_empty() {
            return None;
        }
        let rows = Rows {
            p: &self.chrome,
            attempts: told,
        };
        let html = rows.render().ok()?;
        let mut event = String::with_capacity(html.len() + 64);
        for line in html.lines().filter(|line| !line.is_empty()) {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        Some(event)
    }

    async fn may_still_look(&self) -> bool {
        match self.desk.door.enter(&self.pass, Purpose::Renew).await {
            Ok((Entry::Known(session), _)) => session.user == self.user,
            _ => false,
        }
    }
}
