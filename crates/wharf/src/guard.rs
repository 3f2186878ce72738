//! Who may do what, out of the configuration: users, tokens and keys in their folder, and an owner on first start.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_access::{Authenticator, Htpasswd, Issuers, Keys, Rules, User, hash_password, random_text, write_private};
use wharf_registry::{Challenge, Guard};

use crate::config::Config;
use crate::config::model::Access;
use crate::discovery::Discovery;
use crate::settings::PASSWORD;
use crate::ui::Failure;

/// The owner's password, in the folder, for the commands on this machine.
const PASSWORD_FILE: &str = "password";

/// What guards a server; `None` where nobody is asked who they are.
pub fn prepare(config: &Config) -> Result<Option<Guard>, Failure> {
    let access = &config.access;
    if !access.is_guarded() {
        return Ok(None);
    }
    let failed = |error: &dyn std::error::Error| Failure::new("cannot guard the registry").because(error);
    match (&access.folder, &access.htpasswd) {
        (_, Some(given)) if !given.exists() => {
            let failure = Failure::new(format!("the file of users {} is not there", given.display()));
            return Err(failure.hint(format!("`htpasswd -B -c {} NAME` makes it", given.display())));
        }
        (Some(folder), None) => make_owner(folder, &access.owner)?,
        _ => {}
    }
    if let Some(folder) = &access.folder {
        make_folder(folder)?;
    }
    let keys = match &access.folder {
        Some(folder) => Keys::in_file(&folder.join("keys.json")).map_err(|error| failed(&error))?,
        None => Keys::in_memory().map_err(|error| failed(&error))?,
    };
    let users = access.users();
    let authenticator =
        Authenticator::open(users.as_deref(), access.tokens().as_deref(), keys).map_err(|error| failed(&error))?;
    for name in authenticator.unusable() {
        tracing::warn!(user = name, "cannot log in: the password is not hashed with bcrypt; `htpasswd -B` does that");
    }
    let guard = Guard::new(Arc::new(authenticator), rules(access)?, challenge(access), access.token_life);
    if access.issuers.is_empty() {
        return Ok(Some(guard));
    }
    Ok(Some(guard.believing(Issuers::new(access.issuers.clone()), Arc::new(Discovery))))
}

fn rules(access: &Access) -> Result<Rules, Failure> {
    match (access.rules.is_empty(), &access.htpasswd) {
        (false, _) => Rules::new(&access.rules, &access.groups)
            .map_err(|error| Failure::new("wharf.access.rules cannot be kept").because(&error)),
        (true, Some(_)) => Ok(Rules::all_users()),
        (true, None) => Ok(Rules::owner(&access.owner)),
    }
}

fn challenge(access: &Access) -> Challenge {
    match (access.challenge.as_str(), &access.htpasswd) {
        ("basic", _) | ("", Some(_)) => Challenge::Basic { realm: access.realm.clone() },
        _ => Challenge::Bearer,
    }
}

/// The file with the owner's password.
pub fn password_file(folder: &Path) -> PathBuf {
    folder.join(PASSWORD_FILE)
}

/// Writes the owner's password for the commands on this machine.
pub fn write_password(folder: &Path, password: &str) -> Result<(), Failure> {
    let file = password_file(folder);
    write_private(&file, &format!("{password}\n")).map_err(|error| Failure::of(&error))
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Failure::new(format!("cannot create the folder {}", folder.display())).because(&error))
}

/// Gives a folder without users the owner, with the password of the environment or one that nobody can guess.
fn make_owner(folder: &Path, owner: &str) -> Result<(), Failure> {
    let users = folder.join("htpasswd");
    if users.exists() {
        return Ok(());
    }
    make_folder(folder)?;
    let cannot = |error: &dyn std::error::Error| Failure::new(format!("cannot make the user {owner}")).because(error);
    let user: User = owner.parse().map_err(|error: wharf_access::UserError| cannot(&error))?;
    let given = std::env::var(PASSWORD.name).ok().filter(|password| !password.is_empty());
    let password = match given {
        Some(password) => password,
        None => random_text().map_err(|error| cannot(&error))?,
    };
    let hash = hash_password(&password).map_err(|error| cannot(&error))?;
    // Written first: a user whose password nobody knows would be worse than a password without a user.
    write_password(folder, &password)?;
    Htpasswd::add(&users, &user, &hash).map_err(|error| cannot(&error))?;
    tracing::info!(user = owner, password = %password_file(folder).display(), "made the owner");
    Ok(())
}
