//! Images of other registries than the configured one, as options say how those are reached.

use std::sync::Arc;

use wharf_client::{ClientError, Observer, Registries};
use wharf_oci::ImageReference;
use wharf_pull::{Origin, OriginError, Reach};

use crate::access::{self, Given};
use crate::cli::SourceOptions;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Finds an image.
pub async fn find(
    settings: &Settings,
    options: &SourceOptions,
    image: &ImageReference,
    observer: Arc<dyn Observer>,
) -> Result<Origin, Failure> {
    let environment = settings.environment.all().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let registries =
        Registries::load(&environment).map_err(|error| Failure::new("registries.conf cannot be used").because(&error))?;
    for warning in registries.warnings() {
        ui::warn(&warning.to_string());
    }
    let given = Given {
        authfile: options.src_authfile.as_deref(),
        credsfile: options.src_credsfile.as_deref(),
        creds: options.src_creds.as_deref(),
        token: options.src_token.as_deref(),
    };
    let reach = Reach {
        host: None,
        credentials: given.credentials(settings, image.host(), "--src-")?,
        tls_verify: options.src_tls_verify,
        ca_cert: options.src_ca_cert.clone(),
        patience: access::patience(settings)?,
    };
    Origin::find(&registries, &reach, image, observer).await.map_err(|error| match &error {
        OriginError::Client(error) => failure(error),
        OriginError::Endpoint(why) => Failure::new(format!("{image} is not to be had")).because(why),
        _ => Failure::of(&error),
    })
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
