//! The certificate that a webhook's receiver may demand (mutual TLS).
//!
//! Guarantees: what is held is readable, belongs together, and has not ended when it is registered; the key is in no
//! `Debug`, error or answer.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hyper::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::InvalidField;
use super::fields::{Fields, invalid, within};
use super::registration::MASK;

/// The longest certificate chain and key, as text.
const LARGEST: usize = 64 * 1024;
const LONGEST_CHAIN: usize = 8;

/// A client certificate that ends within this time is registered with a warning.
const EXPIRES_SOON: chrono::Duration = chrono::Duration::days(30);
const FIELD: &str = "clientCertificate";

/// SHA-256 of the whole chain.
pub type Fingerprint = [u8; 32];

/// A chain and its key, ready to be shown to a receiver.
#[derive(Clone)]
pub struct ClientCertificate {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    subject: String,
    not_after: DateTime<Utc>,
    /// The chain and then the key, PEM: what is stored.
    pem: SecretString,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Reads a chain (the certificate itself first) and its private key, both PEM.
    ///
    /// # Errors
    /// Which of the two is wrong (`certificate` or `key`), and why; never with the text.
    pub fn parse(certificate: &str, key: &str) -> Result<Self, (&'static str, String)> {
        let of_certificate = |reason: String| ("certificate", reason);
        let of_key = |reason: String| ("key", reason);
        for (text, wrong) in [
            (certificate, of_certificate as fn(String) -> _),
            (key, of_key as fn(String) -> _),
        ] {
            if text.len() > LARGEST {
                return Err(wrong(format!("must have at most {LARGEST} bytes")));
            }
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| of_certificate("is no PEM that can be read".to_owned()))?;
        if !(1..=LONGEST_CHAIN).contains(&chain.len()) {
            return Err(of_certificate(format!(
                "must hold 1 to {LONGEST_CHAIN} certificates in PEM form (-----BEGIN CERTIFICATE-----), the client's own first"
            )));
        }
        let mut subject = String::new();
        let mut not_after = DateTime::<Utc>::MIN_UTC;
        for (at, der) in chain.iter().enumerate() {
            let (_, read) = X509Certificate::from_der(der).map_err(|_| {
                of_certificate(format!(
                    "is no X.509 certificate (number {} of the chain)",
                    at + 1
                ))
            })?;
            if at == 0 {
                subject = read.subject().to_string();
                let end = read.validity().not_after.timestamp();
                not_after = DateTime::from_timestamp(end, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
            }
        }
        if key.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || key.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(of_key(
                "is encrypted with a passphrase; send it in clear (openssl pkey -in key.pem), it is encrypted here"
                    .to_owned(),
            ));
        }
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
            of_key("must be a private key in PEM form (-----BEGIN PRIVATE KEY-----)".to_owned())
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let signing = provider.key_provider.load_private_key(key_der).map_err(|_| {
            of_key("is of a kind that is not supported; RSA, ECDSA (P-256, P-384) and Ed25519 are".to_owned())
        })?;
        let mut hash = Sha256::new();
        for der in &chain {
            hash.update(u64::try_from(der.len()).unwrap_or_default().to_be_bytes());
            hash.update(der);
        }
        let fingerprint = hash.finalize().into();
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|_| of_key("does not belong to the certificate".to_owned()))?;
        Ok(Self {
            certified: Arc::new(certified),
            fingerprint,
            subject,
            not_after,
            pem: format!("{}\n{}\n", certificate.trim(), key.trim()).into(),
        })
    }

    /// Whether it can be registered for `target` now.
    pub(crate) fn check(&self, target: &Uri, warnings: &mut Vec<String>) -> Result<(), InvalidField> {
        if target.scheme_str() != Some("https") {
            return Err(invalid(FIELD, "needs a uri that starts with https://"));
        }
        let (end, now) = (self.not_after, Utc::now());
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

    /// Reads what [`Self::stored`] gave.
    pub(crate) fn from_stored(pem: &str) -> Result<Self, String> {
        Self::parse(pem, pem).map_err(|(which, reason)| format!("clientCertificate.{which} {reason}"))
    }

    /// What is encrypted and stored.
    pub(crate) fn stored(&self) -> &str {
        self.pem.expose_secret()
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// What tells certificates apart.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// SHA-256 of the certificate itself, as `openssl x509 -fingerprint -sha256` shows it.
    #[must_use]
    pub fn shown_fingerprint(&self) -> String {
        let own = self.certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let bytes: Vec<String> = Sha256::digest(own).iter().map(|b| format!("{b:02X}")).collect();
        bytes.join(":")
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When it ends.
    #[must_use]
    pub const fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use orw_testkit::certificate::{Authority, Flaw};

    #[test]
    fn a_pair_is_read_and_what_does_not_belong_together_is_refused() {
        let authority = Authority::new().unwrap();
        let (one, other) = (
            authority.leaf(&["client"], Flaw::None).unwrap(),
            authority.leaf(&["client"], Flaw::None).unwrap(),
        );
        let chain = format!("{}{}", one.certificate_pem(), authority.pem());
        let read = ClientCertificate::parse(&chain, &one.key_pem()).unwrap();
        let again = ClientCertificate::from_stored(read.stored()).unwrap();
        assert_eq!(again.fingerprint(), read.fingerprint());
        assert_eq!(again.certified_key().cert.len(), 2);
        assert_eq!(read.shown_fingerprint().len(), 95);
        assert!(!format!("{read:?}").contains("PRIVATE"));
        let alone = ClientCertificate::parse(one.certificate_pem(), &one.key_pem()).unwrap();
        assert_ne!(alone.fingerprint(), read.fingerprint());
        let refused = |certificate: &str, key: &str| {
            let (which, reason) = ClientCertificate::parse(certificate, key).unwrap_err();
            assert!(!reason.contains("MII"), "{reason}");
            format!("{which} {reason}")
        };
        let (certificate, key) = (one.certificate_pem(), one.key_pem());
        for (certificate, key, said) in [
            (
                certificate,
                other.key_pem().as_str(),
                "key does not belong to the certificate",
            ),
            ("", key.as_str(), "certificate must hold 1 to 8 certificates"),
            (key.as_str(), key.as_str(), "certificate must hold 1 to 8"),
            (certificate, "", "key must be a private key"),
            (certificate, certificate, "key must be a private key"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key.as_str(),
                "certificate is no X.509 certificate",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                key.as_str(),
                "certificate is no PEM",
            ),
            (
                certificate,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "key is encrypted with a passphrase",
            ),
            (
                certificate,
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "key is of a kind",
            ),
            (
                &"x".repeat(LARGEST + 1),
                key.as_str(),
                "certificate must have at most",
            ),
            (certificate, &"x".repeat(LARGEST + 1), "key must have at most"),
            (
                &certificate.repeat(9),
                key.as_str(),
                "certificate must hold 1 to 8",
            ),
        ] {
            let message = refused(certificate, key);
            assert!(message.starts_with(said), "{message}");
        }
    }
}
