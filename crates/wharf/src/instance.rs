//! The server that a command is about: its configuration, and whether it runs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wharf_store::lock::{self, Holder, State};

use crate::config::{self, Config, Loaded, Severity};
use crate::settings::{self, Settings, SettingsError};
use crate::ui::{self, Failure};

/// The configuration in force, written by `start`.
const CONFIG_FILE: &str = "registry-config.yml";
/// The process id, for other programs; this one asks the lock.
const PID_FILE: &str = "registry.pid";
/// Everything the background server says.
const LOG_FILE: &str = "registry.log";
/// How long a server that is just starting may take to listen.
pub const SETTLE: Duration = Duration::from_secs(5);
/// How long whoever is about to let go of the storage may need beyond the time that requests in flight have.
pub const LETTING_GO: Duration = Duration::from_secs(10);

/// A server's configuration with where it comes from.
#[derive(Debug)]
pub struct Instance {
    /// The configuration in force, or the one that would be.
    pub config: Config,
    /// The file it comes from; `None`: the defaults.
    pub file: Option<PathBuf>,
    /// The storage folder of `start`.
    pub folder: PathBuf,
}

impl Instance {
    /// The one to start: `file`, or what the settings ask for. Everything found is said, and errors end it.
    pub fn to_start(settings: &Settings, file: Option<&Path>) -> Result<Self, Failure> {
        let (instance, loaded) = Self::load(settings, file)?;
        ui::findings(&loaded, Severity::Warning);
        Ok(instance)
    }

    /// As [`to_start`](Self::to_start), but what was found, unless it is an error, is left to be said by the caller.
    pub fn load(settings: &Settings, file: Option<&Path>) -> Result<(Self, Vec<config::Finding>), Failure> {
        if settings.auth && !settings.secure {
            ui::warn(&format!("{} implies {}, which is not set", settings::AUTH.name, settings::SECURE.name));
        }
        let file = file.map(Path::to_path_buf).or_else(|| settings.environment.get(&settings::CONFIG).map(PathBuf::from));
        let loaded = match &file {
            Some(file) => settings.config_of(file),
            None => settings.own_config(),
        }
        .map_err(|error| refused(&error))?;
        let Loaded { config, findings } = accept(loaded)?;
        Ok((Self { config, file, folder: settings.storage.clone() }, findings))
    }

    /// The one to ask or stop: `file`, or what `start` wrote in the storage folder, or what the settings ask for. What was
    /// written counts whether that server still runs or not, unless the other one does.
    pub fn existing(settings: &Settings, file: Option<&Path>) -> Result<Self, Failure> {
        let folder = settings.storage.clone();
        let explicit = file.map(Path::to_path_buf).or_else(|| settings.environment.get(&settings::CONFIG).map(PathBuf::from));
        if let Some(file) = explicit {
            let loaded = accept(settings.config_of(&file).map_err(|error| refused(&error))?)?;
            return Ok(Self { config: loaded.config, file: Some(file), folder });
        }
        let is_used = |config: &Config| matches!(lock::holder(&config.storage.root), Ok(Some(_)));
        let path = folder.join(CONFIG_FILE);
        let mut written = None;
        if path.exists() {
            // It holds the overrides of the environment that the server was started in; today's may be others.
            let loaded = config::load(&path, |_| {}, &[]);
            if loaded.is_refused() {
                ui::warn(&format!("{} cannot be used, `wharf config check` tells why", path.display()));
            } else {
                written = Some(Self { config: loaded.config, file: Some(path), folder: folder.clone() });
            }
        }
        if let Some(written) = written.take_if(|written| is_used(&written.config)) {
            return Ok(written);
        }
        // Nothing is served here, so what would keep a server from starting does not matter.
        let own = Settings { insecure: true, ..settings.clone() };
        let loaded = own.own_config().map_err(|error| refused(&error))?;
        let own = Self { config: loaded.config, file: None, folder };
        Ok(written.filter(|_| !is_used(&own.config)).unwrap_or(own))
    }

