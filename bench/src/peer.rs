//! The programs that are compared: how each is configured, started, found ready, and ended by its own process id.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Context, Failure, Result};
use crate::http::Connection;

/// A server that has not answered by then has failed to start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A server that has not ended by then is killed.
const ENDED_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait between two attempts to connect: well under what is measured.
const POLL: Duration = Duration::from_micros(250);

/// What takes part in a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The registry of this repository.
    Wharf,
    /// Debian's package of CNCF distribution 2.8.
    DockerRegistry,
    /// nginx serving static files with sendfile.
    Nginx,
    /// nginx serving static files without sendfile.
    NginxCopying,
    /// Plain files, written and synced by the bench itself.
    BareFiles,
}

impl Peer {
    /// The name in tables, and in `--peers`.
    pub fn label(self) -> &'static str {
        match self {
            Peer::Wharf => "wharf",
            Peer::DockerRegistry => "docker-registry",
            Peer::Nginx => "nginx",
            Peer::NginxCopying => "nginx, sendfile off",
            Peer::BareFiles => "bare files",
        }
    }

    /// The name that `--peers` knows this by.
    pub fn family(self) -> &'static str {
        if self == Peer::NginxCopying { "nginx" } else { self.label() }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its files: `data` is the storage (the document root for nginx), `log` what it printed.
    pub folder: PathBuf,
    /// From the start of the process until it answered.
    pub ready_after: Duration,
    profiler: Option<Child>,
}

impl Server {
    /// Starts `peer` over `folder`, whose `data` may already hold something, and waits until it answers.
    pub fn start(peer: Peer, folder: &Path, settings: &Settings) -> Result<Self> {
        fs::create_dir_all(folder.join("data")).context("creating the data folder")?;
        let address = free_address()?;
        let mut command = match peer {
            Peer::Wharf => wharf(folder, address, settings)?,
            Peer::DockerRegistry => docker_registry(folder, address, settings)?,
            Peer::Nginx => nginx(folder, address, true, settings)?,
            Peer::NginxCopying => nginx(folder, address, false, settings)?,
            Peer::BareFiles => return Err(Failure::new("plain files are no server")),
        };
        let log = fs::File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let before = Instant::now();
        let child = command.spawn().context(format_args!("starting {}", peer.label()))?;
        let mut server = Self { child, address, folder: folder.to_owned(), ready_after: Duration::ZERO, profiler: None };
        server.wait_until_ready(peer, before, settings)?;
        if let (Some(profile), Peer::Wharf) = (&settings.profile, peer) {
            server.profiler = Some(profiler(server.pid(), profile)?);
        }
        Ok(server)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the stored bytes are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A new connection to it.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address)
    }

    fn wait_until_ready(&mut self, peer: Peer, before: Instant, settings: &Settings) -> Result<()> {
        let path = if matches!(peer, Peer::Nginx | Peer::NginxCopying) { "/" } else { "/v2/" };
        loop {
            // nginx has nothing at its root, who speaks TLS says so in clear text, and who has users refuses: that it answers at all is enough.
            let answer = Connection::open(self.address)
                .and_then(|mut connection| connection.exchange("GET", path, &[], &[], crate::http::Sink::Discard));
            if answer
                .is_ok_and(|answer| answer.status == 200 || path == "/" || settings.tls.is_some() || settings.users.is_some())
            {
                self.ready_after = before.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(peer, &format!("ended with {status} before it was ready")));
            }
            if before.elapsed() > READY_WITHIN {
                return Err(self.failed(peer, "was not ready in time"));
            }
            sleep(POLL);
        }
    }

    fn failed(&self, peer: Peer, how: &str) -> Failure {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(3).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        Failure::new(format!("{} {how}: {}", peer.label(), last.join(" / ")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(profiler) = &mut self.profiler {
            end(profiler, Signal::INT);
        }
        end(&mut self.child, Signal::TERM);
    }
}

/// Asks one child to end, then insists.
fn end(child: &mut Child, signal: Signal) {
    if matches!(child.try_wait(), Ok(None)) {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile, which is what was asked for.
            let _ = kill_process(pid, signal);
        }
        let asked = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if asked.elapsed() > ENDED_WITHIN {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            sleep(Duration::from_millis(2));
        }
    }
}

