//! Who may do what: one decision, over every endpoint, before any handler runs.

use std::sync::Arc;

use wharf_access::{Caller, Decision, Granted, Right};
use wharf_oci::RepositoryName;

use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::guard::Guard;

/// What the configuration allows everybody.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Nothing may be written.
    pub read_only: bool,
    /// Tags, manifests and blobs may be deleted.
    pub deletes: bool,
}

/// What answering a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need<'a> {
    /// Nothing: the answer says nothing of what is stored.
    Nothing,
    /// That somebody said who they are, so that clients learn how to.
    Presence,
    /// A right over some repository, whichever.
    Anywhere(Right),
    /// A right over this repository.
    Over(Right, &'a RepositoryName),
    /// The right to see how the registry does.
    Administer,
}

/// What an endpoint takes: the whole table.
pub(crate) fn need(endpoint: &Endpoint) -> Need<'_> {
    match endpoint {
        Endpoint::Health | Endpoint::Ready | Endpoint::Token(_) => Need::Nothing,
        Endpoint::Base => Need::Presence,
        Endpoint::Metrics => Need::Administer,
        Endpoint::Catalog(_) => Need::Anywhere(Right::Pull),
        Endpoint::Tags(name, _)
        | Endpoint::Referrers { repository: name, .. }
        | Endpoint::ReadManifest(name, _)
        | Endpoint::ReadBlob(name, _) => Need::Over(Right::Pull, name),
        Endpoint::PutManifest { repository: name, .. }
        | Endpoint::BeginUpload(name, _)
        | Endpoint::UploadStatus(name, _)
        | Endpoint::AppendUpload(name, _)
        | Endpoint::FinishUpload(name, ..)
        | Endpoint::CancelUpload(name, _) => Need::Over(Right::Push, name),
        Endpoint::DeleteManifest(name, _) | Endpoint::DeleteBlob(name, _) => Need::Over(Right::Delete, name),
    }
}

impl Policy {
    /// Whether anybody may.
    fn allow(&self, need: Need<'_>) -> Result<(), ApiError> {
        match need {
            Need::Over(Right::Push | Right::Delete, _) if self.read_only => {
                Err(ApiError::NotAllowed("the registry is read-only for maintenance"))
            }
            Need::Over(Right::Delete, _) if !self.deletes => {
                Err(ApiError::NotAllowed("deleting is disabled; set storage.delete.enabled in the configuration"))
            }
            _ => Ok(()),
        }
    }
}

/// Whoever asks, as one request sees them.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    policy: Policy,
    /// `None` where everybody may do everything.
    guarded: Option<(Arc<Guard>, Caller)>,
    actor: Arc<str>,
}

impl Permit {
    /// Where nobody is asked who they are.
    pub(crate) fn open(policy: Policy, nobody: Arc<str>) -> Self {
        Self { policy, guarded: None, actor: nobody }
    }

    /// For a caller who was recognised.
    pub(crate) fn of(policy: Policy, guard: Arc<Guard>, caller: Caller) -> Self {
        let actor = caller.name().clone();
        Self { policy, guarded: Some((guard, caller)), actor }
    }

    /// Whether the request may go on. Who may not learns that before anything else, so that a refusal says nothing of what there is.
    pub(crate) fn authorize(&self, endpoint: &Endpoint) -> Result<(), ApiError> {
        let need = need(endpoint);
        match self.decide(need) {
            Decision::Allowed => self.policy.allow(need),
            Decision::Unauthenticated => Err(ApiError::Unauthenticated(Wanted::of(need))),
            Decision::Insufficient => Err(ApiError::Insufficient(Wanted::of(need))),
            Decision::Forbidden => Err(ApiError::Forbidden),
        }
    }

