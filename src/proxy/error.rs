//! Why a request was not forwarded, or not answered.

use std::time::Duration;

use hyper::StatusCode;

/// What ends a body early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The text is for the caller, the source for the log.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Two servers could read the request differently, or it is none that a web server answers.
    #[error("{reason}")]
    Refused {
        status: StatusCode,
        reason: &'static str,
    },
    #[error("Nextcloud cannot be reached; registered webhooks are still delivered. Try again in a moment")]
    Away {
        #[source]
        source: BoxError,
    },
    #[error("Nextcloud closed the connection before it answered; try again in a moment")]
    Broken {
        #[source]
        source: BoxError,
    },
    #[error("Nextcloud did not answer within {} s", .after.as_secs())]
    Late { after: Duration },
    #[error("The request's body stopped arriving, or came too slowly")]
    Stalled,
    #[error("The request's body broke off")]
    Cut,
    #[error("Too many requests are under way, in all or from your network; try again in a moment")]
    Busy,
    #[error(
        "This request came back to the sidecar: ORW_NEXTCLOUD_URL must be Nextcloud's own address, not one that leads here"
    )]
    Loop,
}

impl ProxyError {
    pub(super) const fn refused(reason: &'static str) -> Self {
        Self::Refused {
            status: StatusCode::BAD_REQUEST,
            reason,
        }
    }

    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Away { .. } | Self::Broken { .. } => StatusCode::BAD_GATEWAY,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }
}
