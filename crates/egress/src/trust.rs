//! Which certificates are trusted, and the text of the error if one is not, or if a handshake fails for another reason.
//!
//! Guarantees: no certificate is trusted that the platform's verifier does not trust; the text names the reason and the
//! next step.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription as Alert, CertificateError as Certificate, DigitallySignedStruct, Error, OtherError,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate that leads to no authority known here.
#[derive(Debug, thiserror::Error)]
enum Untrusted {
    #[error(
        "the certificate is self-signed (subject {0}); where it is meant to be trusted, add it to ORW_CA_FILE"
    )]
    SelfSigned(String),
    #[error(
        "the certificate's authority is not known here (issuer {0}); add that authority's certificate to ORW_CA_FILE, or let the \
         server send its whole chain"
    )]
    UnknownIssuer(String),
}

/// The platform's verifier, with an error that says why a certificate is not trusted.
#[derive(Debug)]
pub(crate) struct ExplainingVerifier<V>(pub(crate) V);

impl<V: ServerCertVerifier> ServerCertVerifier for ExplainingVerifier<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                Error::InvalidCertificate(Certificate::UnknownIssuer) => {
                    let chain = intermediates.last().unwrap_or(end_entity);
                    let why = untrusted(end_entity, chain);
                    Error::InvalidCertificate(Certificate::Other(OtherError(Arc::new(why))))
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Names in certificates are the peer's: bounded, and without characters that move a terminal's cursor.
fn untrusted(end_entity: &CertificateDer<'_>, last: &CertificateDer<'_>) -> Untrusted {
    let shown = |text: String| text.chars().take(200).flat_map(char::escape_debug).collect();
    let read = |der| {
        X509Certificate::from_der(der)
            .ok()
            .map(|(_, certificate)| certificate)
    };
    match (read(end_entity), read(last)) {
        (Some(own), _) if own.subject().as_raw() == own.issuer().as_raw() => {
            Untrusted::SelfSigned(shown(own.subject().to_string()))
        }
        (_, Some(last)) => Untrusted::UnknownIssuer(shown(last.issuer().to_string())),
        _ => Untrusted::UnknownIssuer("unreadable".to_owned()),
    }
}

/// What a failure of TLS means and what to do, where `error` is one; `identified`: with a client certificate.
pub(crate) fn explain(error: &io::Error, identified: bool) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::PeerIncompatible(why) if format!("{why:?}").contains("Tls12") => {
            "the receiver speaks only TLS 1.1 or older; switch TLS 1.2 or 1.3 on there".to_owned()
        }
        Error::AlertReceived(Alert::ProtocolVersion) => {
            "the receiver speaks neither TLS 1.2 nor 1.3; switch one of them on there".to_owned()
        }
        Error::AlertReceived(Alert::UnrecognisedName) => {
            "the receiver knows no host of this name; check the webhook's uri".to_owned()
        }
        Error::AlertReceived(
            alert @ (Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied),
        ) => certificate_verdict(&format!("{alert:?}"), identified),
        Error::AlertReceived(Alert::DecryptError) if identified => {
            "the receiver does not accept the webhook's client certificate: its authority there has the same name and another key"
                .to_owned()
        }
        Error::AlertReceived(Alert::HandshakeFailure) => {
            "the receiver found no common ground (cipher, curve, or a client certificate that it demands)"
                .to_owned()
        }
        Error::InvalidMessage(_) => {
            "what answered does not speak TLS; check the port, and whether it is an http:// receiver"
                .to_owned()
        }
        other => other.to_string(),
    })
}

/// The text for a receiver that rejects the client certificate, or demands one.
pub(crate) fn certificate_verdict(said: &str, identified: bool) -> String {
    if identified {
        format!(
            "the receiver does not accept the webhook's client certificate ({said}); check its authority and its end, and register \
             another as clientCertificate"
        )
    } else {
        format!(
            "the receiver demands a client certificate ({said}); register one for the webhook as clientCertificate"
        )
    }
}

tokio::task_local! {
    /// Whether the receiver asked for a client certificate in the handshake under way.
    pub(crate) static CERTIFICATE_REQUESTED: Cell<bool>;
}

/// The client certificate, or none; notes that it was asked for.
#[derive(Debug)]
pub(crate) struct ClientIdentity(pub(crate) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of a handshake by `Connector::connect` nobody reads it.
        let _ = CERTIFICATE_REQUESTED.try_with(|wanted| wanted.set(true));
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

fn certificate(why: &Certificate) -> String {
    let day = |time: &UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|s| chrono::DateTime::from_timestamp(s, 0))
            .map_or_else(
                || "a day unknown".to_owned(),
                |at| at.format("%Y-%m-%d").to_string(),
            )
    };
    match why {
        Certificate::Expired => "the receiver's certificate has expired; renew it there".to_owned(),
        Certificate::ExpiredContext { not_after, .. } => {
            format!(
                "the receiver's certificate expired on {}; renew it there",
                day(not_after)
            )
        }
        Certificate::NotValidYet => {
            "the receiver's certificate is not valid yet; check both machines' clocks".to_owned()
        }
        Certificate::NotValidYetContext { not_before, .. } => format!(
            "the receiver's certificate is not valid before {}; check both machines' clocks",
            day(not_before)
        ),
        Certificate::NotValidForName => {
            "the receiver's certificate is for another name; register the webhook under a name that it holds".to_owned()
        }
        Certificate::NotValidForNameContext { expected, presented } => {
            let names: Vec<String> = presented
                .iter()
                .take(5)
                .map(|name| name.chars().take(100).flat_map(char::escape_debug).collect())
                .collect();
            format!(
                "the receiver's certificate is not for {} but for {}; register the webhook under a name that it holds, or give \
                 the receiver a certificate for this one",
                expected.to_str(),
                if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") },
            )
        }
        Certificate::BadSignature => {
            "the receiver's certificate bears the name of an authority that is known here, but that authority did not sign it; \
             ORW_CA_FILE may hold an older authority of the same name"
                .to_owned()
        }
        Certificate::Revoked => "the receiver's certificate is revoked; replace it there".to_owned(),
        // The text of `ExplainingVerifier`, or of webpki.
        Certificate::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the receiver shows an authority's certificate as its own; give it one with basicConstraints CA:FALSE".to_owned()
        }
        Certificate::Other(other) => other.0.to_string(),
        other => Error::InvalidCertificate(other.clone()).to_string(),
    }
}