    fn decide(&self, need: Need<'_>) -> Decision {
        let Some((guard, caller)) = &self.guarded else { return Decision::Allowed };
        match need {
            Need::Nothing => Decision::Allowed,
            Need::Presence if caller.identity.is_known() || caller.granted.is_some() || guard.welcomes_anonymous() => {
                Decision::Allowed
            }
            Need::Presence => Decision::Unauthenticated,
            Need::Anywhere(_) if caller.granted.as_ref().is_some_and(|granted| !granted.iter().any(Granted::is_catalog)) => {
                Decision::Insufficient
            }
            // Whoever says who they are gets a list, of what they may see.
            Need::Anywhere(_) if caller.identity.is_known() => Decision::Allowed,
            Need::Anywhere(right) => guard.rules.decide(caller, right, None),
            // A push and a delete tell what is there, so they are for who may see it.
            Need::Over(_, repository) if !guard.rules.allow(caller, Right::Pull, Some(repository.as_str())) => {
                Decision::refusing(caller)
            }
            Need::Over(right, repository) => guard.rules.decide(caller, right, Some(repository.as_str())),
            Need::Administer => guard.rules.decide(caller, Right::Administer, None),
        }
    }

    /// Whether the caller may do something with another repository than the one that the request is about, by what they came with.
    pub(crate) fn may(&self, right: Right, repository: &str) -> bool {
        let Some((guard, caller)) = &self.guarded else { return true };
        guard.rules.decide(caller, right, Some(repository)) == Decision::Allowed
    }

    /// Whether a blob may be mounted out of a repository for the caller: one that they may pull, by what they came with.
    pub(crate) fn may_mount(&self, from: &str) -> bool {
        let Some((guard, caller)) = &self.guarded else { return true };
        let from_any = caller.granted.as_ref().is_some_and(|granted| granted.iter().any(Granted::is_for_mounts));
        if from_any { guard.rules.allow(caller, Right::Pull, Some(from)) } else { self.may(Right::Pull, from) }
    }

    /// Whether the caller may see that a repository is there: in the catalog, for which a token names no repositories.
    pub(crate) fn may_see(&self, repository: &str) -> bool {
        let Some((guard, caller)) = &self.guarded else { return true };
        guard.rules.allow(caller, Right::Pull, Some(repository))
    }

    /// Whether the caller may push there, so that what it is told exists must be kept for it.
    pub(crate) fn may_push(&self, repository: &RepositoryName) -> bool {
        !self.policy.read_only && self.may(Right::Push, repository.as_str())
    }

    /// Whether some callers may see what others may not.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.is_some()
    }

    /// Whether it is known who asks.
    pub(crate) fn is_known(&self) -> bool {
        self.guarded.as_ref().is_some_and(|(_, caller)| caller.identity.is_known())
    }

    /// Who acts, for the change log and for what belongs to its maker.
    pub(crate) fn actor(&self) -> &Arc<str> {
        &self.actor
    }
}

/// What a client has to ask a token for: the `scope` of the Docker token protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Option<String>);

impl Wanted {
    fn of(need: Need<'_>) -> Self {
        Self(match need {
            Need::Nothing | Need::Presence | Need::Administer => None,
            Need::Anywhere(_) => Some("registry:catalog:*".to_owned()),
            Need::Over(Right::Push, name) => Some(format!("repository:{name}:pull,push")),
            Need::Over(right, name) => Some(format!("repository:{name}:{}", right.as_str())),
        })
    }

    /// Nothing in particular.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    pub(crate) fn scope(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn a_switch_closes_what_it_names_and_nothing_else() {
        let digest = wharf_oci::Digest::sha256(b"");
        let endpoint = |method: Method, path: &str| Endpoint::parse(&method, path, Some(&format!("digest={digest}"))).unwrap();
        let blob = format!("/v2/a/blobs/{digest}");
        let reads = [endpoint(Method::GET, "/v2/"), endpoint(Method::GET, "/v2/a/manifests/x"), endpoint(Method::HEAD, &blob)];
        let writes = [endpoint(Method::POST, "/v2/a/blobs/uploads/"), endpoint(Method::PUT, "/v2/a/manifests/x")];
        let deletes = [endpoint(Method::DELETE, "/v2/a/manifests/x"), endpoint(Method::DELETE, &blob)];
        for (read_only, delete) in [(false, false), (false, true), (true, false), (true, true)] {
            let permit = Permit::open(Policy { read_only, deletes: delete }, "".into());
            let allowed = |list: &[Endpoint]| list.iter().all(|endpoint| permit.authorize(endpoint).is_ok());
            assert!(allowed(&reads));
            assert_eq!(allowed(&writes), !read_only);
            assert_eq!(allowed(&deletes), !read_only && delete);
        }
    }
}
