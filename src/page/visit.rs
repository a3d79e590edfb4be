//! One request of a person who may look.

use std::net::IpAddr;

use hyper::Method;

use super::chrome::Chrome;
use super::door::Pass;
use super::form::Form;
use crate::ocs::Session;

/// One request of a person who may look; one that changes something comes from an operator and from the page's own form.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) method: Method,
    /// The parts of the path below the page, decoded.
    pub(crate) path: Vec<String>,
    pub(crate) query: Form,
    /// What was filled in; empty unless the request changes something.
    pub(crate) form: Form,
    pub(crate) session: Session,
    pub(crate) pass: Pass,
    pub(crate) chrome: Chrome,
    /// Whether only a part of a view is asked for, by a script of the page.
    pub(crate) part: bool,
}

impl Visit {
    /// The address that the audit table keeps.
    pub(crate) const fn client(&self) -> IpAddr {
        self.pass.arrival.client
    }
}
