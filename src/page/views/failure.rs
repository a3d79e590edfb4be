//! What was asked for is not done: why.

use askama::Template;
use hyper::{Response, StatusCode};

use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::language::Language;
use crate::proxy::Body;

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    p: &'a Chrome,
    status: u16,
    language: &'a str,
    message: &'a str,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct Alert<'a> {
    language: &'a str,
    message: &'a str,
}

/// Says why not, in this language, as a part of a page.
pub(crate) fn alert(
    chrome: &Chrome,
    status: StatusCode,
    language: Language,
    message: &str,
) -> Response<Body> {
    let language = language.code();
    answer::html(status, chrome, &Alert { language, message })
}

/// Shows a refusal: as a page, or as a part of one.
pub(crate) fn show(chrome: &Chrome, part: bool, refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (language, message) = (refusal.language, refusal.message.as_str());
    if part {
        return answer::html(status, chrome, &Alert { language, message });
    }
    let template = Failure {
        p: chrome,
        status: refusal.status,
        language,
        message,
    };
    answer::html(status, chrome, &template)
}
