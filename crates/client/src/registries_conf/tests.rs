use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::credentials::Environment;

fn parsed(text: &str) -> Result<Registries, RegistriesError> {
    let mut registries = Registries::default();
    registries.entries = file::parse(Path::new("r.conf"), text.as_bytes(), &mut registries.warnings)?;
    Ok(registries)
}

/// The endpoints as `[mirror ]HOST/REPOSITORY[ insecure]`.
fn shown(registries: &Registries, reference: &str, by_digest: bool) -> Vec<String> {
    let (host, repository) = reference.split_once('/').unwrap();
    let endpoints = registries.endpoints(host, &repository.parse().unwrap(), by_digest).unwrap();
    let show = |endpoint: &Endpoint| {
        let mirror = if endpoint.is_mirror { "mirror " } else { "" };
        let insecure = if endpoint.insecure { " insecure" } else { "" };
        format!("{mirror}{}/{}{insecure}", endpoint.host, endpoint.repository)
    };
    endpoints.iter().map(show).collect()
}

#[test]
fn without_an_entry_the_host_itself_is_asked() {
    assert_eq!(shown(&Registries::default(), "docker.io/library/alpine", false), ["docker.io/library/alpine"]);
    let other = parsed("[[registry]]\nlocation = 'quay.io'\ninsecure = true").unwrap();
    assert_eq!(shown(&other, "docker.io/library/alpine", false), ["docker.io/library/alpine"]);
}

