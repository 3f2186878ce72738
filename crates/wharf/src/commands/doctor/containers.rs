//! What podman, skopeo and buildah are told about the registry: registries.conf and folders of certificates.

use std::path::{Path, PathBuf};

use wharf_client::{Presented, Registries, RegistriesError};

use super::look::{Look, Speaks};
use super::machine::{Machine, files_with};
use super::report::Check;
use super::target::Target;
use super::trust;
use crate::settings::Settings;

const SUBJECT: &str = "podman";
/// Where their files are.
const FOLDER: &str = "/etc/containers";

/// Looks at the files that these programs share.
pub fn checks(settings: &Settings, machine: &Machine, target: &Target, look: &Look) -> Vec<Check> {
    if !machine.has(&["podman", "skopeo", "buildah", "crio"], &[FOLDER]) {
        return vec![Check::none(SUBJECT, "podman, skopeo and buildah are not installed")];
    }
    let registries = match Registries::load_beside(&machine.environment, &machine.file(FOLDER)) {
        Ok(registries) => registries,
        Err(error) => {
            let read = matches!(error, RegistriesError::Read(_));
            let what = format!("{}: podman, skopeo and buildah fetch nothing with it", shortened(machine, &error.to_string()));
            let mend = if read { "make the file readable, or unset the variable that names it" } else { "correct the line" };
            return vec![Check::problem(SUBJECT, what, mend)];
        }
    };
    let mut checks: Vec<_> = registries
        .warnings()
        .iter()
        .map(|warning| Check::warning(SUBJECT, shortened(machine, &warning.to_string()), "write it in the form of version 2"))
        .collect();
    let (host, namespace) = (&target.address.authority, &settings.namespace);
    let drop_in = format!("{FOLDER}/registries.conf.d/50-custom-registry.conf");
    let place = match registries.endpoints(host, namespace, false) {
        Ok(endpoints) => endpoints.into_iter().next_back(),
        Err(error) => {
            let mend = format!("take the entry out of {FOLDER}/registries.conf and of the files beside it in registries.conf.d");
            return [checks, vec![Check::problem(SUBJECT, error.to_string(), mend)]].concat();
        }
    };
    // There is always one.
    let Some(place) = place else { return checks };
    if place.host != *host {
        checks.push(Check::warning(
            SUBJECT,
            format!("registries.conf has what is named {host}/{namespace} fetched from {}/{}", place.host, place.repository),
            format!("take the entry out if that is not meant, in {FOLDER}/registries.conf or registries.conf.d"),
        ));
        return checks;
    }
    checks.push(match (look.speaks(target), place.insecure) {
        (Speaks::Http, true) => Check::ok(SUBJECT, "registries.conf has podman, skopeo and buildah speak plain HTTP with it"),
        (Speaks::Http, false) => Check::problem(
            SUBJECT,
            format!("podman, skopeo and buildah speak HTTPS with {host}, and it speaks plain HTTP; they know no exception for loopback"),
            format!("write to {drop_in}: [[registry]], location = \"{host}\", insecure = true, on a line each"),
        ),
        (Speaks::Https(_), true) => Check::warning(
            SUBJECT,
            "podman, skopeo and buildah take any certificate of it: registries.conf says insecure = true",
            format!("take that line out of the entry for {host}, and put the authority at {FOLDER}/certs.d/{host}/ca.crt"),
        ),
        (Speaks::Https(presented), false) => trusted(machine, target, look, presented),
        (Speaks::Unheard, _) => Check::none(SUBJECT, "no certificate was shown that they could believe"),
    });
    checks
}

/// A message without the folder that stands for the machine.
fn shortened(machine: &Machine, text: &str) -> String {
    let inside = machine.file("/");
    if machine.is_here() { text.to_owned() } else { text.replace(&inside.display().to_string(), "/") }
}

fn trusted(machine: &Machine, target: &Target, look: &Look, presented: &Presented) -> Check {
    let host = &target.address.authority;
    let folders: Vec<PathBuf> = machine
        .in_home(".config/containers/certs.d")
        .into_iter()
        .chain([machine.file("/etc/containers/certs.d"), machine.file("/etc/docker/certs.d")])
        .map(|folder| folder.join(host))
        .collect();
    // Of these the first that is there counts, and none of the others.
    let folder = folders.iter().find(|folder| folder.is_dir());
    let files = folder.map(|folder| files_with(folder, "crt")).unwrap_or_default();
    let shown = |folder: &Path| machine.shown(folder);
    match look.for_engines(target, presented).verify(&files, look.at) {
        Ok(()) => Check::ok(
            SUBJECT,
            match folder {
                Some(folder) if !files.is_empty() => format!("its certificate is believed by {}", shown(folder)),
                _ => "its certificate is believed by the system's authorities".to_owned(),
            },
        ),
        Err(distrust) => {
            let to = folder.map_or(format!("{FOLDER}/certs.d/{host}"), |folder| shown(folder));
            Check::problem(
                SUBJECT,
                format!("podman, skopeo and buildah do not believe it: {}", trust::told(&distrust, target)),
                format!("copy the authority's certificate to {to}/ca.crt"),
            )
        }
    }
}
