//! The rules: who may do what, with which repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Deserialize;

use crate::bearer::Granted;
use crate::caller::{Caller, Identity, Right};
use crate::glob::{Glob, GlobError};

/// A rule as the configuration writes it. Rules only allow; what no rule allows is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `anonymous` (whoever does not say who they are), `everybody`, `known` (whoever does), `user:NAME`, `group:NAME`, `token:USER/NAME`, `certificate:NAME`,
    /// `issuer:NAME`, or `claim:ISSUER/CLAIM=VALUE`, with `*` for any part of the value.
    pub who: Vec<String>,
    /// The rights.
    pub may: Vec<Right>,
    /// Patterns of repositories; all when none is given.
    #[serde(default)]
    pub repositories: Vec<String>,
}

/// A rule that cannot be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A pattern.
    #[error(transparent)]
    Glob(#[from] GlobError),
    /// Somebody.
    #[error(
        "`{0}` is nobody: expected anonymous, everybody, known, user:NAME, group:NAME, token:USER/NAME, certificate:NAME, issuer:NAME or claim:ISSUER/CLAIM=VALUE"
    )]
    Who(String),
    /// A group that is not there.
    #[error("the group `{0}` is not defined in wharf.access.groups")]
    Group(String),
    /// A rule for nobody, or that allows nothing.
    #[error("a rule needs somebody in `who` and a right in `may`")]
    Empty,
}

#[derive(Clone, Debug)]
enum Who {
    Anonymous,
    Everybody,
    Known,
    AnyUser,
    User(String),
    Group(BTreeSet<String>),
    Token { user: String, name: String },
    Certificate(String),
    Issuer(String),
    Claim { issuer: String, claim: String, value: String },
}

#[derive(Clone, Debug)]
struct Entry {
    who: Vec<Who>,
    may: Vec<Right>,
    repositories: Vec<Glob>,
}

/// All rules of a registry.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Entry>);

/// What is to be said to who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allowed,
    /// Somebody may, perhaps; say who you are.
    Unauthenticated,
    /// They may, but not by the bearer token they came with.
    Insufficient,
    /// They may not.
    Forbidden,
}

impl Decision {
    /// What somebody is told who may not.
    pub fn refusing(caller: &Caller) -> Self {
        if caller.identity.is_known() { Self::Forbidden } else { Self::Unauthenticated }
    }
}

impl Rules {
    /// Reads the rules of a configuration.
    ///
    /// # Errors
    ///
    /// The first rule that cannot be kept.
    pub fn new(rules: &[Rule], groups: &BTreeMap<String, Vec<String>>) -> Result<Self, RuleError> {
        rules.iter().map(|rule| Entry::new(rule, groups)).collect::<Result<_, _>>().map(Self)
    }

    /// One user may do everything, others nothing.
    pub fn owner(name: &str) -> Self {
        Self(vec![Entry { who: vec![Who::User(name.to_owned())], may: Right::ALL.to_vec(), repositories: vec![Glob::all()] }])
    }

    /// Whoever has a password here may do everything; who is known in other ways, nothing.
    pub fn all_users() -> Self {
        Self(vec![Entry { who: vec![Who::AnyUser], may: Right::ALL.to_vec(), repositories: vec![Glob::all()] }])
    }

    /// Whether `caller` may do `right` with the repository; without one, whether they may somewhere.
    pub fn decide(&self, caller: &Caller, right: Right, repository: Option<&str>) -> Decision {
        if !self.allow(caller, right, repository) {
            return Decision::refusing(caller);
        }
        let by_token = |granted: &[Granted]| granted.iter().any(|granted| granted.covers(right, repository));
        match &caller.granted {
            // Whoever may administer does so by any token; it is no right over a repository that a token could name.
            Some(granted) if right != Right::Administer && repository.is_some() && !by_token(granted) => Decision::Insufficient,
            _ => Decision::Allowed,
        }
    }

    /// What the rules and a personal access token say, without what a bearer token does.
    pub fn allow(&self, caller: &Caller, right: Right, repository: Option<&str>) -> bool {
        let fits = |globs: &[Glob]| repository.is_none_or(|name| globs.iter().any(|glob| glob.matches(name)));
        if caller.token.as_ref().is_some_and(|token| !token.rights.contains(&right) || !fits(&token.repositories)) {
            return false;
        }
        self.0
            .iter()
            .any(|rule| rule.may.contains(&right) && fits(&rule.repositories) && rule.who.iter().any(|who| who.is(caller)))
    }

