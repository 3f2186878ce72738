//! The one table of configuration keys: what each is called, what it holds, what it is when unset, what it means, and
//! how it is treated. The reader, the environment overrides, `config check` and the template all follow it.

use std::sync::LazyLock;

use super::structured::Shape;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, at least this.
    Number(u64),
    /// A path; a relative one counts from the folder the program was started in.
    Path,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// A time such as `30s`, longer than none.
    Duration,
    /// A time, or `never`.
    DurationOrNever,
    /// A number of bytes such as `4MiB`.
    Size,
    /// `HOST:PORT` or `:PORT`.
    Address,
    /// `http://HOST[:PORT]` or `https://…`, without a path.
    Url,
    /// Any text.
    Text,
    /// A text that is shown nowhere.
    Secret,
    /// The path of a URL.
    UrlPath,
    /// Header names with one value or a list of values each.
    Headers,
    /// Names with a text each.
    Fields,
    /// A list of sections, or sections under names of their own, of this shape.
    Structured(Shape),
    /// Whatever stands there, sections included; it is not looked into.
    Any,
}

/// How a key is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It does what it says.
    Honoured,
    /// It is accepted and changes nothing, for this reason.
    NoEffect(&'static str),
    /// It is not supported, with this consequence; the server starts without it.
    Unsupported(&'static str),
    /// It is not supported and the server does not start, for this reason, with this way out.
    Stops(&'static str, &'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path, components joined by dots.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its value when unset, written as in the file; empty for none.
    pub default: &'static str,
    /// How it is treated.
    pub treatment: Treatment,
    /// What it means: whole sentences, without line breaks.
    pub doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, treatment: Treatment::Honoured, doc }
}

const fn other(path: &'static str, treatment: Treatment) -> Key {
    Key { path, kind: Kind::Any, default: "", treatment, doc: "" }
}

const DRIVER: Treatment =
    Treatment::Stops("this storage driver is not supported", "use `storage.filesystem`, the one driver there is");

use Kind::{
    Address, Choice, Duration, DurationOrNever, Fields, Flag, Headers, Number, Path, Secret, Size, Structured, Text, Url, UrlPath,
};
use Treatment::{NoEffect, Stops, Unsupported};

/// All keys. Keys of one section stand together, which the template relies on.
pub static KEYS: &[Key] = &[
    key("version", Choice(&["0.1"]), "0.1", "Version of this format; there is only one."),
    key("log.level", Choice(&["error", "warn", "info", "debug"]), "info", "The least important messages that are logged."),
    key("log.formatter", Choice(&["text", "json", "logstash"]), "text", "Form of the log lines; logstash counts as json."),
    key("log.accesslog.disabled", Flag, "false", "Leaves out the line for each request."),
    key("log.fields", Fields, "{}", "Names and values added to every log line."),
    other("log.hooks", Unsupported("nothing is sent when something is logged")),
    other("log.reportcaller", NoEffect("log lines always name the module they come from")),
    Key {
        path: "loglevel",
        kind: Choice(&["", "error", "warn", "info", "debug"]),
        default: "",
        treatment: Treatment::Honoured,
        doc: "Older name of log.level, which wins over it.",
    },
    key(
        "storage.filesystem.rootdirectory",
        Path,
        "/var/lib/registry",
        "Folder that holds everything that is stored. One server at a time uses it.",
    ),
    other("storage.filesystem.maxthreads", NoEffect("file access is bounded without it")),
    key("storage.delete.enabled", Flag, "false", "Allows tags, manifests and blobs to be deleted through the API."),
    key("storage.maintenance.readonly.enabled", Flag, "false", "Refuses every write."),
    key(
        "storage.maintenance.uploadpurging.enabled",
        Flag,
        "true",
        "Removes uploads that nobody continues. Without it they stay until they are cancelled.",
    ),
    key("storage.maintenance.uploadpurging.age", Duration, "", "Older name of wharf.uploads.expire, which wins over it."),
    key("storage.maintenance.uploadpurging.dryrun", Flag, "false", "Removes no upload, as when purging is not enabled."),
    other("storage.maintenance.uploadpurging.interval", NoEffect("uploads are looked through every minute")),
    other("storage.cache", NoEffect("what is asked for often is kept in memory anyway, see wharf.cache.size")),
    other("storage.redirect", NoEffect("files on this machine are always served directly")),
    other("storage.tag", NoEffect("the index answers without looking through tags")),
    other(
        "storage.middleware",
        Stops("storage middleware is not supported", "remove it; what it guarded has to be guarded in front of the server"),
    ),
    other("storage.s3", DRIVER),
    other("storage.s3aws", DRIVER),
    other("storage.s3goamz", DRIVER),
    other("storage.azure", DRIVER),
    other("storage.gcs", DRIVER),
    other("storage.swift", DRIVER),
    other("storage.oss", DRIVER),
    other("storage.rados", DRIVER),
    other("storage.inmemory", DRIVER),
    key(
        "http.addr",
        Address,
        "localhost:5000",
        "Address to listen on. `localhost` is 127.0.0.1 and ::1, `:5000` every address of the machine, port 0 any free port.",
    ),
    key("http.net", Choice(&["tcp"]), "tcp", "Kind of the listening socket."),
    key(
        "http.host",
        Url,
        "",
        "Address under which clients reach the server, as http://HOST:PORT or https://HOST:PORT. Location headers are absolute with it, relative without. Behind a proxy with TLS it is needed where callers are asked who they are: they are told to fetch tokens there.",
    ),
    key("http.relativeurls", Flag, "false", "Keeps Location headers relative although http.host is set."),
    key("http.draintimeout", Duration, "30s", "How long requests may go on after the server was asked to stop."),
    key("http.headers", Headers, "{}", "Headers added to every answer: names with a list of values each."),
    key("http.debug.addr", Address, "", "Address of a second listener with /healthz, /readyz and the metrics. None without it."),
    key("http.debug.prometheus.enabled", Flag, "false", "Serves metrics on http.debug.addr."),
    key("http.debug.prometheus.path", UrlPath, "/metrics", "Path of the metrics."),
    key(
        "http.tls.certificate",
        Path,
        "",
        "Certificate to serve TLS with, and those between it and its authority, PEM. Read again when the file changes.",
    ),
    key("http.tls.key", Path, "", "Private key of the certificate, PEM, without a password."),
    key(
        "http.tls.clientcas",
        Structured(Shape::Paths),
        "[]",
        "Authorities, PEM, one of which has to have signed the certificates that clients show.",
    ),
    key(
        "http.tls.clientauth",
        Choice(&["require-and-verify-client-cert", "verify-client-cert-if-given"]),
        "require-and-verify-client-cert",
        "Whether clients have to show a certificate when http.tls.clientcas names authorities.",
    ),
    key(
        "http.tls.minimumtls",
        Choice(&["tls1.0", "tls1.1", "tls1.2", "tls1.3"]),
        "tls1.2",
        "Lowest version of TLS that is spoken. Versions below 1.2 are spoken with nobody.",
    ),
    other("http.tls.ciphersuites", NoEffect("only suites with forward secrecy and authenticated encryption are spoken")),
    other(
        "http.tls.letsencrypt",
        Stops(
            "certificates are not fetched from elsewhere",
            "let another program fetch them and name its files as http.tls.certificate and http.tls.key: they are read again when they change",
        ),
    ),
    other("http.secret", NoEffect("clients are given no state that would need to be signed")),
    other("http.prefix", Unsupported("the API is served under /v2/; let a proxy in front take the prefix off")),
    key("http.http2.disabled", Flag, "false", "Speaks HTTP/1.1 alone with clients that could do more."),
    other("http.h2c", Unsupported("clients are answered over HTTP/1.1")),
    other("health.storagedriver", NoEffect("/readyz looks at the storage whenever it is asked")),
    other("health.file", Unsupported("the file is not looked at")),
    other("health.http", Unsupported("the address is not asked")),
    other("health.tcp", Unsupported("the address is not tried")),
    key(
        "validation.manifests.indexes.platforms",
        Choice(&["all", "none"]),
        "all",
        "Which manifests named by an index must exist when it is pushed: all or none.",
    ),
    other("validation.manifests.indexes.platformlist", Unsupported("it belongs to platforms: list, which is not supported")),
    other(
        "validation.manifests.urls",
        Stops(
            "URLs in manifests are not checked yet, and manifests that it forbids would be accepted",
            "remove the section if such manifests may be accepted",
        ),
    ),
    other("validation.enabled", NoEffect("manifests are always validated")),
    other("validation.disabled", NoEffect("manifests are always validated")),
    key("catalog.maxentries", Number(1), "10000", "Most repositories in one answer of the catalog."),
    other("auth.none", NoEffect("everybody is answered")),
    key(
        "auth.htpasswd.path",
        Path,
        "",
        "File of users, as `htpasswd -B` writes it. Read again when it changes. Unless wharf.access.rules says otherwise, each of them may do everything.",
    ),
    key("auth.htpasswd.realm", Text, "", "What people are shown who are asked for a password; `wharf` when nothing is said."),
    other(
        "auth",
        Stops(
            "this way of authentication is not supported, and without it everybody would be answered",
            "use auth.htpasswd or wharf.access.folder; wharf.access.rules says who may do what",
        ),
    ),
    other(
        "middleware",
        Stops("middleware is not supported", "remove it; what it guarded has to be guarded in front of the server"),
    ),
    key(
        "proxy.remoteurl",
        Url,
        "",
        "Makes this server a mirror of another registry, asked for every repository under the same name. A mirror takes no pushes; wharf.upstreams does without that.",
    ),
    key("proxy.username", Text, "", "User of the mirrored registry."),
    key("proxy.password", Secret, "", "The user's password."),
    other("proxy.ttl", NoEffect("what was not used for longest goes when room is needed, see wharf.upstream.cache_size")),
    other(
        "proxy.exec",
        Stops(
            "credentials for the mirrored registry are not had from a program",
            "name them as proxy.username and proxy.password",
        ),
    ),
    other(
        "policy",
        Stops(
            "policies are not supported, and what they refuse would be accepted",
            "remove the section if everything may be accepted",
        ),
    ),
    other("notifications", Unsupported("no events are sent")),
    other("redis", NoEffect("no cache outside the server is needed")),
    other("reporting", Unsupported("errors are only logged")),
    other("compatibility", Unsupported("manifests of Docker schema 1 are refused")),
    key("wharf.limits.manifest_size", Size, "4MiB", "Largest manifest that is accepted."),
    key("wharf.limits.uploads", Number(1), "10000", "Most uploads open at a time; further ones are asked to try again later."),
    key("wharf.limits.uploads_per_caller", Number(1), "1000", "Most uploads open at a time of one caller who is known by name."),
    key(
        "wharf.limits.requests_per_caller",
        Number(0),
        "0",
        "Most requests a second of one caller, on average over ten seconds; further ones are asked to try again later. Callers who are not known by name count by their address. 0 for no limit.",
    ),
    key("wharf.limits.ranges", Number(1), "4096", "Most ranges in one request for a blob."),
    key("wharf.uploads.expire", Duration, "24h", "An upload without progress for this long is removed."),
    key("wharf.timeouts.header", Duration, "30s", "How long a client may take to send the head of a request."),
    key("wharf.timeouts.body", Duration, "60s", "How long a client may pause while a body is sent or received."),
    key(
        "wharf.collection.interval",
        DurationOrNever,
        "1h",
        "How often what nothing refers to any more is removed. Pushes go on meanwhile.",
    ),
    key(
        "wharf.collection.lease",
        Duration,
        "1h",
        "How long something just pushed, mounted or asked for by a pusher stays although nothing refers to it yet.",
    ),
    key(
        "wharf.collection.grace",
        DurationOrNever,
        "24h",
        "How long an untagged manifest stays, and with it what only it refers to. `never` keeps it for good.",
    ),
    key("wharf.scrub.interval", DurationOrNever, "7d", "How often everything stored is read again and compared with its digest."),
    key("wharf.scrub.rate", Size, "32MiB", "Bytes a second that reading it again may take."),
    key(
        "wharf.storage.inline",
        Size,
        "4KiB",
        "Blobs up to this size, at most 32KiB, are kept in the index instead of a file of their own; 0 for none.",
    ),
    key("wharf.storage.min_free", Size, "64MiB", "Uploads are refused when less than this would be left on the disk."),
    key("wharf.history.keep", DurationOrNever, "90d", "How long the log of changes is kept."),
    key(
        "wharf.access.folder",
        Path,
        "",
        "Folder with the users (htpasswd), their tokens and the keys of bearer tokens. On first start an owner with a password is made in it. Without it, and without auth.htpasswd, nobody is asked who they are.",
    ),
    key(
        "wharf.access.owner",
        Text,
        "yocto",
        "User who is made on first start, and who may do everything unless wharf.access.rules is set.",
    ),
    key(
        "wharf.access.challenge",
        Choice(&["", "bearer", "basic"]),
        "",
        "How clients are asked who they are: bearer, for a token that they fetch here, or basic, for the password with each request. By default basic with auth.htpasswd and bearer without. Both are taken in any case.",
    ),
    key("wharf.access.token_life", Duration, "5m", "How long a bearer token counts that a client has fetched."),
    key(
        "wharf.access.rules",
        Structured(Shape::Rules),
        "[]",
        "Who may do what: a list of rules, each with `who` (anonymous, everybody, known, user:NAME, group:NAME, token:USER/NAME, certificate:NAME, issuer:NAME, claim:ISSUER/CLAIM=VALUE), `may` (pull, push, delete, administer) and `repositories` (patterns: * for a part of a component, ** for any part). What no rule allows is refused.",
    ),
    key(
        "wharf.access.issuers",
        Structured(Shape::Issuers),
        "[]",
        "Issuers of OpenID Connect ID tokens, such as CI systems, whose jobs are let in: each with `name`, by which rules know it (issuer:NAME, claim:NAME/CLAIM=VALUE), `url`, `audience`, and `claims` that a token must have.",
    ),
    key(
        "wharf.access.groups",
        Structured(Shape::Groups),
        "{}",
        "Names of groups, each with a list of its users. Rules name a group as `group:NAME`.",
    ),
    key("wharf.audit.file", Path, "", "File that gets a line of JSON for each change and each refusal."),
    key(
        "wharf.pki.folder",
        Path,
        "",
        "Folder of an own certificate authority (ca.crt, ca.key) and the server's certificate (server.crt, server.key). What is missing is made at start, and TLS is served with it unless http.tls.certificate names another.",
    ),
    key(
        "wharf.pki.names",
        Structured(Shape::Names),
        "[]",
        "Names and addresses that the own certificate is good for, beside localhost, 127.0.0.1, ::1, 10.0.2.2 and this machine's host name.",
    ),
    key("wharf.pki.days", Number(1), "365", "Days that the own certificate counts. It is renewed when a third of them is left."),
    key("wharf.pki.authority_days", Number(1), "3650", "Days that the own authority's certificate counts."),
    key(
        "wharf.upstreams",
        Structured(Shape::Upstreams),
        "[]",
        "Registries to pull from what this one lacks, asked in this order: texts such as \"yocto/* -> docker.io/library/*\", or sections {url, name, repositories: {NAMES: NAMES}, namespaces, username, password, authfile, ttl, tls_verify, ca}. `*` stands for one part of a name, `**` for several. Each is also found below its own host: docker.io/library/alpine.",
    ),
    key(
        "wharf.upstream.cache_size",
        Size,
        "10GiB",
        "Disk for what was pulled through from upstreams. Beyond that, what was not used for longest is removed; what was pushed never is.",
    ),
    key("wharf.cache.size", Size, "8MiB", "Memory for answers that are asked for often."),
    key(
        "wharf.sandbox",
        Choice(&["auto", "off", "required"]),
        "auto",
        "Whether the server gives up files outside of its folders, programs and odd system calls: where the kernel lets it, never, or else not start. Credential helpers of an upstream's authfile run only without it.",
    ),
];

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys stand below `path`.
pub fn is_section(path: &str) -> bool {
    SECTIONS.contains(&path)
}

/// Every section, parents before children.
pub static SECTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut sections = Vec::new();
    for key in KEYS {
        for (dot, _) in key.path.match_indices('.') {
            let section = &key.path[..dot];
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
    }
    sections
});

