//! `pki`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wharf_pki::{AUTHORITY, AUTHORITY_KEY, Facts, Issued, Pki, PkiError, Plan, SERVER};

use crate::cli::{self, Selected};
use crate::config::model::Certificate;
use crate::instance::Instance;
use crate::settings::{SECURE, Settings};
use crate::tls;
use crate::ui::{self, Failure};

/// Shows, renews or hands out certificates.
pub fn run(settings: &Settings, command: &cli::Pki) -> Result<ExitCode, Failure> {
    match command {
        cli::Pki::Show(options) => show(&own(settings, &options.selected)?.0, options.json),
        cli::Pki::Renew { selected, authority } => renew(&own(settings, selected)?, *authority),
        cli::Pki::Export { selected, file } => export(&own(settings, selected)?, file.as_deref()),
    }
}

/// The folder of the registry that there is, or of the one that secure mode would start.
fn own(settings: &Settings, selected: &Selected) -> Result<(Pki, Plan), Failure> {
    let tls = Instance::existing_or_secure(settings, selected.config.as_deref(), |config| config.http.tls)?;
    match tls.map(|tls| tls.certificate) {
        Some(Certificate::Own { pki, plan }) => Ok((pki, plan)),
        Some(Certificate::Given { certificate, .. }) => {
            let failure = format!("the registry serves with a certificate of yours, {}", certificate.display());
            Err(Failure::new(failure).hint("whoever made it renews it; the registry takes the new one by itself"))
        }
        None => Err(Failure::new("this registry has no certificates").hint(format!("{}=1 gives it some", SECURE.name))),
    }
}

fn failed(error: &PkiError) -> Failure {
    Failure::new("the registry's certificates cannot be used").because(error)
}

fn show(pki: &Pki, as_json: bool) -> Result<ExitCode, Failure> {
    let authority = pki.authority().map_err(|error| failed(&error))?;
    let server = pki.server().map_err(|error| failed(&error))?;
    let key = pki.path(AUTHORITY_KEY).exists();
    if as_json {
        ui::print_json(&json!({
            "authority": authority.as_ref().map(|facts| facts_json(pki, AUTHORITY, facts)),
            "authority_key": key,
            "server": server.as_ref().map(|facts| facts_json(pki, SERVER, facts)),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(authority) = authority else {
        let failure = Failure::new(format!("there are no certificates yet in {}", pki.folder().display()));
        return Err(failure.hint(format!("`{}=1 {} start` makes them", SECURE.name, ui::program())));
    };
    ui::print(format_args!("Authority: {}\n{}", pki.path(AUTHORITY).display(), facts_text(&authority)))?;
    if !key {
        ui::print(format_args!("  Key:         not here; the server's certificate cannot be renewed without {AUTHORITY_KEY}\n"))?;
    }
    if let Some(server) = server {
        ui::print(format_args!("Server: {}\n{}", pki.path(SERVER).display(), facts_text(&server)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn facts_json(pki: &Pki, name: &str, facts: &Facts) -> Value {
    json!({
        "file": pki.path(name),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "names": facts.names.to_string().split_whitespace().collect::<Vec<_>>(),
        "not_before": facts.not_before.format(&Rfc3339).unwrap_or_default(),
        "not_after": facts.not_after.format(&Rfc3339).unwrap_or_default(),
        "sha256": facts.fingerprint,
    })
}

fn facts_text(facts: &Facts) -> String {
    let names = facts.names.to_string();
    let names = if names.is_empty() { String::new() } else { format!("  Names:       {names}\n") };
    let days = (facts.not_after - OffsetDateTime::now_utc()).whole_days();
    let left = if days >= 0 { format!("{days} days left") } else { "expired".to_owned() };
    let until = facts.not_after.date();
    format!("  Subject:     {}\n{names}  Until:       {until} ({left})\n  SHA-256:     {}\n", facts.subject, facts.fingerprint)
}

fn renew((pki, plan): &(Pki, Plan), authority: bool) -> Result<ExitCode, Failure> {
    let now = OffsetDateTime::now_utc();
    let issued = if authority { pki.renew_authority(plan, now) } else { pki.renew(plan, now) };
    if issued.map_err(|error| failed(&error))? == Issued::Authority {
        ui::say(format_args!("Made a certificate authority: {}", pki.path(AUTHORITY).display()));
        if authority {
            ui::say("  Hand it to the clients before the old one expires: `wharf pki export`");
        }
    }
    let server = pki.server().map_err(|error| failed(&error))?;
    let until = server.map(|facts| facts.not_after.date().to_string()).unwrap_or_default();
    ui::say(format_args!("The server's certificate counts until {until}: {}", pki.path(SERVER).display()));
    Ok(ExitCode::SUCCESS)
}

fn export((pki, plan): &(Pki, Plan), file: Option<&Path>) -> Result<ExitCode, Failure> {
    // Clients may be set up before the registry is first started.
    if pki.authority().map_err(|error| failed(&error))?.is_none() {
        tls::issue(pki, plan)?;
    }
    let from = pki.path(AUTHORITY);
    let text = fs::read(&from).map_err(|error| Failure::new(format!("cannot read {}", from.display())).because(&error))?;
    match file {
        None => ui::print_bytes(&text)?,
        Some(file) => {
            fs::write(file, text).map_err(|error| Failure::new(format!("cannot write {}", file.display())).because(&error))?;
            ui::say(format_args!("The authority's certificate is in {}", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
