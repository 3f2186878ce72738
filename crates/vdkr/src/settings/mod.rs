//! What is to be done and where, out of options, environment, the user's settings and the build's, as typed values.

mod build;
mod environment;
mod kept;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use wharf_client::Environment;
use wharf_machine::{Architecture, UnknownArchitecture};
use wharf_terminal::ui::{self, Failure};

use crate::cli::Flags;
use crate::cli::values::{Cpus, Memory};
pub use environment::VARIABLES;
pub use kept::{KEYS, Kept, Key};

/// Where names without a registry are looked for first: `HOST[:PORT][/NAMESPACE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPrefix {
    host: String,
    /// Empty, or ending in a slash.
    namespace: String,
}

impl RegistryPrefix {
    /// `HOST[:PORT]`, as it was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A name under the prefix.
    pub fn qualify(&self, name: &str) -> String {
        format!("{}/{}{name}", self.host, self.namespace)
    }
}

impl FromStr for RegistryPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim().trim_end_matches('/');
        let bare = bare.strip_prefix("http://").or_else(|| bare.strip_prefix("https://")).unwrap_or(bare);
        // A host without a dot or port would be read as part of an image's name.
        let (host, namespace) = bare.split_once('/').map_or((bare, ""), |(host, namespace)| (host, namespace));
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(format!(
                "`{text}` is not a registry: HOST[:PORT][/NAMESPACE], where the host has a dot or a port, or is localhost"
            ));
        }
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let prefix = Self { host: host.to_ascii_lowercase(), namespace };
        let read = prefix.qualify("x").parse::<wharf_oci::ImageReference>();
        read.map_err(|error| format!("`{text}` is not a registry: {error}"))?;
        Ok(prefix)
    }
}

impl fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.namespace)?;
        Ok(())
    }
}

/// Everything that decides what a command does, beside its own options.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The architecture.
    pub arch: Architecture,
    /// The folder of all states.
    pub state_dir: PathBuf,
    /// The named instance.
    pub instance: Option<String>,
    /// The state vanishes with the command.
    pub stateless: bool,
    /// The folder of the state that does, once there is one.
    pub vanishing: Option<PathBuf>,
    /// Virtual machines get no network.
    pub no_network: bool,
    /// Where names without a registry are looked for first.
    pub registry: Option<RegistryPrefix>,
    /// The registry is reached over TLS, and what cannot be reached is an error.
    pub secure: bool,
    /// Registries that may speak plain HTTP: `HOST[:PORT]`.
    pub insecure: Vec<String>,
    /// An authority to believe for the configured registry.
    pub ca_cert: Option<PathBuf>,
    /// A file with credentials, in place of those of logins.
    pub credentials: Option<PathBuf>,
    /// Memory of virtual machines.
    pub memory: Memory,
    /// Processors of virtual machines.
    pub cpus: u32,
    /// Seconds until a virtual machine that does not start is given up.
    pub timeout: u64,
    /// Seconds after which a kept virtual machine that nobody used ends; 0 for never.
    pub idle_timeout: u64,
    /// A virtual machine is kept ready after the first use.
    pub auto_daemon: bool,
    /// More is said.
    pub verbose: bool,
    /// The environment.
    pub environment: Environment,
}

