//! What containerd is told about the registry: the folder that its configuration names, and the file of the registry there.

use std::path::{Path, PathBuf};

use toml::Table;
use wharf_client::Presented;

use super::look::{Look, Speaks};
use super::machine::{Machine, files_with, line_of};
use super::names::HOST_SEEN_FROM_GUEST;
use super::report::Check;
use super::target::Target;
use super::trust;

const SUBJECT: &str = "containerd";
/// Its settings.
const CONFIG: &str = "/etc/containerd/config.toml";
/// Where the field keeps the files of registries.
const CERTS: &str = "/etc/containerd/certs.d";
/// The parts of its settings that speak of registries: of version 2 and before, and of version 3.
const PLUGINS: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];

/// Looks at containerd's files.
pub fn checks(machine: &Machine, target: &Target, look: &Look) -> Vec<Check> {
    if !machine.has(&["containerd"], &["/etc/containerd"]) {
        return vec![Check::none(SUBJECT, "containerd is not installed")];
    }
    let host = &target.address.authority;
    let file = machine.file(CONFIG);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let config: Table = match text.parse() {
        Ok(config) => config,
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            let what = format!("{CONFIG}:{line}: it is not TOML; containerd does not start with it");
            return vec![Check::problem(SUBJECT, what, "correct the line and restart containerd")];
        }
    };
    let registry = PLUGINS.iter().find_map(|plugin| config.get("plugins")?.get(plugin)?.get("registry"));
    let named =
        registry.and_then(|registry| registry.get("config_path")).and_then(toml::Value::as_str).filter(|path| !path.is_empty());
    let older = ["mirrors", "configs"].into_iter().find(|key| registry.is_some_and(|registry| registry.get(key).is_some()));
    if let (Some(_), Some(key)) = (named, older) {
        let line = line_of(&text, key).map_or(String::new(), |line| format!(":{line}"));
        let what = format!("{CONFIG}{line}: registry.{key} beside config_path; containerd serves no Kubernetes with both");
        return vec![Check::problem(SUBJECT, what, format!("take registry.{key} out, and write {CERTS}/{host}/hosts.toml"))];
    }
    let folders = named.unwrap_or(CERTS);
    let folders: Vec<PathBuf> = folders.split(':').map(|folder| machine.file(folder)).collect();
    let found = folder_of(&folders, host);
    let mut checks = Vec::new();
    if let Some(folder) = &found
        && named.is_none()
        && older.is_none()
        && version(&config) < 3
    {
        let what =
            format!("{CONFIG} names no config_path: Kubernetes' side of containerd does not look into {}", machine.shown(folder));
        let mend =
            format!("write config_path = \"{CERTS}\" below [plugins.\"{}\".registry] there, and restart containerd", PLUGINS[0]);
        checks.push(Check::warning(SUBJECT, what, mend));
    }
    checks.push(match found {
        Some(folder) => of_folder(machine, target, look, &folder),
        None if older == Some("mirrors") => Check::none(SUBJECT, format!("{CONFIG} names registries in the older way (mirrors)")),
        None => without(target, look),
    });
    checks
}

/// The version of the settings' form; without one it is the first.
fn version(config: &Table) -> i64 {
    config.get("version").and_then(toml::Value::as_integer).unwrap_or(1)
}

/// The folder of a registry: by its name, by its name without a colon, or the one for all.
fn folder_of(folders: &[PathBuf], host: &str) -> Option<PathBuf> {
    let names = [host.to_owned(), format!("{}_", host.replace(':', "_")), "_default".to_owned()];
    let mut places = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    places.find(|place| place.is_dir())
}

/// Nothing is said of the registry.
fn without(target: &Target, look: &Look) -> Check {
    let host = &target.address.authority;
    match look.speaks(target) {
        Speaks::Http if look.is_loopback() && target.address.host() != HOST_SEEN_FROM_GUEST => {
            Check::ok(SUBJECT, "containerd speaks plain HTTP with loopback; `ctr` does with --plain-http")
        }
        Speaks::Http => Check::problem(
            SUBJECT,
            format!("containerd speaks HTTPS with {host}, and it speaks plain HTTP"),
            format!(
                "write to {CERTS}/{host}/hosts.toml: [host.\"http://{host}\"], and below it capabilities = [\"pull\", \"resolve\", \"push\"]"
            ),
        ),
        Speaks::Https(presented) => match look.for_engines(target, presented).verify(&[], look.at) {
            Ok(()) => Check::ok(SUBJECT, "its certificate is believed by the system's authorities"),
            Err(distrust) => Check::problem(
                SUBJECT,
                format!("containerd does not believe it: {}", trust::told(&distrust, target)),
                format!("copy the authority's certificate to {CERTS}/{host}/ca.crt"),
            ),
        },
        Speaks::Unheard => Check::none(SUBJECT, "no certificate was shown that it could believe"),
    }
}

