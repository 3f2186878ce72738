//! Packages of the system's own distribution, fetched as an ordinary user: with the system's sources, mirrors, proxies and keys, but with
//! lists and a cache of our own. Nothing is installed, and nothing of the system's is written.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::architecture::debian;
use super::error::Said;
use super::{Architecture, Package, SetupError};

/// Kernels for virtual machines, by the distribution: Debian's, then Ubuntu's.
const KERNELS: [&str; 2] = ["linux-image-cloud-", "linux-image-virtual"];
/// Of what a kernel's package brings along, what holds the kernel and its modules.
const KERNEL_PARTS: [&str; 2] = ["linux-image-", "linux-modules-"];

/// The system's settings that are not taken over: where things are kept, for whom, and what is run after an update.
const OURS: [&str; 9] = [
    "APT::Architecture",
    "APT::Sandbox",
    "APT::Update",
    "APT::Default-Release",
    "DPkg",
    "Dir::State",
    "Dir::Cache",
    "Dir::Log",
    "Dir::Etc::parts",
];

/// Package lists and a cache in a folder of their own, for one architecture.
pub struct Apt<'a> {
    tree: &'a Path,
    architecture: Architecture,
    /// What the update complained about.
    complaints: String,
}

impl<'a> Apt<'a> {
    /// Fetches the lists of what the system's sources offer for the architecture into `tree`, an empty folder.
    ///
    /// # Errors
    /// There is no apt. That a source cannot be reached is no error yet: another one may have what is asked for.
    pub fn update(tree: &'a Path, architecture: Architecture) -> Result<Self, SetupError> {
        for folder in ["lists/partial", "state", "cache/archives/partial", "parts", "packages", "root"] {
            let path = tree.join(folder);
            fs::create_dir_all(&path).map_err(|error| SetupError::file("make", &path, error))?;
        }
        write(&tree.join("state/status"), "")?;
        let said = run("apt-config", Command::new("apt-config").arg("dump"))?;
        if !said.status.success() {
            return Err(failed("apt-config", &said));
        }
        let settings = settings(&String::from_utf8_lossy(&said.stdout), tree, architecture);
        write(&tree.join("apt.conf"), &settings)?;
        let mut apt = Self { tree, architecture, complaints: String::new() };
        let said = run("apt-get", apt.get().args(["-q", "update"]))?;
        apt.complaints = complaints(&said);
        Ok(apt)
    }

    /// The packages that hold a kernel and its modules.
    ///
    /// # Errors
    /// None is offered.
    pub fn kernel(&self) -> Result<Vec<Package>, SetupError> {
        let mut first = None;
        for kernel in KERNELS {
            let name = if kernel.ends_with('-') { format!("{kernel}{}", debian(self.architecture)) } else { kernel.to_owned() };
            match self.closure(&name) {
                Ok(mut packages) => {
                    let is_part = |name: &str| KERNEL_PARTS.iter().any(|part| name.starts_with(part));
                    packages.retain(|package| is_part(&package.name));
                    if packages.len() > 1 {
                        // The package that was asked for holds nothing itself: it needs the one of the newest release.
                        packages.retain(|package| package.name != name);
                    }
                    return Ok(packages);
                }
                Err(error @ SetupError::NotOffered { .. }) => first = first.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| self.not_offered("kernel")))
    }

    /// A package and all that it needs, as if nothing were installed.
    fn closure(&self, name: &str) -> Result<Vec<Package>, SetupError> {
        let said = run("apt-get", self.get().args(["-qq", "--simulate", "--no-install-recommends", "install", name]))?;
        if !said.status.success() {
            return Err(self.not_offered(name));
        }
        Ok(String::from_utf8_lossy(&said.stdout).lines().filter_map(installed).collect())
    }

    fn not_offered(&self, what: &str) -> SetupError {
        let said = (!self.complaints.is_empty()).then(|| Said(self.complaints.clone()));
        SetupError::NotOffered { what: what.to_owned(), architecture: self.architecture, said }
    }

    /// Fetches packages, which apt compares with the signed lists, and unpacks them into one root file system, which is returned.
    ///
    /// # Errors
    /// One cannot be fetched or unpacked.
    pub fn unpack(&self, packages: &[Package]) -> Result<PathBuf, SetupError> {
        let folder = self.tree.join("packages");
        let wanted = packages.iter().map(|package| format!("{}={}", package.name, package.version));
        let said = run("apt-get", self.get().args(["-q", "download"]).args(wanted).current_dir(&folder))?;
        if !said.status.success() {
            return Err(failed("apt-get", &said));
        }
        let root = self.tree.join("root");
        let failed_to = |error| SetupError::file("read", &folder, error);
        for entry in fs::read_dir(&folder).map_err(failed_to)? {
            let mut command = Command::new("dpkg-deb");
            let said = run("dpkg-deb", command.arg("--extract").arg(entry.map_err(failed_to)?.path()).arg(&root))?;
            if !said.status.success() {
                return Err(failed("dpkg-deb", &said));
            }
        }
        Ok(root)
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.tree.join("apt.conf"));
        command
    }
}

fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    fs::write(path, text).map_err(|error| SetupError::file("write", path, error))
}

fn run(program: &'static str, command: &mut Command) -> Result<Output, SetupError> {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SetupError::NoApt { program },
        _ => SetupError::Run { program, source },
    })
}

fn failed(program: &'static str, said: &Output) -> SetupError {
    let complaints = complaints(said);
    SetupError::Packages { program, said: (!complaints.is_empty()).then_some(Said(complaints)) }
}

/// What a program said that begins as errors and warnings do; everything when nothing does. In one line, the first few of them.
fn complaints(said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stderr);
    let all: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked: Vec<_> = all.iter().filter_map(|line| line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: "))).collect();
    let lines = if marked.is_empty() && !said.status.success() { all } else { marked };
    lines.into_iter().take(3).collect::<Vec<_>>().join("; ")
}

/// What apt says of a package that it would install: `Inst kmod (30+20221128-1 Debian:12.11/stable [amd64])`.
fn installed(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix("Inst ")?.split(' ');
    let name = words.next()?.split(':').next()?;
    let version = words.next()?.strip_prefix('(')?;
    Some(Package { name: name.to_owned(), version: version.trim_end_matches(')').to_owned() })
}

/// The system's settings with places of our own.
fn settings(dumped: &str, tree: &Path, architecture: Architecture) -> String {
    let is_ours = |line: &str| {
        let name = line.split([' ', ';']).next().unwrap_or_default().to_ascii_lowercase();
        OURS.iter().any(|ours| name.starts_with(&ours.to_ascii_lowercase()))
    };
    let mut text: String = dumped.lines().filter(|line| !is_ours(line)).flat_map(|line| [line, "\n"]).collect();
    let tree = tree.display();
    let debian = debian(architecture);
    // The status is of a system without packages; what an administrator pinned and trusts stays, for that is below Dir::Etc.
    let _ = write!(
        text,
        r#"APT::Architecture "{debian}";
APT::Architectures:: "{debian}";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::State "{tree}/state";
Dir::State::lists "{tree}/lists";
Dir::State::status "{tree}/state/status";
Dir::Cache "{tree}/cache";
Dir::Log "{tree}/state";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "{tree}/parts";
"#
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_what_apt_would_do() {
        let text = "NOTE: simulation\nInst libc6 (2.36-9+deb12u14 Debian:12.14/oldstable, Debian-Security:12 [arm64])\n\
                    Inst kmod:arm64 [1.0] (30-1 Debian:12 [arm64])\nConf libc6 (2.36-9 Debian:12 [arm64])\n\
                    Inst linux-image-6.1.0-56-cloud-arm64 (6.1.192-2 Debian:12 [arm64]) []\n";
        let found: Vec<_> = text.lines().filter_map(installed).map(|package| (package.name, package.version)).collect();
        let expected = [("libc6", "2.36-9+deb12u14"), ("linux-image-6.1.0-56-cloud-arm64", "6.1.192-2")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
    }

    #[test]
    fn the_systems_settings_are_kept_but_for_places_and_hooks() {
        let dumped = "APT \"\";\nAPT::Architecture \"amd64\";\nAPT::Architectures:: \"amd64\";\nDir \"/\";\nDir::State \"var/lib/apt\";\n\
                      Dir::Etc::sourceparts \"sources.list.d\";\nDir::Etc::parts \"apt.conf.d\";\nDir::Cache::pkgcache \"\";\n\
                      APT::Update::Post-Invoke:: \"rm -f /x\";\nDPkg::Post-Invoke:: \"rm\";\nAcquire::http::Proxy \"http://proxy:3128\";\n";
        let text = settings(dumped, Path::new("/state/tree"), Architecture::Aarch64);
        for kept in ["Dir \"/\";", "sourceparts", "Acquire::http::Proxy \"http://proxy:3128\";"] {
            assert!(text.contains(kept), "{kept} is gone: {text}");
        }
        for gone in ["amd64", "Post-Invoke", "var/lib/apt", "apt.conf.d", "pkgcache"] {
            assert!(!text.contains(gone), "{gone} is there: {text}");
        }
        assert!(
            text.contains("APT::Architectures:: \"arm64\";\n") && text.contains("Dir::State::lists \"/state/tree/lists\";\n")
        );
    }
}
