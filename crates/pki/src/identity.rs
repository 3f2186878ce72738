//! A certificate with its key, as a server shows it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::pem::parse_x509_pem;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// They do not belong together, or the key is of a kind that is not known.
    #[error("{} and {} cannot be used together", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// Reads a certificate, with whatever stands behind it in its file as intermediate ones, and its key.
pub(crate) fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, IdentityError> {
    let read = |path: &Path| fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source });
    let (chain, private) = (read(certificate)?, read(key)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| IdentityError::Pem { path: certificate.to_owned(), what: "certificate" })?;
    let private = PrivateKeyDer::from_pem_slice(&private)
        .map_err(|_| IdentityError::Pem { path: key.to_owned(), what: "private key without a password" })?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|source| IdentityError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Whether the first certificate of one PEM text was signed with the key of that of another.
pub(crate) fn is_signed_by(certificate: &str, authority: &str) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) =
        (parse_x509_pem(certificate.as_bytes()), parse_x509_pem(authority.as_bytes()))
    else {
        return false;
    };
    match (certificate.parse_x509(), authority.parse_x509()) {
        (Ok(certificate), Ok(authority)) => {
            certificate.issuer() == authority.subject() && certificate.verify_signature(Some(authority.public_key())).is_ok()
        }
        _ => false,
    }
}