/// What differs between runs of wharf.
#[derive(Clone, Default)]
pub struct Settings {
    /// The program; without it wharf takes no part.
    pub wharf: Option<PathBuf>,
    /// Added to wharf's configuration.
    pub wharf_configuration: String,
    /// Certificate and key, PEM, to serve TLS with: wharf and nginx.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A file of users as `htpasswd -B` writes it, all of whom may do everything: wharf and docker-registry.
    pub users: Option<PathBuf>,
    /// Where `perf` writes what it sampled of wharf.
    pub profile: Option<PathBuf>,
}

/// A free loopback address below the range that the kernel gives to outgoing connections: in that range, repeated
/// attempts to connect to a port nobody listens on yet can end up connected to themselves.
fn free_address() -> Result<SocketAddr> {
    for _ in 0..1000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(12_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new("no free loopback port was found"))
}

fn wharf(folder: &Path, address: SocketAddr, settings: &Settings) -> Result<Command> {
    let program = settings
        .wharf
        .as_ref()
        .ok_or_else(|| Failure::new("the wharf program was not found; build it, or name it in WHARF_BIN"))?;
    let configuration = folder.join("config.yml");
    let tls = settings.tls.as_ref().map_or_else(String::new, |(certificate, key)| {
        format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display())
    });
    let text = format!(
        "version: 0.1\n{}log:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n{tls}{}",
        authentication(settings),
        folder.join("data").display(),
        settings.wharf_configuration
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(program);
    command.arg("serve").arg(configuration);
    Ok(command)
}

/// The part of a registry's configuration that says who its users are.
fn authentication(settings: &Settings) -> String {
    let section = |users: &PathBuf| format!("auth:\n  htpasswd:\n    realm: bench\n    path: {}\n", users.display());
    settings.users.as_ref().map_or_else(String::new, section)
}

fn docker_registry(folder: &Path, address: SocketAddr, settings: &Settings) -> Result<Command> {
    let configuration = folder.join("config.yml");
    let text = format!(
        "version: 0.1\n{}log:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n  secret: bench\n",
        authentication(settings),
        folder.join("data").display()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(configuration);
    Ok(command)
}

fn nginx(folder: &Path, address: SocketAddr, sendfile: bool, settings: &Settings) -> Result<Command> {
    let here = folder.display();
    // Started by root, nginx would give its workers to a user who cannot enter the temporary folder.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let sendfile = if sendfile { "sendfile on;\n  tcp_nopush on;" } else { "sendfile off;\n  output_buffers 2 256k;" };
    let (tls, certificate) = match &settings.tls {
        Some((certificate, key)) => {
            (" ssl", format!("ssl_certificate {};\n    ssl_certificate_key {};", certificate.display(), key.display()))
        }
        None => ("", String::new()),
    };
    let text = format!(
        "{user}worker_processes 2;
daemon off;
pid {here}/nginx.pid;
error_log {here}/error.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  {sendfile}
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  open_file_cache max=10000 inactive=3600s;
  open_file_cache_valid 3600s;
  default_type application/octet-stream;
  client_body_temp_path {here}/body;
  proxy_temp_path {here}/proxy;
  fastcgi_temp_path {here}/fastcgi;
  uwsgi_temp_path {here}/uwsgi;
  scgi_temp_path {here}/scgi;
  server {{
    listen {address}{tls};
    {certificate}
    root {here}/data;
  }}
}}
"
    );
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text)?;
    // Debian installs it where an ordinary user's PATH does not look.
    let installed = Path::new("/usr/sbin/nginx");
    let mut command = Command::new(if installed.exists() { installed } else { Path::new("nginx") });
    command.arg("-p").arg(folder).arg("-c").arg(configuration).arg("-e").arg(folder.join("error.log"));
    Ok(command)
}

fn profiler(pid: u32, output: &Path) -> Result<Child> {
    Command::new("perf")
        .args(["record", "--quiet", "-F", "499", "--call-graph", "fp", "-p", &pid.to_string(), "-o"])
        .arg(output)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting perf")
}
