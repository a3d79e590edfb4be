//! For whoever is not in: the login, and why somebody does not get in.

use std::borrow::Cow;

use askama::Template;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::failure;
use crate::ocs::{Denied, PAGES};
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::language::Language;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    p: &'a Chrome,
    why: Option<Cow<'a, str>>,
    /// The user who was named before.
    user: &'a str,
}

#[derive(Template)]
#[template(path = "outside.html")]
struct Outside<'a> {
    p: &'a Chrome,
    title: &'a str,
    why: Cow<'a, str>,
    /// Where to go: its path and its name.
    way: Option<(String, &'a str)>,
}

/// The login of a sidecar that stands alone.
pub(crate) fn show(chrome: &Chrome) -> Response<Body> {
    form(StatusCode::OK, chrome, None, "")
}

/// The same after a form that was not made for this browser.
pub(crate) fn again(chrome: &Chrome, user: &str) -> Response<Body> {
    let why = chrome.t(
        "This form is too old. Please log in again.",
        "Dit formulier is te oud. Log opnieuw in.",
    );
    form(StatusCode::FORBIDDEN, chrome, Some(why.into()), user)
}

fn form(status: StatusCode, p: &Chrome, why: Option<Cow<'_, str>>, user: &str) -> Response<Body> {
    answer::html(status, p, &Login { p, why, user })
}

/// Nobody is logged in.
pub(crate) fn nobody(chrome: &Chrome, part: bool, is_change: bool) -> Response<Body> {
    if part && is_change {
        // Loading the view again would take away what was typed into it.
        let why = chrome.t(
            "You are not logged in any more. Log in in another tab, or copy what you wrote before you load this page again.",
            "U bent niet meer ingelogd. Log in op een ander tabblad, of kopieer wat u schreef voordat u deze pagina opnieuw laadt.",
        );
        return failure::alert(chrome, StatusCode::UNAUTHORIZED, chrome.language, why);
    }
    if part {
        // The view that renews itself is loaded as a whole, and that leads to the login.
        let mut response = answer::plain(StatusCode::UNAUTHORIZED, "");
        let name = HeaderName::from_static("hx-refresh");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("true"));
        return response;
    }
    if chrome.standalone {
        return answer::see_other(&format!("{}/login", chrome.base));
    }
    let nextcloud = chrome.base.strip_suffix(PAGES).unwrap_or_default();
    let back: String = url::form_urlencoded::byte_serialize(format!("{}/", chrome.base).as_bytes()).collect();
    let template = Outside {
        p: chrome,
        title: chrome.t("Log in to Nextcloud", "Log in bij Nextcloud"),
        why: chrome
            .t(
                "This page opens with your session in Nextcloud, and you have none now.",
                "Deze pagina opent met uw sessie in Nextcloud, en die hebt u nu niet.",
            )
            .into(),
        way: Some((
            format!("{nextcloud}/index.php/login?redirect_url={back}"),
            chrome.t("Log in", "Inloggen"),
        )),
    };
    answer::html(StatusCode::UNAUTHORIZED, chrome, &template)
}

/// Somebody is logged in who may not manage webhooks.
pub(crate) fn not_allowed(chrome: &Chrome, user: &str, part: bool) -> Response<Body> {
    let why = match chrome.language {
        Language::English => {
            format!(
                "You are logged in as {user}. Nextcloud lets only administrators, and those whom they gave this right, manage webhooks."
            )
        }
        Language::Dutch => {
            format!(
                "U bent ingelogd als {user}. Nextcloud laat alleen beheerders, en wie van hen dat recht kreeg, webhooks beheren."
            )
        }
    };
    if part {
        return failure::alert(chrome, StatusCode::FORBIDDEN, chrome.language, &why);
    }
    let template = Outside {
        p: chrome,
        title: chrome.t("Not for you", "Geen toegang"),
        why: why.into(),
        way: None,
    };
    answer::html(StatusCode::FORBIDDEN, chrome, &template)
}

/// The caller, who may have named this user in the form, cannot be let in now.
pub(crate) fn denied(chrome: &Chrome, denied: &Denied, part: bool, user: &str) -> Response<Body> {
    let mut language = chrome.language;
    let (status, why): (_, Cow<'_, str>) = match denied {
        Denied::Wrong => (
            StatusCode::UNAUTHORIZED,
            chrome
                .t(
                    "User or password is wrong.",
                    "Gebruiker of wachtwoord klopt niet.",
                )
                .into(),
        ),
        Denied::TooMany { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            chrome
                .t(
                    "There were too many wrong attempts. Wait a moment before you try again.",
                    "Er waren te veel verkeerde pogingen. Wacht even voor u het opnieuw probeert.",
                )
                .into(),
        ),
        Denied::NoApiRequest => return from_elsewhere(chrome, part),
        Denied::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            chrome
                .t(
                    "Your login cannot be checked now. Try again in a moment.",
                    "Uw aanmelding kan nu niet worden gecontroleerd. Probeer het zo opnieuw.",
                )
                .into(),
        ),
        Denied::Away(why) | Denied::Busy(why) => {
            language = Language::English;
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}.").into())
        }
    };
    let mut response = if part {
        failure::alert(chrome, status, language, &why)
    } else if chrome.standalone {
        form(status, chrome, Some(why), user)
    } else {
        let template = Outside {
            p: chrome,
            title: chrome.t("Not now", "Nu niet"),
            why,
            way: Some((
                format!("{}/", chrome.base),
                chrome.t("Try again", "Probeer opnieuw"),
            )),
        };
        answer::html(status, chrome, &template)
    };
    if let Denied::TooMany { retry_after } = denied {
        let seconds = retry_after.as_secs().saturating_add(1);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A link of another site led here, so the browser kept Nextcloud's strict cookies back. The next click sends them.
fn from_elsewhere(chrome: &Chrome, part: bool) -> Response<Body> {
    let why = chrome.t(
        "You came here from another site, so your browser has not shown your session in Nextcloud yet.",
        "U komt van een andere site, dus uw browser heeft uw sessie in Nextcloud nog niet getoond.",
    );
    if part {
        return failure::alert(chrome, StatusCode::FORBIDDEN, chrome.language, why);
    }
    let template = Outside {
        p: chrome,
        title: chrome.t("One more click", "Nog één klik"),
        why: why.into(),
        way: Some((
            format!("{}/", chrome.base),
            chrome.t("Open the page", "Open de pagina"),
        )),
    };
    answer::html(StatusCode::FORBIDDEN, chrome, &template)
}