#[test]
fn a_location_takes_the_place_of_the_prefix() {
    for (prefix, location, reference, expected) in [
        ("docker.io/library", "localhost:5000/mirror", "docker.io/library/alpine", "localhost:5000/mirror/alpine"),
        ("docker.io", "localhost:5000", "docker.io/library/alpine", "localhost:5000/library/alpine"),
        ("docker.io", "localhost:5000/hub/", "docker.io/library/alpine", "localhost:5000/hub/library/alpine"),
        ("quay.io/team/app", "localhost:5000/app", "quay.io/team/app", "localhost:5000/app"),
        ("quay.io/team", "localhost:5000", "quay.io/team/app", "localhost:5000/app"),
        ("*.example.com", "localhost:5000/all", "a.example.com:8443/x/y", "localhost:5000/all/x/y"),
        ("quay.io/team", "localhost:5000", "quay.io/teams/app", "quay.io/teams/app"),
    ] {
        let registries = parsed(&format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{location}'")).unwrap();
        assert_eq!(shown(&registries, reference, false), [expected], "{prefix} to {location}");
    }
}

#[test]
fn the_longest_prefix_wins_wherever_it_stands() {
    let registries = parsed(
        "[[registry]]\nlocation = 'quay.io/team/app'\ninsecure = true\n\
         [[registry]]\nprefix = 'quay.io'\nlocation = 'a.example'\n\
         [[registry]]\nprefix = 'quay.io/team'\nlocation = 'b.example'\n\
         [[registry]]\nprefix = '*.example.com'\ninsecure = true\n\
         [[registry]]\nprefix = '*.b.example.com'\nlocation = 'c.example'",
    )
    .unwrap();
    assert_eq!(shown(&registries, "quay.io/team/app", false), ["quay.io/team/app insecure"]);
    assert_eq!(shown(&registries, "quay.io/team/web", false), ["b.example/web"]);
    assert_eq!(shown(&registries, "quay.io/other", false), ["a.example/other"]);
    assert_eq!(shown(&registries, "a.example.com/x", false), ["a.example.com/x insecure"]);
    assert_eq!(shown(&registries, "a.b.example.com/x", false), ["c.example/x"]);
}

#[test]
fn mirrors_come_first_and_some_are_for_one_kind_of_reference() {
    let registries = parsed(
        "[[registry]]\nprefix = 'docker.io/library'\nlocation = 'docker.io/library'\n\
         [[registry.mirror]]\nlocation = '10.0.2.2:5000/yocto'\ninsecure = true\n\
         [[registry.mirror]]\nlocation = 'digests.example'\npull-from-mirror = 'digest-only'\n\
         [[registry.mirror]]\nlocation = 'tags.example'\npull-from-mirror = 'tag-only'\n\
         [[registry.mirror]]\nlocation = 'both.example'\npull-from-mirror = 'all'\n\
         [[registry]]\nlocation = 'quay.io'\nmirror-by-digest-only = true\n\
         [[registry.mirror]]\nlocation = 'mirror.example/quay'",
    )
    .unwrap();
    let tag = [
        "mirror 10.0.2.2:5000/yocto/alpine insecure",
        "mirror tags.example/alpine",
        "mirror both.example/alpine",
        "docker.io/library/alpine",
    ];
    assert_eq!(shown(&registries, "docker.io/library/alpine", false), tag);
    let digest = tag.map(|endpoint| endpoint.replace("tags", "digests"));
    assert_eq!(shown(&registries, "docker.io/library/alpine", true), digest);
    assert_eq!(shown(&registries, "quay.io/a", false), ["quay.io/a"]);
    assert_eq!(shown(&registries, "quay.io/a", true), ["mirror mirror.example/quay/a", "quay.io/a"]);
}

#[test]
fn what_is_blocked_is_fetched_from_nowhere() {
    let registries = parsed("[[registry]]\nprefix = 'quay.io/bad'\nlocation = 'quay.io/bad'\nblocked = true").unwrap();
    let error = registries.endpoints("quay.io", &"bad/app".parse().unwrap(), true).unwrap_err();
    assert_eq!(error.to_string(), "quay.io/bad/app is blocked: registries.conf blocks \"quay.io/bad\"");
    assert_eq!(shown(&registries, "quay.io/badminton", true), ["quay.io/badminton"]);
}

#[test]
fn a_name_that_the_new_place_cannot_hold_is_an_error() {
    let registries = parsed("[[registry]]\nprefix = 'quay.io/app'\nlocation = 'localhost:5000'").unwrap();
    let error = registries.endpoints("quay.io", &"app".parse().unwrap(), false).unwrap_err();
    assert!(matches!(&error, EndpointError::Rewrite { location, .. } if location == "localhost:5000"), "{error:?}");
    let long = "a".repeat(250);
    let registries = parsed("[[registry]]\nprefix = 'quay.io'\nlocation = 'localhost:5000/mirror'").unwrap();
    let error = registries.endpoints("quay.io", &long.parse().unwrap(), false).unwrap_err();
    assert!(matches!(error, EndpointError::Rewrite { source: NameError::TooLong, .. }), "{error:?}");
}

#[test]
fn other_settings_and_unknown_keys_are_passed_over() {
    let registries = parsed(
        "unqualified-search-registries = ['docker.io']\nshort-name-mode = 'enforcing'\ncredential-helpers = ['pass']\nnew = 1\n\
         [aliases]\nalpine = 'docker.io/library/alpine'\n[[registry]]\nlocation = 'quay.io'\ninsecure = true\nnew = { a = 1 }",
    )
    .unwrap();
    assert_eq!(shown(&registries, "quay.io/a", false), ["quay.io/a insecure"]);
    assert_eq!(registries.warnings(), []);
}

#[test]
fn what_is_passed_over_with_a_loss_is_warned_of() {
    let registries = parsed(
        "[registries.block]\nregistries = ['bad.example']\n\
         [[registry]]\nlocation = 'quay.io'\nblocked = true\n[[registry]]\nprefix = 'quay.io/a:1.0'\nlocation = 'x.example/a:1.0'",
    )
    .unwrap();
    let warnings: Vec<_> = registries.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "r.conf: [registries] is passed over, for it is of version 1 of the format",
            "r.conf:7: passed over, for \"quay.io/a:1.0\" is one tag or digest, not a repository",
        ]
    );
}

