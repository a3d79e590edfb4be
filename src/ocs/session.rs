//! Who a caller is, and why credentials are refused.

use std::time::Duration;

/// A caller who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub user: String,
    pub admin: bool,
    /// The external app that acts, as AppAPI names it.
    pub app_id: Option<String>,
}

/// Why a caller's credentials are not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// User or password is wrong.
    Wrong,
    /// Too many attempts from this address or network.
    TooMany { retry_after: Duration },
    /// The credentials are right, but the request has no `OCS-APIRequest: true`.
    NoApiRequest,
    /// The credentials cannot be checked now.
    Unavailable,
    /// The credentials cannot be checked now, because Nextcloud does not say who the caller is; with the reason.
    Away(&'static str),
    /// The credentials cannot be checked now, and every further attempt adds to the load; with the reason. It counts as an
    /// attempt.
    Busy(&'static str),
}

/// A keyed hash (HMAC-SHA256) of credentials or of a part of them.
pub(crate) type Digest = [u8; 32];
