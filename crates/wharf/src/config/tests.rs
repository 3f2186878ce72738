use std::time::Duration;

use super::units::ByteSize;
use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    parse(text, Path::new("c.yml"), |_| {}, &variables)
}

fn lines(loaded: &Loaded, severity: Severity) -> Vec<String> {
    loaded.findings.iter().filter(|finding| finding.severity == severity).map(ToString::to_string).collect()
}

const DEVELOPMENT: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /srv/registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

#[test]
fn a_development_file_is_accepted_as_it_is() {
    let loaded = read(DEVELOPMENT, &[]);
    let exposed = "c.yml:13: listening on :5000 without TLS and authentication: everybody who reaches it may push and pull";
    assert_eq!(lines(&loaded, Severity::Warning), [exposed]);
    assert_eq!(loaded.worst(), Some(Severity::Warning), "{:?}", loaded.findings);
    let config = loaded.config;
    assert_eq!(config.storage.root, Path::new("/srv/registry"));
    assert!(config.storage.delete);
    assert_eq!(config.http.listen.to_string(), ":5000");
    assert_eq!(config.http.headers[0].0, "x-content-type-options");
    assert_eq!(config.http.headers[0].1, "nosniff");
    assert_eq!(config.log.fields, [("service".to_owned(), "registry".to_owned())]);
}

#[test]
fn the_template_is_the_defaults() {
    let loaded = parse(&render::template(), Path::new("t.yml"), |_| {}, &[]);
    assert_eq!(loaded.findings, []);
    for key in check::honoured() {
        assert_eq!(loaded.config.values().get(key.path), Config::default().values().get(key.path), "{}", key.path);
        let name = key.path.rsplit('.').next().unwrap_or_default();
        assert!(render::template().contains(&format!("{name}:")), "{}", key.path);
    }
}

#[test]
fn the_committed_template_is_the_printed_one() {
    let committed = include_str!("../../config-template.yml");
    assert!(committed == render::template(), "write it anew: wharf config template > crates/wharf/config-template.yml");
}

#[test]
fn what_is_in_force_reads_back_the_same() {
    let text = format!("{DEVELOPMENT}wharf:\n  collection: {{grace: never, interval: 90m}}\n  cache: {{size: 1000}}\n");
    let variables = [("REGISTRY_LOG_FIELDS_ODD", "a: \"b\" # c"), ("REGISTRY_HTTP_ADDR", "[::1]:81")];
    let config = read(&text, &variables).config;
    let written = render::in_force(config.values(), "head\nmore");
    let again = parse(&written, Path::new("f.yml"), |_| {}, &[]);
    assert_eq!(again.findings, [], "{written}");
    for key in check::honoured() {
        assert_eq!(again.config.values().get(key.path), config.values().get(key.path), "{written}");
    }
}

#[test]
fn what_protects_stops_the_start_and_names_its_line() {
    let cases = [
        ("auth:\n  htpasswd:\n    realm: r\n", "c.yml:5: `auth.htpasswd` does not say where the users are"),
        ("auth: htpasswd\n", "c.yml:4: `auth.htpasswd`"),
        ("auth:\n  token:\n", "c.yml:5: `auth.token`"),
        ("http:\n  tls:\n    certificate: /x\n", "c.yml:6: `http.tls.certificate` needs `http.tls.key`"),
        ("http:\n  tls:\n    clientcas: [/x]\n", "c.yml:6: `http.tls.clientcas` needs a certificate"),
        ("wharf:\n  access:\n    rules: [{who: [known], may: [pull]}]\n", "c.yml:6: `wharf.access.rules` has no effect"),
        ("auth:\n  htpasswd: {path: /x}\nwharf:\n  access:\n    rules: [{who: [me], may: [pull]}]\n", "c.yml:8: `me` is nobody"),
        ("auth:\n  htpasswd: {path: }\n", "c.yml:5: `auth.htpasswd` does not say where the users are"),
        ("middleware:\n  storage:\n    - name: cloudfront\n", "c.yml:4: `middleware`"),
        ("proxy:\n  exec: {command: x}\n", "c.yml:5: `proxy.exec`"),
        ("policy:\n  repository:\n    classes: [image]\n", "c.yml:4: `policy`"),
        ("validation:\n  manifests:\n    urls:\n      deny: [x]\n", "c.yml:6: `validation.manifests.urls`"),
        ("atuh:\n  htpasswd: {realm: r}\n", "c.yml:4: unknown key `atuh`"),
        ("http:\n  tsl: {certificate: /x}\n", "c.yml:5: unknown key `http.tsl`"),
        ("Auth:\n  htpasswd: {realm: r}\n", "c.yml:4: unknown key `Auth`"),
        ("AUTH: htpasswd\n", "c.yml:4: unknown key `AUTH`"),
        ("http:\n  TLS: {certificate: /x}\n", "c.yml:5: unknown key `http.TLS`"),
        ("HTTP:\n  tls: {certificate: /x}\n", "c.yml:4: unknown key `HTTP`"),
        ("authentication:\n  ldap: x\n", "c.yml:4: unknown key `authentication`"),
        ("http:\n  authz: x\n", "c.yml:5: unknown key `http.authz`"),
        ("http:\n  tlsconfig: {cert: x}\n", "c.yml:5: unknown key `http.tlsconfig`"),
        ("requestMiddleware:\n  - name: x\n", "c.yml:4: unknown key `requestMiddleware`"),
    ];
    for (text, expected) in cases {
        let loaded = read(&format!("version: 0.1\nstorage:\n  filesystem:\n{text}"), &[]);
        let errors = lines(&loaded, Severity::Error);
        assert!(loaded.is_refused() && errors[0].starts_with(expected), "{text}: {errors:?}");
        assert!(loaded.findings[0].hint.is_some() || text.contains("[me]"), "{text}");
    }
}

