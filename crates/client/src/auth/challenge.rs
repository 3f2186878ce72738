//! What a 401 asks for (RFC 9110, section 11.6.1; the Bearer parameters are those of the Docker token specification).

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password.
    Basic,
    /// A token that is fetched elsewhere.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// What the token is for, when the token server wants to know.
        service: Option<String>,
    },
}

/// The challenges in a header's value that mean something here, in order. What cannot be read is passed over.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let (scheme, after) = token(rest);
        let (parameters, after) = parameters(after.trim_start());
        let named =
            |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = named("realm")
        {
            challenges.push(Challenge::Bearer { realm, service: named("service") });
        }
        // Something that is neither scheme nor parameter would stand here for ever.
        let skipped = after.trim_start_matches([' ', ',', '\t']);
        rest =
            if skipped.len() < rest.len() { skipped } else { rest.char_indices().nth(1).map_or("", |(next, _)| &rest[next..]) };
    }
    challenges
}

/// The token at the beginning, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    text.split_at(end)
}

/// The `name=value` pairs at the beginning, and what follows them: the next scheme, mostly.
fn parameters(mut text: &str) -> (Vec<(&str, String)>, &str) {
    let mut found = Vec::new();
    loop {
        let (name, after) = token(text);
        let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !name.is_empty()) else { return (found, text) };
        let (value, after) = quoted_or_token(value.trim_start());
        found.push((name, value));
        let next = after.trim_start();
        match next.strip_prefix(',') {
            Some(next) => text = next.trim_start_matches([' ', ',', '\t']),
            None => return (found, next),
        }
    }
}

fn quoted_or_token(text: &str) -> (String, &str) {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (place, c) in inside.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &inside[place + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for challenge in parse(text) {
        if let Challenge::Bearer { realm, service } = challenge {
            assert!(realm.len() + service.map_or(0, |service| service.len()) <= text.len(), "more than was sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), [Challenge::Basic]);
        assert_eq!(
            parse(r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#),
            [bearer("https://auth.docker.io/token", Some("registry.docker.io"))]
        );
        assert_eq!(
            parse(r#"BASIC realm=x, bearer realm="http://a/b\"c"; junk"#),
            [Challenge::Basic, bearer("http://a/b\"c", None)]
        );
        assert_eq!(parse(r#"Negotiate, Bearer service=s , realm=https://r/"#), [bearer("https://r/", Some("s"))]);
    }

    #[test]
    fn what_is_no_challenge_is_passed_over() {
        for text in
            ["", ",", "=", "Bearer", "Bearer realm", r#"Bearer realm"=x"#, "Digest realm=\"x", "ä Basic=", "\"", "== , ,= ="]
        {
            assert_eq!(parse(text), [], "{text}");
        }
        // A basic challenge needs nothing but its name.
        assert_eq!(parse("ä, Basic"), [Challenge::Basic]);
    }
}
