//! TLS for the listeners, from `ORW_TLS_CERT_FILE` and `ORW_TLS_KEY_FILE`.
//!
//! Guarantees: TLS 1.2 and 1.3 only; the files are read again when they change; if the new files cannot be used, the certificate
//! that was read before stays in use.

mod certificate_end;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

pub(crate) use certificate_end::CertificateEnd;

/// What the API speaks over TLS (ALPN).
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
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

/// The certificate that a listener presents.
#[derive(Debug)]
pub struct ListenerTls {
    certificate: PathBuf,
    key: PathBuf,
    /// What the listener speaks (ALPN).
    protocols: &'static [&'static [u8]],
    current: ArcSwap<Current>,
    /// Shows when the certificate in use ends.
    end: CertificateEnd,
}

/// A certificate, and what presents it.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) config: Arc<ServerConfig>,
    /// The listener's own certificate, the first of the chain.
    pub(crate) leaf: CertificateDer<'static>,
}

impl ListenerTls {
    /// Reads the files, for HTTP.
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
        Self::load_all(certificate, key, HTTP, end)
    }

    /// Reads the files, for these protocols (ALPN).
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file.
    pub fn load_for(
        certificate: &Path,
        key: &Path,
        protocols: &'static [&'static [u8]],
    ) -> Result<Arc<Self>, TlsFileError> {
        Self::load_all(certificate, key, protocols, CertificateEnd::default())
    }

    fn load_all(
        certificate: &Path,
        key: &Path,
        protocols: &'static [&'static [u8]],
        end: CertificateEnd,
    ) -> Result<Arc<Self>, TlsFileError> {
        let current = read(certificate, key, protocols, &end)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            protocols,
            current: ArcSwap::from_pointee(current),
            end,
        }))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The certificate that is presented now.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Reads the files again. Files that cannot be used change nothing.
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let current = read(&self.certificate, &self.key, self.protocols, &self.end)?;
        self.current.store(Arc::new(current));
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

fn read(
    certificate: &Path,
    key: &Path,
    protocols: &'static [&'static [u8]],
    end: &CertificateEnd,
) -> Result<Current, TlsFileError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsFileError::Certificate {
            path: certificate.to_owned(),
            source,
        })?;
    let Some(leaf) = chain.first().cloned() else {
        return Err(TlsFileError::NoCertificate {
            path: certificate.to_owned(),
        });
    };
    let ends = orw_egress::certificate_end(&leaf);
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
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Only of a certificate that is used from now on.
    if let Some(ends) = ends {
        end.set(ends.timestamp());
    }
    Ok(Current {
        config: Arc::new(config),
        leaf,
    })
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
