//! One request for the page, stage by stage: which file or view, which language, who it is, whether the form is the page's own, and
//! the answer.

use std::sync::Arc;

use chrono::Utc;
use deadpool_postgres::Pool;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::assets::{self, Asset};
use super::chrome::Chrome;
use super::cookies::{self, Jar};
use super::desk::Desk;
use super::door::{Door, Entry, Pass, Purpose};
use super::examiner::Examiner;
use super::form::Form;
use super::language::Language;
use super::look_ups::LookUps;
use super::routes;
use super::tokens::{Tokens, is_id, new_id};
use super::views::{failure, live, login};
use super::visit::Visit;
use crate::capture::CaptureStatus;
use crate::config::Settings;
use crate::database::Database;
use crate::delivery::Feed;
use crate::ocs::{Inside, PAGES, Pages, Refusal};
use crate::proxy::{self, Arrival, Body, FORWARDED_PROTO};
use crate::random::NoRandom;
use crate::shares::Shares;

/// What the page is made from.
pub struct Sources {
    pub inside: Inside,
    pub settings: Arc<Settings>,
    pub database: Database,
    pub pool: Pool,
    pub feed: Feed,
    pub status: watch::Receiver<CaptureStatus>,
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The page, ready to serve.
#[derive(Debug)]
pub struct Page {
    desk: Arc<Desk>,
    /// The path of the page.
    base: String,
}

/// What is known of a request before anybody is asked who it comes from.
struct Head {
    method: Method,
    path: Vec<String>,
    query: Form,
    pass: Pass,
    secure: bool,
    part: bool,
    renews: bool,
    chrome: Chrome,
    /// Cookies for the answer.
    cookies: Vec<HeaderValue>,
}

impl Page {
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new(sources: Sources) -> Result<Self, NoRandom> {
        let tokens = Tokens::new(sources.settings.master_key.as_ref())?;
        let base = format!("{}{PAGES}", sources.inside.base());
        let desk = Desk {
            door: Door::new(sources.inside, tokens),
            limits: sources.settings.outbox,
            source: sources.settings.event_source.clone(),
            examiner: Examiner::new(sources.settings, sources.database),
            pool: sources.pool,
            feed: sources.feed,
            watching: Shares::new(live::MOST),
            look_ups: LookUps::default(),
            status: sources.status,
            stop: sources.stop,
        };
        Ok(Self {
            desk: Arc::new(desk),
            base,
        })
    }

