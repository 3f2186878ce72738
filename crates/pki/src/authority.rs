//! Making certificates: an authority, and a server's certificate signed by it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::crypto::ring;
use time::{Duration, OffsetDateTime};

use crate::Names;

/// Clocks of devices go slow, and a certificate that does not count yet is as bad as none.
const SLOW_CLOCKS: Duration = Duration::hours(24);

/// A key and what certifies it, both PEM.
pub(crate) struct Made {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

/// An authority for certificates of this machine, with a new ECDSA key (P-256), or with `key` when there is one.
pub(crate) fn authority(key: Option<KeyPair>, days: u32, now: OffsetDateTime) -> Result<Made, rcgen::Error> {
    let key = key.map_or_else(KeyPair::generate, Ok)?;
    let mut params = params("wharf authority of", days, now)?;
    // It signs servers, and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Made { key: key.serialize_pem(), certificate: certificate.pem() })
}

/// A server's certificate with a new key. It does not outlive `until`, the end of the authority's.
pub(crate) fn server(
    issuer: &Issuer<'_, KeyPair>,
    names: &Names,
    days: u32,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params("wharf registry on", days, now)?;
    params.not_after = params.not_after.min(until);
    params.subject_alt_names = names.alternatives();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Made { key: key.serialize_pem(), certificate: certificate.pem() })
}

fn params(what: &str, days: u32, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    params.distinguished_name = DistinguishedName::new();
    // A common name has 64 characters at most (RFC 5280, appendix A).
    params.distinguished_name.push(DnType::CommonName, format!("{what} {node}").chars().take(64).collect::<String>());
    params.not_before = now - SLOW_CLOCKS;
    params.not_after = now + Duration::days(days.into());
    // Nobody's to choose, so none twice: a certificate that was renewed is another one.
    let mut serial = [0_u8; 16];
    ring::default_provider().secure_random.fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
