//! What docker's daemon is told about the registry.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::look::{Look, Speaks};
use super::machine::{Machine, files_with, line_of};
use super::names::HOST_SEEN_FROM_GUEST;
use super::proxies::{Proxies, is_within};
use super::report::Check;
use super::target::Target;
use super::trust;

const SUBJECT: &str = "docker";
/// The daemon's settings.
const DAEMON: &str = "/etc/docker/daemon.json";
/// Authorities by registry.
const CERTS: &str = "/etc/docker/certs.d";
/// What systemd starts it with, beside its unit.
const DROP_INS: &str = "/etc/systemd/system/docker.service.d";

/// Looks at docker's files.
pub fn checks(machine: &Machine, target: &Target, look: &Look) -> Vec<Check> {
    if !machine.has(&["dockerd", "docker"], &[]) && !machine.file(DAEMON).exists() && !machine.file(CERTS).exists() {
        return vec![Check::none(SUBJECT, "docker is not installed")];
    }
    let file = daemon_file(machine);
    let daemon = match Daemon::read(&file, &machine.shown(&file)) {
        Ok(daemon) => daemon,
        Err(check) => return vec![*check],
    };
    let mut checks: Vec<_> = daemon.strange_entries().collect();
    checks.push(match look.speaks(target) {
        Speaks::Http => plain(&daemon, target, look),
        Speaks::Https(presented) => match daemon.listed(target, look) {
            Some(entry) => Check::warning(
                SUBJECT,
                format!(
                    "docker takes any certificate of it: \"{entry}\" is in insecure-registries ({})",
                    daemon.at("insecure-registries")
                ),
                "take it out of the list, have docker believe the authority, and restart docker",
            ),
            None => trusted(machine, target, look, presented),
        },
        Speaks::Unheard => Check::none(SUBJECT, "no certificate was shown that docker could believe"),
    });
    checks.extend(client_certificates(machine, target));
    checks.extend(proxy(machine, &daemon, target));
    checks
}

/// The file of the system's daemon, or of the user's own where that has one.
fn daemon_file(machine: &Machine) -> PathBuf {
    let own = machine.in_home(".config/docker/daemon.json").filter(|file| file.exists());
    let system = machine.file(DAEMON);
    own.filter(|_| !system.exists()).unwrap_or(system)
}

/// `daemon.json`.
struct Daemon {
    /// As it is spoken of.
    name: String,
    text: String,
    content: Value,
}

