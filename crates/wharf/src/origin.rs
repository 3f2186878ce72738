//! Where an image is had from: the registry in its name, or what registries.conf puts in its place.

use std::sync::Arc;

use http::StatusCode;
use wharf_client::{Access, Address, ClientError, Endpoint, Fetched, Observer, Patience, Registries, Registry, Tls, Verify};
use wharf_oci::{ImageReference, RepositoryName};

use crate::access::{self, Given};
use crate::cli::SourceOptions;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Attempts at a mirror without any progress in between: there is another place to ask.
const MIRROR_ATTEMPTS: u32 = 3;

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
    pub async fn find(
        settings: &Settings,
        options: &SourceOptions,
        image: &ImageReference,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        let environment = settings.environment.all().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let registries =
            Registries::load(&environment).map_err(|error| Failure::new("registries.conf cannot be used").because(&error))?;
        for warning in registries.warnings() {
            ui::warn(&warning.to_string());
        }
        let endpoints = registries
            .endpoints(image.host(), image.repository(), image.digest().is_some())
            .map_err(|error| Failure::new(format!("{image} is not to be had")).because(&error))?;
        let mut last = None;
        for endpoint in endpoints {
            match Self::ask(settings, options, image, &endpoint, observer.clone()).await? {
                Ok(Some(origin)) => return Ok(origin),
                Ok(None) if endpoint.is_mirror => {
                    ui::detail(format_args!("{} has no {image}", endpoint.host));
                }
                Ok(None) => {
                    return Err(Failure::new(format!("{image} not found at {}", endpoint.host)));
                }
                Err(error) if endpoint.is_mirror => {
                    ui::warn(&format!("the mirror {} cannot be used: {error}", endpoint.host));
                    last = Some(error);
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        // The registry itself is always the last of them, so this is said of mirrors alone.
        let absent = Failure::new(format!("{image} not found"));
        Err(last.map_or(absent, |error| failure(&error)))
    }

    async fn ask(
        settings: &Settings,
        options: &SourceOptions,
        image: &ImageReference,
        endpoint: &Endpoint,
        observer: Arc<dyn Observer>,
    ) -> Result<Result<Option<Self>, ClientError>, Failure> {
        let given = Given {
            authfile: options.src_authfile.as_deref(),
            credsfile: options.src_credsfile.as_deref(),
            creds: options.src_creds.as_deref(),
            token: options.src_token.as_deref(),
        };
        // What was given is for the registry that was named, also where that is reached under another name; a mirror is somebody else.
        let owner = if endpoint.is_mirror { image.host() } else { &endpoint.host };
        let credentials = given.credentials(settings, owner, "--src-")?;
        let insecure = options.src_tls_verify.map_or(endpoint.insecure, |verify| !verify);
        let verify = if insecure { Verify::Off } else { Verify::Required };
        let tls = Tls { verify, authorities: access::authorities(&endpoint.host, options.src_ca_cert.as_deref())? };
        let usual = access::patience(settings)?;
        let attempts = if endpoint.is_mirror { usual.attempts.min(MIRROR_ATTEMPTS) } else { usual.attempts };
        let patience = Patience { attempts, ..usual };
        let at = |https| Access {
            address: Address { https, authority: endpoint.host.clone() },
            credentials: credentials.clone(),
            tls: tls.clone(),
            patience: patience.clone(),
        };
        let is_loopback = at(true).address.is_loopback();
        // As engines do: the loopback speaks HTTP unless TLS is asked for, and what is insecure may do either.
        let schemes: &[bool] = match (is_loopback, options.src_tls_verify) {
            (true, None | Some(false)) => &[false, true],
            _ if insecure => &[true, false],
            _ => &[true],
        };
        let mut told = None;
        for https in schemes {
            match remote::reach(at(*https), observer.clone()).await {
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

/// A report of what a source answered; the options for it have other names than those for the registry here.
fn failure(error: &ClientError) -> Failure {
    let failure = remote::failure(error);
    match error {
        ClientError::Tls { .. } => failure.hint(
            "--src-ca-cert names the authority to believe; --src-tls-verify=false believes anybody, and speaks plain HTTP where there is no TLS",
        ),
        _ => failure,
    }
}
