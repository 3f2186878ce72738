//! The configuration in force, as the rest of the program sees it.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use wharf_pki::{ClientCertificates, Names, Pki, Plan, SERVER, Version};

use super::address::ListenAddress;
use super::check::{Value, Values};
use super::finding::Place;
use super::structured::{Groups, Issuers, Paths, Rules};
use super::units::ByteSize;
use super::upstreams::{Password, Upstream};

/// Everything a server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is logged, and how.
    pub log: Log,
    /// Where things are stored and what may be done to them.
    pub storage: Storage,
    /// Listeners and answers.
    pub http: Http,
    /// Whether an index may name manifests that are not there (`validation.manifests.indexes.platforms: none`).
    pub sparse_indexes: bool,
    /// Most repositories in one answer of the catalog.
    pub catalog_max_entries: u64,
    /// Bounds on what clients send.
    pub limits: Limits,
    /// An upload without progress for this long is removed; `None`: never.
    pub upload_expire: Option<Duration>,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// Removal of what nothing refers to.
    pub collection: Collection,
    /// Reading again what is stored.
    pub scrub: Scrub,
    /// How long the log of changes is kept; `None`: for ever.
    pub history_keep: Option<Duration>,
    /// Memory for answers that are asked for often.
    pub cache_size: ByteSize,
    /// Where to look for what is not here.
    pub upstreams: Upstreams,
    /// Who may do what.
    pub access: Access,
    /// The file that is told of changes and refusals.
    pub audit: Option<PathBuf>,
    /// What the server gives up before it serves.
    pub sandbox: Sandbox,
    values: Values,
}

/// `log`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least important level that is logged.
    pub level: tracing::Level,
    /// JSON instead of text.
    pub json: bool,
    /// One line for each request.
    pub access: bool,
    /// Added to every line.
    pub fields: Vec<(String, String)>,
}

/// `storage`, and `wharf.storage`.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The root folder, absolute.
    pub root: PathBuf,
    /// Whether the API may delete.
    pub delete: bool,
    /// Whether every write is refused.
    pub read_only: bool,
    /// Blobs up to this size are kept in the index.
    pub inline: ByteSize,
    /// Uploads are refused when less than this would be left on the disk.
    pub min_free: ByteSize,
}

/// `http`.
#[derive(Clone, Debug)]
pub struct Http {
    /// The address to listen on.
    pub listen: ListenAddress,
    /// `http://HOST:PORT` or `https://…` without a slash at the end, to begin Location headers with; `None`: they are
    /// relative.
    pub external_url: Option<String>,
    /// The same whether Location headers begin with it or not: where clients are told to fetch tokens.
    pub host: Option<String>,
    /// How long requests may go on after the server was asked to stop.
    pub drain_timeout: Duration,
    /// Added to every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How TLS is spoken; without it, clients are answered in clear text.
    pub tls: Option<Tls>,
    /// The second listener.
    pub debug: Option<Debug>,
}

/// `http.tls`, `http.http2` and `wharf.pki`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What the server shows.
    pub certificate: Certificate,
    /// Whether clients show certificates, too.
    pub clients: ClientCertificates,
    /// The lowest version that is spoken.
    pub lowest: Version,
    /// Whether HTTP/2 is spoken with clients that can.
    pub http2: bool,
}

/// Where a server's certificate comes from.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// Files of somebody's own.
    Given {
        /// The certificate, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// Made and renewed here.
    Own {
        /// Where.
        pki: Pki,
        /// What it is to be like.
        plan: Plan,
    },
}

impl Http {
    /// The file with the certificate that the server shows.
    pub fn shown(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(|tls| match &tls.certificate {
            Certificate::Given { certificate, .. } => certificate.clone(),
            Certificate::Own { pki, .. } => pki.path(SERVER),
        })
    }

    /// The own authority, when the server's certificate comes from it.
    pub fn own_pki(&self) -> Option<(&Pki, &Plan)> {
        match &self.tls.as_ref()?.certificate {
            Certificate::Own { pki, plan } => Some((pki, plan)),
            Certificate::Given { .. } => None,
        }
    }
}