    /// Whether `caller` may do anything at all.
    pub fn allow_anything(&self, caller: &Caller) -> bool {
        Right::ALL.into_iter().any(|right| self.allow(caller, right, None))
    }
}

impl Entry {
    fn new(rule: &Rule, groups: &BTreeMap<String, Vec<String>>) -> Result<Self, RuleError> {
        if rule.who.is_empty() || rule.may.is_empty() {
            return Err(RuleError::Empty);
        }
        let who = rule.who.iter().map(|text| Who::parse(text, groups)).collect::<Result<_, _>>()?;
        let repositories = rule.repositories.iter().map(|text| Glob::from_str(text)).collect::<Result<Vec<_>, _>>()?;
        let repositories = if repositories.is_empty() { vec![Glob::all()] } else { repositories };
        Ok(Self { who, may: rule.may.clone(), repositories })
    }
}

impl Who {
    fn parse(text: &str, groups: &BTreeMap<String, Vec<String>>) -> Result<Self, RuleError> {
        let nobody = || RuleError::Who(text.to_owned());
        match text.split_once(':') {
            None => match text {
                "anonymous" => Ok(Self::Anonymous),
                "everybody" => Ok(Self::Everybody),
                "known" => Ok(Self::Known),
                _ => Err(nobody()),
            },
            Some((_, "")) => Err(nobody()),
            Some(("user", name)) => Ok(Self::User(name.to_owned())),
            Some(("group", name)) => match groups.get(name) {
                Some(users) => Ok(Self::Group(users.iter().cloned().collect())),
                None => Err(RuleError::Group(name.to_owned())),
            },
            // Two users may call their tokens the same.
            Some(("token", rest)) => match rest.split_once('/') {
                Some((user, name)) if !user.is_empty() && !name.is_empty() => {
                    Ok(Self::Token { user: user.to_owned(), name: name.to_owned() })
                }
                _ => Err(nobody()),
            },
            Some(("certificate", name)) => Ok(Self::Certificate(name.to_owned())),
            Some(("issuer", name)) => Ok(Self::Issuer(name.to_owned())),
            Some(("claim", rest)) => {
                let (place, value) = rest.split_once('=').ok_or_else(nobody)?;
                let (issuer, claim) = place.split_once('/').ok_or_else(nobody)?;
                if issuer.is_empty() || claim.is_empty() || value.is_empty() {
                    return Err(nobody());
                }
                Ok(Self::Claim { issuer: issuer.to_owned(), claim: claim.to_owned(), value: value.to_owned() })
            }
            Some(_) => Err(nobody()),
        }
    }

    fn is(&self, caller: &Caller) -> bool {
        let user = match &caller.identity {
            Identity::User(name) => Some(&**name),
            _ => None,
        };
        match self {
            Self::Anonymous => !caller.identity.is_known(),
            Self::Everybody => true,
            Self::Known => caller.identity.is_known(),
            Self::AnyUser => user.is_some(),
            Self::User(name) => user == Some(name),
            Self::Group(users) => user.is_some_and(|user| users.contains(user)),
            Self::Token { user, name } => caller.token.as_ref().is_some_and(|token| token.user == *user && token.name == *name),
            Self::Certificate(name) => matches!(&caller.identity, Identity::Certificate(shown) if **shown == **name),
            Self::Issuer(name) => matches!(&caller.identity, Identity::Issued { issuer, .. } if **issuer == **name),
            Self::Claim { issuer, claim, value } => match &caller.identity {
                Identity::Issued { issuer: by, subject, claims } if **by == **issuer => {
                    let found = if claim == "sub" { Some(&**subject) } else { claims.get(claim).map(String::as_str) };
                    found.is_some_and(|found| stands_for(value, found))
                }
                _ => false,
            },
        }
    }
}

