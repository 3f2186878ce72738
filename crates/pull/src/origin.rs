//! Where an image is had from: the registry in its name, or what registries.conf puts in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use wharf_client::{
    Access, Address, ClientError, Credentials, Endpoint, EndpointError, Fetched, Observer, Patience, Registries, Registry, Tls,
    Verify,
};
use wharf_oci::{ImageReference, RepositoryName};

/// Attempts at a mirror without any progress in between: there is another place to ask.
const MIRROR_ATTEMPTS: u32 = 3;

/// How the registry that a name holds is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The host to ask in place of the one in the name: `HOST[:PORT]`.
    pub host: Option<String>,
    /// Who we are to it. What is fixed is never given to a mirror.
    pub credentials: Credentials,
    /// Whether its certificate must be believed; `None` for what registries.conf says.
    pub tls_verify: Option<bool>,
    /// An authority to believe.
    pub ca_cert: Option<PathBuf>,
    /// How patient to be.
    pub patience: Patience,
}

/// Why an image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// registries.conf does not let it.
    #[error("it is fetched from nowhere")]
    Endpoint(#[from] EndpointError),
    /// The registry answers, and has none.
    #[error("{image} not found at {host}")]
    NotFound {
        /// The image.
        image: String,
        /// The registry that was asked last.
        host: String,
    },
    /// A certificate authority that was named.
    #[error("cannot read the certificate authority {}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What the registry, or the way there, did.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A registry that has the image.
pub struct Origin {
    /// The registry.
    pub registry: Registry,
    /// The image's repository there.
    pub repository: RepositoryName,
    /// What the name leads to.
    pub manifest: Fetched,
}

impl Origin {
    /// Asks mirrors first, in their order, and the registry itself last.
    ///
    /// # Errors
    /// [`OriginError::NotFound`] when the last of them has no such image; what the last one did otherwise.
    pub async fn find(
        registries: &Registries,
        reach: &Reach,
        image: &ImageReference,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, OriginError> {
        let host = reach.host.as_deref().unwrap_or(image.host());
        let endpoints = registries.endpoints(host, image.repository(), image.digest().is_some())?;
        let mut last = None;
        for endpoint in endpoints {
            match Self::ask(reach, image, &endpoint, observer.clone()).await? {
                Ok(Some(origin)) => return Ok(origin),
                Ok(None) if endpoint.is_mirror => {}
                Ok(None) => return Err(OriginError::NotFound { image: image.to_string(), host: endpoint.host }),
                Err(error) if endpoint.is_mirror => {
                    observer.warns(&format!("the mirror {} cannot be used: {error}", endpoint.host));
                    last = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The registry itself is always the last of them, so this is said of mirrors alone.
        let absent = || OriginError::NotFound { image: image.to_string(), host: image.host().to_owned() };
        Err(last.map_or_else(absent, OriginError::Client))
    }

    async fn ask(
        reach: &Reach,
        image: &ImageReference,
        endpoint: &Endpoint,
        observer: Arc<dyn Observer>,
    ) -> Result<Result<Option<Self>, ClientError>, OriginError> {
        // What was given is for the registry that was named, also where that is reached under another name; a mirror is somebody else.
        let credentials = match &reach.credentials {
            Credentials::Fixed { credential, .. } => {
                let owner = if endpoint.is_mirror { image.host() } else { &endpoint.host };
                Credentials::Fixed { host: owner.to_owned(), credential: credential.clone() }
            }
            others => others.clone(),
        };
        let insecure = reach.tls_verify.map_or(endpoint.insecure, |verify| !verify);
        let verify = if insecure { Verify::Off } else { Verify::Required };
        let tls = Tls { verify, authorities: authorities(&endpoint.host, reach.ca_cert.as_deref())? };
        let usual = &reach.patience;
        let attempts = if endpoint.is_mirror { usual.attempts.min(MIRROR_ATTEMPTS) } else { usual.attempts };
        let patience = Patience { attempts, ..usual.clone() };
        let at = |https| Access {
            address: Address { https, authority: endpoint.host.clone() },
            credentials: credentials.clone(),
            tls: tls.clone(),
            patience: patience.clone(),
        };
        let is_loopback = at(true).address.is_loopback();
        // As engines do: the loopback speaks HTTP unless TLS is asked for, and what is insecure may do either.
        let schemes: &[bool] = match (is_loopback, reach.tls_verify) {
            (true, None | Some(false)) => &[false, true],
            _ if insecure => &[true, false],
            _ => &[true],
        };
        let mut told = None;
        for https in schemes {
            match self::reach(at(*https), observer.clone()).await {
                Ok(registry) => {
                    let found = registry.manifest(&endpoint.repository, &image.reference()).await;
                    let origin = |manifest| Self { registry, repository: endpoint.repository.clone(), manifest };
                    return Ok(found.map(|manifest| manifest.map(origin)));
                }
                Err(
                    error @ (ClientError::Tls { .. }
                    | ClientError::Unreachable { .. }
                    | ClientError::Broken { .. }
                    | ClientError::Status { .. }),
                ) => {
                    told = Some(match told.take() {
                        // What speaks TLS says no more than this to who does not.
                        Some(ClientError::Broken { .. }) if matches!(error, ClientError::Tls { .. }) => error,
                        Some(first) if first.is_status(StatusCode::BAD_REQUEST) && matches!(error, ClientError::Tls { .. }) => {
                            error
                        }
                        Some(first) => first,
                        None => error,
                    });
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        match told {
            Some(error) => Ok(Err(error)),
            None => Ok(Ok(None)),
        }
    }
}

/// A registry, once it has answered.
///
/// # Errors
/// Those of [`Registry::ping`].
pub async fn reach(access: Access, observer: Arc<dyn Observer>) -> Result<Registry, ClientError> {
    let registry = Registry::new(access, observer.clone())?;
    registry.ping().await?;
    if let Some(why) = registry.unverified() {
        observer.warns(&format!("the certificate of {} is not believed: {why}", registry.address().origin()));
    }
    Ok(registry)
}

/// The authorities to believe for a host: the one named, which must be there, and those that the machine's engines believe for it.
///
/// # Errors
/// [`OriginError::Authority`] when the one named cannot be read.
pub fn authorities(authority: &str, named: Option<&Path>) -> Result<Vec<PathBuf>, OriginError> {
    if let Some(named) = named {
        let readable = std::fs::File::open(named);
        readable.map_err(|source| OriginError::Authority { file: named.to_owned(), source })?;
    }
    let folders = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(|folder| Path::new(folder).join(authority));
    let known = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    let known = known.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    Ok(named.map(Path::to_owned).into_iter().chain(known).collect())
}