/// `http.debug`.
#[derive(Clone, Debug)]
pub struct Debug {
    /// The address to listen on.
    pub listen: ListenAddress,
    /// Path of the metrics, when they are served.
    pub metrics_path: Option<String>,
}

/// `wharf.sandbox`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// What the kernel has.
    Auto,
    /// Nothing.
    Off,
    /// What there is, and no start without it.
    Required,
}

/// `wharf.limits`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest manifest.
    pub manifest_size: ByteSize,
    /// Most uploads open at a time.
    pub uploads: u64,
    /// Most uploads of one caller open at a time.
    pub uploads_per_caller: u64,
    /// Most requests a second of one caller; 0 for as many as come.
    pub requests_per_caller: u64,
    /// Most ranges in one request.
    pub ranges: u64,
}

/// `wharf.timeouts`.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of a request.
    pub header: Duration,
    /// For a pause within a body.
    pub body: Duration,
}

/// `wharf.collection`.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// Time between two collections; `None`: only on demand.
    pub interval: Option<Duration>,
    /// How long a lease holds.
    pub lease: Duration,
    /// How long an untagged manifest stays; `None`: for ever.
    pub grace: Option<Duration>,
}

/// `wharf.scrub`.
#[derive(Clone, Copy, Debug)]
pub struct Scrub {
    /// Time between two rounds; `None`: none.
    pub interval: Option<Duration>,
    /// Bytes a second.
    pub rate: ByteSize,
}

/// `wharf.upstreams`, `wharf.upstream` and `proxy`.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// Asked in this order.
    pub list: Vec<Upstream>,
    /// The registry that this one mirrors.
    pub proxy: Option<Upstream>,
    /// Bytes of what was pulled through.
    pub cache_size: ByteSize,
}

/// `auth` and `wharf.access`.
#[derive(Clone, Debug)]
pub struct Access {
    /// Folder for users, tokens and keys.
    pub folder: Option<PathBuf>,
    /// A file of users of somebody's own.
    pub htpasswd: Option<PathBuf>,
    /// What people are shown who are asked for a password.
    pub realm: String,
    /// The user made on first start.
    pub owner: String,
    /// `bearer` or `basic`.
    pub challenge: String,
    /// How long a bearer token counts.
    pub token_life: Duration,
    /// Who may do what, when that is said.
    pub rules: Rules,
    /// Groups with their users.
    pub groups: Groups,
    /// Who vouches for others.
    pub issuers: Issuers,
}

impl Access {
    /// Whether callers are asked who they are.
    pub fn is_guarded(&self) -> bool {
        self.folder.is_some() || self.htpasswd.is_some() || !self.issuers.is_empty()
    }

    /// The file of users.
    pub fn users(&self) -> Option<PathBuf> {
        self.htpasswd.clone().or_else(|| self.folder.as_ref().map(|folder| folder.join("htpasswd")))
    }

    /// The file of tokens.
    pub fn tokens(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("tokens.json"))
    }
}

