//! Authentication: which caller a request comes from.
//!
//! Guarantee: nothing is read or changed for a caller before this module said who it is.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue};

use super::local_accounts::LocalAccounts;
use super::nextcloud_accounts::NextcloudAccounts;
use super::nextcloud_api::{Credentials, NextcloudWebhooks};
use super::session::{Denied, Session};
use crate::proxy::Arrival;

/// Says who a caller is. Which one it is depends on the mode that the sidecar runs in.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub enum Authenticator {
    /// Without Nextcloud: the accounts of the configuration.
    Standalone(LocalAccounts),
    /// In front of Nextcloud: whoever may list webhooks there.
    Nextcloud(Arc<NextcloudAccounts>),
}

/// A caller, and what Nextcloud said together with the caller's identity.
#[derive(Debug, Default)]
pub(super) struct Authenticated {
    /// `None` if the request names nobody.
    pub(super) session: Option<Session>,
    /// Cookies that Nextcloud renewed; the answer hands them to the client.
    pub(super) cookies: Vec<HeaderValue>,
    /// Nextcloud's own webhooks, if they were asked for.
    pub(super) webhooks: Option<NextcloudWebhooks>,
    /// What the caller's requests to Nextcloud are made with.
    pub(super) credentials: Option<Credentials>,
}

/// The list of webhooks that a request asks for; Nextcloud's part of it comes with the answer that says who the caller is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListRequest<'a> {
    /// Only the webhooks with this `uri`.
    pub(super) uri: Option<&'a str>,
}

impl Authenticator {
    /// Says who the caller is.
    ///
    /// # Errors
    /// [`Denied`] if the request names a caller whose credentials are not accepted.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        host: Option<HeaderValue>,
        arrival: Arrival,
        list: Option<ListRequest<'_>>,
    ) -> Result<Authenticated, Denied> {
        let accounts = match self {
            Self::Standalone(accounts) => {
                let session = accounts.session(headers, arrival.client).await?;
                return Ok(Authenticated {
                    session,
                    ..Authenticated::default()
                });
            }
            Self::Nextcloud(accounts) => accounts,
        };
        let host = host
            .or_else(|| HeaderValue::from_str(accounts.proxy().upstream().authority()).ok())
            .ok_or(Denied::Unavailable)?;
        let Some(credentials) = Credentials::of(headers, host, arrival) else {
            return Ok(Authenticated::default());
        };
        let identified = match list {
            Some(list) => accounts.list(&credentials, list.uri).await?,
            None => accounts.identify(&credentials).await?,
        };
        Ok(Authenticated {
            session: identified.session,
            cookies: identified.cookies,
            webhooks: list.is_some().then_some(identified.webhooks),
            credentials: Some(credentials),
        })
    }
}
