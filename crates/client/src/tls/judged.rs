//! Certificates that somebody of ours judges, with signatures checked in any case.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// What a server shows in a handshake, and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Its certificate.
    pub(crate) own: &'a CertificateDer<'a>,
    /// Those between that and its authority.
    pub(crate) others: &'a [CertificateDer<'a>],
    /// The name that it was asked by.
    pub(crate) name: &'a ServerName<'a>,
    /// What its authority says of it.
    pub(crate) ocsp: &'a [u8],
    /// The time.
    pub(crate) now: UnixTime,
}

/// Says whether a certificate is taken.
pub(crate) trait Judge: Debug + Send + Sync + 'static {
    /// The error is why it is not.
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error>;
}

/// A configuration in which `judge` has the word.
pub(crate) fn config(provider: Arc<CryptoProvider>, judge: impl Judge) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Verifier { provider, judge });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Verifier<J> {
    provider: Arc<CryptoProvider>,
    judge: J,
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(&Shown { own, others, name, ocsp, now }).map(|()| ServerCertVerified::assertion())
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
