//! `user`.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use wharf_access::{Htpasswd, Tokens, User, UserError, hash_password, random_text};

use crate::audit;
use crate::cli::{self, NewPassword, Selected};
use crate::config::Config;
use crate::config::model::Access;
use crate::guard::{password_file, write_password};
use crate::instance::Instance;
use crate::settings::{SECURE, Settings};
use crate::ui::{self, Failure};

/// Adds, changes, lists and removes users.
pub fn run(settings: &Settings, command: &cli::User) -> Result<ExitCode, Failure> {
    match command {
        cli::User::Add(given) => {
            let New { place, user, password, hash } = New::get(settings, given)?;
            let name = user.as_str();
            Htpasswd::add(&place.users, &user, &hash).map_err(|error| failed(&error))?;
            place.note("user.add", name);
            ui::say(format_args!("Added the user {name}"));
            if place.access.rules.is_empty() && place.access.htpasswd.is_none() && *name != place.access.owner {
                ui::warn(&format!(
                    "{name} may do nothing yet: only the owner, {}, may; wharf.access.rules changes that",
                    place.access.owner
                ));
            }
            password.show()?;
        }
        cli::User::Passwd(given) => {
            let New { place, user, password, hash } = New::get(settings, given)?;
            let name = user.as_str();
            Htpasswd::set(&place.users, &user, &hash).map_err(|error| failed(&error))?;
            place.keep_owners(name, &password)?;
            place.note("user.passwd", name);
            ui::say(format_args!("Changed the password of {name}"));
            password.show()?;
        }
        cli::User::List(options) => list(&Place::find(settings, &options.selected)?, options.json)?,
        cli::User::Rm { name, selected } => {
            let place = Place::find(settings, selected)?;
            let user = parse(name)?;
            Htpasswd::remove(&place.users, &user).map_err(|error| failed(&error))?;
            if let Some(tokens) = place.access.tokens() {
                Tokens::remove(&tokens, &user, None).map_err(|error| Failure::of(&error))?;
            }
            place.note("user.rm", name);
            ui::say(format_args!("Removed the user {name}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a registry's users are.
pub(super) struct Place {
    pub(super) access: Access,
    pub(super) users: PathBuf,
    audit: Option<PathBuf>,
}

impl Place {
    /// Of the registry that there is, or of the one that secure mode would start.
    pub(super) fn find(settings: &Settings, selected: &Selected) -> Result<Self, Failure> {
        let guarded = |config: Config| Some(config).filter(|config| config.access.is_guarded());
        let config = Instance::existing_or_secure(settings, selected.config.as_deref(), guarded)?;
        let found = config.and_then(|config| {
            let users = config.access.users().filter(|users| users.exists())?;
            Some(Self { access: config.access, users, audit: config.audit })
        });
        found.ok_or_else(|| {
            let way_out = format!("`{}=1 {} start` starts one that does, and makes its owner", SECURE.name, ui::program());
            Failure::new("this registry asks nobody who they are").hint(way_out)
        })
    }

    /// Tells the audit log of a change.
    pub(super) fn note(&self, what: &str, about: &str) {
        if let Some(file) = &self.audit {
            audit::note(file, what, about);
        }
    }

    /// The commands of this machine go on with the owner's new password.
    fn keep_owners(&self, name: &str, password: &Password) -> Result<(), Failure> {
        match &self.access.folder {
            Some(folder) if *name == self.access.owner && password_file(folder).exists() => {
                write_password(folder, &password.text)
            }
            _ => Ok(()),
        }
    }
}

/// Somebody's new password, and where it goes.
struct New {
    place: Place,
    user: User,
    password: Password,
    hash: String,
}

impl New {
    fn get(settings: &Settings, given: &NewPassword) -> Result<Self, Failure> {
        let place = Place::find(settings, &given.selected)?;
        let user = parse(&given.name)?;
        let password = Password::get(&given.name, given.generate)?;
        let hash = hash_password(&password.text).map_err(|error| failed(&error))?;
        Ok(Self { place, user, password, hash })
    }
}

fn parse(name: &str) -> Result<User, Failure> {
    name.parse().map_err(|error| failed(&error))
}

fn failed(error: &UserError) -> Failure {
    Failure::of(error)
}

fn list(place: &Place, as_json: bool) -> Result<(), Failure> {
    let users = Htpasswd::read(&place.users).map_err(|error| Failure::of(&error))?;
    if as_json {
        let names: Vec<_> = users.names().collect();
        return ui::print_json(&json!({ "file": place.users, "users": names, "unusable": users.unusable() }));
    }
    for name in users.names() {
        ui::print(format_args!("{name}\n"))?;
    }
    for name in users.unusable() {
        ui::warn(&format!(
            "{name} cannot log in: the password is not hashed with bcrypt; `{} user passwd {name}` mends it",
            ui::program()
        ));
    }
    Ok(())
}

/// A password that somebody said, or that was made up.
struct Password {
    text: String,
    made_up: bool,
}

impl Password {
    fn get(name: &str, generate: bool) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::new("cannot read the password").because(&error);
        if generate {
            return Ok(Self { text: random_text().map_err(cannot)?, made_up: true });
        }
        if !std::io::stdin().is_terminal() {
            let mut text = String::new();
            std::io::stdin().lock().read_line(&mut text).map_err(cannot)?;
            return Ok(Self { text: text.trim_end_matches(['\n', '\r']).to_owned(), made_up: false });
        }
        let text = rpassword::prompt_password(format!("Password for {name}: ")).map_err(cannot)?;
        if rpassword::prompt_password("Once more: ").map_err(cannot)? != text {
            return Err(Failure::new("the two passwords differ"));
        }
        Ok(Self { text, made_up: false })
    }

    fn show(&self) -> Result<(), Failure> {
        if self.made_up { ui::print(format_args!("{}\n", self.text)) } else { Ok(()) }
    }
}
