//! Options of `user` and `token`.

use std::time::Duration;

use clap::Subcommand;
use wharf_access::{Glob, Right};

use super::{Listing, Selected};
use crate::config::units::parse_duration;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user. The password is asked for at a terminal, and read from standard input otherwise
    Add(NewPassword),
    /// Give a user another password
    Passwd(NewPassword),
    /// List the users
    List(Listing),
    /// Remove a user, with all of their tokens
    Rm {
        /// The name
        name: String,
        /// Which registry.
        #[command(flatten)]
        selected: Selected,
    },
}

/// A user and a password for them.
#[derive(Debug, clap::Args)]
pub struct NewPassword {
    /// The name
    pub name: String,
    /// Make up a password and print it
    #[arg(long)]
    pub generate: bool,
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
}

/// What to do with personal access tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it; it cannot be shown again
    Create {
        /// What to call it
        name: String,
        /// Whose it is [default: the owner's]
        #[arg(long)]
        user: Option<String>,
        /// What it is good for, as far as its user may: pull push delete administer
        #[arg(long, value_delimiter = ',', value_parser = right, default_value = "pull", value_name = "RIGHTS")]
        may: Vec<Right>,
        /// With which repositories: a pattern such as yocto/*; may be repeated [default: all]
        #[arg(long = "repository", value_name = "PATTERN")]
        repositories: Vec<Glob>,
        /// How long it counts, such as 90d, or never
        #[arg(long, value_parser = expiry, default_value = "90d", value_name = "TIME")]
        expires: Expiry,
        /// Which registry.
        #[command(flatten)]
        selected: Selected,
    },
    /// List the tokens
    List(Listing),
    /// Take a token back
    Revoke {
        /// What it is called
        name: String,
        /// Whose it is [default: the owner's]
        #[arg(long)]
        user: Option<String>,
        /// Which registry.
        #[command(flatten)]
        selected: Selected,
    },
}

/// How long a token counts; `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Expiry(pub Option<Duration>);

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry(None));
    }
    let time = parse_duration(text).filter(|time| time.as_secs() > 0);
    time.map(|time| Expiry(Some(time))).ok_or_else(|| "expected a time such as 90d, or never".to_owned())
}

fn right(text: &str) -> Result<Right, String> {
    let known = Right::ALL.into_iter().find(|right| right.as_str() == text);
    known.ok_or_else(|| "expected pull, push, delete or administer".to_owned())
}
