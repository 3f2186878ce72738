//! `token`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use wharf_access::{Glob, Htpasswd, StoredToken, Tokens, User, now};

use super::user::Place;
use crate::cli::{self, Expiry};
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Makes, lists and takes back personal access tokens.
pub fn run(settings: &Settings, command: &cli::Token) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(error);
    match command {
        cli::Token::Create { name, user, may, repositories, expires: Expiry(life), selected } => {
            let place = Place::find(settings, selected)?;
            let user = whose(&place, user.as_deref())?;
            let users = Htpasswd::read(&place.users).map_err(|error| failed(&error))?;
            if !users.names().any(|known| known == user.as_str()) {
                return Err(Failure::new(format!("there is no user {}", user.as_str())));
            }
            let repositories = if repositories.is_empty() { vec![Glob::all()] } else { repositories.clone() };
            let now = now();
            let expires = life.map(|life: Duration| now + life.as_secs());
            let token = StoredToken::new(&user, name, may.clone(), repositories, now, expires);
            let text = Tokens::add(&file(&place)?, token).map_err(|error| failed(&error))?.ok_or_else(|| {
                Failure::new(format!("{} has a token {name} already", user.as_str()))
                    .hint(format!("`{} token revoke {name}` takes it back", ui::program()))
            })?;
            place.note("token.create", &format!("{}/{name}", user.as_str()));
            ui::say(format_args!("The token {name} of {}, {}; it is not shown again:", user.as_str(), until(expires)));
            ui::print(format_args!("{text}\n"))?;
        }
        cli::Token::List(options) => list(&Place::find(settings, &options.selected)?, options.json)?,
        cli::Token::Revoke { name, user, selected } => {
            let place = Place::find(settings, selected)?;
            let user = whose(&place, user.as_deref())?;
            if Tokens::remove(&file(&place)?, &user, Some(name)).map_err(|error| failed(&error))? == 0 {
                return Err(Failure::new(format!("{} has no token {name}", user.as_str())));
            }
            place.note("token.revoke", &format!("{}/{name}", user.as_str()));
            ui::say(format_args!("The token {name} of {} counts no more", user.as_str()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn whose(place: &Place, user: Option<&str>) -> Result<User, Failure> {
    user.unwrap_or(&place.access.owner).parse().map_err(|error: wharf_access::UserError| Failure::of(&error))
}

fn file(place: &Place) -> Result<std::path::PathBuf, Failure> {
    place
        .access
        .tokens()
        .ok_or_else(|| Failure::new("this registry has no place for tokens").hint("set wharf.access.folder in its configuration"))
}

fn list(place: &Place, as_json: bool) -> Result<(), Failure> {
    let tokens = Tokens::read(&file(place)?).map_err(|error| Failure::of(&error))?;
    let now = now();
    if as_json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| {
                let patterns: Vec<_> = token.repositories.iter().map(Glob::as_str).collect();
                json!({
                    "name": token.name, "user": token.user, "may": token.rights, "repositories": patterns,
                    "created": token.created, "expires": token.expires, "expired": token.is_over(now),
                })
            })
            .collect();
        return ui::print_json(&json!({ "tokens": tokens }));
    }
    for token in tokens.iter() {
        let rights: Vec<_> = token.rights.iter().map(|right| right.as_str()).collect();
        let patterns: Vec<_> = token.repositories.iter().map(Glob::as_str).collect();
        let state = if token.is_over(now) { "expired".to_owned() } else { until(token.expires) };
        ui::print(format_args!("{}/{}  {}  {}  {state}\n", token.user, token.name, rights.join(","), patterns.join(" ")))?;
    }
    Ok(())
}

fn until(expires: Option<u64>) -> String {
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok().map(|time| time.date());
    match expires.map(|seconds| i64::try_from(seconds).ok().and_then(date)) {
        None => "counts for ever".to_owned(),
        Some(Some(date)) => format!("counts until {date}"),
        Some(None) => "counts for very long".to_owned(),
    }
}