/// Whether `pattern`, in which `*` stands for any text, stands for `text`.
pub(crate) fn stands_for(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // The leftmost place of each part leaves the most for those after it.
    for part in parts {
        match text.find(part) {
            Some(place) => text = &text[place + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rules(text: &str) -> Result<Rules, RuleError> {
        let rules: Vec<Rule> = serde_json::from_str(text).unwrap();
        Rules::new(&rules, &BTreeMap::from([("makers".to_owned(), vec!["bob".to_owned()])]))
    }

    fn user(name: &str) -> Caller {
        Caller::new(Identity::User(name.into()))
    }

    fn issued(subject: &str, claims: &[(&str, &str)]) -> Caller {
        let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Caller::new(Identity::Issued { issuer: "ci".into(), subject: subject.into(), claims: Arc::new(claims) })
    }

    #[test]
    fn what_no_rule_allows_is_refused() {
        let rules = rules(
            r#"[{"who":["anonymous"],"may":["pull"],"repositories":["public/**"]},
                {"who":["user:alice","group:makers"],"may":["pull","push"],"repositories":["yocto/*"]},
                {"who":["certificate:line-3"],"may":["pull"]},
                {"who":["claim:ci/repository=acme/*"],"may":["push"],"repositories":["ci/**"]},
                {"who":["token:bob/nightly"],"may":["delete"]}]"#,
        )
        .unwrap();
        let decide = |caller: &Caller, right, name| rules.decide(caller, right, Some(name));
        let (nobody, alice, bob, eve) = (Caller::anonymous(), user("alice"), user("bob"), user("eve"));
        assert_eq!(decide(&nobody, Right::Pull, "public/a/b"), Decision::Allowed);
        assert_eq!(decide(&nobody, Right::Push, "public/a/b"), Decision::Unauthenticated);
        assert_eq!(decide(&nobody, Right::Pull, "yocto/a"), Decision::Unauthenticated);
        // Who says who they are is not nobody any more.
        assert_eq!(decide(&alice, Right::Pull, "public/a"), Decision::Forbidden);
        for maker in [&alice, &bob] {
            assert_eq!(decide(maker, Right::Push, "yocto/a"), Decision::Allowed);
            assert_eq!(decide(maker, Right::Delete, "yocto/a"), Decision::Forbidden);
            assert_eq!(decide(maker, Right::Push, "yocto/a/b"), Decision::Forbidden);
        }
        assert_eq!(decide(&eve, Right::Pull, "yocto/a"), Decision::Forbidden);
        let line = Caller::new(Identity::Certificate("line-3".into()));
        assert_eq!(decide(&line, Right::Pull, "any/thing"), Decision::Allowed);
        assert_eq!(decide(&user("line-3"), Right::Pull, "any/thing"), Decision::Forbidden);
        assert_eq!(decide(&issued("x", &[("repository", "acme/app")]), Right::Push, "ci/app"), Decision::Allowed);
        assert_eq!(decide(&issued("x", &[("repository", "evil/acme/")]), Right::Push, "ci/app"), Decision::Forbidden);
        assert_eq!(decide(&issued("acme/app", &[]), Right::Push, "ci/app"), Decision::Forbidden);
        assert!(!rules.allow_anything(&eve) && rules.allow_anything(&nobody) && rules.allow_anything(&alice));
        assert_eq!(rules.decide(&alice, Right::Administer, None), Decision::Forbidden);
    }

    #[test]
    fn users_alone_may_everything_where_that_is_the_rule() {
        let rules = Rules::all_users();
        let line = Caller::new(Identity::Certificate("line-3".into()));
        for (caller, may) in [(user("alice"), true), (issued("x", &[]), false), (line, false), (Caller::anonymous(), false)] {
            assert_eq!(rules.allow_anything(&caller), may, "{caller:?}");
        }
    }

    #[test]
    fn rules_that_cannot_be_kept_are_refused() {
        for (text, expected) in [
            (r#"[{"who":["alice"],"may":["pull"]}]"#, RuleError::Who("alice".into())),
            (r#"[{"who":["user:"],"may":["pull"]}]"#, RuleError::Who("user:".into())),
            (r#"[{"who":["claim:ci/x"],"may":["pull"]}]"#, RuleError::Who("claim:ci/x".into())),
            (r#"[{"who":["token:ci"],"may":["pull"]}]"#, RuleError::Who("token:ci".into())),
            (r#"[{"who":["group:x"],"may":["pull"]}]"#, RuleError::Group("x".into())),
            (r#"[{"who":[],"may":["pull"]}]"#, RuleError::Empty),
            (r#"[{"who":["known"],"may":[]}]"#, RuleError::Empty),
        ] {
            assert_eq!(rules(text).unwrap_err(), expected, "{text}");
        }
        assert!(rules(r#"[{"who":["known"],"may":["pull"],"repositories":["A"]}]"#).is_err());
        assert!(serde_json::from_str::<Vec<Rule>>(r#"[{"who":["known"],"may":["pull"],"repository":["a"]}]"#).is_err());
        assert!(serde_json::from_str::<Vec<Rule>>(r#"[{"who":["known"],"may":["write"]}]"#).is_err());
    }

    #[test]
    fn a_value_with_stars_stands_for_texts() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("refs/heads/*", "refs/heads/main", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(stands_for(pattern, text), expected, "{pattern} {text}");
        }
    }
}