#[test]
fn errors_name_file_and_line() {
    for (text, message) in [
        ("\n[[registry]\n", "r.conf:2: "),
        ("[[registry]]\nlocation = 'quay.io'\ninsecure = 'yes'", "r.conf:3: invalid type: string \"yes\", expected a boolean"),
        (
            "[[registry]]\nlocation = 'a.b'\n[[registry.mirror]]\nlocation = 'm.b'\npull-from-mirror = 'x'",
            "r.conf:5: unknown variant",
        ),
        ("[[registry]]\nlocation = 'a.b'\n[[registry.mirror]]\ninsecure = true", "r.conf:3: missing field `location`"),
        ("[[registry]]\nlocation = 'a.b'\n\n[[registry]]\ninsecure = true", "r.conf:4: a registry needs a location"),
        ("\n[[registry]]\nprefix = 'a.b'", "r.conf:3: the registry \"a.b\" needs a location: only a wildcard does without"),
        ("[[registry]]\n\nlocation = 'https://a.b'", "r.conf:3: \"https://a.b\" is not HOST[:PORT]"),
        ("[[registry]]\nprefix = 'a.b'\nlocation = 'c.d/e:tag'", "r.conf:3: \"c.d/e:tag\" is not HOST[:PORT]"),
        ("[[registry]]\nprefix = '*.a.b/c'", "r.conf:2: \"*.a.b/c\" is not a wildcard"),
        (
            "[[registry]]\nlocation = 'a.b'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'm.b'\npull-from-mirror = 'all'",
            "r.conf:6: pull-from-mirror cannot be set",
        ),
    ] {
        let error = parsed(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = file::parse(Path::new("r.conf"), b"a = 1\n\xff = 2", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "r.conf:2: not UTF-8");
}

/// A machine with a user: `etc` and `home/.config/containers` in one folder.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A file whose entry sends `x.example` to `place`.
    fn file(&self, path: &str, place: &str) -> &Self {
        self.raw(path, &format!("[[registry]]\nprefix = 'x.example'\nlocation = '{place}'"))
    }

    fn raw(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Registries, RegistriesError> {
        let at = |path: &str| self.0.path().join(path);
        let home = [("HOME", at("home"))];
        let environment: Environment = home.into_iter().chain(variables.iter().map(|(name, path)| (*name, at(path)))).collect();
        Registries::load_beside(&environment, &at("etc"))
    }

    fn place(&self, variables: &[(&str, &str)]) -> String {
        shown(&self.load(variables).unwrap(), "x.example/a", false).join(" ")
    }
}

const USER_FILE: &str = "home/.config/containers/registries.conf";
const USER_DROP_IN: &str = "home/.config/containers/registries.conf.d/10.conf";

#[test]
fn later_files_count_over_earlier_ones() {
    let machine = Machine::new();
    assert_eq!(machine.place(&[]), "x.example/a");
    machine.file("etc/registries.conf", "etc");
    assert_eq!(machine.place(&[]), "etc/a");
    machine.file("etc/registries.conf.d/20.conf", "twenty").file("etc/registries.conf.d/10.conf", "ten");
    machine.file("etc/registries.conf.d/30.conf.bak", "backup").file("etc/registries.conf.d/30.conf/x.conf", "folder");
    assert_eq!(machine.place(&[]), "twenty/a");
    machine.file(USER_DROP_IN, "user-drop-in");
    assert_eq!(machine.place(&[]), "user-drop-in/a");
    machine.file("d/1.conf", "named-folder");
    assert_eq!(machine.place(&[("CONTAINERS_REGISTRIES_CONF_DIR", "d")]), "named-folder/a");
}

#[test]
fn a_drop_in_replaces_an_entry_whole_and_leaves_the_others() {
    let machine = Machine::new();
    machine.raw(
        "etc/registries.conf",
        "[[registry]]\nprefix = 'x.example'\nlocation = 'x.example'\ninsecure = true\n[[registry.mirror]]\nlocation = 'm.example'\n\
         [[registry]]\nprefix = 'y.example'\nlocation = 'z.example'",
    );
    machine.file("etc/registries.conf.d/50-custom.conf", "localhost:5000");
    assert_eq!(machine.place(&[]), "localhost:5000/a");
    assert_eq!(shown(&machine.load(&[]).unwrap(), "y.example/a", false), ["z.example/a"]);
}

#[test]
fn in_one_file_the_first_of_two_equal_prefixes_counts() {
    let twice = "[[registry]]\nprefix = 'x.example'\nlocation = 'first'\n[[registry]]\nprefix = 'x.example'\nlocation = 'second'";
    assert_eq!(shown(&parsed(twice).unwrap(), "x.example/a", false), ["first/a"]);
}

#[test]
fn the_users_file_stands_for_all_of_the_machines() {
    let machine = Machine::new();
    machine.file("etc/registries.conf", "etc").file("etc/registries.conf.d/10.conf", "drop-in").file(USER_FILE, "user");
    assert_eq!(machine.place(&[]), "user/a");
    machine.file("named.conf", "named");
    assert_eq!(
        machine.place(&[("CONTAINERS_REGISTRIES_CONF", "named.conf"), ("CONTAINERS_REGISTRIES_CONF_DIR", "none")]),
        "named/a"
    );
    assert_eq!(machine.place(&[("CONTAINERS_REGISTRIES_CONF", "named.conf")]), "drop-in/a");
}

#[test]
fn a_file_that_a_variable_names_must_exist() {
    let machine = Machine::new();
    let error = machine.load(&[("CONTAINERS_REGISTRIES_CONF", "none.conf")]).unwrap_err();
    assert!(error.to_string().ends_with("/none.conf"), "{error}");
}
