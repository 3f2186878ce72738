//! TLS with one server alone: the one that shows a certificate that is known, whatever its names and time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, Error};

use super::{Judge, Shown, judged_by};

/// A configuration that takes only the first certificate in `file`, PEM.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn pinned(file: &Path) -> io::Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_file(file)
        .map_err(|error| io::Error::other(format!("cannot read the certificate {}: {error}", file.display())))?;
    judged_by(Arc::new(ring::default_provider()), Pinned(certificate)).map(Arc::new).map_err(io::Error::other)
}

#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl Judge for Pinned {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        if *shown.own == self.0 {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
}
