//! What a server takes from itself before it answers anybody: files outside of its folders, and system calls that no registry needs. Whoever
//! takes it over by a fault of ours finds as little as the kernel can leave.
//!
//! Both hold for the thread that asks for them and for those it starts later, and for good. So a server enters before any other thread is there.

mod calls;
mod files;

use std::path::{Path, PathBuf};

use wharf_pki::AUTHORITY;

use crate::config::Config;
use crate::config::model::{Certificate, Sandbox};
use crate::ui::Failure;

/// What stays open.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Folders to read and write below.
    pub writes: Vec<PathBuf>,
    /// Files, and folders to read below.
    pub reads: Vec<PathBuf>,
    /// Whether connections to others may be made. Those that others make were let in when the listeners were bound.
    pub connects: bool,
}

/// What a system keeps where it is looked for by name: resolvers, certificate authorities, time zones, libraries that the C library loads
/// for names, and what the standard library reads of processors and limits.
const SYSTEM: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/urandom",
];

impl Places {
    /// Those of a server with this configuration. `folder` is that of `start`, which holds what secure mode keeps; `log` is the file that is
    /// opened anew on SIGHUP.
    pub fn of(config: &Config, folder: &Path, log: Option<&Path>) -> Self {
        let root = &config.storage.root;
        let mut places = Self { connects: connects(config), ..Self::default() };
        places.writes.push(root.clone());
        // Parts of the storage may have been moved to another disk, with links in their place.
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path());
        places.writes.extend(links.filter_map(|link| link.canonicalize().ok()).filter(|target| target.is_dir()));
        places.writes.extend(["pki", "auth"].map(|name| folder.join(name)));
        places.writes.extend(config.http.own_pki().and_then(|(pki, _)| Some(pki.path(AUTHORITY).parent()?.to_owned())));
        places.writes.extend(config.access.folder.clone());
        places.writes.extend(log.into_iter().chain(config.audit.as_deref()).flat_map(around));
        // What is read again when it changes, which it does under another file of the same name.
        places.reads.extend(config.access.htpasswd.as_deref().into_iter().flat_map(around));
        if let Some(Certificate::Given { certificate, key }) = config.http.tls.as_ref().map(|tls| &tls.certificate) {
            places.reads.extend([certificate, key].into_iter().flat_map(|file| around(file)));
        }
        places.reads.extend(config.access.htpasswd.iter().flat_map(|file| around(file)));
        let upstreams = config.upstreams.list.iter().chain(&config.upstreams.proxy);
        let files = upstreams.flat_map(|upstream| upstream.ca.iter().chain(&upstream.authfile));
        places.reads.extend(files.flat_map(|file| around(file)));
        places.reads.extend(config.access.issuers.iter().filter_map(|issuer| issuer.ca.as_deref()).flat_map(around));
        places.reads.extend(SYSTEM.iter().map(PathBuf::from));
        // For the names of functions, should it panic.
        places.reads.extend(std::env::current_exe());
        let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
        places.reads.extend(named.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()));
        places
    }
}

/// The folder of a file, and that of the file which a link in its place leads to.
fn around(file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file), real.as_deref()].into_iter().flatten().filter_map(|file| Some(file.parent()?.to_owned())).collect()
}

/// Whether a server with this configuration speaks to others at all. Which ports those have is not known beforehand, for they may send on.
fn connects(config: &Config) -> bool {
    !config.upstreams.list.is_empty() || config.upstreams.proxy.is_some() || !config.access.issuers.is_empty()
}

/// Enters the sandbox. Fails only where the configuration demands one and the kernel does not have it.
pub fn enter(sandbox: Sandbox, places: &Places) -> Result<(), Failure> {
    if sandbox == Sandbox::Off {
        return Ok(());
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    let mut missing = Vec::new();
    if threads > 1 {
        // A slip of ours, and no reason not to serve.
        missing.push(format!("{} threads are outside of it", threads - 1));
    }
    missing.extend(files::restrict(places).err());
    missing.extend(calls::restrict().err());
    if missing.is_empty() {
        tracing::debug!("the sandbox is closed");
        return Ok(());
    }
    let missing = missing.join("; ");
    match sandbox {
        Sandbox::Required => Err(Failure::new(format!("`wharf.sandbox` is required, and this system has none: {missing}"))
            .hint("set it to `auto` to serve with what there is")),
        _ => {
            tracing::info!("serving with less of a sandbox than there could be: {missing}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    /// Runs in a thread of its own: what it enters is not left again, and holds for no other.
    fn inside(places: Places, look: impl FnOnce() + Send + 'static) {
        let run = move || files::restrict(&places).and_then(|()| calls::restrict()).map(|()| look());
        match std::thread::spawn(run).join().expect("what was looked at") {
            Ok(()) => {}
            Err(missing) => eprintln!("not tried: {missing}"),
        }
    }

    #[test]
    fn only_the_folders_that_are_named_can_be_written_to() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, foreign) = (ours.path().to_owned(), other.path().to_owned());
        fs::write(foreign.join("secret"), "x").unwrap();
        let places = Places { writes: vec![own.clone(), own.join("missing")], reads: vec!["/etc".into()], connects: false };
        inside(places, move || {
            fs::write(own.join("a"), "x").expect("our own folder");
            fs::create_dir(own.join("b")).expect("our own folder");
            fs::rename(own.join("a"), own.join("b/a")).expect("from one folder of ours to another");
            fs::remove_dir_all(own.join("b")).expect("our own folder");
            fs::read("/etc/hosts").expect("what may be read");
            let denied = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
            denied(fs::write(foreign.join("a"), "x"));
            denied(fs::read(foreign.join("secret")).map(drop));
            denied(fs::remove_file(foreign.join("secret")));
            denied(fs::OpenOptions::new().append(true).open("/etc/hosts").map(drop));
        });
        // The other threads are as they were.
        fs::write(other.path().join("a"), "x").unwrap();
    }

    #[test]
    fn no_program_is_run_and_no_odd_socket_made() {
        let places = Places { reads: vec!["/".into()], ..Places::default() };
        inside(places, || {
            let ran = Command::new("/bin/true").status();
            assert_eq!(ran.unwrap_err().kind(), ErrorKind::PermissionDenied);
            let socket = |family| rustix::net::socket(family, rustix::net::SocketType::DGRAM, None);
            assert_eq!(socket(rustix::net::AddressFamily::PACKET).unwrap_err(), rustix::io::Errno::PERM);
            socket(rustix::net::AddressFamily::INET).expect("an ordinary socket");
            socket(rustix::net::AddressFamily::UNIX).expect("an ordinary socket");
            // New threads have it too.
            std::thread::spawn(|| Command::new("/bin/true").status().expect_err("refused")).join().expect("a thread");
        });
    }

    #[test]
    fn connections_are_made_only_where_that_is_meant() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for connects in [true, false] {
            inside(Places { connects, ..Places::default() }, move || {
                assert_eq!(std::net::TcpStream::connect(address).is_ok(), connects);
                assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err(), "no further port");
            });
        }
    }
}
