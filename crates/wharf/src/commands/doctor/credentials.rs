//! What is known of who we are to the registry, and whether it takes it. No part of a secret is ever shown.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use wharf_client::{Access, ClientError, Credentials, Environment, Patience, Registry, Silent, Tls, Verify};

use super::look::{Look, Speaks};
use super::report::Check;
use super::target::Target;
use crate::access;
use crate::cli::{AuthMode, Doctor};
use crate::settings::{self, Settings};
use crate::ui::Failure;

const SUBJECT: &str = "credentials";

/// Looks for credentials, and tries them where they would not be given away.
pub async fn checks(settings: &Settings, options: &Doctor, target: &Target, look: &Look) -> Vec<Check> {
    let mut checks = Vec::new();
    // What a command would use comes first; only where that is nothing, what logins have left.
    let own = match ours(settings, options, target) {
        Ok(credentials) => credentials,
        Err(Failure::Report { message, causes, hint }) => {
            let what = [vec![message], causes].concat().join(": ");
            return vec![Check::problem(SUBJECT, what, hint.unwrap_or_else(|| "correct it".to_owned()))];
        }
        Err(_) => return checks,
    };
    let (source, from, is_ours) = match own {
        Credentials::None => match login(settings, &target.address.authority, &mut checks) {
            Some((source, from)) => (source, from, false),
            None => {
                checks.push(without(target, look));
                return checks;
            }
        },
        Credentials::Home(environment) => match login(settings, &target.address.authority, &mut checks) {
            Some((_, from)) => (Credentials::Home(environment), from, true),
            None => {
                checks.push(without(target, look));
                return checks;
            }
        },
        Credentials::AuthFile { ref file, .. } => {
            let from = format!("the login in {}", file.display());
            (own, from, true)
        }
        other => (other, "what options, variables or the storage folder give".to_owned(), true),
    };
    checks.push(tried(target, look, source, &from, is_ours).await);
    checks
}

/// What commands show to the registry. What belongs to the configured one is for no other: those are given only what this command is.
fn ours(settings: &Settings, options: &Doctor, target: &Target) -> Result<Credentials, Failure> {
    let https = target.address.https;
    if target.is_configured {
        // What the settings have against the address is told elsewhere.
        let settings = Settings { url: target.url.clone(), insecure: !https, secure: https, auth: false, ..settings.clone() };
        return Ok(access::of_registry(&settings, &options.auth)?.credentials);
    }
    let auth = &options.auth;
    if auth.use_home_auth || auth.auth_mode == Some(AuthMode::Home) {
        return Ok(Credentials::Home(settings.environment.all().iter().map(|(name, value)| (name, value)).collect()));
    }
    let (authfile, credsfile) = (auth.authfile.as_deref(), auth.credsfile.as_deref());
    let given = access::Given { authfile, credsfile, creds: auth.creds.as_deref(), token: auth.token.as_deref() };
    given.credentials(settings, &target.address.authority, "--")
}

/// The first file of a login that knows the host. What is wrong with files on the way is added to `checks`.
fn login(settings: &Settings, host: &str, checks: &mut Vec<Check>) -> Option<(Credentials, String)> {
    let environment: Environment =
        settings.environment.all().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (file, is_required) in Credentials::home_files(&environment) {
        if !file.exists() && !is_required {
            continue;
        }
        let source = Credentials::AuthFile { file: file.clone(), environment: environment.clone() };
        match source.lookup(host, None) {
            Ok(None) => {}
            Ok(Some(_)) => {
                checks.extend(readable_by_others(&file));
                return Some((source, format!("the login in {}", file.display())));
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let mend = format!("correct or remove {}; docker and podman read it too", file.display());
                checks.push(Check::problem(SUBJECT, format!("{error}{cause}"), mend));
            }
        }
    }
    None
}

fn readable_by_others(file: &Path) -> Option<Check> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let what = format!("{} holds credentials, and others may read it (mode {mode:o})", file.display());
        Check::warning(SUBJECT, what, format!("chmod 600 {}", file.display()))
    })
}

/// Nothing is known.
fn without(target: &Target, look: &Look) -> Check {
    let host = &target.address.authority;
    let log_in = format!("`docker login {host}` or `podman login {host}`, then --use-home-auth; or --creds USER:PASSWORD");
    let Some(answer) = look.registry() else { return Check::none(SUBJECT, format!("none are known for {host}")) };
    if answer.status != StatusCode::UNAUTHORIZED {
        return Check::ok(SUBJECT, "none are known, and the registry asks for none");
    }
    let asks_for_token = answer.header("www-authenticate").is_some_and(|value| value.to_ascii_lowercase().starts_with("bearer"));
    match asks_for_token {
        // Many give a token for reading to everybody.
        true => {
            Check::warning(SUBJECT, "none are known, and the registry wants a token, which it may give for reading alone", log_in)
        }
        false => Check::problem(SUBJECT, "none are known, and the registry asks for them", log_in),
    }
}

async fn tried(target: &Target, look: &Look, credentials: Credentials, from: &str, is_ours: bool) -> Check {
    let host = &target.address.authority;
    let Some(answer) = look.registry() else {
        return Check::none(SUBJECT, format!("{from} is there; no registry answers that could be asked about it"));
    };
    if answer.status != StatusCode::UNAUTHORIZED {
        return Check::ok(SUBJECT, format!("the registry asks for none; {from} is not needed"));
    }
    let https = matches!(look.speaks(target), Speaks::Https(_));
    if !https && !target.address.is_loopback() {
        return Check::warning(
            SUBJECT,
            format!("{from} would go over plain HTTP, for everybody on the way to read; it was not tried"),
            "have the registry speak TLS",
        );
    }
    let tls = Tls { verify: Verify::Required, authorities: target.authorities() };
    let patience = Patience { attempts: 1, ..Patience::default() };
    let access = Access { address: target.over(https), credentials, tls, patience };
    let asked = match Registry::new(access, Arc::new(Silent)) {
        Ok(registry) => registry.log_in().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(()) if is_ours => Check::ok(SUBJECT, format!("the registry takes {from}")),
        Ok(()) => Check::warning(
            SUBJECT,
            format!("the registry asks for credentials and takes {from}, which wharf is not told to use"),
            format!("--use-home-auth, or {}=home", settings::AUTH_MODE.name),
        ),
        Err(ClientError::Unauthorized { .. }) => Check::problem(
            SUBJECT,
            format!("the registry does not take {from}"),
            format!("`docker login {host}` or `podman login {host}` with the right ones"),
        ),
        Err(ClientError::Tls { .. }) => {
            Check::none(SUBJECT, format!("{from} was not tried: it is not sent to who cannot be believed"))
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Check::problem(SUBJECT, format!("{from} could not be tried: {error}{cause}"), "see what the other checks say")
        }
    }
}
