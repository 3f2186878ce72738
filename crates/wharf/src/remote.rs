//! The registry that a command talks to, and what its failures mean to people.

use std::sync::Arc;

use wharf_client::{ClientError, Observer, Registry};

use crate::cli::AuthOptions;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// The configured registry, once it has answered.
pub async fn open(settings: &Settings, options: &AuthOptions, observer: Arc<dyn Observer>) -> Result<Registry, Failure> {
    let access = crate::access::of_registry(settings, options)?;
    let origin = access.address.origin();
    wharf_pull::reach(access, observer).await.map_err(|error| {
        let is_there = matches!(
            error,
            ClientError::Tls { .. }
                | ClientError::Unauthorized { .. }
                | ClientError::Denied { .. }
                | ClientError::Protocol { .. }
        );
        if is_there || !error.is_passing() {
            return failure(&error);
        }
        let failure = Failure::new(format!("Registry not responding at {origin}"));
        let failure = match (&error, std::error::Error::source(&error)) {
            (ClientError::Unreachable { .. }, Some(source)) => failure.because(source),
            _ => failure.because(&error),
        };
        failure.hint(if settings.url.is_local() {
            format!("`{} start` starts it", ui::program())
        } else {
            format!("it is named by {}", crate::settings::URL.name)
        })
    })
}

/// A report of what a registry answered.
pub fn failure(error: &ClientError) -> Failure {
    let failure = Failure::of(error);
    match hint(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unauthorized { known: false, .. } => Some(
            "give credentials: --creds USER:PASSWORD, --token, --credsfile, --authfile, or --use-home-auth for those of a login; \
             for the source of an import with --src- in front"
                .to_owned(),
        ),
        ClientError::Tls { .. } => Some(format!(
            "{} names the authority to believe; {}=false believes anybody, {}=1 means plain HTTP",
            crate::settings::CA_CERT.name,
            crate::settings::TLS_VERIFY.name,
            crate::settings::INSECURE.name
        )),
        ClientError::Status { status, .. } if status.as_u16() == 507 => {
            Some(format!("its disk is full; `{} delete` and `{} gc` make room", ui::program(), ui::program()))
        }
        ClientError::Status { status, .. } if status.as_u16() == 413 => {
            Some("a proxy in front of the registry limits the size of what is sent".to_owned())
        }
        _ => None,
    }
}

/// Runs what talks to registries. One thread does: the network and the disk are what is waited for.
pub fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // The kernel would clear two megabytes at a time for memory of which a command of a few milliseconds uses a tenth. Where it cannot be told, that is all.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot run a client").because(&error))?;
    let result = runtime.block_on(work);
    // A thread that still reads for an upload which was given up is not waited for.
    runtime.shutdown_background();
    result
}