impl Settings {
    /// Merges options, environment, the user's settings and the build's; the earlier wins.
    pub fn resolve(flags: &Flags, program: &Path, environment: Environment) -> Result<Self, Failure> {
        let kept = Kept::load(&environment)?;
        let build = build::Defaults::find(&environment, program)?;
        let text = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
        let wrong = |what: &str, why: String| Failure::new(format!("{what} cannot be used: {why}"));
        let read = |given: Option<String>, variable: &str, key: Key| -> Option<(String, String)> {
            let option = given.map(|value| (format!("--{}", key.name()), value));
            let variable = || text(variable).map(|value| (variable.to_owned(), value));
            option
                .or_else(variable)
                .or_else(|| kept.get(key).map(|value| (format!("the setting {}", key.name()), value.to_owned())))
        };
        let arch = match (&flags.arch, arch_of_name(program)) {
            (None, Some(arch)) => arch,
            (given, _) => match read(given.clone(), "VDKR_ARCH", Key::Arch) {
                Some((what, value)) => value.parse().map_err(|why: UnknownArchitecture| wrong(&what, why.to_string()))?,
                None => Architecture::of_host().ok_or_else(|| {
                    Failure::new(format!("this machine is {}, which no virtual machine here is", std::env::consts::ARCH))
                        .hint("--arch picks x86_64 or aarch64")
                })?,
            },
        };
        let state_dir = flags.state_dir.clone().or_else(|| environment.get("VDKR_STATE_DIR").map(PathBuf::from));
        let state_dir = state_dir.or_else(|| kept.get(Key::StateDir).map(PathBuf::from));
        let state_dir = match state_dir {
            Some(given) => std::path::absolute(&given).map_err(|error| Failure::new("no current folder").because(&error))?,
            None => home(&environment)?.join(".vdkr"),
        };
        let instance = flags.instance.clone().or_else(|| text("VDKR_INSTANCE"));
        if let Some(name) = &instance {
            check_instance(name)?;
        }
        let registry = match read(flags.registry.clone(), "VDKR_REGISTRY", Key::Registry) {
            Some((what, value)) => Some(value.parse().map_err(|why| wrong(&what, why))?),
            None => build.registry.clone(),
        };
        // What the build says of security holds for the build's own registry alone.
        let is_builds = registry == build.registry;
        let number = |variable: &str, key: Key, given: Option<String>, default: u64| match read(given, variable, key) {
            Some((what, value)) => {
                value.parse::<u64>().map_err(|_| wrong(&what, format!("`{value}` is not a number of seconds")))
            }
            None => Ok(default),
        };
        let switch = |variable: &str, key: Key| match read(None, variable, key) {
            Some((what, value)) => {
                kept::switch(&value).ok_or_else(|| wrong(&what, format!("`{value}` is neither true nor false")))
            }
            None => Ok(false),
        };
        let memory = match read(flags.memory.map(|memory| memory.to_string()), "VDKR_MEMORY", Key::Memory) {
            Some((what, value)) => value.parse().map_err(|why| wrong(&what, why))?,
            None => DEFAULT_MEMORY,
        };
        let cpus = match read(flags.cpus.map(|cpus| cpus.number().to_string()), "VDKR_CPUS", Key::Cpus) {
            Some((what, value)) => value.parse::<Cpus>().map_err(|why| wrong(&what, why))?.whole(),
            None => DEFAULT_CPUS,
        };
        let listed = text("VDKR_INSECURE_REGISTRIES").unwrap_or_default();
        let listed = listed.split([' ', ',']).filter(|host| !host.is_empty()).map(str::to_owned);
        let insecure = flags.insecure_registries.iter().cloned().chain(listed).chain(build.insecure.iter().cloned()).collect();
        Ok(Self {
            arch,
            state_dir,
            instance,
            stateless: flags.stateless || text("VDKR_STATELESS").and_then(|value| kept::switch(&value)).unwrap_or(false),
            vanishing: None,
            no_network: flags.no_network || text("VDKR_NO_NETWORK").and_then(|value| kept::switch(&value)).unwrap_or(false),
            registry,
            secure: is_builds && build.secure,
            insecure,
            ca_cert: build.ca_cert.filter(|_| is_builds),
            credentials: flags.config.clone().or_else(|| environment.get("VDKR_CONFIG").map(PathBuf::from)),
            memory,
            cpus,
            timeout: number("VDKR_TIMEOUT", Key::Timeout, flags.timeout.map(|seconds| seconds.to_string()), DEFAULT_TIMEOUT)?,
            idle_timeout: number("VDKR_IDLE_TIMEOUT", Key::IdleTimeout, None, DEFAULT_IDLE_TIMEOUT)?,
            auto_daemon: switch("VDKR_AUTO_DAEMON", Key::AutoDaemon)?,
            verbose: flags.verbose || switch("VDKR_VERBOSE", Key::Verbose)?,
            environment,
        })
    }

    /// The folder of this architecture's state, of the named instance of it, or of the one that vanishes. It need not be there.
    pub fn state(&self) -> PathBuf {
        match (&self.vanishing, &self.instance) {
            (Some(folder), _) => folder.clone(),
            (None, Some(name)) => self.state_dir.join("instances").join(name).join(self.arch.name()),
            (None, None) => self.shared(),
        }
    }

    /// The folder of the architecture, with what all instances share: kernel, snapshots.
    pub fn shared(&self) -> PathBuf {
        self.state_dir.join(self.arch.name())
    }

    /// The folder of kernel and initramfs, which instances share.
    pub fn guest(&self) -> PathBuf {
        self.shared().join("guest")
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.state().join("images")
    }
}

/// Memory of a virtual machine that nobody said more about: enough for an interpreter beside a shell, and a snapshot of it is quickly read.
const DEFAULT_MEMORY: Memory = Memory::of_bytes(256 << 20);
/// Processors of a virtual machine.
const DEFAULT_CPUS: u32 = 1;
/// Seconds that a boot under emulation may take on a loaded machine.
const DEFAULT_TIMEOUT: u64 = 120;
/// Seconds that a virtual machine is kept for nothing.
const DEFAULT_IDLE_TIMEOUT: u64 = 1800;

/// The user's folder.
pub fn home(environment: &Environment) -> Result<PathBuf, Failure> {
    environment
        .get("HOME")
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("HOME is not set").hint("--state-dir names a folder for the state"))
}

/// The architecture in the name that the program was called by: `vdkr-aarch64`.
fn arch_of_name(program: &Path) -> Option<Architecture> {
    program.file_name()?.to_str()?.strip_prefix("vdkr-")?.parse().ok()
}

fn check_instance(name: &str) -> Result<(), Failure> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(is_word) {
        true => Ok(()),
        false => {
            Err(Failure::new(format!("`{name}` is no instance's name")).hint("letters, digits, `-`, `_` and `.`, at most 64"))
        }
    }
}

/// Says something about a file of settings that is passed over.
fn passed_over(file: &Path, why: &str) {
    ui::warn(&format!("{} is passed over: {why}", file.display()));
}

#[cfg(test)]
mod tests;