#[test]
fn what_protects_stops_the_start_from_the_environment_too() {
    for (name, value) in [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "r"),
        ("REGISTRY_AUTH_HTPASSWD", "{realm: r}"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/x"),
        ("REGISTRY_HTTP_TSL_CERTIFICATE", "/x"),
        ("REGISTRY_PROXY_EXEC_COMMAND", "x"),
        ("REGISTRY_STORAGE_S3_BUCKET", "b"),
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE", "ipfs"),
        ("REGISTRY_STORAGE_IPFS_NODE", "n"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIR", "/x"),
        ("REGISTRY_AUTHENTICATION_LDAP", "x"),
    ] {
        let loaded = read(DEVELOPMENT, &[(name, value)]);
        let errors = lines(&loaded, Severity::Error);
        assert!(errors.len() == 1 && errors[0].contains(name), "{name}: {errors:?}");
    }
}

#[test]
fn sections_that_configure_nothing_stop_nothing() {
    let text = "storage: filesystem\nauth:\nhttp:\n  tls: {}\nmiddleware: []\nproxy:\n";
    assert_eq!(read(text, &[]).findings, []);
    let loaded = read("storage: filesystem\nauth:\n  none:\n", &[]);
    assert_eq!(loaded.worst(), Some(Severity::Info));
}

#[test]
fn other_storage_drivers_stop_the_start() {
    for text in ["storage: inmemory\n", "storage:\n  inmemory:\n", "storage:\n  s3: {bucket: b}\n"] {
        let errors = lines(&read(text, &[]), Severity::Error);
        assert!(errors[0].contains("this storage driver is not supported"), "{errors:?}");
    }
    let errors = lines(&read("version: 0.1\n", &[]), Severity::Error);
    assert_eq!(errors, ["c.yml: `storage` is missing"]);
}

#[test]
fn a_file_that_does_not_say_where_to_store_stops_the_start() {
    let cases = [
        ("version: 0.1\nstorage:\n", "c.yml:2: `storage` does not say where to store"),
        ("storage:\n  delete: {enabled: true}\n", "c.yml:1: `storage` does not say where to store"),
        ("storage:\n  cache:\n    blobdescriptor: inmemory\n", "c.yml:1: `storage` does not say where to store"),
        ("storage:\n  ipfs: {node: x}\n", "c.yml:2: unknown key `storage.ipfs`"),
        ("storage: ipfs\n", "c.yml:1: unknown key `storage.ipfs`"),
        ("storage:\n  FileSystem: {rootdirectory: /x}\n", "c.yml:2: unknown key `storage.FileSystem`"),
        ("storage:\n  filesystem: {rootdir: /x}\n", "c.yml:2: unknown key `storage.filesystem.rootdir`"),
        ("storage:\n  filesystem: {rootdirectory: /x}\n  future: {}\n", "c.yml:3: unknown key `storage.future`"),
    ];
    for (text, expected) in cases {
        let loaded = read(text, &[]);
        assert_eq!(lines(&loaded, Severity::Error), [expected]);
        assert!(loaded.findings.iter().any(|finding| finding.hint.is_some()), "{text}");
    }
    let root = [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/x")];
    for text in ["", "storage:\n", "storage:\n  delete: {enabled: true}\n"] {
        assert_eq!(read(text, &root).findings, [], "{text:?}");
    }
}

#[test]
fn the_credentials_file_of_the_clients_is_no_key() {
    assert_eq!(read("storage: filesystem\n", &[("REGISTRY_AUTH_FILE", "/run/auth.json")]).findings, []);
}

#[test]
fn a_listener_that_others_reach_is_told_wherever_it_comes_from() {
    let warned = |text: &str, variables: &[(&str, &str)]| {
        let loaded = read(&format!("storage: filesystem\n{text}"), variables);
        lines(&loaded, Severity::Warning).iter().any(|line| line.contains("without TLS and authentication"))
    };
    assert!(!warned("", &[]) && !warned("http: {addr: '127.0.0.1:5000'}\n", &[]));
    assert!(warned("http: {addr: '0.0.0.0:5000'}\n", &[]));
    assert!(!warned("http: {addr: ':5000'}\n", &[("REGISTRY_HTTP_ADDR", "localhost:5000")]));
    assert!(warned("", &[("REGISTRY_HTTP_ADDR", ":5000")]));
    // The address of clients is none that is listened on.
    assert!(!warned("http: {host: 'https://r.example'}\n", &[]));
}

#[test]
fn unknown_and_unsupported_keys_are_named_with_their_lines() {
    let text = format!("{DEVELOPMENT}elephants: 3\nnotifications:\n  endpoints: []\nwharf:\n  limits: {{rangers: 1}}\n");
    let loaded = read(&text, &[]);
    assert!(!loaded.is_refused());
    assert_eq!(
        lines(&loaded, Severity::Unknown),
        ["c.yml:21: unknown key `elephants`", "c.yml:25: unknown key `wharf.limits.rangers`"]
    );
    assert_eq!(lines(&loaded, Severity::Warning)[0], "c.yml:22: `notifications` is not supported: no events are sent");
    let hints: Vec<_> = loaded.findings.iter().filter_map(|f| f.hint.as_deref()).collect();
    assert_eq!(hints, ["`wharf.limits.ranges` is known"]);
}

#[test]
fn every_wrong_value_is_named_with_line_and_expectation() {
    let text = "\
version: 0.2
log: {level: loud, formatter: text}
storage:
  filesystem: {rootdirectory: [a]}
  delete: {enabled: maybe}
http:
  addr: nowhere
  host: example.org/path
  draintimeout: 30
  headers: {Content-Length: [1]}
  debug: {prometheus: {path: metrics}}
catalog: 5
wharf:
  limits: {manifest_size: 4 elephants, uploads: -1}
  collection: {grace: sometimes}
";
    let errors = lines(&read(text, &[]), Severity::Error);
    let expected = [
        "c.yml:1: `version` is `0.2`, expected 0.1",
        "c.yml:2: `log.level` is `loud`, expected error or warn or info or debug",
        "c.yml:4: `storage.filesystem.rootdirectory` is a list, expected a path",
        "c.yml:5: `storage.delete.enabled` is `maybe`, expected true or false",
        "c.yml:7: `http.addr` is `nowhere`, expected HOST:PORT or :PORT",
        "c.yml:8: `http.host` is `example.org/path`, expected http://HOST:PORT or https://HOST:PORT",
        "c.yml:9: `http.draintimeout` is `30`, expected a time such as 30s or 24h",
        "c.yml:10: `http.headers` is a section, expected the name of a header that may be set, unlike `Content-Length`",
        "c.yml:11: `http.debug.prometheus.path` is `metrics`, expected a path that begins with /",
        "c.yml:12: `catalog` is `5`, expected a section",
        "c.yml:14: `wharf.limits.manifest_size` is `4 elephants`, expected a number of bytes such as 4194304 or 4MiB",
        "c.yml:14: `wharf.limits.uploads` is `-1`, expected a whole number of at least 1",
        "c.yml:15: `wharf.collection.grace` is `sometimes`, expected a time such as 24h, or never",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn the_environment_wins_over_the_file_and_creates_sections() {
    let variables = [
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/elsewhere"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
        ("REGISTRY_HTTP_ADDR", "localhost:5000"),
        ("REGISTRY_HTTP_DEBUG_ADDR", "localhost:5001"),
        ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
        ("REGISTRY_HTTP_HEADERS_X-Frame-Options", "[DENY]"),
        ("REGISTRY_WHARF_LIMITS_MANIFEST_SIZE", "1MiB"),
        ("REGISTRY_STORAGE_MAINTENANCE", "{readonly: {enabled: true}}"),
        ("REGISTRY_HTTP_SECRET", "s"),
        ("REGISTRY_CONFIGURATION_PATH", "/etc/x.yml"),
        ("OTHER_HTTP_ADDR", ":1"),
    ];
    let loaded = read(DEVELOPMENT, &variables);
    assert_eq!(loaded.worst(), Some(Severity::Info), "{:?}", loaded.findings);
    let config = loaded.config;
    assert_eq!(config.storage.root, Path::new("/elsewhere"));
    assert!(!config.storage.delete && config.storage.read_only);
    assert_eq!(config.limits.manifest_size, ByteSize(1 << 20));
    assert_eq!(config.http.headers.len(), 2);
    let debug = config.http.debug.expect("a second listener");
    assert_eq!(debug.listen.port, 5001);
    assert_eq!(debug.metrics_path.as_deref(), Some("/metrics"));
}

#[test]
fn wrong_and_unknown_variables_are_named() {
    let loaded = read(DEVELOPMENT, &[("REGISTRY_PORT", "tcp://10.0.0.1:5000"), ("REGISTRY_HTTP_ADDR", "x")]);
    assert_eq!(lines(&loaded, Severity::Warning)[0], "environment variable REGISTRY_PORT: unknown key `port`");
    assert_eq!(
        lines(&loaded, Severity::Error),
        ["environment variable REGISTRY_HTTP_ADDR: `http.addr` is `x`, expected HOST:PORT or :PORT"]
    );
}

#[test]
fn a_root_from_the_environment_is_a_storage_section() {
    let loaded = read("", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/a")]);
    assert_eq!(loaded.findings, []);
}

#[test]
fn older_names_count_when_the_newer_is_not_given() {
    let storage = "storage:\n  filesystem:\n  maintenance:\n    uploadpurging:\n";
    let purging = |more: &str| read(&format!("{storage}{more}"), &[]).config.upload_expire;
    assert_eq!(purging("      age: 168h\n"), Some(Duration::from_secs(604_800)));
    assert_eq!(purging("      age: 168h\nwharf: {uploads: {expire: 1h}}\n"), Some(Duration::from_secs(3_600)));
    assert_eq!(purging("      enabled: false\n"), None);
    assert_eq!(purging("      dryrun: true\n"), None);
    let level = |text: &str| read(&format!("storage: filesystem\n{text}"), &[]).config.log.level;
    assert_eq!(level("loglevel: debug\n"), tracing::Level::DEBUG);
    assert_eq!(level("loglevel: debug\nlog: {level: error}\n"), tracing::Level::ERROR);
}

#[test]
fn relative_urls_win_over_a_host() {
    let config = |more: &str| read(&format!("storage: filesystem\nhttp:\n  host: https://r.example:5000/\n{more}"), &[]).config;
    assert_eq!(config("").http.external_url.as_deref(), Some("https://r.example:5000"));
    assert_eq!(config("  relativeurls: true\n").http.external_url, None);
}

mod any_input {
    use proptest::prelude::*;

    use super::super::units::{format_duration, parse_duration};
    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-a&*!|>?:,{}\\[\\]'\"#%@~.<=\\\\ \t\n0]{0,60}") {
            read(&text, &[]);
            read("storage: filesystem\n", &[("REGISTRY_HTTP_HEADERS", &text), ("REGISTRY_LOG_FIELDS_A", &text)]);
        }

        #[test]
        fn no_change_to_a_file_makes_the_reader_panic(at in 0..DEVELOPMENT.len(), cut in 0..20usize, put in "[-a&*!|:{}\\[\\]'\"# \n]{0,3}") {
            let mut text = DEVELOPMENT.to_owned();
            text.replace_range(at..(at + cut).min(DEVELOPMENT.len()), &put);
            let loaded = read(&text, &[]);
            // Whatever is left of it, what is refused is refused with a place.
            prop_assert!(loaded.findings.iter().all(|finding| finding.to_string().starts_with("c.yml")));
        }

        #[test]
        fn written_values_read_back(nanos: u64, bytes: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).to_string()), Some(ByteSize(bytes)));
        }

        #[test]
        fn no_text_makes_a_value_panic(text in ".{0,20}") {
            parse_duration(&text);
            ByteSize::parse(&text);
            if let Some(address) = ListenAddress::parse(&text) {
                prop_assert_eq!(ListenAddress::parse(&address.to_string()), Some(address));
            }
            if let Ok(url) = crate::url::RegistryUrl::parse(&text) {
                let again = crate::url::RegistryUrl::parse(&url.to_string()).map(|url| url.to_string());
                prop_assert_eq!(again, Ok(url.to_string()));
            }
        }

        #[test]
        fn texts_survive_being_written(text in "\\PC{0,20}", name in "[a-zA-Z: \"']{1,8}") {
            let variables = [
                ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY".to_owned(), format!("/{text}")),
                ("REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH".to_owned(), format!("/{text}")),
            ];
            let field = format!("storage: filesystem\nlog:\n  fields:\n    {:?}: x\n", name);
            let config = parse(&field, Path::new("c.yml"), |_| {}, &variables).config;
            let written = render::in_force(config.values(), "");
            let again = parse(&written, Path::new("f.yml"), |_| {}, &[]);
            prop_assert_eq!(&again.findings, &[], "{}", &written);
            for key in check::honoured() {
                prop_assert_eq!(again.config.values().get(key.path), config.values().get(key.path), "{}", &written);
            }
        }
    }
}
