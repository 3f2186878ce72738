//! Who may do what: one decision, over every endpoint, before any handler runs.

use crate::endpoint::Endpoint;
use crate::error::ApiError;

/// What the configuration allows everybody.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Nothing may be written.
    pub read_only: bool,
    /// Tags, manifests and blobs may be deleted.
    pub deletes: bool,
}

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Look,
    Pull,
    Push,
    Delete,
}

fn action(endpoint: &Endpoint) -> Action {
    match endpoint {
        Endpoint::Base | Endpoint::Health | Endpoint::Ready => Action::Look,
        Endpoint::Catalog(_)
        | Endpoint::Tags(..)
        | Endpoint::Referrers { .. }
        | Endpoint::ReadManifest(..)
        | Endpoint::ReadBlob(..) => Action::Pull,
        Endpoint::PutManifest { .. }
        | Endpoint::BeginUpload(..)
        | Endpoint::UploadStatus(..)
        | Endpoint::AppendUpload(..)
        | Endpoint::FinishUpload(..)
        | Endpoint::CancelUpload(..) => Action::Push,
        Endpoint::DeleteManifest(..) | Endpoint::DeleteBlob(..) => Action::Delete,
    }
}

impl Policy {
    /// Whether the request may go on.
    pub(crate) fn authorize(&self, endpoint: &Endpoint) -> Result<(), ApiError> {
        match action(endpoint) {
            Action::Look | Action::Pull => Ok(()),
            Action::Push | Action::Delete if self.read_only => {
                Err(ApiError::NotAllowed("the registry is read-only for maintenance"))
            }
            Action::Delete if !self.deletes => {
                Err(ApiError::NotAllowed("deleting is disabled; set storage.delete.enabled in the configuration"))
            }
            Action::Push | Action::Delete => Ok(()),
        }
    }

    /// Whether the caller may push, so that what it is told exists must be kept for it.
    pub(crate) fn may_push(&self) -> bool {
        !self.read_only
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
            let policy = Policy { read_only, deletes: delete };
            let allowed = |list: &[Endpoint]| list.iter().all(|endpoint| policy.authorize(endpoint).is_ok());
            assert!(allowed(&reads));
            assert_eq!(allowed(&writes), !read_only);
            assert_eq!(allowed(&deletes), !read_only && delete);
        }
    }
}
