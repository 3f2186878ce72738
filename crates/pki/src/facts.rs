//! What a certificate says of itself.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

use crate::Names;

/// The parts of a certificate that its owner wants to see.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whom it speaks of.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names it is good for.
    pub names: Names,
    /// From when on it counts.
    pub not_before: OffsetDateTime,
    /// Until when it counts.
    pub not_after: OffsetDateTime,
    /// The SHA-256 of its DER form, in hexadecimal digits: what `openssl x509 -fingerprint -sha256` prints, without colons.
    pub fingerprint: String,
    /// The public key (SubjectPublicKeyInfo, DER).
    pub(crate) public_key: Vec<u8>,
}

/// A text that is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("not a certificate in PEM form: {0}")]
pub struct FactsError(String);

impl Facts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// There is none, or it is no X.509 certificate.
    pub fn of_pem(pem: &str) -> Result<Self, FactsError> {
        let wrong = |error: &dyn std::fmt::Display| FactsError(error.to_string());
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| wrong(&error))?;
        let certificate = pem.parse_x509().map_err(|error| wrong(&error))?;
        let time = |time: x509_parser::time::ASN1Time| time.to_datetime();
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
            fingerprint: hex::encode(Sha256::digest(&pem.contents)),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Whether so little is left of its time at `now` that it should be renewed: a third, or none.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.not_after - now < (self.not_after - self.not_before) / 3
    }
}

fn names(certificate: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return names };
    for name in &found.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.insert_dns(name),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                if let Ok(address) = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)) {
                    names.insert_address(address);
                }
            }
            _ => {}
        }
    }
    names
}