    /// What `pick` finds in the configuration of the one that there is, or else of the one that secure mode would start.
    pub fn existing_or_secure<T>(
        settings: &Settings,
        file: Option<&Path>,
        pick: impl Fn(Config) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        if let Some(found) = pick(Self::existing(settings, file)?.config) {
            return Ok(Some(found));
        }
        let secure = Settings { secure: true, insecure: false, ..settings.clone() };
        Ok(pick(Self::existing(&secure, file)?.config))
    }

    /// Who serves it.
    pub fn holder(&self) -> Result<Option<Holder>, Failure> {
        let root = &self.config.storage.root;
        lock::holder(root)
            .map_err(|error| Failure::new(format!("cannot tell whether {} is in use", root.display())).because(&error))
    }

    /// As [`holder`](Self::holder), waiting while a server is starting until it has said who it is and where it listens.
    pub fn settled_holder(&self, patience: Duration) -> Result<Option<Holder>, Failure> {
        let until = Instant::now() + patience;
        loop {
            match self.holder()? {
                Some(holder) if holder.state == State::Starting && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                holder => return Ok(holder),
            }
        }
    }

    /// As [`settled_holder`](Self::settled_holder), waiting also for those who are about to let go of the storage: a server
    /// that stops, and a collection, repair or restore without one. Fails when that takes too long.
    pub fn server_or_nobody(&self, settle: Duration) -> Result<Option<Holder>, Failure> {
        let patience = self.config.http.drain_timeout + LETTING_GO;
        let until = Instant::now() + patience;
        let mut said = false;
        loop {
            let holder = match self.settled_holder(settle)? {
                Some(holder) if holder.state == State::Stopping || holder.state.upkeep().is_some() => holder,
                server_or_nobody => return Ok(server_or_nobody),
            };
            let (pid, what) = (holder.pid, holder.state.upkeep().unwrap_or("registry that is stopping"));
            if Instant::now() > until {
                let seconds = patience.as_secs();
                return Err(Failure::new(format!("the storage is still in use by a {what} (pid {pid}) after {seconds} s"))
                    .hint("try again when it has ended"));
            }
            if !said {
                ui::say(format_args!("Waiting for the {what} (pid {pid})"));
                said = true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address as people use it: as configured, with the port that is really listened on.
    pub fn url(&self, holder: Option<&Holder>) -> String {
        if let Some(url) = &self.config.http.external_url {
            return url.clone();
        }
        let mut listen = self.config.http.listen.clone();
        // "All addresses" is none that a client could use.
        if listen.host.is_empty() || listen.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            "localhost".clone_into(&mut listen.host);
        }
        if let Some(address) = holder.and_then(|holder| holder.listeners.first()) {
            listen.port = address.port();
        }
        format!("{}://{listen}", if self.config.http.tls.is_some() { "https" } else { "http" })
    }

    /// How the server treats its callers.
    pub fn mode(&self) -> String {
        let protection = match (self.config.http.tls.is_some(), self.config.access.is_guarded()) {
            (true, true) => "secure (TLS, authentication)",
            (true, false) => "TLS, no authentication",
            (false, true) => "authentication, no TLS",
            (false, false) => "insecure (HTTP, no authentication)",
        };
        format!("{protection}{}", if self.config.storage.read_only { ", read-only" } else { "" })
    }

    /// Where `start` writes the configuration in force.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    /// Where `start` writes the process id.
    pub fn pid_file(&self) -> PathBuf {
        self.folder.join(PID_FILE)
    }

    /// Where a background server logs.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join(LOG_FILE)
    }
}

fn accept(loaded: Loaded) -> Result<Loaded, Failure> {
    if loaded.is_refused() {
        ui::findings(&loaded.findings, Severity::Warning);
        return Err(Failure::Reported);
    }
    Ok(loaded)
}

/// A report of wrong settings.
pub fn refused(error: &SettingsError) -> Failure {
    let mut failure = Failure::new(error.to_string());
    if let Some(source) = std::error::Error::source(error) {
        failure = failure.because(source);
    }
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
