use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use super::*;

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic { user: user.to_owned(), password: password.into() }
}

/// A folder with files, and programs in `bin`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A helper is written by another process: while this one has it open for writing, a test beside this one may start a program, which
    /// inherits the descriptor, and then the kernel refuses to run the helper.
    fn helper(&self, name: &str, script: &str) {
        let file = self.path(&format!("bin/docker-credential-{name}"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#;
        assert!(Command::new("sh").args(["-c", write, "sh", script]).arg(&file).status().unwrap().success());
    }

    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let paths = variables.iter().map(|(name, path)| (*name, self.path(path).display().to_string()));
        paths.chain([("PATH", path)]).collect()
    }

    fn source(&self, text: &str) -> Source {
        Source::AuthFile { file: self.file("auth.json", text), environment: self.environment(&[]) }
    }

    fn lookup(&self, text: &str, host: &str) -> Result<Option<Credential>, CredentialError> {
        self.source(text).lookup(host, Some(&name("team/app")))
    }
}

fn auth(pair: &str) -> String {
    format!(r#"{{"auth": "{}"}}"#, BASE64_STANDARD.encode(pair))
}

#[test]
fn secrets_are_never_shown() {
    let secret = Secret::from("hunter2");
    assert_eq!(format!("{secret} {secret:?}"), "… …");
    assert_eq!(secret.expose(), "hunter2");
    let environment: Environment = [("PASSWORD", "hunter2")].into_iter().collect();
    let fixed = Source::Fixed { host: "h".to_owned(), credential: basic("u", "hunter2") };
    for shown in [format!("{:?}", basic("u", "hunter2")), format!("{environment:?}"), format!("{fixed:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn pairs_are_user_and_password() {
    assert_eq!(Credential::from_pair("me:pass:word").unwrap(), basic("me", "pass:word"));
    assert_eq!(Credential::from_pair("me:").unwrap(), basic("me", ""));
    for bad in ["hunter2", "", ":hunter2"] {
        let error = Credential::from_pair(bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_fixed_credential_is_for_its_host_alone() {
    let source = |host: &str| Source::Fixed { host: host.to_owned(), credential: basic("u", "p") };
    for (own, asked, given) in [
        ("quay.io", "quay.io", true),
        ("Quay.io", "quay.IO", true),
        ("docker.io", "registry-1.docker.io", true),
        ("index.docker.io", "docker.io", true),
        ("quay.io", "quay.io:5000", false),
        ("quay.io", "evil.quay.io", false),
        ("quay.io", "docker.io", false),
    ] {
        assert_eq!(source(own).lookup(asked, Some(&name("a"))).unwrap().is_some(), given, "{own} for {asked}");
    }
    assert_eq!(Source::None.lookup("quay.io", Some(&name("a"))).unwrap(), None);
}

#[test]
fn entries_hold_several_kinds_of_credentials() {
    let folder = Folder::new();
    for (entry, expected) in [
        (auth("me:pass:word"), Some(basic("me", "pass:word"))),
        (auth("me:"), Some(basic("me", ""))),
        (auth("me:secret\0\0"), Some(basic("me", "secret"))),
        (r#"{"auth": "bWU6YWI"}"#.to_owned(), Some(basic("me", "ab"))),
        (r#"{"username": "me", "password": "p"}"#.to_owned(), Some(basic("me", "p"))),
        (r#"{"auth": "", "username": "me", "password": "p", "email": "x"}"#.to_owned(), Some(basic("me", "p"))),
        (r#"{"auth": "bWU6cA==", "identitytoken": "t"}"#.to_owned(), Some(Credential::Identity("t".into()))),
        (r#"{"identitytoken": "i", "registrytoken": "t"}"#.to_owned(), Some(Credential::Bearer("t".into()))),
        ("{}".to_owned(), None),
        ("null".to_owned(), None),
    ] {
        let found = folder.lookup(&format!(r#"{{"auths": {{"quay.io": {entry}}}, "HttpHeaders": {{}}}}"#), "quay.io");
        assert_eq!(found.unwrap(), expected, "{entry}");
    }
    for text in ["", " \n", "{}", r#"{"auths": null}"#] {
        assert_eq!(folder.lookup(text, "quay.io").unwrap(), None, "{text:?}");
    }
}

#[test]
fn keys_spell_a_host_in_many_ways() {
    let folder = Folder::new();
    for (key, host) in [
        ("quay.io", "quay.io"),
        ("https://quay.io", "quay.io"),
        ("http://localhost:5000", "localhost:5000"),
        ("https://localhost:5000/v1/", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
    ] {
        let text = format!(r#"{{"auths": {{"other.example": {}, "{key}": {}}}}}"#, auth("no:no"), auth("me:p"));
        assert_eq!(folder.lookup(&text, host).unwrap(), Some(basic("me", "p")), "{key}");
        assert_eq!(folder.lookup(&text, "third.example").unwrap(), None, "{key}");
    }
    let port = format!(r#"{{"auths": {{"quay.io": {}}}}}"#, auth("me:p"));
    assert_eq!(folder.lookup(&port, "quay.io:5000").unwrap(), None);
}

#[test]
fn the_longest_key_wins_and_an_empty_entry_leaves_it_to_the_next() {
    let text = format!(
        r#"{{"auths": {{"quay.io": {}, "quay.io/team": {}, "quay.io/team/app": {}, "quay.io/team/app/deep": {{}},
            "https://index.docker.io/v1/": {}, "docker.io": {}}}}}"#,
        auth("host:p"),
        auth("team:p"),
        auth("app:p"),
        auth("docker:p"),
        auth("podman:p"),
    );
    let folder = Folder::new();
    let source = folder.source(&text);
    for (host, repository, user) in [
        ("quay.io", "other", "host"),
        ("quay.io", "teams/app", "host"),
        ("quay.io", "team/web", "team"),
        ("quay.io", "team/app", "app"),
        ("quay.io", "team/app/deep", "app"),
        ("docker.io", "library/alpine", "podman"),
    ] {
        assert_eq!(source.lookup(host, Some(&name(repository))).unwrap(), Some(basic(user, "p")), "{host}/{repository}");
    }
}

#[test]
fn errors_name_the_place_and_never_the_value() {
    let folder = Folder::new();
    for (text, message) in [
        ("{\n\"auths\": {\"quay.io\": \"hunter2\"}}", "auth.json:2:"),
        ("{\"auths\": {\n", "auth.json:2:"),
        (r#"{"auths": {"quay.io": {"auth": "hunter2!"}}}"#, "auth.json: `auth` of \"quay.io\" is not the base64 form"),
        (r#"{"auths": {"quay.io": {"auth": "aHVudGVyMg=="}}}"#, "auth.json: `auth` of \"quay.io\" is not the base64 form"),
    ] {
        let error = folder.lookup(text, "quay.io").unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let missing = Source::AuthFile { file: folder.path("none.json"), environment: Environment::default() };
    assert!(matches!(missing.lookup("quay.io", Some(&name("a"))), Err(CredentialError::Read(_))));
    let huge = " ".repeat(file::FILE_MAX as usize + 1);
    assert!(matches!(folder.lookup(&huge, "quay.io"), Err(CredentialError::Read(ReadError::TooLarge { .. }))));
}

#[test]
fn home_is_several_files_in_their_order() {
    let folder = Folder::new();
    let entry = |user: &str| format!(r#"{{"auths": {{"quay.io": {}}}}}"#, auth(&format!("{user}:p")));
    let user = |variables: &[(&str, &str)]| {
        let source = Source::Home(folder.environment(variables));
        match source.lookup("quay.io", Some(&name("a"))).unwrap() {
            Some(Credential::Basic { user, .. }) => user,
            other => format!("{other:?}"),
        }
    };
    let home = ("HOME", "home");
    assert_eq!(user(&[home]), "None");
    assert_eq!(user(&[]), "None");
    folder.file("home/.config/containers/auth.json", &entry("config"));
    assert_eq!(user(&[home]), "config");
    folder.file("xdg/containers/auth.json", &entry("xdg"));
    assert_eq!(user(&[home, ("XDG_CONFIG_HOME", "xdg")]), "xdg");
    folder.file("run/containers/auth.json", &entry("run"));
    assert_eq!(user(&[home, ("XDG_RUNTIME_DIR", "run")]), "run");
    folder.file("home/.docker/config.json", r#"{"auths": {"other.example": {}}}"#);
    assert_eq!(user(&[home, ("XDG_RUNTIME_DIR", "run")]), "run");
    folder.file("home/.docker/config.json", &entry("docker"));
    assert_eq!(user(&[home, ("XDG_RUNTIME_DIR", "run")]), "docker");
    folder.file("docker/config.json", &entry("moved"));
    assert_eq!(user(&[home, ("DOCKER_CONFIG", "docker")]), "moved");
    folder.file("named.json", &entry("named"));
    assert_eq!(user(&[home, ("REGISTRY_AUTH_FILE", "named.json")]), "named");

    let lost = Source::Home(folder.environment(&[home, ("REGISTRY_AUTH_FILE", "lost.json")]));
    let error = lost.lookup("quay.io", Some(&name("a"))).unwrap_err();
    assert!(error.to_string().ends_with("lost.json"), "{error}");
}

/// Notes what it is asked, and knows two servers.
const KEYCHAIN: &str = r#"server=$(cat); echo "$* $server" >> "$(dirname "$0")/asked"
case $server in
quay.io) echo '{"ServerURL":"quay.io","Username":"me","Secret":"kept"}';;
https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}';;
empty.example) echo '{"Username":"","Secret":""}';;
broken.example) echo hunter2; exit 3;;
odd.example) echo hunter2;;
*) echo 'credentials not found in native keychain'; exit 1;;
esac"#;

#[test]
fn helpers_are_asked_on_their_standard_input() {
    let folder = Folder::new();
    folder.helper("keys", KEYCHAIN);
    let store = r#"{"credsStore": "keys"}"#;
    assert_eq!(folder.lookup(store, "quay.io").unwrap(), Some(basic("me", "kept")));
    assert_eq!(folder.lookup(store, "docker.io").unwrap(), Some(Credential::Identity("refresh".into())));
    assert_eq!(folder.lookup(store, "empty.example").unwrap(), None);
    assert_eq!(folder.lookup(store, "unknown.example:5000").unwrap(), None);
    let asked = fs::read_to_string(folder.path("bin/asked")).unwrap();
    assert_eq!(asked, "get quay.io\nget https://index.docker.io/v1/\nget empty.example\nget unknown.example:5000\n");
}

#[test]
fn a_helper_of_one_host_comes_first_and_the_store_last() {
    let folder = Folder::new();
    folder.helper("keys", KEYCHAIN);
    folder.helper("none", "echo 'Credentials not found'; exit 1");
    let own = format!(r#"{{"auths": {{"quay.io": {}}}, "credHelpers": {{"https://quay.io": "keys"}}}}"#, auth("file:p"));
    assert_eq!(folder.lookup(&own, "quay.io").unwrap(), Some(basic("me", "kept")));
    assert_eq!(folder.lookup(&own, "other.example").unwrap(), None);
    let entry = format!(r#"{{"auths": {{"quay.io": {}}}, "credsStore": "keys"}}"#, auth("file:p"));
    assert_eq!(folder.lookup(&entry, "quay.io").unwrap(), Some(basic("file", "p")));
    let silent = format!(r#"{{"auths": {{"quay.io": {}}}, "credHelpers": {{"quay.io": "none"}}}}"#, auth("file:p"));
    assert_eq!(folder.lookup(&silent, "quay.io").unwrap(), Some(basic("file", "p")));
    let instead = r#"{"credHelpers": {"quay.io": "none"}, "credsStore": "keys"}"#;
    assert_eq!(folder.lookup(instead, "quay.io").unwrap(), None);
    assert_eq!(
        folder.lookup(r#"{"auths": {"quay.io": {}}, "credsStore": "keys"}"#, "quay.io").unwrap(),
        Some(basic("me", "kept"))
    );
}

#[test]
fn a_helper_that_fails_is_named() {
    let folder = Folder::new();
    folder.helper("keys", KEYCHAIN);
    folder.helper("flood", "yes '{'");
    folder.file("bin/docker-credential-plain", "not a program");
    let problem = |helper: &str, host: &str| {
        let error = folder.lookup(&format!(r#"{{"credsStore": "{helper}"}}"#), host).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(error.to_string().ends_with(&format!("auth.json: no answer from credential helper docker-credential-{helper}")));
        match error {
            CredentialError::Helper { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(problem("keys", "broken.example"), HelperError::Failed(_)));
    assert!(matches!(problem("keys", "odd.example"), HelperError::Answer));
    assert!(matches!(problem("flood", "quay.io"), HelperError::TooMuch));
    assert!(matches!(problem("absent", "quay.io"), HelperError::Missing));
    assert!(matches!(problem("plain", "quay.io"), HelperError::Missing));
    assert!(matches!(problem("../bin/keys", "quay.io"), HelperError::Name));
}

#[test]
fn a_helper_is_not_waited_for_without_end() {
    let folder = Folder::new();
    folder.helper("sleeps", "exec sleep 60");
    folder.helper("lingers", "exec >&-; exec sleep 60");
    folder.helper("deaf", "exec <&-; echo '{\"Username\":\"me\",\"Secret\":\"p\"}'");
    let environment = folder.environment(&[]);
    for name in ["sleeps", "lingers"] {
        let begun = std::time::Instant::now();
        let answer = helper::ask(name, "quay.io", &environment, Duration::from_millis(200));
        assert!(matches!(answer, Err(HelperError::Slow(_))), "{name}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}");
    }
    let answer = helper::ask("deaf", "quay.io", &environment, helper::WAIT);
    assert_eq!(answer.unwrap(), Some(basic("me", "p")));
}

#[test]
fn a_helper_gets_the_environment_that_was_given() {
    let folder = Folder::new();
    folder.helper("env", r#"cat > /dev/null; printf '{"Username":"%s","Secret":"%s"}' "$GNUPGHOME" "$CARGO_MANIFEST_DIR""#);
    let given = folder.environment(&[("GNUPGHOME", "keys")]);
    let keys = folder.path("keys").display().to_string();
    assert_eq!(helper::ask("env", "quay.io", &given, helper::WAIT).unwrap(), Some(basic(&keys, "")));
}

fn variables(pairs: &[(&str, &str)]) -> Result<Credential, CredentialError> {
    from_variables(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn variables_make_a_credential() {
    let user = ("CONTAINER_REGISTRY_USER", "me");
    let username = ("CONTAINER_REGISTRY_USERNAME", "named");
    let password = ("CONTAINER_REGISTRY_PASSWORD", "p");
    let token = ("CONTAINER_REGISTRY_TOKEN", "t");
    assert_eq!(variables(&[user, password]).unwrap(), basic("me", "p"));
    assert_eq!(variables(&[username, user, password]).unwrap(), basic("me", "p"));
    assert_eq!(variables(&[username, password]).unwrap(), basic("named", "p"));
    assert_eq!(variables(&[user, password, token]).unwrap(), Credential::Bearer("t".into()));
    assert_eq!(variables(&[user, password, ("CONTAINER_REGISTRY_TOKEN", "")]).unwrap(), basic("me", "p"));
    assert_eq!(variables(&[user, ("CONTAINER_REGISTRY_PASSWORD", "")]).unwrap(), basic("me", ""));
    for (pairs, missing) in [
        (&[user][..], "CONTAINER_REGISTRY_PASSWORD is not set"),
        (&[password], "CONTAINER_REGISTRY_USER is not set"),
        (&[], "CONTAINER_REGISTRY_USER with CONTAINER_REGISTRY_PASSWORD, or CONTAINER_REGISTRY_TOKEN, is not set"),
    ] {
        assert_eq!(variables(pairs).unwrap_err().to_string(), missing);
    }
}

fn password_of(folder: &Folder, value: &str) -> Result<String, CredentialError> {
    let path =
        folder.file("creds", &format!("# who\n\nCONTAINER_REGISTRY_USER=me\nCONTAINER_REGISTRY_PASSWORD={value}\nOTHER=1\n"));
    match CredentialsFile::read(&path)?.credential {
        Credential::Basic { password, .. } => Ok(password.expose().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn credentials_files_are_read_as_a_shell_would() {
    let folder = Folder::new();
    for (written, value) in [
        ("plain", "plain"),
        ("  spaced out \t", "spaced out"),
        ("a=b:c", "a=b:c"),
        ("a#b", "a#b"),
        ("a # why", "a"),
        ("# all of it", "# all of it"),
        ("", ""),
        ("'single \" # $x \\'", "single \" # $x \\"),
        ("'a' # why", "a"),
        (r#""double ' # \" \\ \$ \` \n $x""#, r#"double ' # " \ $ ` \n $x"#),
        ("pä", "pä"),
        ("dos\r", "dos"),
    ] {
        assert_eq!(password_of(&folder, written).unwrap(), value, "{written}");
    }
    for (written, problem) in [
        ("'hunter2", LineProblem::OpenQuote),
        ("\"hunter2\\\"", LineProblem::OpenQuote),
        ("'hunter2'x", LineProblem::AfterQuote),
        ("\"a\"#hunter2", LineProblem::AfterQuote),
        ("x\nhunter2", LineProblem::NotAssignment),
        ("x\nHUNTER 2=hunter2", LineProblem::NotAssignment),
    ] {
        let error = password_of(&folder, written).unwrap_err();
        let line = 4 + written.matches('\n').count();
        assert!(error.to_string().ends_with(&format!("/creds:{line}: {problem}")), "{written}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn credentials_files_may_export_and_a_token_wins() {
    let folder = Folder::new();
    let path = folder.file("c", "export CONTAINER_REGISTRY_USER=me\nexport\tCONTAINER_REGISTRY_PASSWORD='p'\n");
    assert_eq!(CredentialsFile::read(&path).unwrap().credential, basic("me", "p"));
    let path = folder.file("c", "CONTAINER_REGISTRY_USER=me\nCONTAINER_REGISTRY_TOKEN=\"t\"");
    assert_eq!(CredentialsFile::read(&path).unwrap().credential, Credential::Bearer("t".into()));
    let path = folder.file("c", "CONTAINER_REGISTRY_USER=me\n");
    let error = CredentialsFile::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("/c: CONTAINER_REGISTRY_PASSWORD is not set"), "{error}");
    fs::write(&path, b"A=1\nB=\xff\n").unwrap();
    let error = CredentialsFile::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("/c:2: not UTF-8"), "{error}");
    assert!(matches!(CredentialsFile::read(Path::new("/nonexistent")), Err(CredentialError::Read(_))));
}

#[test]
fn a_file_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.file("c", "CONTAINER_REGISTRY_TOKEN=t");
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let readable = CredentialsFile::read(&path).unwrap().readable;
        assert_eq!(readable.is_some(), warned, "{mode:o}");
        if let Some(readable) = readable {
            let shown = readable.to_string();
            assert!(shown.ends_with(&format!("/c can be read by others (mode 0{mode:o}); `chmod 600` it")), "{shown}");
        }
    }
}
