//! Who asks, and what they may do: credentials, tokens, and the rules over repositories. No network and no async: what takes long says so.

mod attempts;
mod bearer;
mod caller;
mod credentials;
mod files;
mod glob;
mod issuers;
mod quota;
mod rules;

pub use attempts::{Attempts, TooMany};
pub use bearer::{Bearer, Grant, Granted, Key, Keys};
pub use caller::{Caller, Identity, Right};
pub use credentials::{
    Authenticator, Htpasswd, Login, Presented, Refusal, StoredToken, Tokens, User, UserError, hash_password, random_text,
};
pub use files::FileError;
pub use glob::{Glob, GlobError};
pub use issuers::{Issuer, Issuers, Vouched};
pub use quota::Quota;
pub use rules::{Decision, Rule, RuleError, Rules};
