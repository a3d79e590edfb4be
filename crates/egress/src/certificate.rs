//! The certificate that a receiver may demand of the client (mutual TLS).
//!
//! Guarantees: what is held is readable and belongs together; the key is in no `Debug` and no error.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The longest certificate chain and key, as text.
const LARGEST: usize = 64 * 1024;
const LONGEST_CHAIN: usize = 8;

/// SHA-256 of the whole chain.
pub type Fingerprint = [u8; 32];

/// A chain and its key, ready to be shown to a receiver.
#[derive(Clone)]
pub struct ClientCertificate {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    subject: String,
    not_after: DateTime<Utc>,
    /// The chain and then the key, PEM.
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
                not_after = end(&read);
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

    /// The chain and then the key, PEM: what [`Self::parse`] reads again as both.
    #[must_use]
    pub fn pem(&self) -> &SecretString {
        &self.pem
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

fn end(certificate: &X509Certificate<'_>) -> DateTime<Utc> {
    let end = certificate.validity().not_after.timestamp();
    DateTime::from_timestamp(end, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// When a certificate in DER form ends; `None` if it cannot be read.
#[must_use]
pub fn certificate_end(der: &[u8]) -> Option<DateTime<Utc>> {
    let (_, read) = X509Certificate::from_der(der).ok()?;
    Some(end(&read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
    use secrecy::ExposeSecret as _;

    /// A certificate and its key, PEM, signed by `by`.
    fn leaf(by: &Issuer<'_, KeyPair>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_is_read_and_what_does_not_belong_together_is_refused() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = params.self_signed(&authority_key).unwrap().pem();
        let authority = Issuer::new(params, authority_key);
        let ((own, own_key), (_, other_key)) = (leaf(&authority), leaf(&authority));
        let (certificate, key) = (own.as_str(), own_key.as_str());
        let chain = format!("{certificate}{authority_pem}");
        let read = ClientCertificate::parse(&chain, key).unwrap();
        let stored = read.pem().expose_secret();
        let again = ClientCertificate::parse(stored, stored).unwrap();
        assert_eq!(again.fingerprint(), read.fingerprint());
        assert_eq!(again.certified_key().cert.len(), 2);
        assert_eq!(read.shown_fingerprint().len(), 95);
        assert!(!format!("{read:?}").contains("PRIVATE"));
        let alone = ClientCertificate::parse(certificate, key).unwrap();
        assert_ne!(alone.fingerprint(), read.fingerprint());
        let refused = |certificate: &str, key: &str| {
            let (which, reason) = ClientCertificate::parse(certificate, key).unwrap_err();
            assert!(!reason.contains("MII"), "{reason}");
            format!("{which} {reason}")
        };
        for (certificate, key, said) in [
            (
                certificate,
                other_key.as_str(),
                "key does not belong to the certificate",
            ),
            ("", key, "certificate must hold 1 to 8 certificates"),
            (key, key, "certificate must hold 1 to 8"),
            (certificate, "", "key must be a private key"),
            (certificate, certificate, "key must be a private key"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key,
                "certificate is no X.509 certificate",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                key,
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
            (&"x".repeat(LARGEST + 1), key, "certificate must have at most"),
            (certificate, &"x".repeat(LARGEST + 1), "key must have at most"),
            (&certificate.repeat(9), key, "certificate must hold 1 to 8"),
        ] {
            let message = refused(certificate, key);
            assert!(message.starts_with(said), "{message}");
        }
    }
}
