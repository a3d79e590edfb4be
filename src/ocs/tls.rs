//! TLS for the listener, from `ORW_TLS_CERT_FILE` and `ORW_TLS_KEY_FILE`.
//!
//! Guarantees: TLS 1.2 and 1.3 only; the files are read again when they change; if the new files cannot be used, the certificate
//! that was read before stays in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::certificate_metrics::CertificateEnd;

/// How often the files are checked for changes.
const LOOK: Duration = Duration::from_secs(5);

/// Why the listener has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    #[error("ORW_TLS_CERT_FILE {path}: {source}; it must hold the certificate and its chain in PEM form")]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error(
        "ORW_TLS_CERT_FILE {path} holds no certificate; it must hold the certificate and its chain in PEM form"
    )]
    NoCertificate { path: PathBuf },
    #[error("ORW_TLS_KEY_FILE {path}: {source}; it must hold the certificate's private key in PEM form")]
    Key {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("ORW_TLS_CERT_FILE and ORW_TLS_KEY_FILE do not belong together: {0}")]
    Pair(#[source] rustls::Error),
}

/// The certificate that the listener presents.
#[derive(Debug)]
pub struct ListenerTls {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// Shows when the certificate in use ends.
    end: CertificateEnd,
}

impl ListenerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsFileError> {
        Self::load_shown_by(certificate, key, CertificateEnd::default())
    }

    /// The same; `end` shows when the certificate in use ends.
    pub(crate) fn load_shown_by(
        certificate: &Path,
        key: &Path,
        end: CertificateEnd,
    ) -> Result<Arc<Self>, TlsFileError> {
        let config = read(certificate, key, &end)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            config: ArcSwap::from_pointee(config),
            end,
        }))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again. Files that cannot be used change nothing.
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let config = read(&self.certificate, &self.key, &self.end)?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Reads the files again whenever they change, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut seen = self.stamps();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.stamps();
            if now == seen {
                continue;
            }
            seen = now;
            match self.reload() {
                Ok(()) => tracing::info!("the listener's certificate was read again"),
                // While one file is new and the other is still old, they do not fit; the next change is read, too.
                Err(error) => {
                    tracing::warn!(%error, "the listener keeps its certificate: the new files cannot be used")
                }
            }
        }
    }

    fn stamps(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }
}

fn read(certificate: &Path, key: &Path, end: &CertificateEnd) -> Result<ServerConfig, TlsFileError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsFileError::Certificate {
            path: certificate.to_owned(),
            source,
        })?;
    let Some(own) = chain.first() else {
        return Err(TlsFileError::NoCertificate {
            path: certificate.to_owned(),
        });
    };
    let ends = orw_egress::certificate_end(own);
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsFileError::Key {
        path: key.to_owned(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsFileError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsFileError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Only of a certificate that is used from now on.
    if let Some(ends) = ends {
        end.set(ends.timestamp());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn files_are_read_again_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let put = |(cert, private): &(String, String)| {
            std::fs::write(&certificate, cert).unwrap();
            std::fs::write(&key, private).unwrap();
        };
        let (first, second) = (pair("a.example"), pair("b.example"));
        put(&first);
        let tls = ListenerTls::load(&certificate, &key).unwrap();
        let before = tls.config();
        put(&(first.0.clone(), second.1.clone()));
        assert!(matches!(tls.reload(), Err(TlsFileError::Pair(_))));
        std::fs::write(&certificate, "").unwrap();
        assert!(matches!(tls.reload(), Err(TlsFileError::NoCertificate { .. })));
        std::fs::remove_file(&key).unwrap();
        std::fs::write(&certificate, &second.0).unwrap();
        assert!(matches!(tls.reload(), Err(TlsFileError::Key { .. })));
        assert!(Arc::ptr_eq(&before, &tls.config()));
        put(&second);
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config()));
    }
}
