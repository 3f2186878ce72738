//! How registries are reached, and what their failures mean to people.

use wharf_client::{ClientError, Credentials, Patience, Registries};
use wharf_oci::ImageReference;
use wharf_pull::{OriginError, Reach};
use wharf_terminal::ui::{self, Failure};

use crate::settings::Settings;

/// The address by which a guest knows the machine that it runs on.
const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";

/// The host of a `HOST[:PORT]`, without brackets, and the port with its colon.
fn split(authority: &str) -> (&str, &str) {
    match authority.rfind(':').filter(|place| !authority[*place..].contains(']')) {
        Some(place) => (&authority[..place], &authority[place..]),
        None => (authority, ""),
    }
}

/// Whether a `HOST[:PORT]` is this machine, as seen from here or from a guest.
pub fn is_here(authority: &str) -> bool {
    let (host, _) = split(authority);
    host == "localhost" || host == HOST_SEEN_FROM_GUEST || host == "[::1]" || host.starts_with("127.")
}

/// The host to ask in place of the one that was named: what a guest calls 10.0.2.2 is this machine's loopback.
fn in_place_of(authority: &str) -> Option<String> {
    let (host, port) = split(authority);
    (host == HOST_SEEN_FROM_GUEST).then(|| format!("127.0.0.1{port}"))
}

/// How the registry of an image is reached.
pub fn to(settings: &Settings, authority: &str) -> Result<Reach, Failure> {
    let is_configured = settings.registry.as_ref().is_some_and(|registry| registry.host() == authority);
    let is_insecure = settings.insecure.iter().any(|host| host.split('/').next() == Some(authority));
    let tls_verify = match (is_configured && settings.secure, is_insecure) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    Ok(Reach {
        host: in_place_of(authority),
        credentials: credentials(settings, authority)?,
        tls_verify,
        ca_cert: settings.ca_cert.clone().filter(|_| is_configured),
        patience: Patience::default(),
    })
}

/// Where credentials for any registry come from.
pub fn source(settings: &Settings) -> Credentials {
    match &settings.credentials {
        Some(file) => Credentials::AuthFile { file: file.clone(), environment: settings.environment.clone() },
        None => Credentials::Home(settings.environment.clone()),
    }
}

/// The credentials for a registry. Those for this machine are found under each of its names.
fn credentials(settings: &Settings, authority: &str) -> Result<Credentials, Failure> {
    let source = source(settings);
    if !is_here(authority) {
        return Ok(source);
    }
    let (_, port) = split(authority);
    let names = ["localhost", "127.0.0.1", HOST_SEEN_FROM_GUEST].map(|host| format!("{host}{port}"));
    for name in std::iter::once(authority.to_owned()).chain(names) {
        let found = source.lookup(&name, None).map_err(|error| Failure::of(&error))?;
        if let Some(credential) = found {
            let host = in_place_of(authority).unwrap_or_else(|| authority.to_owned());
            return Ok(Credentials::Fixed { host, credential });
        }
    }
    Ok(Credentials::None)
}

/// What registries.conf says.
pub fn registries(settings: &Settings) -> Result<Registries, Failure> {
    let found = Registries::load(&settings.environment);
    let found = found.map_err(|error| Failure::new("registries.conf cannot be used").because(&error))?;
    found.warnings().iter().for_each(|warning| ui::warn(&warning.to_string()));
    Ok(found)
}

/// A report of what a registry answered.
pub fn failure(error: &ClientError) -> Failure {
    let failure = Failure::of(error);
    match error {
        ClientError::Unauthorized { .. } => failure.hint("`vdkr login` keeps credentials; --config names a file with them"),
        ClientError::Tls { .. } => {
            failure.hint("--insecure-registry HOST believes anybody, and speaks plain HTTP where there is no TLS")
        }
        ClientError::Status { status, .. } if status.as_u16() == 507 => failure.hint("its disk is full"),
        _ => failure,
    }
}

/// A report of why an image is not to be had.
pub fn not_to_be_had(image: &ImageReference, error: &OriginError) -> Failure {
    match error {
        OriginError::Client(error) => failure(error),
        OriginError::Endpoint(why) => Failure::new(format!("{image} is not to be had")).because(why),
        error => Failure::of(error),
    }
}

/// Runs what talks to registries. One thread does: the network and the disk are what is waited for.
pub fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot run a client").because(&error))?;
    let result = runtime.block_on(work);
    // A thread that still reads for a transfer which was given up is not waited for.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_calls_its_host_is_the_loopback() {
        assert_eq!(in_place_of("10.0.2.2:5000").as_deref(), Some("127.0.0.1:5000"));
        assert_eq!(in_place_of("10.0.2.2").as_deref(), Some("127.0.0.1"));
        assert_eq!(in_place_of("10.0.2.20:5000"), None);
        for (authority, here) in
            [("localhost", true), ("127.0.0.1:80", true), ("[::1]:5000", true), ("docker.io", false), ("10.0.2.3", false)]
        {
            assert_eq!(is_here(authority), here, "{authority}");
        }
    }
}
