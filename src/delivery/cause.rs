//! Why an attempt failed, as log and metrics name it.

use orw_egress::SendError;

use crate::error_text::chain;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No answer came.
    NoAnswer(orw_egress::Cause),
    /// A response that is not 2xx.
    Status,
    /// The request could not be made from the registration.
    Request,
    /// The event could not be read or rendered.
    Event,
    /// A fault of our own.
    Internal,
}

impl Cause {
    /// Whether the address guard refused the target.
    pub(crate) const fn is_guard(self) -> bool {
        matches!(self, Self::NoAnswer(orw_egress::Cause::Guard))
    }

    /// Every name.
    pub(crate) const NAMES: [&str; 11] = [
        "dns", "connect", "tls", "timeout", "guard", "proxy", "protocol", "request", "status", "event",
        "internal",
    ];

    /// The name in log and metrics; users rely on it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        use orw_egress::Cause as Egress;
        match self {
            Self::NoAnswer(Egress::Dns) => "dns",
            Self::NoAnswer(Egress::Connect) => "connect",
            Self::NoAnswer(Egress::Tls) => "tls",
            Self::NoAnswer(Egress::Timeout) => "timeout",
            Self::NoAnswer(Egress::Guard) => "guard",
            Self::NoAnswer(Egress::Proxy) => "proxy",
            Self::NoAnswer(Egress::Protocol) => "protocol",
            Self::NoAnswer(Egress::Request) | Self::Request => "request",
            Self::Status => "status",
            Self::Event => "event",
            Self::Internal => "internal",
        }
    }
}

/// An attempt without an answer.
#[derive(Debug, Clone)]
pub struct Failure {
    pub cause: Cause,
    /// The error and its causes on one line.
    pub error: String,
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self {
            cause: Cause::NoAnswer(error.cause()),
            error: chain(&error),
        }
    }
}
