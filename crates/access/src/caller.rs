//! Who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bearer::Granted;
use crate::credentials::StoredToken;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs and push manifests.
    Push,
    /// Delete tags, manifests and blobs.
    Delete,
    /// See how the registry does: metrics.
    Administer,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Administer];

    /// The word for it in rules and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Administer => "administer",
        }
    }
}

/// Who somebody is, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Nobody said.
    Anonymous,
    /// A user with a password.
    User(Arc<str>),
    /// The common name of a client's certificate.
    Certificate(Arc<str>),
    /// Somebody whom an issuer of ID tokens vouches for.
    Issued {
        /// The issuer's name in the configuration.
        issuer: Arc<str>,
        /// The token's `sub`.
        subject: Arc<str>,
        /// Its other claims that are texts.
        claims: Arc<BTreeMap<String, String>>,
    },
}

impl Identity {
    /// What logs call who did not say who they are. No user has this name.
    pub const ANONYMOUS: &str = "anonymous";

    /// Whether somebody said who it is.
    pub fn is_known(&self) -> bool {
        *self != Self::Anonymous
    }
}

impl fmt::Display for Identity {
    /// As logs and the change log name them: the bare name of a user, others with their kind before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str(Self::ANONYMOUS),
            Self::User(name) => f.write_str(name),
            Self::Certificate(name) => write!(f, "certificate:{name}"),
            Self::Issued { issuer, subject, .. } => write!(f, "{issuer}:{subject}"),
        }
    }
}

/// Who asks, and what narrows the rights that the rules give them.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// The personal access token by which they came.
    pub token: Option<Arc<StoredToken>>,
    /// What the bearer token says that they may do, when they came by one.
    pub granted: Option<Arc<[Granted]>>,
    /// The same as text, for logs.
    name: Arc<str>,
}

impl Caller {
    /// Somebody who came by what is not narrower than they are.
    pub fn new(identity: Identity) -> Self {
        Self { name: identity.to_string().into(), identity, token: None, granted: None }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::new(Identity::Anonymous)
    }

    /// The same, by a personal access token.
    #[must_use]
    pub fn with_token(mut self, token: Arc<StoredToken>) -> Self {
        self.token = Some(token);
        self
    }

    /// The same, by a bearer token for so much.
    #[must_use]
    pub fn with_grants(mut self, granted: Arc<[Granted]>) -> Self {
        self.granted = Some(granted);
        self
    }

    /// How logs name them.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}
