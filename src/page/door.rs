//! Who may come in.
//!
//! Guarantees: before Nextcloud, whoever may manage webhooks there, by the cookie of their session there; a change is made only after
//! Nextcloud has said so at that very moment. Stand-alone, whoever logged in with an account of the configuration, under an id that the
//! browser got at the login and not before. Guessing is slowed down by the API's own throttle.

use hyper::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use super::sessions::Sessions;
use super::tokens::{Tokens, new_id};
use crate::ocs::{Denied, Inside, Session};
use crate::proxy::Arrival;

/// What a browser's request shows at the door.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) headers: HeaderMap,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) arrival: Arrival,
    /// The id in the page's cookie, or a new one.
    pub(crate) browser: String,
}

/// What for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Look,
    /// A view that renews itself: nobody may be sitting there.
    Renew,
    Change,
}

/// Whom the door lets in.
#[derive(Debug)]
pub(crate) enum Entry {
    Known(Session),
    /// Nobody is logged in.
    Nobody,
    /// Somebody is, and may not look.
    NotAllowed(String),
}

/// Lets people in.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) inside: Inside,
    sessions: Sessions,
    pub(crate) tokens: Tokens,
}

impl Door {
    pub(crate) fn new(inside: Inside, tokens: Tokens) -> Self {
        Self {
            inside,
            sessions: Sessions::default(),
            tokens,
        }
    }

    /// Who it is; and cookies that Nextcloud renewed meanwhile.
    ///
    /// # Errors
    /// [`Denied`] if that cannot be said now.
    pub(crate) async fn enter(
        &self,
        pass: &Pass,
        purpose: Purpose,
    ) -> Result<(Entry, Vec<HeaderValue>), Denied> {
        if !self.inside.is_before_nextcloud() {
            let known = self.sessions.get(&pass.browser, purpose != Purpose::Renew);
            return Ok((known.map_or(Entry::Nobody, Entry::Known), Vec::new()));
        }
        let now = purpose == Purpose::Change;
        let asked = self
            .inside
            .identify_browser(&pass.headers, pass.host.clone(), pass.arrival, now)
            .await?;
        let entry = match asked.session {
            None => Entry::Nobody,
            Some(session) if session.admin => Entry::Known(session),
            Some(session) => Entry::NotAllowed(session.user),
        };
        Ok((entry, asked.cookies))
    }

    /// Logs in: the browser's new id.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn log_in(
        &self,
        pass: &Pass,
        user: &str,
        password: &SecretString,
    ) -> Result<String, Denied> {
        let session = self.inside.log_in(user, password, pass.arrival.client).await?;
        // Whoever gave the browser its id so far does not know the new one.
        self.sessions.end(&pass.browser);
        let id = new_id().map_err(|_| Denied::Unavailable)?;
        self.sessions.begin(&id, session);
        Ok(id)
    }

    /// Logs out.
    pub(crate) fn log_out(&self, pass: &Pass) {
        self.sessions.end(&pass.browser);
    }
}
