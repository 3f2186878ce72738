//! The many spellings of a registry's name.

/// Docker Hub as references name it.
const HUB: &str = "docker.io";
/// Docker Hub as `docker login` names it, to its file and to its helpers.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A host in the one spelling that is compared: lower case, and Docker Hub by its name in references.
pub(super) fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        _ => host,
    }
}

/// The names under which a helper may keep the credential of a (canonical) host, the likeliest first.
pub(super) fn servers(host: &str) -> Vec<&str> {
    if host == HUB { vec![HUB_SERVER, HUB] } else { vec![host] }
}

/// A key of an auth file: a host, and for containers' longer keys a namespace or repository in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) host: String,
    /// Empty for the whole host.
    pub(super) path: &'a str,
}

impl<'a> Key<'a> {
    /// Reads `HOST[:PORT]`, `HOST[:PORT]/NAMESPACE[/…]` and the addresses of docker's first protocol, `[https://]HOST[:PORT]/v1/`. What
    /// follows the host of an address is no namespace, for docker never writes one.
    pub(super) fn parse(text: &'a str) -> Self {
        let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = address.unwrap_or(text).split_once('/').unwrap_or((address.unwrap_or(text), ""));
        let path = if address.is_some() || matches!(path, "v1/" | "v2/") { "" } else { path.trim_end_matches('/') };
        Self { host: canonical(host), path }
    }

    /// Whether the key covers a repository of a (canonical) host.
    pub(super) fn covers(&self, host: &str, repository: &str) -> bool {
        self.host == host
            && (self.path.is_empty()
                || repository.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hosts_with_or_without_a_namespace() {
        for (text, host, path) in [
            ("quay.io", "quay.io", ""),
            ("Quay.IO", "quay.io", ""),
            ("localhost:5000", "localhost:5000", ""),
            ("quay.io/", "quay.io", ""),
            ("quay.io/v1/", "quay.io", ""),
            ("quay.io/v1", "quay.io", "v1"),
            ("quay.io/team/image", "quay.io", "team/image"),
            ("quay.io/team/", "quay.io", "team"),
            ("https://quay.io", "quay.io", ""),
            ("http://localhost:5000/", "localhost:5000", ""),
            ("https://registry.example:8443/v1/", "registry.example:8443", ""),
            ("https://index.docker.io/v1/", "docker.io", ""),
            ("index.docker.io", "docker.io", ""),
            ("registry-1.docker.io", "docker.io", ""),
            ("docker.io/library", "docker.io", "library"),
            ("", "", ""),
            ("https://", "", ""),
        ] {
            assert_eq!(Key::parse(text), Key { host: host.to_owned(), path }, "{text}");
        }
    }

    #[test]
    fn a_namespace_ends_at_a_slash() {
        let key = Key::parse("quay.io/team");
        assert!(key.covers("quay.io", "team"));
        assert!(key.covers("quay.io", "team/image"));
        assert!(!key.covers("quay.io", "teams/image"));
        assert!(!key.covers("quay.io", "other/team"));
        assert!(!key.covers("quay.io:443", "team"));
    }
}