impl Config {
    /// Takes the values of the table over into their places.
    pub fn new(values: Values) -> Self {
        let read = Read(&values);
        let purge =
            read.flag("storage.maintenance.uploadpurging.enabled") && !read.flag("storage.maintenance.uploadpurging.dryrun");
        let purge_age = read.duration("storage.maintenance.uploadpurging.age");
        let mut expire = read.duration("wharf.uploads.expire");
        if *values.place("wharf.uploads.expire") == Place::Default {
            expire = purge_age.or(expire);
        }
        let mut level = read.text("log.level");
        let old_level = read.text("loglevel");
        if *values.place("log.level") == Place::Default && !old_level.is_empty() {
            level = old_level;
        }
        let proxy = Some(read.text("proxy.remoteurl")).filter(|url| !url.is_empty());
        let (user, password) = (read.text("proxy.username"), read.secret("proxy.password"));
        let external = Some(read.text("http.host")).filter(|url| !url.is_empty());
        let relative = read.flag("http.relativeurls");
        let metrics = read.flag("http.debug.prometheus.enabled");
        let metrics_path = read.text("http.debug.prometheus.path");
        // Accepted only so that files which name them are checked; there is one version and one kind of socket.
        let _ = (read.text("version"), read.text("http.net"));
        Self {
            log: Log {
                level: level.parse().unwrap_or(tracing::Level::INFO),
                json: read.text("log.formatter") != "text",
                access: !read.flag("log.accesslog.disabled"),
                fields: match read.get("log.fields") {
                    Value::Fields(fields) => fields.clone(),
                    _ => Vec::new(),
                },
            },
            storage: Storage {
                root: PathBuf::from(read.text("storage.filesystem.rootdirectory")),
                delete: read.flag("storage.delete.enabled"),
                read_only: read.flag("storage.maintenance.readonly.enabled"),
                inline: read.size("wharf.storage.inline"),
                min_free: read.size("wharf.storage.min_free"),
            },
            http: Http {
                listen: read.address("http.addr").unwrap_or(ListenAddress { host: "localhost".to_owned(), port: 5000 }),
                host: external.clone(),
                external_url: external.filter(|_| !relative),
                drain_timeout: read.time("http.draintimeout"),
                headers: match read.get("http.headers") {
                    Value::Headers(headers) => headers.clone(),
                    _ => Vec::new(),
                },
                tls: tls(&read),
                debug: read
                    .address("http.debug.addr")
                    .map(|listen| Debug { listen, metrics_path: metrics.then_some(metrics_path) }),
            },
            sparse_indexes: read.text("validation.manifests.indexes.platforms") == "none",
            catalog_max_entries: read.number("catalog.maxentries"),
            limits: Limits {
                manifest_size: read.size("wharf.limits.manifest_size"),
                uploads: read.number("wharf.limits.uploads"),
                uploads_per_caller: read.number("wharf.limits.uploads_per_caller"),
                requests_per_caller: read.number("wharf.limits.requests_per_caller"),
                ranges: read.number("wharf.limits.ranges"),
            },
            upload_expire: expire.filter(|_| purge),
            timeouts: Timeouts { header: read.time("wharf.timeouts.header"), body: read.time("wharf.timeouts.body") },
            collection: Collection {
                interval: read.duration("wharf.collection.interval"),
                lease: read.time("wharf.collection.lease"),
                grace: read.duration("wharf.collection.grace"),
            },
            scrub: Scrub { interval: read.duration("wharf.scrub.interval"), rate: read.size("wharf.scrub.rate") },
            history_keep: read.duration("wharf.history.keep"),
            cache_size: read.size("wharf.cache.size"),
            upstreams: Upstreams {
                list: read.structured("wharf.upstreams"),
                proxy: proxy.map(|url| Upstream {
                    username: Some(user).filter(|user| !user.is_empty()),
                    password,
                    ..Upstream::at(&url)
                }),
                cache_size: read.size("wharf.upstream.cache_size"),
            },
            access: Access {
                folder: read.path("wharf.access.folder"),
                htpasswd: read.path("auth.htpasswd.path"),
                realm: Some(read.text("auth.htpasswd.realm"))
                    .filter(|realm| !realm.is_empty())
                    .unwrap_or_else(|| "wharf".to_owned()),
                owner: read.text("wharf.access.owner"),
                challenge: read.text("wharf.access.challenge"),
                token_life: read.time("wharf.access.token_life"),
                rules: read.structured("wharf.access.rules"),
                groups: read.structured("wharf.access.groups"),
                issuers: read.structured("wharf.access.issuers"),
            },
            audit: read.path("wharf.audit.file"),
            sandbox: match read.text("wharf.sandbox").as_str() {
                "off" => Sandbox::Off,
                "required" => Sandbox::Required,
                _ => Sandbox::Auto,
            },
            values,
        }
    }

    /// The values as the file writes them.
    pub fn values(&self) -> &Values {
        &self.values
    }
}

