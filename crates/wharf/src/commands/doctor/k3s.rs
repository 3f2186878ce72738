//! What k3s and rke2 are told about the registry. Both write containerd's files from one of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::look::{Look, Speaks};
use super::machine::Machine;
use super::names::HOST_SEEN_FROM_GUEST;
use super::report::Check;
use super::target::Target;
use super::trust;
use crate::config::tree::{self, Node};

const SUBJECT: &str = "k3s";
/// Where their settings are.
const FOLDERS: [&str; 2] = ["/etc/rancher/k3s", "/etc/rancher/rke2"];
const RESTART: &str = "and restart k3s, which reads it when it starts";

/// Looks at `registries.yaml`.
pub fn checks(machine: &Machine, target: &Target, look: &Look) -> Vec<Check> {
    let Some(folder) = FOLDERS.into_iter().find(|folder| machine.file(folder).is_dir()) else {
        let is_there = machine.has(&["k3s", "rke2"], &[]);
        return if is_there { vec![judge(machine, target, look, FOLDERS[0], &Node::Null)] } else { Vec::new() };
    };
    let path: Arc<Path> = Arc::from(PathBuf::from(folder).join("registries.yaml"));
    let text = std::fs::read_to_string(machine.file(&format!("{folder}/registries.yaml"))).unwrap_or_default();
    match tree::parse(&text, &path) {
        Ok(node) => vec![judge(machine, target, look, folder, &node)],
        Err(finding) => {
            let mend = format!("correct the line, {RESTART}");
            vec![Check::problem(SUBJECT, format!("{}: {}", finding.place, finding.message), mend)]
        }
    }
}

/// What stands at a path in the document.
fn at<'a>(node: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, name| match node {
        Node::Map(entries) => entries.iter().find(|entry| entry.key == *name).map(|entry| &entry.value),
        _ => None,
    })
}

fn scalar(node: Option<&Node>) -> Option<&str> {
    match node {
        Some(Node::Scalar(text)) => Some(text),
        _ => None,
    }
}

fn judge(machine: &Machine, target: &Target, look: &Look, folder: &str, settings: &Node) -> Check {
    let (host, file) = (target.address.authority.as_str(), format!("{folder}/registries.yaml"));
    let endpoints: Vec<&str> = match at(settings, &["mirrors", host, "endpoint"]) {
        Some(Node::List(items)) => items.iter().filter_map(|item| scalar(Some(item))).collect(),
        _ => Vec::new(),
    };
    let own = |url: &&str| url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/') == host);
    let endpoint = endpoints.iter().copied().find(own);
    if endpoint.is_none() && !endpoints.is_empty() {
        return Check::none(SUBJECT, format!("{file} has {host} fetched elsewhere"));
    }
    let says_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
    let is_local = look.is_loopback() && target.address.host() != HOST_SEEN_FROM_GUEST;
    let write = |scheme: &str| format!("write to {file}: mirrors: \"{host}\": endpoint: [\"{scheme}://{host}\"], {RESTART}");
    match (look.speaks(target), says_plain) {
        (Speaks::Http, true) => Check::ok(SUBJECT, format!("{file} has it speak plain HTTP with it")),
        (Speaks::Http, false) if is_local && endpoint.is_none() => Check::ok(SUBJECT, "k3s speaks plain HTTP with loopback"),
        (Speaks::Http, false) => {
            Check::problem(SUBJECT, format!("k3s speaks HTTPS with {host}, and it speaks plain HTTP"), write("http"))
        }
        (Speaks::Https(_), true) => {
            Check::problem(SUBJECT, format!("{file} says plain HTTP for {host}, and it speaks HTTPS"), write("https"))
        }
        (Speaks::Https(presented), false) => {
            let tls = |key| scalar(at(settings, &["configs", host, "tls", key]));
            let ca = tls("ca_file");
            if tls("insecure_skip_verify") == Some("true") {
                let mend = format!("name the authority there as ca_file instead, {RESTART}");
                return Check::warning(
                    SUBJECT,
                    format!("{file} has k3s take any certificate of {host} (insecure_skip_verify)"),
                    mend,
                );
            }
            let files: Vec<_> = ca.map(|path| machine.file(path)).into_iter().collect();
            match look.for_engines(target, presented).verify(&files, look.at) {
                Ok(()) => {
                    Check::ok(SUBJECT, format!("its certificate is believed by {}", ca.unwrap_or("the system's authorities")))
                }
                Err(distrust) => Check::problem(
                    SUBJECT,
                    format!("k3s does not believe it: {}", trust::told(&distrust, target)),
                    format!("write to {file}: configs: \"{host}\": tls: ca_file: PATH of the authority's certificate, {RESTART}"),
                ),
            }
        }
        (Speaks::Unheard, _) => Check::none(SUBJECT, "no certificate was shown that it could believe"),
    }
}