    async fn respond(&self, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        let path = request.uri().path();
        let Some(below) = path.strip_prefix(&self.base).filter(|below| !below.is_empty()) else {
            return answer::see_other(&format!("{}/", self.base));
        };
        let segments: Vec<String> = below
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        if let [folder, hash, name] = segments.as_slice()
            && folder == assets::FOLDER
        {
            return match Asset::find(name) {
                Some(asset) => answer::asset(asset, asset.hash() == hash, request.headers()),
                None => answer::plain(StatusCode::NOT_FOUND, "There is no such file\n"),
            };
        }
        let (mut head, body) = match self.accept(request, segments, arrival) {
            Ok(accepted) => accepted,
            Err(response) => return *response,
        };
        let mut response = self.answer_head(&mut head, body).await;
        for cookie in head.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// Reads the head of a request.
    ///
    /// # Errors
    /// The answer, if it is not one for a page.
    fn accept(
        &self,
        request: Request<Incoming>,
        path: Vec<String>,
        arrival: Arrival,
    ) -> Result<(Head, Incoming), Box<Response<Body>>> {
        let unavailable = |_| {
            Box::new(answer::plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again in a moment\n",
            ))
        };
        let host = proxy::host(&request).ok().flatten();
        let (parts, body) = request.into_parts();
        let method = match parts.method {
            Method::GET | Method::HEAD => Method::GET,
            Method::POST => Method::POST,
            _ => {
                let mut response = answer::plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST\n");
                let allowed = HeaderValue::from_static("GET, HEAD, POST");
                response.headers_mut().insert(header::ALLOW, allowed);
                return Err(Box::new(response));
            }
        };
        if method == Method::POST && is_from_elsewhere(&parts.headers) {
            let text = "This form was sent by another site, so nothing was done\n";
            return Err(Box::new(answer::plain(StatusCode::FORBIDDEN, text)));
        }
        let secure = arrival.secure
            || (arrival.trusted
                && proxy::items(&parts.headers, &FORWARDED_PROTO)
                    .next()
                    .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https")));
        let jar = Jar {
            path: &self.base,
            secure,
        };
        let mut cookies = Vec::new();
        let browser = match jar.browser(&parts.headers).filter(|id| is_id(id)) {
            Some(id) => id.to_owned(),
            None => {
                let id = new_id().map_err(unavailable)?;
                cookies.extend(jar.name_browser(&id));
                id
            }
        };
        let query = Form::of_query(parts.uri.query());
        let chosen = query.get("lang").and_then(Language::parse);
        let language = chosen
            .or_else(|| cookies::read(&parts.headers, cookies::LANGUAGE).and_then(Language::parse))
            .unwrap_or_else(|| Language::accepted(&parts.headers));
        if let Some(language) = chosen {
            cookies.extend(jar.remember_language(language.code()));
        }
        let other = match language {
            Language::English => Language::Dutch,
            Language::Dutch => Language::English,
        };
        let chrome = Chrome {
            base: self.base.clone(),
            language,
            section: path.first().cloned().unwrap_or_default(),
            user: None,
            operator: false,
            token: String::new(),
            standalone: !self.desk.door.inside.is_before_nextcloud(),
            nonce: new_id().map_err(unavailable)?,
            switch: (method == Method::GET || path == ["login"])
                .then(|| format!("?{}", query.with("lang", other.code()))),
            notice: query.get("done").map(str::to_owned),
            now: Utc::now(),
        };
        let part = parts.headers.contains_key("hx-request");
        let head = Head {
            method,
            path,
            renews: part && query.get("renew").is_some(),
            query,
            pass: Pass {
                headers: parts.headers,
                host,
                arrival,
                browser,
            },
            secure,
            part,
            chrome,
            cookies,
        };
        Ok((head, body))
    }

    async fn answer_head(&self, head: &mut Head, body: Incoming) -> Response<Body> {
        let door = &self.desk.door;
        let is_change = head.method == Method::POST;
        if head.chrome.standalone && head.path == ["login"] {
            return self.answer_login(head, body).await;
        }
        let purpose = match (is_change, head.renews) {
            (true, _) => Purpose::Change,
            (false, true) => Purpose::Renew,
            (false, false) => Purpose::Look,
        };
        let entry = match door.enter(&head.pass, purpose).await {
            Ok((entry, cookies)) => {
                head.cookies.extend(cookies);
                entry
            }
            Err(denied) => return login::denied(&head.chrome, &denied, head.part, ""),
        };
        let session = match entry {
            Entry::Known(session) => session,
            Entry::Nobody => {
                head.chrome.token = door.tokens.of(&head.pass.browser, "");
                return login::nobody(&head.chrome, head.part, is_change);
            }
            Entry::NotAllowed(user) => return login::not_allowed(&head.chrome, &user, head.part),
        };
        head.chrome.user = Some(session.user.clone());
        head.chrome.operator = session.admin;
        head.chrome.token = door.tokens.of(&head.pass.browser, &session.user);
        let form = if is_change {
            match self.read_change(head, body).await {
                Ok(form) => form,
                Err(refusal) => return failure::show(&head.chrome, head.part, &refusal),
            }
        } else {
            Form::default()
        };
        if is_change && head.path == ["logout"] {
            door.log_out(&head.pass);
            head.cookies.extend(self.jar(head).forget_browser());
            return answer::see_other(&format!("{}/", self.base));
        }
        let visit = Visit {
            method: head.method.clone(),
            path: std::mem::take(&mut head.path),
            query: std::mem::take(&mut head.query),
            form,
            session,
            pass: head.pass.clone(),
            chrome: head.chrome.clone(),
            part: head.part,
        };
        match routes::answer(&self.desk, &visit).await {
            Ok(response) => response,
            Err(refusal) => failure::show(&head.chrome, head.part, &refusal),
        }
    }

    /// The form of a change, which only an operator may make, with the page's own form.
    async fn read_change(&self, head: &Head, body: Incoming) -> Result<Form, Refusal> {
        let door = &self.desk.door;
        let form = Form::new(door.inside.read_form(body).await?);
        let user = head.chrome.user.as_deref().unwrap_or_default();
        if !door.tokens.fits(form.text("token"), &head.pass.browser, user) {
            return Err(head.chrome.refusal(
                403,
                "This form is too old or was not made for you, so nothing was done. Open the view again and repeat what you did.",
                "Dit formulier is te oud of niet voor u gemaakt, dus er is niets gebeurd. Open de pagina opnieuw en herhaal wat u deed.",
            ));
        }
        if !head.chrome.operator && head.path != ["logout"] {
            return Err(head.chrome.only_looks());
        }
        Ok(form)
    }

    /// The login of a sidecar that stands alone.
    async fn answer_login(&self, head: &mut Head, body: Incoming) -> Response<Body> {
        let door = &self.desk.door;
        head.chrome.token = door.tokens.of(&head.pass.browser, "");
        if head.method == Method::GET {
            return login::show(&head.chrome);
        }
        let form = match door.inside.read_form(body).await {
            Ok(form) => Form::new(form),
            Err(refusal) => return failure::show(&head.chrome, head.part, &refusal),
        };
        let user = form.text("user");
        if !door.tokens.fits(form.text("token"), &head.pass.browser, "") {
            return login::again(&head.chrome, user);
        }
        // A password may begin or end with a blank.
        let password = form.all("password").next().unwrap_or_default().to_owned().into();
        match door.log_in(&head.pass, user, &password).await {
            Ok(id) => {
                head.cookies.clear();
                head.cookies.extend(self.jar(head).name_browser(&id));
                answer::see_other(&format!("{}/", self.base))
            }
            Err(denied) => login::denied(&head.chrome, &denied, head.part, user),
        }
    }

    fn jar(&self, head: &Head) -> Jar<'_> {
        Jar {
            path: &self.base,
            secure: head.secure,
        }
    }
}

/// Whether a browser says that another site causes this request. Browsers that say nothing are caught by the token.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none")
}

impl Pages for Page {
    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> BoxFuture<'_, Response<Body>> {
        self.respond(request, arrival).boxed()
    }
}
