//! Whose certificates are believed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use wharf_oci::is_there;

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
    let verifier = Verifier { tls, provider: provider.clone(), strict: OnceLock::new(), unverified };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
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
struct Verifier {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    strict: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
    unverified: Unverified,
}

impl Verifier {
    fn strict(&self) -> Result<&WebPkiServerVerifier, Error> {
        let made = self.strict.get_or_init(|| strict(&self.tls.authorities, self.provider.clone()));
        made.as_deref().map_err(|problem| Error::General(problem.clone()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.tls.verify == Verify::Off {
            return Ok(ServerCertVerified::assertion());
        }
        let checked = self
            .strict()
            .and_then(|strict| strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now));
        match checked {
            Err(error) if self.tls.verify == Verify::Lenient => {
                *self.unverified.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
