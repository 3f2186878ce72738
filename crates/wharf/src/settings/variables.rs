//! Every environment variable that a command follows.

use wharf_yocto::tags::Strategy;

use crate::config::environment::CONFIGURATION_PATH;

/// An environment variable that a command follows.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts when it is unset, as help shows it.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn variable(name: &'static str, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, default, doc }
}

/// Address of the registry.
pub const URL: Variable = variable("CONTAINER_REGISTRY_URL", "localhost:5000", "address of the registry, HOST[:PORT]");
/// The namespace.
pub const NAMESPACE: Variable =
    variable("CONTAINER_REGISTRY_NAMESPACE", "yocto", "first part of the names of images that are given without a slash");
/// The storage folder.
pub const STORAGE: Variable =
    variable("CONTAINER_REGISTRY_STORAGE", "${TOPDIR:-.}/container-registry", "folder for the data, the log and the pid file");
/// The build directory.
pub const TOPDIR: Variable =
    variable("TOPDIR", ".", "build directory: the storage folder lies in it, and its git repository is asked");
/// Plain HTTP beyond loopback.
pub const INSECURE: Variable =
    variable("CONTAINER_REGISTRY_INSECURE", "0", "1: plain HTTP with hosts other than this machine's loopback");
/// TLS.
pub const SECURE: Variable = variable("CONTAINER_REGISTRY_SECURE", "0", "1: TLS and credentials, also on loopback");
/// Passwords.
pub const AUTH: Variable = variable("CONTAINER_REGISTRY_AUTH", "0", "1: credentials, which implies CONTAINER_REGISTRY_SECURE");
/// How long the own certificate counts.
pub const CERT_DAYS: Variable = variable("CONTAINER_REGISTRY_CERT_DAYS", "365", "days that the server's own certificate counts");
/// How long the own authority counts.
pub const CA_DAYS: Variable = variable("CONTAINER_REGISTRY_CA_DAYS", "3650", "days that the own authority's certificate counts");
/// Names of the own certificate.
pub const CERT_SAN: Variable = variable(
    "CONTAINER_REGISTRY_CERT_SAN",
    "",
    "further names and addresses by which clients reach the registry, separated by commas, for its own certificate",
);
/// Certificates.
pub const TLS_VERIFY: Variable = variable(
    "CONTAINER_REGISTRY_TLS_VERIFY",
    "false",
    "true: a certificate that is not believed is an error; false: any will do; unset: it is a warning, or an error where credentials would be sent",
);
/// The authority to believe.
pub const CA_CERT: Variable =
    variable("CONTAINER_REGISTRY_CA_CERT", "${CONTAINER_REGISTRY_STORAGE}/pki/ca.crt", "certificate authority to believe, PEM");
/// Where images lie: one machine.
pub const DEPLOY_DIR_IMAGE: Variable =
    variable("DEPLOY_DIR_IMAGE", "", "folder with the images of one machine, before DEPLOY_DIR_IMAGES");
/// Where images lie: all machines.
pub const DEPLOY_DIR_IMAGES: Variable = variable(
    "DEPLOY_DIR_IMAGES",
    "${TOPDIR:-.}/tmp/deploy/images",
    "folders with a folder of images for each machine, separated by spaces",
);
/// Which images.
pub const IMAGES: Variable = variable("CONTAINER_REGISTRY_IMAGES", "", "images that `push` without names pushes [default: all]");
/// Which tags.
pub const TAG_STRATEGY: Variable = variable(
    "CONTAINER_REGISTRY_TAG_STRATEGY",
    Strategy::DEFAULT,
    "tags of a push, from: timestamp sha git branch semver version latest arch",
);
/// The version.
pub const IMAGE_VERSION: Variable =
    variable("IMAGE_VERSION", "", "version for the strategies semver and version [default: the image's label]");
/// The build's name of the architecture.
pub const TARGET_ARCH: Variable =
    variable("TARGET_ARCH", "", "the build's own name of the images' architecture, for the strategy arch");
/// When the build is said to have been.
pub const SOURCE_DATE_EPOCH: Variable = variable(
    "SOURCE_DATE_EPOCH",
    "",
    "time of the build in seconds since 1970, for what is to be the same in every build [default: now]",
);
/// Where credentials come from.
pub const AUTH_MODE: Variable =
    variable("CONTAINER_REGISTRY_AUTH_MODE", "none", "where credentials come from: none home authfile credsfile env");
/// An auth file.
pub const AUTHFILE: Variable =
    variable("CONTAINER_REGISTRY_AUTHFILE", "", "file of docker login or podman login, for the mode authfile");
/// A credentials file.
pub const CREDSFILE: Variable = variable(
    "CONTAINER_REGISTRY_CREDSFILE",
    "",
    "file of lines CONTAINER_REGISTRY_USER=…, CONTAINER_REGISTRY_PASSWORD=… or CONTAINER_REGISTRY_TOKEN=…, for the mode credsfile",
);
/// A user's name.
pub const USER: Variable = variable("CONTAINER_REGISTRY_USER", "${CONTAINER_REGISTRY_USERNAME}", "user, for the mode env");
/// The same by the build's name.
pub const USERNAME: Variable = variable("CONTAINER_REGISTRY_USERNAME", "yocto", "user of the registry");
/// A password.
pub const PASSWORD: Variable = variable("CONTAINER_REGISTRY_PASSWORD", "", "password, for the mode env");
/// A token.
pub const TOKEN: Variable =
    variable("CONTAINER_REGISTRY_TOKEN", "", "registry token, for the mode env; counts before a password");
/// The configuration file.
pub const CONFIG: Variable =
    variable(CONFIGURATION_PATH, "", "configuration file of `serve` and `start`, as for CNCF distribution");
/// The program, for the script.
pub const WHARF: Variable = variable("WHARF", "", "this program, for container-registry.sh");
/// How long nothing may move.
pub const STALL: Variable =
    variable("WHARF_STALL", "60", "seconds for which a transfer may stand still before it is broken off and tried again");
/// Colours.
pub const NO_COLOR: Variable = variable("NO_COLOR", "", "no colours on a terminal");

/// Every variable, in the order that help shows. `REGISTRY_…` overrides come from the table of configuration keys.
pub static VARIABLES: &[&Variable] = &[
    &URL,
    &NAMESPACE,
    &STORAGE,
    &TOPDIR,
    &INSECURE,
    &SECURE,
    &AUTH,
    &CERT_DAYS,
    &CA_DAYS,
    &CERT_SAN,
    &TLS_VERIFY,
    &CA_CERT,
    &DEPLOY_DIR_IMAGE,
    &DEPLOY_DIR_IMAGES,
    &IMAGES,
    &TAG_STRATEGY,
    &IMAGE_VERSION,
    &TARGET_ARCH,
    &SOURCE_DATE_EPOCH,
    &AUTH_MODE,
    &AUTHFILE,
    &CREDSFILE,
    &USER,
    &USERNAME,
    &PASSWORD,
    &TOKEN,
    &CONFIG,
    &WHARF,
    &STALL,
    &NO_COLOR,
];
