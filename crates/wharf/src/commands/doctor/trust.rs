//! Whether the registry's certificate is believed by this program, and how long.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use wharf_client::{Distrust, Presented};

use super::look::{Look, Speaks};
use super::report::Check;
use super::target::Target;
use crate::settings;
use crate::ui;

const SUBJECT: &str = "tls";
/// A certificate that ends sooner is told of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Looks at the certificate.
pub fn checks(target: &Target, look: &Look) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(file) = &target.named_authority
        && let Err(error) = std::fs::File::open(file)
    {
        checks.push(Check::problem(
            SUBJECT,
            format!("{} names {}, which cannot be read: {error}", settings::CA_CERT.name, file.display()),
            format!("correct or unset {}", settings::CA_CERT.name),
        ));
    }
    let presented = match look.speaks(target) {
        Speaks::Https(presented) => presented,
        Speaks::Http => return [checks, vec![Check::none(SUBJECT, "plain HTTP: there is no certificate")]].concat(),
        Speaks::Unheard => return [checks, vec![Check::none(SUBJECT, "no certificate was shown")]].concat(),
    };
    if target.verify_is_off {
        checks.push(Check::warning(
            SUBJECT,
            format!("{}=false: wharf takes any certificate, and whoever is on the way may read along", settings::TLS_VERIFY.name),
            format!("unset {} once the certificate is believed", settings::TLS_VERIFY.name),
        ));
    }
    let files = target.authorities();
    checks.push(match presented.verify(&files, look.at) {
        Ok(()) => believed(target, presented, &files, look.at),
        Err(distrust) => Check::problem(SUBJECT, told(&distrust, target), mend(&distrust, target, look)),
    });
    checks
}

fn believed(target: &Target, presented: &Presented, files: &[PathBuf], now: SystemTime) -> Check {
    if let Err(Distrust::Expired { at }) = presented.verify(files, now + SOON) {
        let end = at.map(|at| format!(" at {}", shown(at))).unwrap_or_default();
        return Check::warning(SUBJECT, format!("its certificate expires soon{end}"), renew(target));
    }
    let by = if presented.verify(&[], now).is_ok() {
        Some("the system's authorities".to_owned())
    } else {
        let file = files.iter().find(|file| presented.verify(std::slice::from_ref(file), now).is_ok());
        file.map(|file| file.display().to_string())
    };
    Check::ok(SUBJECT, format!("its certificate is believed by {}", by.unwrap_or_else(|| "several files together".to_owned())))
}

/// A time as people read it.
pub fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What is wrong, with what is known of it.
pub fn told(distrust: &Distrust, target: &Target) -> String {
    let host = target.address.host();
    match distrust {
        Distrust::Expired { at: Some(at) } => format!("its certificate expired at {}", shown(*at)),
        Distrust::NotYet { at: Some(at) } => format!("its certificate is valid only from {}", shown(*at)),
        Distrust::Name { names } if names.is_empty() => {
            format!("its certificate is not for {host}: it has no names at all (subjectAltName)")
        }
        Distrust::Name { names } => {
            // The library writes them as `DnsName("…")` and `IpAddress(…)`.
            let plain = |name: &String| match name.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")")) {
                Some(inner) => inner.to_owned(),
                None => name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')')).to_owned(),
            };
            let names: Vec<_> = names.iter().map(plain).collect();
            format!("its certificate is for {}, not for {host}", names.join(", "))
        }
        Distrust::Authorities(problem) => format!("a file of authorities does not read: {problem}"),
        other => format!("its certificate is not believed: {other}"),
    }
}

fn mend(distrust: &Distrust, target: &Target, look: &Look) -> String {
    let clock = "set this machine's clock: `timedatectl set-ntp true`";
    match distrust {
        Distrust::Expired { .. } if is_right_for_them(distrust, target, look) => clock.to_owned(),
        Distrust::Expired { .. } => renew(target),
        Distrust::NotYet { .. } if is_right_for_them(distrust, target, look) => clock.to_owned(),
        Distrust::NotYet { .. } => format!("if the clocks here and there are right, wait or have it made anew; else {clock}"),
        Distrust::Name { .. } => format!(
            "use a name that it is for, or have {} put into it (subjectAltName) and the server started with it",
            target.address.host()
        ),
        Distrust::Issuer | Distrust::Other(_) => format!(
            "get the authority's certificate from the server (`wharf pki export` there) and name it with {}, or put it at {}",
            settings::CA_CERT.name,
            target.own_authority.display()
        ),
        Distrust::Authority => {
            "have the server use a certificate signed by this one; docker and podman take it as it is".to_owned()
        }
        Distrust::Authorities(_) => "make it a PEM file with BEGIN CERTIFICATE lines, or take it away".to_owned(),
    }
}

/// How a certificate is renewed: that of this build's own server by a command.
fn renew(target: &Target) -> String {
    match target.is_configured && target.url.is_local() && target.own_authority.exists() {
        true => format!("`{} pki renew` does so while the server runs", ui::program()),
        false => "renew it on the server".to_owned(),
    }
}

/// Whether the certificate is in its time by the registry's own clock, so that this machine's is likely wrong.
fn is_right_for_them(distrust: &Distrust, target: &Target, look: &Look) -> bool {
    let Speaks::Https(presented) = look.speaks(target) else { return false };
    let answer = look.registry().or(look.expected.as_ref().ok());
    let theirs = answer.and_then(|answer| answer.header("date")).and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(theirs) = theirs else { return false };
    let then = presented.verify(&target.authorities(), theirs);
    !matches!(
        (distrust, then),
        (Distrust::Expired { .. }, Err(Distrust::Expired { .. })) | (Distrust::NotYet { .. }, Err(Distrust::NotYet { .. }))
    )
}