impl Daemon {
    fn read(file: &Path, name: &str) -> Result<Self, Box<Check>> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
            Err(error) => {
                let mend = format!("`sudo {} doctor` may read it", crate::ui::program());
                return Err(Box::new(Check::warning(SUBJECT, format!("{name} cannot be read: {error}"), mend)));
            }
        };
        let wrong = |line: usize, why: &str| {
            let what = format!("{name}:{line}: {why}; docker does not start with it");
            Box::new(Check::problem(SUBJECT, what, "correct the file and restart docker"))
        };
        let content: Value = serde_json::from_str(&text).map_err(|error| wrong(error.line(), "it is not JSON"))?;
        let list = &content["insecure-registries"];
        let is_list = list.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if !list.is_null() && !is_list {
            let line = line_of(&text, "insecure-registries").unwrap_or(1);
            return Err(wrong(line, "insecure-registries is not a list of texts"));
        }
        Ok(Self { name: name.to_owned(), text, content })
    }

    /// Where a key or a value stands.
    fn at(&self, part: &str) -> String {
        line_of(&self.text, part).map_or(self.name.clone(), |line| format!("{}:{line}", self.name))
    }

    fn insecure(&self) -> impl Iterator<Item = &str> {
        self.content["insecure-registries"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// The entry that makes the registry an insecure one.
    fn listed(&self, target: &Target, look: &Look) -> Option<&str> {
        let addresses = || look.addresses.iter().flatten().map(|address| address.ip());
        let own = target.address.host().parse::<IpAddr>().ok();
        self.insecure().find(|entry| match entry.split_once('/') {
            Some((network, bits)) => own.into_iter().chain(addresses()).any(|ip| is_within(ip, network, bits)),
            None => entry.eq_ignore_ascii_case(&target.address.authority),
        })
    }

    /// Entries that docker refuses, or that say nothing.
    fn strange_entries(&self) -> impl Iterator<Item = Check> {
        self.insecure().filter_map(|entry| {
            let is_network =
                entry.split_once('/').is_some_and(|(ip, bits)| ip.parse::<IpAddr>().is_ok() && bits.parse::<u8>().is_ok());
            let what = if entry.contains("://") {
                "has a scheme, and docker does not start with it"
            } else if entry.contains('/') && !is_network {
                "has a path, and docker does not know any registry by it"
            } else {
                return None;
            };
            let mend = format!("write it as HOST:PORT in {}, and restart docker", self.name);
            Some(Check::problem(SUBJECT, format!("{}: \"{entry}\" {what}", self.at(entry)), mend))
        })
    }
}

/// The registry speaks plain HTTP.
fn plain(daemon: &Daemon, target: &Target, look: &Look) -> Check {
    let host = &target.address.authority;
    // Docker itself counts 127.0.0.0/8 and ::1 among the insecure ones, by the addresses of the name.
    if look.is_loopback() && target.address.host() != HOST_SEEN_FROM_GUEST {
        return Check::ok(SUBJECT, "docker speaks plain HTTP with loopback");
    }
    if let Some(entry) = daemon.listed(target, look) {
        return Check::ok(SUBJECT, format!("\"{entry}\" is in insecure-registries ({})", daemon.at("insecure-registries")));
    }
    let near = daemon.insecure().find(|entry| entry.split(':').next() == Some(target.address.host()));
    let mend = format!("add \"{host}\" to the list \"insecure-registries\" in {}, and restart docker", daemon.name);
    match near {
        Some(near) => Check::problem(
            SUBJECT,
            format!("docker speaks HTTPS with {host}, for {} names \"{near}\", which is another port", daemon.at(near)),
            mend,
        ),
        None => Check::problem(SUBJECT, format!("docker speaks HTTPS with {host}, and it speaks plain HTTP"), mend),
    }
}

/// The registry speaks TLS, and docker checks it.
fn trusted(machine: &Machine, target: &Target, look: &Look, presented: &wharf_client::Presented) -> Check {
    let host = &target.address.authority;
    // On loopback docker goes on without a check, as for every insecure registry.
    if look.is_loopback() {
        return Check::ok(SUBJECT, "docker takes any certificate on loopback");
    }
    let folder = machine.file(CERTS).join(host);
    let files = files_with(&folder, "crt");
    match look.for_engines(target, presented).verify(&files, look.at) {
        Ok(()) if files.is_empty() => Check::ok(SUBJECT, "its certificate is believed by the system's authorities"),
        Ok(()) => Check::ok(SUBJECT, format!("its certificate is believed by {}", machine.shown(&folder))),
        Err(distrust) => Check::problem(
            SUBJECT,
            format!("docker does not believe it: {}", trust::told(&distrust, target)),
            format!("copy the authority's certificate to {}/ca.crt; docker needs no restart", machine.shown(&folder)),
        ),
    }
}

/// In docker's folders `.crt` is an authority and `.cert` a client's certificate, which needs a key: one by the name of the other breaks all.
fn client_certificates(machine: &Machine, target: &Target) -> Option<Check> {
    let folder = machine.file(CERTS).join(&target.address.authority);
    let lonely = files_with(&folder, "cert").into_iter().find(|file| !file.with_extension("key").exists())?;
    let shown = machine.shown(&lonely);
    let what = format!("{shown} counts as a client's certificate, whose key is missing: docker refuses the registry");
    Some(Check::problem(SUBJECT, what, format!("name it {} if it is the authority's", shown.replace(".cert", ".crt"))))
}

/// The daemon has proxies of its own, from its file or from systemd.
fn proxy(machine: &Machine, daemon: &Daemon, target: &Target) -> Option<Check> {
    // Its library knows loopback by name and address.
    if target.address.is_loopback() && target.address.host() != HOST_SEEN_FROM_GUEST {
        return None;
    }
    let mut found: Vec<(String, String, String)> = Vec::new();
    for (key, name) in [("http-proxy", "http_proxy"), ("https-proxy", "https_proxy"), ("no-proxy", "no_proxy")] {
        if let Some(value) = daemon.content["proxies"][key].as_str() {
            found.push((name.to_owned(), value.to_owned(), daemon.at(key)));
        }
    }
    if found.is_empty() {
        for file in files_with(&machine.file(DROP_INS), "conf") {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let shown = machine.shown(&file);
            for (index, line) in text.lines().enumerate() {
                let Some(rest) = line.trim().strip_prefix("Environment=") else { continue };
                for word in rest.split_whitespace() {
                    let Some((name, value)) = word.trim_matches(['"', '\'']).split_once('=') else { continue };
                    found.push((name.to_ascii_lowercase(), value.to_owned(), format!("{shown}:{}", index + 1)));
                }
            }
        }
    }
    let proxies = Proxies::of(|wanted| found.iter().rev().find(|(name, ..)| name == wanted).map(|(_, value, _)| value.clone()));
    let host = target.address.host();
    let variable = proxies.taking(target.address.https, host)?;
    let place = found.iter().rev().find(|(name, ..)| name == variable).map(|(.., place)| place.clone()).unwrap_or_default();
    Some(Check::warning(
        SUBJECT,
        format!("docker's daemon reaches {host} through a proxy ({place})"),
        format!(
            "if it is in this network, add {host} to NO_PROXY there, then `systemctl daemon-reload` and `systemctl restart docker`"
        ),
    ))
}
