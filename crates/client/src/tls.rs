//! Whose certificates are believed.

mod judged;
mod pinned;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, Error, RootCertStore};
use wharf_oci::is_there;

pub(crate) use judged::{Judge, Shown, config as judged_by};
pub use pinned::pinned;

/// What is demanded of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// It must be right.
    #[default]
    Required,
    /// A wrong one is taken, and said so: see [`crate::Registry::unverified`].
    Lenient,
    /// Any one is taken.
    Off,
}

/// How certificates are checked.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// What is demanded.
    pub verify: Verify,
    /// PEM files with authorities to believe beside those of the system. A file that is not there is passed over.
    pub authorities: Vec<PathBuf>,
}

/// Why a certificate was taken all the same.
pub(crate) type Unverified = Arc<Mutex<Option<String>>>;

/// A configuration that reads the system's authorities at the first handshake: a registry on plain HTTP has none.
pub(crate) fn config(tls: Tls, unverified: Unverified) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    judged::config(provider.clone(), Believing { tls, provider, strict: OnceLock::new(), unverified })
}

/// A check without mercy, against the system's authorities and those of these PEM files; one that is not there is passed over.
pub(crate) fn strict(authorities: &[PathBuf], provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in authorities.iter().filter(|file| is_there(file)) {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| named(&error))?;
        for certificate in certificates {
            roots.add(certificate.map_err(|error| named(&error))?).map_err(|error| named(&error))?;
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| format!("no certificate authorities: {error}"))
}

#[derive(Debug)]
struct Believing {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    strict: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
    unverified: Unverified,
}

impl Believing {
    fn strict(&self) -> Result<&WebPkiServerVerifier, Error> {
        let made = self.strict.get_or_init(|| strict(&self.tls.authorities, self.provider.clone()));
        made.as_deref().map_err(|problem| Error::General(problem.clone()))
    }
}

impl Judge for Believing {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        if self.tls.verify == Verify::Off {
            return Ok(());
        }
        let Shown { own, others, name, ocsp, now } = *shown;
        match self.strict().and_then(|strict| strict.verify_server_cert(own, others, name, ocsp, now)) {
            Err(error) if self.tls.verify == Verify::Lenient => {
                *self.unverified.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                Ok(())
            }
            checked => checked.map(drop),
        }
    }
}