/// Whether a name below `storage` is a driver, or unknown and therefore perhaps one.
pub fn may_be_driver(name: &str) -> bool {
    let path = format!("storage.{name}");
    match find(&path) {
        Some(key) => key.treatment == DRIVER,
        None => name == "filesystem" || !is_section(&path),
    }
}

/// What keeps people out. A slip in a name below these must not leave the door open.
const GUARDS: [&str; 4] = ["auth", "http.tls", "wharf.access", "wharf.pki"];

/// Whether the server does not start with the key at `path`, or with one below it, or somebody is kept out by it.
pub fn protects(path: &str) -> bool {
    if GUARDS.iter().any(|guard| path.strip_prefix(guard).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))) {
        return true;
    }
    let at_or_below = |known: &str| known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    KEYS.iter().any(|key| matches!(key.treatment, Treatment::Stops(..)) && at_or_below(key.path))
}

/// The environment variable that overrides the key or section at `path`.
pub fn variable(path: &str) -> String {
    format!("REGISTRY_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// The known path that `path` was probably meant to be.
pub fn nearest(path: &str) -> Option<&'static str> {
    let depth = path.split('.').count();
    let candidates = KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().copied());
    candidates
        .filter(|known| known.split('.').count() == depth)
        .map(|known| (distance(path, known), known))
        .filter(|(distance, known)| *distance <= 2 && *distance * 3 <= known.len())
        .min()
        .map(|(_, known)| known)
}

/// Edits (insert, delete, replace, swap of neighbours) between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_share_a_path_or_a_variable() {
        let mut names: Vec<String> = KEYS.iter().map(|key| variable(key.path)).collect();
        names.extend(SECTIONS.iter().filter(|s| find(s).is_none()).map(|s| variable(s)));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_honoured_key_is_documented() {
        for key in KEYS.iter().filter(|key| key.treatment == Treatment::Honoured) {
            assert!(key.doc.ends_with('.'), "{}", key.path);
        }
    }

    #[test]
    fn slips_of_the_pen_are_recognised() {
        assert_eq!(nearest("atuh"), Some("auth"));
        assert_eq!(nearest("http.tsl"), Some("http.tls"));
        assert_eq!(nearest("storage.deleted"), Some("storage.delete"));
        assert_eq!(nearest("elephants"), None);
    }
}