fn tls(read: &Read<'_>) -> Option<Tls> {
    let days = |key| u32::try_from(read.number(key)).unwrap_or(u32::MAX);
    let (certificate, key) = (read.path("http.tls.certificate"), read.path("http.tls.key"));
    let authorities = read.structured::<Paths>("http.tls.clientcas");
    let welcome = read.text("http.tls.clientauth") == "verify-client-cert-if-given";
    let lowest = if read.text("http.tls.minimumtls") == "tls1.3" { Version::Tls13 } else { Version::Tls12 };
    let http2 = !read.flag("http.http2.disabled");
    let mut names = Names::of_this_machine();
    let list = read.structured::<Vec<String>>("wharf.pki.names").join(" ");
    // What is no name was refused when it was read.
    let _ = names.add(&list);
    let plan = Plan { names, days: days("wharf.pki.days"), authority_days: days("wharf.pki.authority_days") };
    let certificate = match (certificate, key, read.path("wharf.pki.folder")) {
        (Some(certificate), Some(key), _) => Certificate::Given { certificate, key },
        (_, _, Some(folder)) => Certificate::Own { pki: Pki::new(folder), plan },
        _ => return None,
    };
    let clients = match (authorities.is_empty(), welcome) {
        (true, _) => ClientCertificates::NotAsked,
        (false, true) => ClientCertificates::Welcome(authorities),
        (false, false) => ClientCertificates::Required(authorities),
    };
    Some(Tls { certificate, clients, lowest, http2 })
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Values::defaults())
    }
}

/// Typed access to the values. The kinds are those of the table, so the fallbacks are never taken; a test reads every
/// key and would see one.
struct Read<'a>(&'a Values);

impl Read<'_> {
    fn get(&self, path: &'static str) -> &Value {
        #[cfg(test)]
        tests::READ.with_borrow_mut(|read| read.insert(path));
        self.0.get(path)
    }

    fn flag(&self, path: &'static str) -> bool {
        matches!(self.get(path), Value::Flag(true))
    }

    fn number(&self, path: &'static str) -> u64 {
        match self.get(path) {
            Value::Number(number) => *number,
            _ => 0,
        }
    }

    fn text(&self, path: &'static str) -> String {
        match self.get(path) {
            Value::Text(text) => text.clone(),
            _ => String::new(),
        }
    }

    fn secret(&self, path: &'static str) -> Option<Password> {
        match self.get(path) {
            Value::Secret(password) => Some(password.clone()),
            _ => None,
        }
    }

    fn path(&self, path: &'static str) -> Option<PathBuf> {
        Some(self.text(path)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn duration(&self, path: &'static str) -> Option<Duration> {
        match self.get(path) {
            Value::Duration(duration) => *duration,
            _ => None,
        }
    }

    fn time(&self, path: &'static str) -> Duration {
        self.duration(path).unwrap_or_default()
    }

    fn size(&self, path: &'static str) -> ByteSize {
        match self.get(path) {
            Value::Size(size) => *size,
            _ => ByteSize(0),
        }
    }

    fn structured<T: DeserializeOwned + Default>(&self, path: &'static str) -> T {
        match self.get(path) {
            Value::Structured(value) => serde_json::from_value(value.clone()).unwrap_or_default(),
            _ => T::default(),
        }
    }

    fn address(&self, path: &'static str) -> Option<ListenAddress> {
        match self.get(path) {
            Value::Address(address) => Some(address.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::super::check::honoured;
    use super::*;

    thread_local! {
        pub static READ: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
    }

    #[test]
    fn every_honoured_key_is_read_and_every_default_is_of_its_kind() {
        READ.with_borrow_mut(BTreeSet::clear);
        let config = Config::default();
        let table: BTreeSet<&str> = honoured().map(|key| key.path).collect();
        READ.with_borrow(|read| assert_eq!(*read, table));
        for key in honoured().filter(|key| !key.default.is_empty()) {
            assert_ne!(*config.values().get(key.path), Value::Nothing, "{}", key.path);
        }
    }

    #[test]
    fn the_defaults_are_the_promised_ones() {
        let config = Config::default();
        assert_eq!(config.limits.manifest_size, ByteSize(4_194_304));
        assert_eq!((config.limits.uploads, config.limits.ranges), (10_000, 4_096));
        assert_eq!(config.upload_expire, Some(Duration::from_secs(86_400)));
        assert_eq!(config.collection.grace, Some(Duration::from_secs(86_400)));
        assert_eq!(config.collection.lease, Duration::from_secs(3_600));
        assert_eq!(config.history_keep, Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(config.cache_size, ByteSize(8 << 20));
        assert_eq!(config.storage.min_free, ByteSize(64 << 20));
        assert!(!config.storage.delete && config.http.listen.is_loopback());
    }
}
