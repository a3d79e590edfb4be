//! TLS for everything that goes out.
//!
//! Guarantees: certificates are verified against the system's roots and the given file; TLS 1.2 and 1.3 only; the crypto
//! provider is named, never a process-wide default.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::trust::ExplainingVerifier;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("ORW_CA_FILE {path}: {source}; it must hold certificates in PEM form")]
    CaFile {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("ORW_CA_FILE {path} holds no certificate; it must hold certificates in PEM form")]
    CaFileEmpty { path: PathBuf },
    #[error(
        "TLS cannot be set up: {0}; install the package ca-certificates, or name a file with ORW_CA_FILE"
    )]
    Roots(#[source] rustls::Error),
    #[error("TLS cannot be set up: {0}")]
    Config(#[source] rustls::Error),
}

/// A configuration that verifies against the system's roots and the certificates in `ca_file`. It offers no ALPN
/// protocol; deliveries add theirs.
///
/// # Errors
/// Where the file cannot be read, or there is no root at all.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra = ca_file.map(read_certificates).transpose()?.unwrap_or_default();
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(TlsError::Roots)?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ExplainingVerifier(verifier)))
        .with_no_client_auth())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|source| TlsError::CaFile {
        path: path.to_owned(),
        source,
    })?;
    if certificates.is_empty() {
        return Err(TlsError::CaFileEmpty {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_file_is_read_or_named_in_the_error() {
        let ca = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ca.cert.pem()).unwrap();
        assert!(client_config(Some(file.path())).is_ok());

        std::fs::write(file.path(), "no certificate").unwrap();
        let error = client_config(Some(file.path())).unwrap_err();
        assert!(matches!(error, TlsError::CaFileEmpty { .. }), "{error}");

        let error = client_config(Some(Path::new("/nonexistent.pem"))).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
    }
}
