//! The upstreams of the configuration as the server asks them.

use std::time::Duration;

use wharf_client::{Access, Address, Credential, Credentials, Environment, Patience, Tls, Verify};
use wharf_registry::{Mapping, Upstream, Upstreams};

use crate::config::Config;
use crate::config::upstreams::Upstream as Written;

/// How long a tag counts when the configuration does not say it.
const TTL: Duration = Duration::from_secs(60);

/// How patient to be with upstreams. A client waits for the answer meanwhile, and a registry that asks for a pause is given it: the client is told.
fn patience() -> Patience {
    Patience {
        attempts: 2,
        pause: Duration::from_millis(100),
        longest: Duration::from_secs(1),
        asked: Duration::ZERO,
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(30),
        answer: Duration::from_secs(60),
    }
}

/// What `wharf.upstreams` and `proxy` say. Nothing is fetched where nothing may be written.
pub fn of(config: &Config) -> Result<Upstreams, String> {
    let written = &config.upstreams;
    if config.storage.read_only {
        return Ok(Upstreams { list: Vec::new(), mirror: written.proxy.is_some() });
    }
    let mut list = written.list.iter().map(|written| one(written, Vec::new())).collect::<Result<Vec<_>, _>>()?;
    if let Some(proxy) = &written.proxy {
        let everything = Mapping::new("**", "**").map_err(|error| error.to_string())?;
        list.push(one(proxy, vec![everything])?);
    }
    Ok(Upstreams { list, mirror: written.proxy.is_some() })
}

fn one(written: &Written, also: Vec<Mapping>) -> Result<Upstream, String> {
    let (https, authority) = written.address()?;
    let credentials = match (&written.username, &written.password, &written.authfile) {
        (Some(user), Some(password), _) => {
            let credential = Credential::Basic { user: user.clone(), password: password.0.clone().into() };
            Credentials::Fixed { host: authority.clone(), credential }
        }
        (_, _, Some(file)) => Credentials::AuthFile { file: file.clone(), environment: environment() },
        _ => Credentials::None,
    };
    let verify = if written.tls_verify()? { Verify::Required } else { Verify::Off };
    let tls = Tls { verify, authorities: written.ca.iter().cloned().collect() };
    let address = Address { https, authority: authority.clone() };
    let mut namespaces = written.namespaces.clone();
    if namespaces.is_empty() {
        namespaces.push(authority.clone());
    }
    Ok(Upstream {
        access: Access { address, credentials, tls, patience: patience() },
        name: written.name.clone().unwrap_or(authority),
        namespaces,
        mappings: written.mappings()?.into_iter().chain(also).collect(),
        ttl: written.ttl()?.unwrap_or(TTL),
    })
}

/// What credential helpers run with.
fn environment() -> Environment {
    let variables = crate::settings::Environment::of_process();
    variables.all().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
