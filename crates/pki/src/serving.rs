//! What a server's TLS needs, exchanged while it serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::identity::{self, IdentityError};

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2 and 1.3.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// Whether clients show certificates.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// They are not asked for one.
    NotAsked,
    /// They may show one of these authorities (PEM files).
    Welcome(Vec<PathBuf>),
    /// They must.
    Required(Vec<PathBuf>),
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An authority for clients.
    #[error("{} holds no usable authority for clients", .0.display())]
    Authority(PathBuf),
    /// What was asked for does not go together.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The certificate that is shown: the one that its files held when they were last looked at and belonged together.
#[derive(Debug)]
pub struct Serving {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    identity: Arc<CertifiedKey>,
    seen: Seen,
}

/// What is looked at to see whether files are others now: time, length and inode of each.
type Seen = [Option<(SystemTime, u64, u64)>; 2];

impl Serving {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    ///
    /// They cannot be read, or do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, ServingError> {
        let seen = seen(certificate, key);
        let identity = Arc::new(identity::load(certificate, key)?);
        let current = Mutex::new(Current { identity, seen });
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), current }))
    }

    /// Reads them again when their files have changed; whether another certificate is shown now. Connections that are there go on.
    ///
    /// # Errors
    ///
    /// They cannot be used, perhaps because only one of the two is new yet. The old one is shown until the files have changed again.
    pub fn reload(&self) -> Result<bool, ServingError> {
        let now = seen(&self.certificate, &self.key);
        if self.current.lock().seen == now {
            return Ok(false);
        }
        let loaded = identity::load(&self.certificate, &self.key);
        let mut current = self.current.lock();
        current.seen = now;
        current.identity = Arc::new(loaded?);
        Ok(true)
    }

    /// How TLS is spoken with it: HTTP/2 and HTTP/1.1 are offered.
    ///
    /// # Errors
    ///
    /// Authorities for clients that cannot be used.
    pub fn config(self: &Arc<Self>, lowest: Version, clients: &ClientCertificates) -> Result<ServerConfig, ServingError> {
        static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        static NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        let provider = Arc::new(ring::default_provider());
        let versions = if lowest == Version::Tls13 { NEW } else { BOTH };
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).map_err(ServingError::Setup)?;
        let verifier = |files: &[PathBuf]| -> Result<_, ServingError> {
            let roots = roots(files)?;
            Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()))
        };
        let unusable =
            |error: rustls::client::VerifierBuilderError| ServingError::Setup(rustls::Error::General(error.to_string()));
        let builder = match clients {
            ClientCertificates::NotAsked => builder.with_no_client_auth(),
            ClientCertificates::Welcome(files) => {
                let verifier = verifier(files)?.allow_unauthenticated().build().map_err(unusable)?;
                builder.with_client_cert_verifier(verifier)
            }
            ClientCertificates::Required(files) => builder.with_client_cert_verifier(verifier(files)?.build().map_err(unusable)?),
        };
        let mut config = builder.with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.lock().identity.clone())
    }
}

fn roots(files: &[PathBuf]) -> Result<RootCertStore, ServingError> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let unusable = || ServingError::Authority(file.clone());
        for certificate in CertificateDer::pem_file_iter(file).map_err(|_| unusable())? {
            certificate.ok().and_then(|certificate| roots.add(certificate).ok()).ok_or_else(unusable)?;
        }
    }
    if roots.is_empty() { Err(ServingError::Authority(files.first().cloned().unwrap_or_default())) } else { Ok(roots) }
}

fn seen(certificate: &Path, key: &Path) -> Seen {
    use std::os::unix::fs::MetadataExt;
    [certificate, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::{Names, Pki, Plan, SERVER, SERVER_KEY};

    #[test]
    fn a_renewed_certificate_is_shown_once_both_files_are_new() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path());
        let plan = Plan { names: Names::of_this_machine(), days: 1, authority_days: 2 };
        pki.ensure(&plan, OffsetDateTime::now_utc()).unwrap();
        let serving = Serving::load(&pki.path(SERVER), &pki.path(SERVER_KEY)).unwrap();
        let shown = |serving: &Serving| serving.current.lock().identity.cert[0].clone();
        let before = shown(&serving);
        assert!(!serving.reload().unwrap());
        let old = fs::read(pki.path(SERVER)).unwrap();
        pki.renew(&plan, OffsetDateTime::now_utc()).unwrap();
        let new = fs::read(pki.path(SERVER)).unwrap();
        fs::write(pki.path(SERVER), old).unwrap();
        assert!(matches!(serving.reload(), Err(ServingError::Identity(IdentityError::Pair { .. }))));
        assert_eq!(shown(&serving), before);
        fs::write(pki.path(SERVER), new).unwrap();
        assert!(serving.reload().unwrap());
        assert_ne!(shown(&serving), before);
    }
}