fn of_folder(machine: &Machine, target: &Target, look: &Look, folder: &Path) -> Check {
    let host = &target.address.authority;
    let file = folder.join("hosts.toml");
    let shown = machine.shown(&file);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(_) if folder.join("host.toml").exists() => {
            let misnamed = machine.shown(&folder.join("host.toml"));
            return Check::problem(
                SUBJECT,
                format!("{misnamed} is not read: the file is called hosts.toml"),
                format!("mv {misnamed} {shown}"),
            );
        }
        Err(_) => return by_certificates(machine, target, look, folder),
    };
    let hosts: Table = match text.parse() {
        Ok(hosts) => hosts,
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            return Check::problem(SUBJECT, format!("{shown}:{line}: it is not TOML"), "correct the line; no restart is needed");
        }
    };
    let own = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/') == host;
    let tables = hosts.get("host").and_then(toml::Value::as_table);
    let entry = tables.into_iter().flatten().find(|(url, _)| own(url));
    let server = hosts.get("server").and_then(toml::Value::as_str).filter(|url| own(url));
    let Some(url) = entry.map(|(url, _)| url.as_str()).or(server) else {
        return Check::none(SUBJECT, format!("{shown} leads elsewhere, and says nothing of {host} itself"));
    };
    let line = line_of(&text, url).map_or(shown.clone(), |line| format!("{shown}:{line}"));
    let says_plain = url.starts_with("http://");
    let settings = entry.and_then(|(_, settings)| settings.as_table()).unwrap_or(&hosts);
    let skips = settings.get("skip_verify").and_then(toml::Value::as_bool) == Some(true);
    let restartless = "containerd needs no restart";
    match (look.speaks(target), says_plain) {
        (Speaks::Http, true) => Check::ok(SUBJECT, format!("{line} has it speak plain HTTP with it")),
        (Speaks::Http, false) => Check::problem(
            SUBJECT,
            format!("{line} says HTTPS, and it speaks plain HTTP; skip_verify does not change that"),
            format!("write http://{host} there; {restartless}"),
        ),
        (Speaks::Https(_), true) => Check::problem(
            SUBJECT,
            format!("{line} says plain HTTP, and it speaks HTTPS"),
            format!("write https://{host} there; {restartless}"),
        ),
        (Speaks::Https(_), false) if skips => {
            let mend = format!("take skip_verify out, and name the authority by ca = \"ca.crt\"; {restartless}");
            Check::warning(SUBJECT, format!("{line}: containerd takes any certificate of it (skip_verify)"), mend)
        }
        (Speaks::Https(presented), false) => {
            let files = authorities(machine, folder, settings);
            believes(
                machine,
                target,
                look,
                presented,
                &files,
                &format!("name it in {shown} below the host: ca = \"ca.crt\" (files beside it are not read by themselves)"),
            )
        }
        (Speaks::Unheard, _) => Check::none(SUBJECT, format!("{line} names it; no certificate was shown that it could believe")),
    }
}

/// The files that `ca` names: one or a list, relative to the folder.
fn authorities(machine: &Machine, folder: &Path, settings: &Table) -> Vec<PathBuf> {
    let ca = settings.get("ca");
    let one = ca.and_then(toml::Value::as_str);
    let several = ca.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str);
    let place = |name: &str| if name.starts_with('/') { machine.file(name) } else { folder.join(name) };
    one.into_iter().chain(several).map(place).collect()
}

/// Without hosts.toml the folder is read as docker reads it.
fn by_certificates(machine: &Machine, target: &Target, look: &Look, folder: &Path) -> Check {
    match look.speaks(target) {
        Speaks::Https(presented) => {
            let files = files_with(folder, "crt");
            believes(machine, target, look, presented, &files, &format!("copy it to {}/ca.crt", machine.shown(folder)))
        }
        _ => without(target, look),
    }
}

fn believes(machine: &Machine, target: &Target, look: &Look, presented: &Presented, files: &[PathBuf], mend: &str) -> Check {
    match look.for_engines(target, presented).verify(files, look.at) {
        Ok(()) => Check::ok(
            SUBJECT,
            match files {
                [] => "its certificate is believed by the system's authorities".to_owned(),
                [first, ..] => format!("its certificate is believed by {}", machine.shown(first)),
            },
        ),
        Err(distrust) => Check::problem(
            SUBJECT,
            format!("containerd does not believe it: {}", trust::told(&distrust, target)),
            format!("get the authority's certificate, and {mend}"),
        ),
    }
}
