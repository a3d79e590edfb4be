//! The field `clientCertificate` of a registration: a chain and its key, shown to a receiver that demands them (mutual TLS).
//!
//! Guarantees: a certificate that has expired is not registered; the key is in no error or answer.

use chrono::Utc;
use hyper::Uri;
use orw_egress::ClientCertificate;

use super::fields::{Fields, InvalidField, invalid, within};
use super::headers::MASK;

/// A client certificate that ends within this time is registered with a warning.
const EXPIRES_SOON: chrono::Duration = chrono::Duration::days(30);
const FIELD: &str = "clientCertificate";

/// Whether `certificate` can be registered for `target` now.
pub(super) fn check(
    certificate: &ClientCertificate,
    target: &Uri,
    warnings: &mut Vec<String>,
) -> Result<(), InvalidField> {
    if target.scheme_str() != Some("https") {
        return Err(invalid(FIELD, "needs a uri that starts with https://"));
    }
    let (end, now) = (certificate.not_after(), Utc::now());
    let day = end.format("%Y-%m-%d");
    if end <= now {
        return Err(invalid(
            format!("{FIELD}.certificate"),
            format!("expired on {day}; give one that is valid"),
        ));
    }
    if end - now < EXPIRES_SOON {
        warnings.push(format!("{FIELD}: it expires on {day}"));
    }
    Ok(())
}

/// Reads what is stored: the chain and then the key, PEM.
pub(super) fn from_stored(pem: &str) -> Result<ClientCertificate, String> {
    ClientCertificate::parse(pem, pem).map_err(|(which, reason)| format!("{FIELD}.{which} {reason}"))
}

/// What a request wants of the client certificate.
#[derive(Debug, Clone)]
pub enum CertificateChoice {
    Given(Box<ClientCertificate>),
    /// As it was: what an answer showed came back.
    Keep,
    Remove,
}

impl CertificateChoice {
    /// The field `clientCertificate`: a chain and its key; empty to have none.
    pub(crate) fn read(fields: &Fields) -> Result<Option<Self>, InvalidField> {
        let Some(map) = fields.object(FIELD)? else {
            return Ok(None);
        };
        if map.is_empty() {
            return Ok(Some(Self::Remove));
        }
        let given = fields.nested(FIELD)?.unwrap_or_default();
        let (chain, key) = (
            given.text("certificate").map_err(within(FIELD))?,
            given.text("key").map_err(within(FIELD))?,
        );
        let missing = |name: &str| {
            invalid(
                format!("{FIELD}.{name}"),
                "is required: give certificate (the chain, the client's own first) and key, both PEM",
            )
        };
        match (chain, key) {
            (None, Some(MASK)) => Ok(Some(Self::Keep)),
            (None, _) => Err(missing("certificate")),
            (Some(_), None | Some(MASK)) => Err(missing("key")),
            (Some(chain), Some(key)) => {
                let parsed = ClientCertificate::parse(chain, key)
                    .map_err(|(name, reason)| invalid(format!("{FIELD}.{name}"), reason))?;
                Ok(Some(Self::Given(Box::new(parsed))))
            }
        }
    }
}
