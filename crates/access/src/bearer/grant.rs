//! What a bearer token is for: the `access` of the Docker token protocol, and the `scope` by which clients ask for it.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Right};
use crate::rules::Rules;

/// Repositories in one token at most: clients ask for one, or two when they mount.
const SCOPES: usize = 100;

/// Rights over one repository, or over the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Granted {
    /// Rights over a repository.
    pub fn repository(name: &str, rights: Vec<Right>) -> Self {
        let actions = rights.into_iter().map(|right| right.as_str().to_owned()).collect();
        Self { kind: "repository".to_owned(), name: name.to_owned(), actions }
    }

    /// The list of repositories.
    fn catalog() -> Self {
        Self { kind: "registry".to_owned(), name: "catalog".to_owned(), actions: vec!["*".to_owned()] }
    }

    /// Mounts out of whatever repositories its bearer may pull. No scope of the protocol says so: clients that do not know where a blob is ask for this one.
    fn mounts() -> Self {
        Self { kind: "registry".to_owned(), name: "mount".to_owned(), actions: vec!["*".to_owned()] }
    }

    /// Whether it is for mounts out of any repository.
    pub fn is_for_mounts(&self) -> bool {
        self.kind == "registry" && self.name == "mount"
    }

    /// Whether it is for the list of repositories.
    pub fn is_catalog(&self) -> bool {
        self.kind == "registry" && self.name == "catalog"
    }

    /// Whether it is enough for `right` over the repository; without one, over any.
    pub fn covers(&self, right: Right, repository: Option<&str>) -> bool {
        self.kind == "repository"
            && repository.is_none_or(|name| name == self.name)
            && self.actions.iter().any(|action| action == right.as_str())
    }
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    repositories: Vec<(String, Vec<Right>)>,
    catalog: bool,
    mounts: bool,
}

impl Grant {
    /// Reads `scope` parameters: `repository:NAME:ACTION,ACTION`, several separated by spaces. What is not known is passed over, as the protocol wants it; of
    /// very many the first hundred count.
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut asked: Vec<(String, Vec<Right>)> = Vec::new();
        let (mut catalog, mut mounts) = (false, false);
        for scope in scopes.into_iter().flat_map(str::split_whitespace) {
            let Some((kind, rest)) = scope.split_once(':') else { continue };
            let Some((name, actions)) = rest.rsplit_once(':') else { continue };
            // A class, as in `repository(plugin)`, says nothing here.
            let kind = kind.split('(').next().unwrap_or_default();
            catalog |= (kind, name) == ("registry", "catalog");
            mounts |= (kind, name) == ("registry", "mount");
            if kind != "repository" || wharf_oci::RepositoryName::from_str(name).is_err() || asked.len() >= SCOPES {
                continue;
            }
            let rights = actions.split(',').flat_map(|action| match action {
                "pull" => &[Right::Pull][..],
                "push" => &[Right::Push],
                "delete" => &[Right::Delete],
                "*" => &[Right::Pull, Right::Push, Right::Delete],
                _ => &[],
            });
            let rights: Vec<Right> = rights.copied().collect();
            match asked.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.extend(rights.into_iter().filter(|right| !known.contains(right)).collect::<Vec<_>>()),
                None => asked.push((name.to_owned(), rights)),
            }
        }
        Self { repositories: asked, catalog, mounts }
    }

    /// As much of it as `caller` may.
    pub fn within(&self, rules: &Rules, caller: &Caller) -> Arc<[Granted]> {
        let may = |name: &str, rights: &[Right]| -> Vec<Right> {
            rights.iter().copied().filter(|right| rules.allow(caller, *right, Some(name))).collect()
        };
        let granted = self.repositories.iter().map(|(name, rights)| (name, may(name, rights)));
        let granted = granted.filter(|(_, rights)| !rights.is_empty()).map(|(name, rights)| Granted::repository(name, rights));
        granted.chain(self.catalog.then(Granted::catalog)).chain(self.mounts.then(Granted::mounts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Identity;

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let asked = Grant::parse([
            "repository:a/b:pull,push repository(plugin):c:pull",
            "registry:catalog:* registry:mount:*",
            "repository:a/b:delete,pull",
        ]);
        let expected =
            vec![("a/b".to_owned(), vec![Right::Pull, Right::Push, Right::Delete]), ("c".to_owned(), vec![Right::Pull])];
        assert_eq!(asked, Grant { repositories: expected, catalog: true, mounts: true });
        for nothing in ["", ":", "repository", "repository:", "repository:A:pull", "repository:../x:pull", "x:y:pull"] {
            assert_eq!(Grant::parse([nothing]), Grant::default(), "{nothing}");
        }
        let many: Vec<String> = (0..1_000).map(|number| format!("repository:r{number}:pull")).collect();
        assert_eq!(Grant::parse(many.iter().map(String::as_str)).repositories.len(), SCOPES);
    }

    #[test]
    fn nobody_is_granted_more_than_they_may() {
        let rules = Rules::owner("alice");
        let asked = Grant::parse(["repository:a:pull,push", "repository:b:*"]);
        let granted = asked.within(&rules, &Caller::new(Identity::User("alice".into())));
        assert_eq!(granted.len(), 2);
        assert!(granted[1].covers(Right::Delete, Some("b")) && !granted[0].covers(Right::Delete, Some("a")));
        assert!(!granted[0].covers(Right::Pull, Some("b")) && granted[0].covers(Right::Push, None));
        assert_eq!(asked.within(&rules, &Caller::new(Identity::User("eve".into()))).len(), 0);
    }
}
