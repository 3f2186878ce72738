//! A certificate that was shown, and why it is believed or not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use crate::tls::{self, Judge, Shown};

/// The certificates that a server showed, and the name that it was asked by.
#[derive(Clone, Debug)]
pub struct Presented {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Its time is over.
    #[error("it has expired")]
    Expired {
        /// When it ended, where that is known.
        at: Option<SystemTime>,
    },
    /// Its time has not come.
    #[error("it is not yet valid")]
    NotYet {
        /// When it begins, where that is known.
        at: Option<SystemTime>,
    },
    /// It is for somebody else.
    #[error("it is for another name")]
    Name {
        /// The names it is for, as far as they are known.
        names: Vec<String>,
    },
    /// Nobody who is believed has signed it.
    #[error("it is signed by an authority that is not known here")]
    Issuer,
    /// It is an authority's own, used as a server's.
    #[error("it is an authority's certificate, used as a server's")]
    Authority,
    /// A file of authorities does not read.
    #[error("{0}")]
    Authorities(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Presented {
    /// The same as somebody judges it who asked for this host; the name itself where it is none that a certificate may have.
    #[must_use]
    pub fn to_who_asks_for(&self, host: &str) -> Self {
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| self.name.clone());
        Self { chain: self.chain.clone(), name }
    }

    /// Whether it is believed at a time, by the system's authorities and by those of these PEM files.
    pub fn verify(&self, authorities: &[PathBuf], now: SystemTime) -> Result<(), Distrust> {
        let strict = tls::strict(authorities, Arc::new(ring::default_provider())).map_err(Distrust::Authorities)?;
        let Some((own, others)) = self.chain.split_first() else {
            return Err(Distrust::Other("no certificate was shown".to_owned()));
        };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        strict.verify_server_cert(own, others, &self.name, &[], now).map(|_| ()).map_err(Distrust::from)
    }
}

impl From<Error> for Distrust {
    fn from(error: Error) -> Self {
        let time = |time: UnixTime| Some(UNIX_EPOCH + Duration::from_secs(time.as_secs()));
        let problem = match error {
            Error::InvalidCertificate(problem) => problem,
            other => return Self::Other(other.to_string()),
        };
        match problem {
            CertificateError::Expired => Self::Expired { at: None },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired { at: time(not_after) },
            CertificateError::NotValidYet => Self::NotYet { at: None },
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYet { at: time(not_before) },
            CertificateError::NotValidForName => Self::Name { names: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => Self::Name { names: presented },
            CertificateError::UnknownIssuer => Self::Issuer,
            // The library has no kind of its own for it.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => Self::Authority,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Takes every certificate, and keeps it.
#[derive(Debug)]
pub(super) struct Recorder(pub(super) Arc<Mutex<Option<Presented>>>);

impl Judge for Recorder {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let chain = std::iter::once(shown.own).chain(shown.others).map(|one| one.clone().into_owned()).collect();
        let presented = Presented { chain, name: shown.name.to_owned() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
        Ok(())
    }
}
